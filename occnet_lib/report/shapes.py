"""Every test shape with the scores of every model: a table that sorts and filters in the browser."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from occnet_lib.storage.tables import shape_name

from .html import Html, join, paragraph, table, tag, word
from .measures import F_SCORE, IOU, NORMALS, TIMES_TEN, scaled
from .readings import thumbnail
from .results import Results, Row, label, shown

_METRICS = (IOU, TIMES_TEN, NORMALS, F_SCORE)
_MOST_THUMBNAILS = 3000  # some 2 KB each


def section(results: Results) -> Html:
    """One row a shape, one column a model; without JavaScript the IoU in the order of names.

    Raises:
        MissingResult: nothing was evaluated.
    """
    rows = results.rows("evaluate/shapes.csv", "table of test shapes")
    models = [
        row["model"]
        for row in results.in_order([{"model": name} for name in dict.fromkeys(row["model"] for row in rows)])
    ]
    names, image = {shape_name(row): row for row in rows}, partial(_image, results)
    return table_of_shapes(names, models, results.shape_rows, results.category, image, label)


def table_of_shapes(
    names: Mapping[str, Row],
    models: Sequence[str],
    rows: Mapping[tuple[str, str], Row],
    category: Callable[[str], str] = str,
    image: Callable[[str], Html | None] | None = None,
    label: Callable[[str], str] = str,
) -> Html:
    """A table of shapes that sorts and filters, one column a model.

    Args:
        names: a row of each shape by its name, with `category` and `id`.
        models: columns.
        rows: scores by model and name.
        category: how a category is called.
        image: a small image of a shape by name, of the first ones.
        label: how a model is called.
    """
    body = []
    for i, (name, row) in enumerate(sorted(names.items())):
        small = image(name) if image and i < _MOST_THUMBNAILS else None
        named = join([small or "", tag("span", row["id"])])
        scores = [_score(rows.get((model, name))) for model in models]
        body.append([word(named), word(category(row["category"])), *scores])
    note = (
        "Every test shape and its score by every model. A click on a column's head sorts; a shape without a mesh has the "
        "worst score, in red, and its reason as a tooltip. The filter takes words of names, classes and reasons, and bounds "
        "of scores: chair <0.3 lists the chairs below 0.3 by the first model, NAME>0.5 those above 0.5 by the model "
        "whose name begins so."
    )
    columns = ("Shape", "Class", *map(label, models))
    parts = [paragraph(note, note=True), _tools(), table(columns, body)]
    if image and len(names) > _MOST_THUMBNAILS:
        parts.append(paragraph(f"The first {_MOST_THUMBNAILS:,} shapes by name have an image.", note=True))
    return tag("div", *parts, class_="filtered")


def _image(results: Results, name: str) -> Html | None:
    if name not in results.packed_test:
        return None
    shard, i, _ = results.packed_test[name]
    return thumbnail(shard, i, results.config.reconstruct.view, name, class_="thumbnail", width=28, height=28)


def _tools() -> Html:
    """Filter and choice of the metric; hidden until the script that serves them runs."""
    options = [tag("option", metric.title) for metric in _METRICS]
    search = tag("input", type="search", placeholder="chair <0.3", aria_label="filter test shapes")
    return tag(
        "div",
        tag("label", "Filter ", search),
        tag("label", "Score ", tag("select", *options)),
        tag("output", "", aria_live="polite"),
        class_="tools",
        hidden="",
    )


def _score(row: Row | None) -> Html:
    """A cell with all the metrics of a shape, of which one is shown at a time."""
    if row is None:
        return tag("td", "–")
    values = [shown(scaled(row, metric), metric.digits) or "–" for metric in _METRICS]
    failed = row.get("status") == "failed"
    reason = f"failed: {row.get('reason') or 'no reason given'}" if failed else row.get("reason") or None
    return tag(
        "td", values[0], data_scores="|".join(values), title=reason, class_="failed" if failed else None
    )
