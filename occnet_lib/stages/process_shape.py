"""One shape through watertight, points and views; here a fault of a shape becomes a `failed` record."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from occnet_lib import seeds
from occnet_lib.config import Config
from occnet_lib.errors import DataError, DependencyError, MeshError, OccnetError, one_line
from occnet_lib.storage import meshes, shape_file
from occnet_lib.storage.shape_file import STAGES, Result, ShapeRecord, StageEntry
from occnet_lib.types import Mesh, ShapeKey, Status, Watertight
from occnet_lib.versions import VERSIONS

from . import audit, points, samples, views, watertight

logger = logging.getLogger(__name__)

T = TypeVar("T")

_FIRST_COLUMNS = ("category", "id", "split", "status", "stage", "reason", "seconds")
AUDIT = (
    "audit"  # the stage in which a shape failed that all stages made but that is too suspicious to be used
)
# The stage whose result each stage starts from.
_AFTER = {"watertight": "", "points": "watertight", "views": "points", "samples": "points"}
COLUMNS = (
    *_FIRST_COLUMNS,
    "seconds_load",
    *(f"seconds_{stage}" for stage in STAGES),
    "path",
    "source_digest",
)


def process(
    key: ShapeKey,
    config: Config,
    root: str | Path,
    out_path: str | Path,
    force: bool = False,
    on_stage: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Make the file of one shape, or leave it where it is up to date.

    A stage is kept when everything that decides it is unchanged: its parameters and version, the seed,
    the mesh file and the stages before it. A shape that failed is not tried again while that is so. Other limits of
    the section `audit` only change the status and the reason.

    Args:
        key: which shape; `key.path` is relative to `root`.
        config: the whole configuration.
        root: folder of the raw meshes.
        out_path: the shape's file.
        force: keep nothing.
        on_stage: told the name of every stage ("load", then those of `STAGES`) before it runs.

    Returns:
        the shape's row of the table (see `row`).

    Raises:
        DependencyError, DataError: a fault of the environment, which no other shape would escape either.
    """
    source = Path(root) / key.path
    plan = _plan(key, config, source)
    old = None if force else _existing(out_path)
    if old is not None and _is_current(old, plan):
        record = _judged(old, config)
        if record == old:
            return row(old, key, out_path)
    else:
        record = _Attempt(key, config, source, plan, on_stage).run(old, out_path)
    if record.status == "warn" or record.stage == AUDIT:
        logger.warning("%s: %s: %s", key.name, record.status, record.reason)
    shape_file.write(out_path, record)
    return row(record, key, out_path)


def fail(
    key: ShapeKey, config: Config, root: str | Path, out_path: str | Path, stage: str, reason: str
) -> dict[str, Any]:
    """Record that a shape failed in a way that its own process could not record (time limit, crash)."""
    plan = _plan(key, config, Path(root) / key.path)
    record = _record(key, config, plan, status="failed", stage=stage, reason=one_line(reason))
    shape_file.write(out_path, record)
    return row(record, key, out_path)


