"""What decides the result of each stage of a shape, as digests; which results of an earlier run are up to date."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from occnet_lib.config import Config
from occnet_lib.errors import MeshError
from occnet_lib.storage import meshes
from occnet_lib.storage.shape_file import STAGES, ShapeRecord
from occnet_lib.types import ShapeKey
from occnet_lib.versions import VERSIONS

AUDIT = "audit"  # the failed stage of a shape whose stages all succeeded, with figures beyond a limit
_INPUT_OF = {"watertight": "", "points": "watertight", "views": "points", "samples": "points"}


@dataclass(frozen=True)
class Plan:
    """The stages of a shape.

    Attributes:
        source: digest of the mesh file; empty where it cannot be read.
        stages: digest of all that decides a stage's result, by stage, in order.
        attempt: digest of all that decides whether the shape fails.
    """

    source: str
    stages: dict[str, str]
    attempt: str

    def is_current(self, record: ShapeRecord) -> bool:
        """Whether an earlier result is up to date."""
        if record.status == "failed" and record.stage != AUDIT:
            return record.digest == self.attempt
        return {stage: entry.digest for stage, entry in record.stages.items()} == self.stages


def plan_shape(key: ShapeKey, config: Config, source: Path) -> Plan:
    """The plan of one shape whose mesh file is `source`."""
    try:
        digest = meshes.digest(source)
    except MeshError:  # loading reports what is wrong
        digest = ""
    stages: dict[str, str] = {"": _digest(digest, config.dataset.up, key.name, config.seed)}
    for stage in (*STAGES, "samples") if config.samples.wanted else STAGES:
        section = section_of(config, stage)
        stages[stage] = _digest(stages[_INPUT_OF[stage]], stage, VERSIONS[stage], section)
    del stages[""]
    last = [stages[stage] for stage in ("views", "samples") if stage in stages]
    return Plan(digest, stages, _digest(*last, config.preprocess.time_limit))


def section_of(config: Config, stage: str) -> dict[str, Any]:
    """The section of the configuration that belongs to a stage, as plain values."""
    section: dict[str, Any] = getattr(config, stage).model_dump(mode="json")
    return section


def _digest(*parts: Any) -> str:
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()
