"""Which test shapes stand as examples of a run, for all that shows a few of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from occnet_lib.types import ShapeKey


def example_shapes(
    keys: Iterable[ShapeKey], rows: Sequence[Mapping[str, str]], models: Iterable[str], count: int
) -> dict[str, list[str]]:
    """Names of some shapes of each category, at even quantiles of the ranking by IoU: good and bad ones alike.

    Args:
        keys: shapes to choose from.
        rows: of evaluate/shapes.csv; without any, the shapes are at even steps of the order of their names.
        models: the first of these that has rows gives the ranking; a shape without IoU is last.
        count: shapes of each category.
    """
    evaluated = {row.get("model") for row in rows}
    first = next((model for model in models if model in evaluated), "")
    score = {
        f"{row.get('category')}/{row.get('id')}": _number(row.get("iou"))
        for row in rows
        if row.get("model") == first
    }
    groups: dict[str, list[str]] = defaultdict(list)
    for key in sorted(keys, key=lambda key: (score.get(key.name, 0.0), key.name)):
        groups[key.category].append(key.name)
    return {category: evenly(groups[category], count) for category in sorted(groups)}


def evenly(ranked: Sequence[str], count: int) -> list[str]:
    """`count` of them at even quantiles: the median for one, the quartiles for two."""
    count = min(count, len(ranked))
    return [ranked[int((k + 0.5) / count * len(ranked))] for k in range(count)]


def _number(text: str | None) -> float:
    try:
        value = float(text or 0.0)
    except ValueError:
        return 0.0
    return value if value == value else 0.0
