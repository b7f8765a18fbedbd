"""Parallel efficiency of a shard of shapes, for `benchmarks/preprocess.py --workers`."""

from __future__ import annotations

import dataclasses
import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from occnet_lib.config import Config
from occnet_lib.stages.workers import process_shapes as process_shapes_in_pool
from occnet_lib.types import ShapeKey


def shard(paths: list[Path], workers: list[int], place: Path, repeats: int) -> None:
    """Print CPU seconds, wall-clock time and parallel efficiency of one shard by the number of workers.

    The efficiency is that of a machine with a free core for each worker, computed from CPU seconds, which other processes
    lengthen less than wall-clock time: all CPU seconds with the first number of workers, over the number of workers times
    the CPU seconds of the busiest one, where each shape goes to the worker that is free first. It includes what a shape
    costs more beside another one, the start of the workers, and the wait for the last shape. Runs alternate, and means are
    taken.
    """
    root = Path(os.path.commonpath([path.parent for path in paths]))
    keys = [ShapeKey("benchmark", path.parent.name, str(path.relative_to(root))) for path in paths]
    runs: dict[int, list[ShardRun]] = {count: [] for count in workers}
    for repeat in range(repeats):
        for count in workers:
            runs[count].append(run_shard(keys, root, place / f"{repeat}-{count}", count))
    base = mean_run(runs[workers[0]])
    for count in workers:
        run = mean_run(runs[count])
        busiest = busiest_worker(run.shapes, count, run.start / count)
        print(
            f"{count} workers, {len(keys)} shapes, {repeats} runs: {run.total:.1f} CPU s, of which shapes "
            f"{run.shapes.sum():.1f} (mean {run.shapes.mean():.2f}, median {np.median(run.shapes):.2f}), start "
            f"{run.start / count:.1f} each; busiest worker {busiest:.1f}; efficiency {base.total / (count * busiest):.0%}; "
            f"{run.wall:.1f} s wall, while other processes had {run.others:.0%} of the machine",
            flush=True,
        )
        if workers[0] == 1 and count > 1:
            print(full_shard(base, run, count, Config().dataset.shard_size))


def full_shard(alone: ShardRun, run: ShardRun, workers: int, size: int) -> str:
    """Efficiency of a shard of `size` shapes, computed by repeating the measured ones
    but the first.

    The first shape of each worker loads the libraries. What that costs is the difference to the run with one worker, of
    the shapes that are a worker's first in one run alone.
    """
    libraries = max(0.0, float(np.mean(run.shapes[1:workers] - alone.shapes[1:workers])))
    one, many = alone.shapes[workers:], run.shapes[workers:]
    total = alone.start + libraries + np.resize(one, size).sum()
    busiest = busiest_worker(np.resize(many, size), workers, run.start / workers + libraries)
    slower = many.sum() / one.sum()
    return (
        f"  a shape beside another one: {slower:.2f} times its CPU s; libraries {libraries:.1f} CPU s for each worker; "
        f"efficiency of a shard of {size} shapes {total / (workers * busiest):.0%}"
    )


def mean_run(runs: list[ShardRun]) -> ShardRun:
    """The mean of each figure."""
    return ShardRun(
        *(
            np.mean([getattr(run, field.name) for run in runs], axis=0)
            for field in dataclasses.fields(ShardRun)
        )
    )


@dataclass(frozen=True)
class ShardRun:
    """One run: wall-clock seconds; CPU seconds of all processes, of each shape, and of all but the shapes; what others had.

    `others` is the fraction of the machine's CPU time during the run that other processes used.
    """

    wall: float
    total: float
    shapes: np.ndarray
    start: float
    others: float


def run_shard(keys: list[ShapeKey], root: Path, place: Path, workers: int) -> ShardRun:
    """Process shapes as a job does, with some workers."""
    before, used, start = cpu_seconds(), psutil.cpu_times(), time.monotonic()
    rows = process_shapes_in_pool(keys, Config(), root, place, workers)
    wall, total, after = time.monotonic() - start, cpu_seconds() - before, psutil.cpu_times()
    machine = sum(after[:3]) - sum(used[:3])  # user, nice, system
    shapes = np.array([float(row["seconds"] or 0.0) for row in rows])
    others = max(0.0, machine - total) / (wall * (os.cpu_count() or 1))
    return ShardRun(wall, total, shapes, total - shapes.sum(), others)


def cpu_seconds() -> float:
    """CPU seconds of this process and of those of its children that have ended."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, kinds))


def busiest_worker(seconds: np.ndarray, workers: int, start: float) -> float:
    """When the last worker is done, if each shape in order goes to the worker that is free first."""
    free = np.full(workers, start)
    for spent in seconds:
        free[free.argmin()] += spent
    return float(free.max())
