"""Predicted cameras: errors by model and class."""

from __future__ import annotations

from .html import Html, join, table, word
from .results import Results, Row, number, percent, shown

_HEADS = (
    *("Model", "Class", "Views", "Azimuth, median °", "within 15°", "any of four within 15°"),
    *("Elevation, median °", "Distance, median", "d2D, mean px", "d2D, median px", "d3D, mean"),
)
_FIELDS = {
    "iou_given": "True camera",
    "iou_own_distance": "Distance predicted",
    "iou_own_place": "Place and size predicted",
    "iou_distance": "Place, size, distance predicted",
    "iou": "Predicted camera",
}


def section(results: Results) -> Html:
    """A row a model and class; empty where no model predicts cameras."""
    if not results.config.pose_models:
        return Html("")
    rows = results.brief(results.rows("evaluate/cameras.csv", "errors of predicted cameras", all_seeds=True))
    note = (
        "Cameras of the views of test shapes, against the true ones. Azimuth is modulo the rotations about the "
        "vertical axis that map the shape onto itself, and the other errors are those after the best of them. The "
        "model gives several hypotheses with probabilities; all columns but one are of the likeliest. Distance is "
        "relative. d2D is the mean distance of projected surface points in pixels of the view, d3D that of the points "
        "in the camera's frame, in units of the view frame (the box's diagonal is 1; Xu et al. 2019)."
    )
    parts = [table(_HEADS, [_row(row, results) for row in rows], note=note)]
    fields = [row for row in rows if any(row.get(name) for name in _FIELDS)]
    if fields:
        text = (
            "IoU of the field of models with pixel-aligned features, by cameras of which more and more is predicted: the "
            "distance, the object's place and size in the image, the rotation. All else is that of the true camera."
        )
        body = [(*_named(row, results), *(shown(number(row, name)) for name in _FIELDS)) for row in fields]
        heads = ("Model", "Class", *_FIELDS.values())
        parts.append(table(heads, body, title="IoU by camera", note=text))
    return join(parts)


def _named(row: Row, results: Results) -> tuple[Html, Html]:
    category = row["category"]
    return word(row["model"]), word(category if category == "mean" else results.category(category))


def _row(row: Row, results: Results) -> tuple[object, ...]:
    def value(name: str, digits: int) -> str | None:
        return shown(number(row, name), digits)

    return (
        *_named(row, results),
        row.get("views"),
        value("azimuth_median", 1),
        *(percent(number(row, name)) for name in ("azimuth_within_15", "any_within_15")),
        value("elevation_median", 1),
        percent(number(row, "distance_median")),
        *(value("d2d_mean", 1), value("d2d_median", 1), value("d3d_mean", 3)),
    )
