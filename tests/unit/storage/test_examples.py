"""Which shapes are examples."""

from __future__ import annotations

import pytest

from occnet_lib.storage.examples import example_shapes
from occnet_lib.types import ShapeKey

KEYS = [ShapeKey("car", name) for name in "abcd"] + [ShapeKey("chair", "z")]


def rows(model: str, **scores: object) -> list[dict[str, str]]:
    return [{"model": model, "category": "car", "id": name, "iou": str(iou)} for name, iou in scores.items()]


def test_shapes_are_at_even_quantiles_of_the_first_model_with_rows() -> None:
    table = rows("two", a=0.4, b=0.3, c=0.2, d=0.1) + rows("one", a=0.1, b=0.2, c=0.3, d=0.4)
    assert example_shapes(KEYS, table, ["none", "two", "one"], 2) == {
        "car": ["car/c", "car/a"],
        "chair": ["chair/z"],
    }
    assert example_shapes(KEYS, table, ["one", "two"], 2)["car"] == ["car/b", "car/d"]


@pytest.mark.parametrize("table", [[], rows("other", a=1.0), [{"broken": "row"}]])
def test_without_scores_they_are_at_even_steps_of_the_names(table) -> None:
    assert example_shapes(KEYS[::-1], table, ["one"], 2)["car"] == ["car/b", "car/d"]


def test_a_score_that_is_not_a_number_ranks_last() -> None:
    table = rows("one", a="nan", b="", c=0.5, d=0.6)
    assert example_shapes(KEYS, table, ["one"], 4)["car"] == ["car/a", "car/b", "car/c", "car/d"]
    assert example_shapes([], table, ["one"], 4) == {}