def row(record: ShapeRecord, key: ShapeKey, out_path: str | Path) -> dict[str, Any]:
    """A shape's row of the table: `COLUMNS`, and the audits as `<stage>_<name>`.

    `seconds` is the CPU time of all stages, also of those kept from an earlier run.
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
    for stage, entry in record.stages.items():
        values |= {f"{stage}_{name}": value for name, value in _audit(entry).items()}
    return values


def _plan(key: ShapeKey, config: Config, source: Path) -> dict[str, str]:
    """Digests of the source, of every stage, and of the attempt as a whole."""
    try:
        plan = {"source": meshes.digest(source)}
    except MeshError:  # loading will say what is wrong
        plan = {"source": ""}
    start = _digest(plan["source"], config.dataset.up, key.name, config.seed)
    for stage in _stages(config):
        before = start if stage == "watertight" else plan[_AFTER[stage]]
        plan[stage] = _digest(before, stage, VERSIONS[stage], _section(config, stage))
    last = [plan[stage] for stage in ("views", "samples") if stage in plan]
    plan["attempt"] = _digest(*last, config.preprocess.time_limit)
    return plan


def _stages(config: Config) -> tuple[str, ...]:
    """The stages that a shape goes through."""
    return (*STAGES, "samples") if config.samples.wanted else STAGES


def _section(config: Config, stage: str) -> dict[str, Any]:
    section: dict[str, Any] = getattr(config, stage).model_dump(mode="json")
    return section


def _digest(*parts: Any) -> str:
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


def _existing(path: str | Path) -> ShapeRecord | None:
    """What an earlier run left; None where there is nothing, or nothing of use."""
    if not Path(path).exists():
        return None
    try:
        return shape_file.read_status(path)
    except DataError as error:
        logger.warning("%s; it is made again", error)
        return None


def _is_current(record: ShapeRecord, plan: dict[str, str]) -> bool:
    if record.status == "failed" and record.stage != AUDIT:
        return record.digest == plan["attempt"]
    wanted = {stage: plan[stage] for stage in plan if stage in _AFTER}
    return {stage: entry.digest for stage, entry in record.stages.items()} == wanted


def _judged(record: ShapeRecord, config: Config) -> ShapeRecord:
    """A record of which all stages succeeded, with the status that its audits earn; failed ones stay as they are."""
    if record.status == "failed" and record.stage != AUDIT:
        return record
    status, reason = audit.judge(
        {stage: _audit(entry) for stage, entry in record.stages.items()}, config.audit
    )
    return replace(record, status=status, reason=reason, stage=AUDIT if status == "failed" else "")


def _audit(entry: StageEntry) -> dict[str, Any]:
    return entry.audit if entry.result is None else entry.result.audit


def _record(key: ShapeKey, config: Config, plan: dict[str, str], **values: Any) -> ShapeRecord:
    return ShapeRecord(key, source_digest=plan["source"], digest=plan["attempt"], seed=config.seed, **values)


class _Attempt:
    """The work on one shape, up to its end or its fault."""

    def __init__(
        self,
        key: ShapeKey,
        config: Config,
        source: Path,
        plan: dict[str, str],
        on_stage: Callable[[str], None] | None,
    ) -> None:
        self.key, self.config, self.source, self.plan = key, config, source, plan
        self.on_stage = on_stage
        self.stage = "load"
        self.results: dict[str, Result] = {}
        self.entries: dict[str, StageEntry] = {}
        self.seconds: dict[str, float] = {}

    def run(self, old: ShapeRecord | None, old_path: str | Path) -> ShapeRecord:
        """Do what has to be done; `old` is the record at `old_path`, whose unchanged stages are kept."""
        try:
            if old is not None:
                self._keep(old, old_path)
            mesh = self._timed("load", lambda: meshes.load_mesh(self.source, self.config.dataset.up))
            for stage in _stages(self.config):
                if stage not in self.entries:
                    self._make(stage, mesh)
        except (DependencyError, DataError):
            raise
        except ImportError as error:
            raise DependencyError(f"{self.stage} needs a library that is missing: {error}") from error
        except OccnetError as error:
            return self._failed(error.message + (f" ({error.hint})" if error.hint else ""))
        except MemoryError:
            return self._failed("not enough memory")
        except Exception as error:
            logger.exception("%s: unexpected error in %s", self.key.name, self.stage)
            return self._failed(f"{type(error).__name__}: {error}")
        return _judged(self._record("ok", ""), self.config)

    def _keep(self, old: ShapeRecord, path: str | Path) -> None:
        """Take over the stages that are unchanged; a stage's digest covers those that it depends on."""
        readers: dict[str, Callable[[str | Path], Result]] = {
            "watertight": shape_file.read_watertight,
            "points": shape_file.read_points,
        }
        for stage in _stages(self.config):
            if stage not in old.stages or old.stages[stage].digest != self.plan[stage]:
                continue
            try:
                if stage in readers:  # later stages need its result
                    self.results[stage] = readers[stage](path)
            except DataError as error:
                logger.warning("%s; made again from %s on", error, stage)
                return
            self.entries[stage] = replace(old.stages[stage], result=None)
            self.seconds[stage] = old.seconds.get(stage, 0.0)

    def _make(self, stage: str, mesh: Mesh) -> None:
        """Run one stage."""
        rng = seeds.rng(self.config.seed, stage, self.key.name)
        self.results[stage] = result = self._timed(stage, lambda: self._run_stage(stage, mesh, rng))
        self.entries[stage] = StageEntry(self.plan[stage], _section(self.config, stage), result)

    def _run_stage(self, stage: str, mesh: Mesh, rng: np.random.Generator) -> Result:
        closed, sampled = self.results.get("watertight"), self.results.get("points")
        if stage == "watertight":
            return watertight.run(mesh, self.config.watertight, rng)
        assert isinstance(closed, Watertight)
        if stage == "points":
            return points.run(closed, self.config.points, rng)
        if stage == "samples":
            return samples.run(closed, self.config.samples, rng)
        unit = mesh.to_unit(closed.loc, closed.scale)
        return views.run(unit, self.config.views, rng, getattr(sampled, "surface", None))

    def _timed(self, stage: str, work: Callable[[], T]) -> T:
        self.stage = stage
        if self.on_stage is not None:
            self.on_stage(stage)
        started = time.process_time()
        try:
            return work()
        finally:
            self.seconds[stage] = time.process_time() - started

    def _failed(self, reason: str) -> ShapeRecord:
        reason = one_line(reason)
        logger.warning("%s: failed in %s: %s", self.key.name, self.stage, reason)
        return self._record("failed", reason, stage=self.stage)

    def _record(self, status: Status, reason: str, stage: str = "") -> ShapeRecord:
        values: dict[str, Any] = {"status": status, "reason": reason, "stage": stage}
        return _record(self.key, self.config, self.plan, **values, seconds=self.seconds, stages=self.entries)
