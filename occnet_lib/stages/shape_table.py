"""The table of shapes: one row a shape, with status, times and audits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from occnet_lib.storage.shape_record import STAGES, ShapeRecord
from occnet_lib.types import ShapeKey

COLUMNS = (
    *("category", "id", "split", "status", "stage", "reason", "seconds", "seconds_load"),
    *(f"seconds_{stage}" for stage in STAGES),
    "path",
    "source_digest",
)


def row(record: ShapeRecord, key: ShapeKey, out_path: str | Path) -> dict[str, Any]:
    """A shape's row: `COLUMNS`, and the audits as `<stage>_<name>`.

    `seconds` is the CPU time of all stages, including those kept from an earlier run.
    """
    values: dict[str, Any] = {
        "category": key.category,
        "id": key.id,
        "split": key.split,
        "status": record.status,
        "stage": record.stage,
        "reason": record.reason,
        "seconds": round(sum(record.seconds.values()), 3),
        **{f"seconds_{stage}": round(seconds, 3) for stage, seconds in record.seconds.items()},
        "path": str(out_path),
        "source_digest": record.source_digest,
    }
    for stage, figures in audits(record).items():
        values |= {f"{stage}_{name}": value for name, value in figures.items()}
    return values


def audits(record: ShapeRecord) -> dict[str, dict[str, Any]]:
    """The audit of each stage."""
    return {
        stage: entry.audit if entry.result is None else entry.result.audit
        for stage, entry in record.stages.items()
    }
