"""A pool of worker processes for shapes: a crash, a kill or a time limit fails one shape and spares the rest.

`concurrent.futures` does not fit: it has no CPU-time limit for a task, and a killed worker breaks its whole pool.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection, wait
from pathlib import Path

import psutil

from occnet_lib.config import Config
from occnet_lib.errors import DependencyError
from occnet_lib.storage.shape_file import path_of
from occnet_lib.storage.tables import write_rows
from occnet_lib.types import ShapeKey

from .process_shape import COLUMNS, record_failure
from .process_shape import process as process_shape
from .worker_process import Job, Row, work

logger = logging.getLogger(__name__)

# A worker that uses no CPU (it waits for a dead file system or a lock) is killed after this many time limits.
_IDLE_LIMITS = 10


def process_shapes(
    keys: Iterable[ShapeKey],
    config: Config,
    root: str | Path,
    shapes_dir: str | Path,
    workers: int = 1,
    progress: Callable[[int, int, Row], None] | None = None,
    process: Callable[..., Row] = process_shape,
    table: Path | None = None,
) -> list[Row]:
    """Process the shapes that are not up to date.

    Each of the `workers` processes takes one shape after another. A shape that takes more CPU time than
    `preprocess.time_limit`, or whose worker crashes or is killed, is recorded as `failed`; a new worker takes over.

    Args:
        keys: the shapes.
        config: the whole configuration.
        root: folder of the raw meshes.
        shapes_dir: folder of the shape files.
        workers: number of processes.
        progress: called with (done, total, row) after each shape.
        process: called by the workers with the parameters of `process_shape.process`; a module-level function, or
            a partial of one.
        table: CSV file to write of the rows (columns as `process_shape.row`).

    Returns:
        the rows, in the order of `keys`.

    Raises:
        DependencyError, DataError: an error of the environment; the remaining shapes are not processed.
    """
    keys = list({key.name: key for key in keys}.values())
    job = Job(config, Path(root), Path(shapes_dir), process)
    rows: dict[str, Row] = {}
    todo = deque(keys)
    pool = [_Worker(job) for _ in range(min(workers, len(keys)))]
    try:
        while len(rows) < len(keys):
            for worker in pool:
                if worker.key is None and todo:
                    worker.give(todo.popleft())
            for row in _next_rows(pool):
                rows[f"{row['category']}/{row['id']}"] = row
                if progress is not None:
                    progress(len(rows), len(keys), row)
    finally:
        for worker in pool:
            worker.stop()
    in_order = [rows[key.name] for key in keys]
    if table is not None:
        write_rows(table, in_order, COLUMNS)
    return in_order


def _next_rows(pool: list[_Worker]) -> list[Row]:
    """Wait for a message, the end or the time limit of some worker; return the rows of finished shapes."""
    busy = {worker.connection: worker for worker in pool if worker.key is not None}
    limit = min(worker.job.config.preprocess.time_limit for worker in busy.values())
    ready = wait(list(busy), timeout=min(1.0, limit / 4))
    rows = [busy[connection].read() for connection in ready if isinstance(connection, Connection)]
    rows += [worker.check_time() for worker in busy.values() if worker.key is not None]
    return [row for row in rows if row is not None]


class _Worker:
    """A process for one shape at a time, as the parent sees it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.key: ShapeKey | None = None
        self.killed_once: ShapeKey | None = None
        self._start()

    def _start(self) -> None:
        # Never fork: the parent may have used OpenGL or threads, which hang in the child.
        context = multiprocessing.get_context("spawn")
        self.ready = False
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, self.job), daemon=True)
        self.process.start()
        theirs.close()

    def give(self, key: ShapeKey) -> None:
        """Send a shape."""
        self.key = key
        self.stage = "load"
        self._start_clock()
        try:
            self.connection.send(key)
        except OSError:
            logger.debug("the worker is gone; `read` reports how it ended")

    def _start_clock(self) -> None:
        self.started = time.monotonic()
        self.cpu_before = _cpu_seconds(self.process.pid)

    def read(self) -> Row | None:
        """Read one message; return a row when the shape is done or its worker has ended."""
        try:
            kind, value = self.connection.recv()
        except (EOFError, OSError):
            how = self._how_it_ended()
            if not self.ready:
                raise DependencyError(f"no worker process: {how}") from None
            if self.process.exitcode == -signal.SIGKILL and self.key != self.killed_once:
                self._try_again()
                return None
            return self._give_up(how)
        if kind == "ready":
            self.ready = True
            self._start_clock()  # the time to start the process does not count
        elif kind == "log":
            logging.getLogger(value.name).handle(value)
        elif kind == "stage":
            self.stage = value
        elif kind == "error":
            raise value
        else:
            self.key = None
            row: Row = value
            return row
        return None

    def check_time(self) -> Row | None:
        """Kill the worker and record the shape as failed where it exceeds the time limit."""
        if not self.ready:
            return None
        limit = self.job.config.preprocess.time_limit
        elapsed = time.monotonic() - self.started
        used = _cpu_seconds(self.process.pid)
        spent = elapsed if used is None or self.cpu_before is None else used - self.cpu_before
        if (spent <= limit and elapsed <= _IDLE_LIMITS * limit) or self.connection.poll():
            return None
        self.process.kill()
        return self._give_up(f"exceeded preprocess.time_limit={limit:g} seconds in stage {self.stage}")

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()
        self.connection.close()

    def _how_it_ended(self) -> str:
        self.process.join()
        code = self.process.exitcode or 0
        if code == -signal.SIGKILL:
            return f"the worker was killed in stage {self.stage} (probably out of memory)"
        if code < 0:
            return (
                f"the worker crashed with signal {-code} ({signal.Signals(-code).name}) in stage {self.stage}"
            )
        return f"the worker exited with code {code} in stage {self.stage}"

    def _try_again(self) -> None:
        """Process the shape once more: a kill comes from outside and may be unrelated to the shape."""
        key = self.killed_once = self.key
        assert key is not None
        logger.warning("%s: the worker was killed in stage %s; trying again", key.name, self.stage)
        self.stop()
        self._start()
        self.give(key)

    def _give_up(self, reason: str) -> Row:
        """Record the shape as failed and start a new process."""
        self.stop()
        key = self.key
        self.key = None
        assert key is not None
        logger.warning("%s: %s", key.name, reason)
        out_path = path_of(self.job.shapes_dir, key)
        row = record_failure(key, self.job.config, self.job.root, out_path, self.stage, reason)
        self._start()
        return row


def _cpu_seconds(pid: int | None) -> float | None:
    """CPU seconds that a process has used, all threads; None where the process is gone."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return None
    return float(times.user + times.system)
