"""One shape through the stages; an error of a shape becomes a `failed` record here. Its row of the table of shapes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from occnet_lib import seeds
from occnet_lib.config import Config
from occnet_lib.errors import DataError, DependencyError, OccnetError, one_line
from occnet_lib.storage import meshes, shape_file
from occnet_lib.storage.dataset.state import check_available
from occnet_lib.storage.shape_file import STAGES, Result, ShapeRecord, StageEntry
from occnet_lib.types import Mesh, ShapeKey, Watertight

from . import audit, points, samples, views, watertight
from .plan import AUDIT, Plan, plan_shape, section_of

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


logger = logging.getLogger(__name__)

T = TypeVar("T")


def process(
    key: ShapeKey,
    config: Config,
    root: str | Path,
    out_path: str | Path,
    force: bool = False,
    on_stage: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Write the file of one shape unless it is up to date.

    A stage is kept when everything that decides it is unchanged: its parameters and version, the seed, the mesh file
    and the stages before it. A failed shape is processed again only when one of these has changed. New limits of the
    section `audit` change only the status and the reason.

    Args:
        key: the shape; `key.path` is relative to `root`.
        config: the whole configuration.
        root: folder of the raw meshes.
        out_path: the shape's file.
        force: run all stages again.
        on_stage: called with the name of each stage ("load", then those of `STAGES`) before it runs.

    Returns:
        the shape's row of the table (`row`).

    Raises:
        DependencyError, DataError: an error of the environment, which would affect every other shape, too.
    """
    source = Path(root) / key.path
    plan = _plan(key, config, root)
    old = None if force else _read_existing(out_path)
    if old is not None and plan.is_current(old):
        record = _judged(old, config)
        if record == old:
            return row(old, key, out_path)
    else:
        record = _Attempt(key, config, source, plan, on_stage).run(old, out_path)
    if record.status == "warn" or record.stage == AUDIT:
        logger.warning("%s: %s: %s", key.name, record.status, record.reason)
    shape_file.write(out_path, record)
    return row(record, key, out_path)


def record_failure(
    key: ShapeKey, config: Config, root: str | Path, out_path: str | Path, stage: str, reason: str
) -> dict[str, Any]:
    """Record a failure that the shape's own process could not record (time limit, crash)."""
    plan = _plan(key, config, root)
    record = _record(key, config, plan, status="failed", stage=stage, reason=one_line(reason))
    shape_file.write(out_path, record)
    return row(record, key, out_path)


def _plan(key: ShapeKey, config: Config, root: str | Path) -> Plan:
    """The plan of a shape; a dataset that is gone as a whole fails no shape."""
    plan = plan_shape(key, config, Path(root) / key.path)
    if not plan.source:
        check_available(root)
    return plan


def _read_existing(path: str | Path) -> ShapeRecord | None:
    """The record of an earlier run; None where there is no readable file."""
    if not Path(path).exists():
        return None
    try:
        return shape_file.read_status(path)
    except DataError as error:
        logger.warning("%s; the shape is processed again", error)
        return None


def _judged(record: ShapeRecord, config: Config) -> ShapeRecord:
    """A record whose stages all succeeded, with the status that its audits earn; failed ones are unchanged."""
    if record.status == "failed" and record.stage != AUDIT:
        return record
    status, reason = audit.judge(audits(record), config.audit)
    return replace(record, status=status, reason=reason, stage=AUDIT if status == "failed" else "")


def _record(key: ShapeKey, config: Config, plan: Plan, **values: Any) -> ShapeRecord:
    return ShapeRecord(key, source_digest=plan.source, digest=plan.attempt, seed=config.seed, **values)


class _Attempt:
    """Processing of one shape until it is done or fails."""

    def __init__(
        self, key: ShapeKey, config: Config, source: Path, plan: Plan, on_stage: Callable[[str], None] | None
    ) -> None:
        self.key, self.config, self.source, self.plan = key, config, source, plan
        self.on_stage = on_stage
        self.stage = "load"
        self.results: dict[str, Result] = {}
        self.entries: dict[str, StageEntry] = {}
        self.seconds: dict[str, float] = {}

    def run(self, old: ShapeRecord | None, old_path: str | Path) -> ShapeRecord:
        """Run the stages; those of `old`, the record at `old_path`, are kept where they are unchanged."""
        try:
            if old is not None:
                self._keep(old, old_path)
            mesh = self._timed("load", lambda: meshes.load_mesh(self.source, self.config.dataset.up))
            for stage in self.plan.stages:
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
        return _judged(self._record(status="ok"), self.config)

    def _keep(self, old: ShapeRecord, path: str | Path) -> None:
        """Keep the stages that are unchanged; the digest of a stage covers those that it depends on."""
        readers: dict[str, Callable[[str | Path], Result]] = {
            "watertight": shape_file.read_watertight,
            "points": shape_file.read_points,
        }
        for stage, digest in self.plan.stages.items():
            if stage not in old.stages or old.stages[stage].digest != digest:
                continue
            try:
                if stage in readers:  # later stages need its result
                    self.results[stage] = readers[stage](path)
            except DataError as error:
                logger.warning("%s; the stages from %s on run again", error, stage)
                return
            self.entries[stage] = replace(old.stages[stage], result=None)
            self.seconds[stage] = old.seconds.get(stage, 0.0)

    def _make(self, stage: str, mesh: Mesh) -> None:
        """Run one stage."""
        rng = seeds.rng(self.config.seed, stage, self.key.name)
        self.results[stage] = result = self._timed(stage, lambda: self._run_stage(stage, mesh, rng))
        self.entries[stage] = StageEntry(self.plan.stages[stage], section_of(self.config, stage), result)

    def _run_stage(self, stage: str, mesh: Mesh, rng: np.random.Generator) -> Result:
        closed = self.results.get("watertight")
        sampled = self.results.get("points")
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
        return self._record(status="failed", reason=reason, stage=self.stage)

    def _record(self, **values: Any) -> ShapeRecord:
        return _record(self.key, self.config, self.plan, **values, seconds=self.seconds, stages=self.entries)
