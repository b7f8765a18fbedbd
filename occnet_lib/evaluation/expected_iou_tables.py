"""Table of expected against true IoU: error, coverage of the interval, and rank correlation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import Config
from occnet_lib.storage.iou_calibration import IouCalibration

from .calibration_tables import ALL
from .class_means import Rows, by_shape, ends, resampled, rows_of

COLUMNS = (
    *("model", "source", "category", "images", "shapes", "count", "raw", "expected", "iou", "half_width"),
    *("error", "error_constant", "coverage", "coverage_low", "coverage_high", "rank_shapes", "rank_views"),
)
"""Columns of evaluate/expected_iou.csv.

images: number of images whose logits are averaged; count: number of measured ones; raw, expected, iou: means of the
field's own, the calibrated and the true IoU; error: mean |expected - iou|, beside that of the mean IoU of the group as a
constant; coverage: fraction within `half_width`. All means are of shapes within a class, each the mean of its images, and
over all shapes means of class means, as in evaluate/models.csv. rank_shapes: Spearman's correlation of expected and
true IoU over shapes, each averaged over its images; rank_views: that within a shape, averaged over shapes.
"""


class _Pairs(NamedTuple):
    raw: NDArray[np.float64]
    expected: NDArray[np.float64]
    iou: NDArray[np.float64]


def summarise_expected(
    source: str, rows: Iterable[Mapping[str, Any]], calibrations: Mapping[str, IouCalibration], config: Config
) -> Rows:
    """Rows of `COLUMNS` for every class and over all shapes.

    Args:
        source: views or photos.
        rows: of `evaluate_views` or `evaluate_photos` with uncertainty, as they are or as read. Images that are refused
            are left out: they have no field.
        calibrations: by model.
        config: `evaluate.merged`, `evaluate.bootstrap` and `seed` are used.

    Raises:
        DataError: a value is not a number.
    """
    table: Rows = []
    for model, classes in by_shape(rows).items():
        calibration = calibrations.get(model)
        for count in (1, *config.evaluate.merged) if calibration else ():
            pairs = {
                category: [own for id in sorted(shapes) if (own := _pairs(shapes[id], count, calibration))]
                for category, shapes in sorted(classes.items())
            }
            pairs = {category: own for category, own in pairs.items() if own}
            for category in (*pairs, ALL) if pairs else ():
                about = {"model": model, "source": source, "category": category, "images": count}
                fit = calibration(0.5, count) if calibration else None
                width = fit.half_width if fit else None
                chosen = {category: pairs[category]} if category else pairs
                table.append(about | _measured(chosen, width, config))
    return table


def _pairs(rows: Rows, count: int, calibration: IouCalibration | None) -> _Pairs | None:
    """Expected and true IoU of the images of a shape; None if none has both."""
    end = f"_{count}" if count > 1 else ""
    with rows_of("expected IoU"):
        both = [
            (float(row[f"expected_iou{end}"]), float(row[f"iou{end}"]))
            for row in rows
            if row.get(f"expected_iou{end}", "") != "" and row.get(f"iou{end}", "") != ""
        ]
    calibrated = [calibration(raw, count) for raw, _ in both] if calibration else []
    values = [(raw, one.value, iou) for (raw, iou), one in zip(both, calibrated, strict=False) if one]
    return _Pairs(*np.array(values).T) if values else None


def _measured(
    pairs: Mapping[str, Sequence[_Pairs]], half_width: float | None, config: Config
) -> dict[str, Any]:
    shapes = [own for parts in pairs.values() for own in parts]
    mean_iou = _class_mean(pairs, lambda one: one.iou)
    row: dict[str, Any] = dict.fromkeys(COLUMNS[4:], "")
    row |= {
        **{"shapes": len(shapes), "count": sum(len(one.iou) for one in shapes)},
        **{"raw": _class_mean(pairs, lambda one: one.raw), "iou": mean_iou},
        "expected": _class_mean(pairs, lambda one: one.expected),
        "error": _class_mean(pairs, lambda one: np.abs(one.expected - one.iou)),
        "error_constant": _class_mean(pairs, lambda one: np.abs(one.iou - mean_iou)),
        "rank_shapes": rank_correlation(*([one[k].mean() for one in shapes] for k in (1, 2))),
        "rank_views": _mean([rank_correlation(one.raw, one.iou) for one in shapes]),
    }
    if half_width is not None:
        inside = {
            category: np.array([[(np.abs(one.expected - one.iou) <= half_width).mean()] for one in parts])
            for category, parts in pairs.items()
        }
        row |= {"half_width": half_width, "coverage": float(np.mean([own.mean() for own in inside.values()]))}
        row |= ends(resampled(inside, config), "coverage")
    return row


def _class_mean(
    pairs: Mapping[str, Sequence[_Pairs]], values: Callable[[_Pairs], NDArray[np.float64]]
) -> float:
    """The mean of class means of a value of every image, averaged over the images of a shape first."""
    return float(np.mean([np.mean([values(one).mean() for one in parts]) for parts in pairs.values()]))


def rank_correlation(a: Any, b: Any) -> float | str:
    """Spearman's rank correlation; "" of fewer than three values or where one is constant."""
    from scipy.stats import rankdata

    if len(a) < 3:
        return ""
    x, y = rankdata(a), rankdata(b)
    return float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) > 0 and np.ptp(y) > 0 else ""


def _mean(values: Sequence[float | str]) -> float | str:
    known = [float(value) for value in values if value != ""]
    return float(np.mean(known)) if known else ""
