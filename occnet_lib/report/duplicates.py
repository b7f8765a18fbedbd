"""Shapes that occur twice, a leak between splits among them, and the score over the distance to the training shapes."""

from __future__ import annotations

from collections.abc import Sequence

from . import plots
from .html import Html, join, paragraph, table, tag, word
from .readings import plotted
from .results import Results, Row, is_baseline, label, number, shape_name, shown

_MOST_SHOWN = 100


def section(results: Results) -> Html:
    """Pairs of near-duplicates, and the IoU of test shapes over their distance to the nearest training shape.

    Raises:
        MissingResult: shapes were not compared.
    """
    results.path("analyse/duplicates/duplicates.csv", "comparison of shapes")
    pairs = results.rows_if_any("analyse/duplicates/duplicates.csv")
    leaks = [row for row in pairs if row.get("split") != row.get("other_split")]
    parts = []
    if leaks:
        text = (
            f"{len(leaks):,} pairs of near-duplicates are in different splits: "
            "scores of these test shapes are not those of new shapes."
        )
        parts.append(paragraph(tag("b", "Warning: "), text, class_="warn"))
    note = (
        "Near-duplicates: mean distance of the surfaces below 0.002 of the longest edge, as they are (copy: also scaled, as "
        "all shapes fill the unit cube), or after a rotation or a reflection."
    )
    if pairs:
        parts.append(_table([*leaks, *(row for row in pairs if row not in leaks)], note))
    else:
        parts += [paragraph("No shape is a near-duplicate of another one."), paragraph(note, note=True)]
    return join([*parts, _scores(results)])


def _table(rows: Sequence[Row], note: str) -> Html:
    body = [
        (
            word(f"{shape_name(row)} ({row['split']})"),
            word(f"{row['other_category']}/{row['other_id']} ({row['other_split']})"),
            word(row["kind"]),
            shown(number(row, "distance"), 5),
        )
        for row in rows
    ]
    most = _MOST_SHOWN, "analyse/duplicates/duplicates.csv"
    return table(("Shape", "Other shape", "Kind", "Distance"), body, most=most, note=note)


def _scores(results: Results) -> Html:
    """The plot that distinguishes recognition from reconstruction."""
    distances = {
        shape_name(row): value
        for row in results.rows_if_any("analyse/duplicates/nearest.csv")
        if (value := number(row, "distance")) is not None
    }
    groups: dict[str, list[plots.Point]] = {}
    for (model, name), row in results.shape_rows.items():
        iou = number(row, "iou")
        if name in distances and iou is not None and not is_baseline(model):
            said = f"{name}: IoU {iou:.3f} at distance {distances[name]:.4f}"
            groups.setdefault(label(model), []).append(plots.Point(distances[name], iou, said, 0))
    if not groups:
        return join([])
    plot = plots.points(groups, "distance to the nearest training shape, longest edge = 1", "IoU")
    caption = (
        "IoU of test shapes over the mean distance of their surface to that of the nearest training shape. A network that "
        "only recognises training shapes falls with the distance."
    )
    drawn = plotted(plot, "IoU over distance to training shapes", caption)
    return join([tag("h3", "Recognition or reconstruction"), drawn])
