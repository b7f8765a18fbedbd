"""Predicted cameras: errors by model and class."""

from __future__ import annotations

from .columns import Reader, described, fixed, fraction, words
from .html import Html, join, word
from .results import Results, Row

_FIELDS = {
    "True camera": fixed("iou_given"),
    "Distance predicted": fixed("iou_own_distance"),
    "Place and size predicted": fixed("iou_own_place"),
    "Place, size, distance predicted": fixed("iou_distance"),
    "Predicted camera": fixed("iou"),
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
    named: dict[str, Reader] = {"Model": words("model"), "Class": lambda row: word(_category(row, results))}
    columns = named | {
        "Views": lambda row: row.get("views"),
        "Azimuth, median °": fixed("azimuth_median", 1),
        "within 15°": fraction("azimuth_within_15"),
        "any of four within 15°": fraction("any_within_15"),
        "Elevation, median °": fixed("elevation_median", 1),
        "Distance, median": fraction("distance_median"),
        "d2D, mean px": fixed("d2d_mean", 1),
        "d2D, median px": fixed("d2d_median", 1),
        "d3D, mean": fixed("d3d_mean"),
    }
    parts = [described(rows, columns, note=note)]
    if fields := [row for row in rows if any(read(row) for read in _FIELDS.values())]:
        text = (
            "IoU of the field of models with pixel-aligned features, by cameras of which more and more is predicted: the "
            "distance, the object's place and size in the image, the rotation. All else is that of the true camera."
        )
        parts.append(described(fields, named | _FIELDS, title="IoU by camera", note=text))
    return join(parts)


def _category(row: Row, results: Results) -> str:
    return "mean" if row["category"] == "mean" else results.category(row["category"])
