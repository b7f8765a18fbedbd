"""Which of several images of a shape to take: rules that do not know the ground truth, beside a random and the best one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import Config

from .class_means import Rows, by_shape, ends, resampled, rows_of
from .expected_iou_tables import rank_correlation
from .pose_tables import cell_of

COLUMNS = (
    *("model", "source", "rule", "shapes", "iou", "gain", "gain_low", "gain_high"),
    *("rank", "rank_low", "rank_high"),
)
"""Columns of evaluate/view_choice.csv: mean of class means of the IoU of the chosen image, its gain over a random one with a
paired interval over shapes, and Spearman's correlation of the rule's score with the IoU within a shape.

Rules: best (knows the ground truth), expected_iou (largest), entropy (smallest), agreement (with the mean field of the
other images, largest), pose (the cell of the view sphere in which the other shapes of the class have the largest mean IoU,
each less the mean of its shape).
"""

_SCORES: dict[str, Callable[[Mapping[str, Any]], float]] = {
    "best": lambda row: float(row["iou"]),
    "expected_iou": lambda row: float(row["expected_iou"]),
    "entropy": lambda row: -float(row["entropy"]),
    "agreement": lambda row: float(row["agreement"]),
}


def summarise_choice(source: str, rows: Iterable[Mapping[str, Any]], config: Config) -> Rows:
    """Rows of `COLUMNS` for every model; shapes with fewer than two images that are not refused are left out.

    Args:
        source: views or photos.
        rows: of `evaluate_views` or `evaluate_photos` with uncertainty, as they are or as read.
        config: `evaluate.bootstrap` and `seed` are used.

    Raises:
        DataError: a value is not a number.
    """
    table: Rows = []
    for model, classes in by_shape(row for row in rows if row.get("agreement", "") != "").items():
        with rows_of("uncertainty"):
            measured = {
                rule: {name: _of_class(classes[name], rule) for name in sorted(classes)}
                for rule in (*_SCORES, "pose")
            }
        for rule, values in measured.items():
            shapes = sum(map(len, values.values()))
            about = {"model": model, "source": source, "rule": rule, "shapes": shapes}
            table.append(about | _with_intervals(values, config))
    return table


def _of_class(shapes: Mapping[str, Rows], rule: str) -> NDArray[np.float64]:
    """(n, 3) IoU of the chosen image, its gain over the mean of all, and rank correlation (NaN if not defined)."""
    values = []
    for id in sorted(shapes):
        iou = np.array([float(row["iou"]) for row in shapes[id]])
        if rule == "pose":
            score = _pose_scores(shapes[id], [rows for other, rows in shapes.items() if other != id])
        else:
            score = np.array([_SCORES[rule](row) for row in shapes[id]])
        chosen = float(iou[score == score.max()].mean())  # of equal scores a random one
        rank = rank_correlation(score, iou)
        values.append((chosen, chosen - iou.mean(), np.nan if isinstance(rank, str) else rank))
    return np.array(values, dtype=np.float64)


def _pose_scores(rows: Rows, others: Sequence[Rows]) -> NDArray[np.float64]:
    """Mean effect on the IoU of each image's cell over the other shapes; 0 for a cell without their images."""
    effects: dict[int, list[float]] = defaultdict(list)
    for other in others:
        iou = np.array([float(row["iou"]) for row in other])
        for cell, effect in zip(_cells(other).tolist(), (iou - iou.mean()).tolist(), strict=True):
            effects[cell].append(effect)
    return np.array([np.mean(effects.get(cell, [0.0])) for cell in _cells(rows).tolist()])


def _cells(rows: Rows) -> NDArray[np.int64]:
    azimuth, elevation = (np.array([float(row[name]) for row in rows]) for name in ("azimuth", "elevation"))
    return cell_of(azimuth, elevation)


def _with_intervals(values: Mapping[str, NDArray[np.float64]], config: Config) -> dict[str, Any]:
    """Means of class means; the rank's over the shapes that have one."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS[4:], "")
    iou, gain = np.mean([own[:, :2].mean(axis=0) for own in values.values()], axis=0).tolist()
    row |= {"iou": iou, "gain": gain}
    ranked = {name: own[~np.isnan(own[:, 2])] for name, own in values.items()}
    ranked = {name: own for name, own in ranked.items() if len(own)}
    if ranked:
        row["rank"] = float(np.mean([own[:, 2].mean() for own in ranked.values()]))
    for name, groups, column in (("gain", values, 1), ("rank", ranked, 2)):
        sampled = resampled({category: own[:, [column]] for category, own in groups.items()}, config)
        row |= ends(sampled, name)
    return row
