"""The metrics of the page, and which model is the best by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .results import FLOOR, ORACLE, Row, number


class Metric(NamedTuple):
    """A column: the table's name, the page's, a factor, decimals, and whether more is better."""

    key: str
    title: str
    factor: float = 1.0
    digits: int = 3
    more: bool = True


IOU = Metric("iou", "IoU ↑")
CHAMFER = Metric("chamfer_l1", "Chamfer-L1 ↓, unit cube", 1.0, 4, False)
TIMES_TEN = Metric("chamfer_l1", "Chamfer-L1 × 10 ↓, as in the paper", 10.0, 3, False)
NORMALS = Metric("normal_consistency", "Normal consistency ↑")
F_SCORE = Metric("f_score_1", "F-score at 1 % ↑")
MAIN = (IOU, CHAMFER, TIMES_TEN, NORMALS, F_SCORE)


def competitors(rows: Sequence[Row]) -> list[Row]:
    """The rows that compete: all but those that are given the ground truth."""
    return [row for row in rows if row["model"] not in (FLOOR, ORACLE)]


def best_of(rows: Sequence[Row], metric: Metric = IOU) -> Row | None:
    """The first row with the best value; None where none has one."""
    known = [(value, row) for row in rows if (value := scaled(row, metric)) is not None]
    return (max if metric.more else min)(known, key=lambda pair: pair[0])[1] if known else None


def scaled(row: Row, metric: Metric) -> float | None:
    """The value in the page's unit; None where it is not known."""
    value = number(row, metric.key)
    return None if value is None else metric.factor * value
