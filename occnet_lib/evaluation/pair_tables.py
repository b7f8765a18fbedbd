"""Tables of a folder of measured pairs: shapes, means per category and over categories, transforms."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from occnet_lib.config import Config
from occnet_lib.storage.atomic import write_text
from occnet_lib.storage.meshes.frame import Up
from occnet_lib.storage.tables import write_rows

from .alignment import DEGREES_OF_FREEDOM, Align, Alignment
from .class_means import ends, resampled
from .metrics import NO_SURFACE, PAIR_METRICS, Comparison
from .pairs import Pair

MEAN = "mean"
"""Name of the row over all categories."""
_PRINTED = {
    "IoU": ("iou", 3),
    "Chamfer-L1": ("chamfer_l1", 4),
    "(x10)": ("chamfer_l1_paper", 3),
    "Chamfer-L2": ("chamfer_l2", 5),
    "normals": ("normal_consistency", 3),
    "F 1%": ("f_score_1", 3),
    "F 2%": ("f_score_2", 3),
}
_SETTINGS = ("points.uniform", "points.surface", "evaluate.surface", "evaluate.bootstrap", "seed")
DEFINITIONS = {
    "lengths": "longest edge of the ground truth's bounding box; chamfer_l1_paper: a tenth of it",
    "chamfer_l1": "mean of accuracy and completeness",
    "chamfer_l2": "half the sum of the mean squared distances",
    "thresholds": "f_score_<p>, precision_<p>, recall_<p>: p % of the longest edge",
    "mean": "mean of the category means; 95 % bootstrap interval over shapes within categories",
}
"""What the columns of the tables mean."""


class UpAxis(NamedTuple):
    """Up axis of prediction files: `axis`, None for that of the ground truth; and whether it is a guess."""

    axis: Up | None = None
    guessed: bool = False

    @property
    def stated(self) -> str:
        """As outputs state it."""
        return (self.axis or "as the ground truth's") + (" (guessed)" if self.guessed else "")


AS_GROUND_TRUTH = UpAxis()


class Measured(NamedTuple):
    """A pair and its metrics.

    Attributes:
        pair: the shape.
        status: `ok`; `warn` with a reason; `failed`: missing, unreadable or empty, which counts as the worst.
        reason: empty for `ok`.
        values: `PAIR_METRICS`; the IoU of an open prediction is NaN.
        alignment: None without alignment, or if there is nothing to align.
    """

    pair: Pair
    status: str
    reason: str
    values: dict[str, float]
    alignment: Alignment | None = None

    @classmethod
    def of(cls, pair: Pair, result: Comparison, reason: str = "") -> Measured:
        """The record of a comparison; `reason`: why there is no prediction."""
        status = "failed" if result.note == NO_SURFACE else "warn" if result.note else "ok"
        reason = reason or (f"the mesh {result.note}" if result.note else "")
        return cls(pair, status, reason, result.values, result.alignment)


class Report(NamedTuple):
    """Measured pairs of one system.

    Attributes:
        align: mode of alignment of all pairs.
        shapes: measured pairs.
        excluded: pairs whose ground truth cannot be used, with the reason.
        rows: means per category, then that over categories.
        up: up axis of the prediction files.
    """

    align: Align
    shapes: list[Measured]
    excluded: list[tuple[Pair, str]]
    rows: list[dict[str, Any]]
    up: UpAxis = AS_GROUND_TRUTH

    @classmethod
    def of(
        cls,
        align: Align,
        shapes: list[Measured],
        excluded: list[tuple[Pair, str]],
        config: Config,
        up: UpAxis = AS_GROUND_TRUTH,
    ) -> Report:
        """The report of measured pairs; `evaluate.bootstrap` and `seed` are used."""
        groups: dict[str, list[Measured]] = defaultdict(list)
        for shape in shapes:
            groups[shape.pair.category].append(shape)
        names = sorted(groups)
        rows = [_means(name, [groups[name]], [name], align, config) for name in names] if any(names) else []
        rows.append(_means(MEAN, [groups[name] for name in names], names, align, config))
        return cls(align, shapes, excluded, rows, up)

    def text(self) -> str:
        """A table for the terminal."""
        lines = [["category", "shapes", "failed", *_PRINTED]]
        for row in self.rows:
            cells = [row["category"], str(row["shapes"]), str(row["failed"])]
            lines.append(cells + [_cell(row, name, digits) for name, digits in _PRINTED.values()])
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        table = [
            "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines
        ]
        return "\n".join([*table, *self._notes()])

    def _notes(self) -> list[str]:
        mean = self.rows[-1]
        notes = [f"predictions: {DEGREES_OF_FREEDOM[self.align]} (--align {self.align})"]
        if self.up != AS_GROUND_TRUTH:
            notes.append(f"up axis of the predictions: {self.up.stated}")
        if mean["failed"]:
            notes.append(
                f"{mean['failed']} of {mean['shapes']} failed and count as the worst: {self._reasons()}"
            )
        if mean["open"]:
            closed = mean["shapes"] - mean["open"]
            notes.append(f"{mean['open']} predictions are open: the IoU is that of the other {closed} shapes")
        if self.excluded:
            notes.append(f"{len(self.excluded)} shapes left out: their ground truth cannot be used")
        return notes

    def _reasons(self) -> str:
        failed = Counter(
            shape.reason.rpartition(": ")[2] for shape in self.shapes if shape.status == "failed"
        )
        return ", ".join(f"{count} {reason}" for reason, count in failed.most_common(3))

    def shape_rows(self) -> list[dict[str, Any]]:
        """Rows of shapes.csv: measured shapes, then excluded ones."""
        none = dict.fromkeys(PAIR_METRICS, math.nan)
        excluded = [Measured(pair, "excluded", reason, none) for pair, reason in self.excluded]
        return [_shape_row(shape, self.align) for shape in (*self.shapes, *excluded)]

    def write(self, folder: Path, config: Config) -> None:
        """Write shapes.csv, summary.csv, summary.json and transforms.json."""
        write_rows(folder / "shapes.csv", self.shape_rows())
        write_rows(folder / "summary.csv", self.rows)
        write_text(folder / "summary.json", _json(self._summary(config)))
        transforms = {shape.pair.name: shape.alignment.record() for shape in self.shapes if shape.alignment}
        write_text(folder / "transforms.json", _json({"align": self.align, "shapes": transforms}))

    def _summary(self, config: Config) -> dict[str, Any]:
        settings = {key: attrgetter(key)(config) for key in _SETTINGS}
        return {
            "align": self.align,
            "alignment": DEGREES_OF_FREEDOM[self.align],
            "up_axis": self.up.stated,
            "definitions": DEFINITIONS,
            "settings": settings,
            "excluded": {pair.name: reason for pair, reason in self.excluded},
            "rows": self.rows,
        }


def _means(
    name: str, groups: Sequence[list[Measured]], categories: Sequence[str], align: Align, config: Config
) -> dict[str, Any]:
    """Mean of the means of groups, with intervals where every group has two shapes or more."""
    shapes = [shape for group in groups for shape in group]
    row: dict[str, Any] = {
        "category": name,
        "align": align,
        "shapes": len(shapes),
        "failed": sum(shape.status == "failed" for shape in shapes),
        "open": sum(math.isnan(shape.values["iou"]) for shape in shapes),
    }
    for metric in PAIR_METRICS:
        columns = {
            category: np.array(
                [[shape.values[metric]] for shape in group if math.isfinite(shape.values[metric])]
            )
            for category, group in zip(categories, groups, strict=True)
        }
        columns = {category: column for category, column in columns.items() if len(column)}
        mean = float(np.mean([column.mean() for column in columns.values()])) if columns else ""
        row |= {metric: mean} | ends(resampled(columns, config), metric)
    return row


def _cell(row: dict[str, Any], name: str, digits: int) -> str:
    if row[name] == "":
        return "-"
    interval = ""
    if row["category"] == MEAN and row[f"{name}_low"] != "":
        interval = f" [{row[f'{name}_low']:.{digits}f}, {row[f'{name}_high']:.{digits}f}]"
    return f"{row[name]:.{digits}f}{interval}"


def _shape_row(shape: Measured, align: Align) -> dict[str, Any]:
    pair = shape.pair
    values = {name: "" if math.isnan(value) else value for name, value in shape.values.items()}
    return {
        "category": pair.category,
        "id": pair.id,
        "status": shape.status,
        "reason": shape.reason,
        "align": align,
        **values,
        "prediction": str(pair.prediction or ""),
        "ground_truth": str(pair.ground_truth),
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=True, allow_nan=False) + "\n"
