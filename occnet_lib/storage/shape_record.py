"""What is known of one shape: its status and the results of its stages, which `shape_file` stores."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from occnet_lib.types import PointSamples, Samples, ShapeKey, Status, Views, Watertight

STAGES = ("watertight", "points", "views")  # present in every usable shape
OPTIONAL_STAGES = ("samples",)

Result = Watertight | PointSamples | Views | Samples


@dataclass(frozen=True)
class StageEntry:
    """The part of a shape file that belongs to one stage.

    Attributes:
        digest: hash of all inputs of the stage; equal digests imply equal results.
        params: parameters of the stage, for information.
        result: the result; None on writing: copy the group from the file that is replaced.
        audit: quality figures of the result; taken from `result` on writing.
    """

    digest: str
    params: dict[str, Any] = field(default_factory=dict)
    result: Result | None = None
    audit: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ShapeRecord:
    """Status and results of a shape.

    Attributes:
        key: the shape; `key.path` is its source.
        status: ok, warn (usable, see `reason`) or failed.
        reason: one line; empty for ok.
        stage: the stage that failed ("load" before the first), otherwise empty.
        source_digest: hash of the mesh file.
        digest: hash of all inputs, so that a failed shape is not processed again without a change.
        seed: seed of the configuration.
        seconds: CPU seconds by stage.
        stages: entries by stage name; absent for stages that did not succeed.
    """

    key: ShapeKey
    status: Status
    reason: str = ""
    stage: str = ""
    source_digest: str = ""
    digest: str = ""
    seed: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    stages: dict[str, StageEntry] = field(default_factory=dict)


def path_of(folder: str | Path, key: ShapeKey) -> Path:
    """Path of the file of a shape: `<folder>/<category>/<id>.h5`."""
    return Path(folder) / key.category / f"{key.id}.h5"
