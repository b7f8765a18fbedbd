"""Many shapes in warm worker processes; what kills or stops a worker fails one shape, not the rest."""

from __future__ import annotations

import ctypes
import faulthandler
import logging
import logging.handlers
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from occnet_lib.config import Config
from occnet_lib.errors import DependencyError, OccnetError
from occnet_lib.storage import shape_file
from occnet_lib.storage.tables import write_rows
from occnet_lib.types import ShapeKey

from . import process_shape

logger = logging.getLogger(__name__)

Row = dict[str, Any]

# A worker that uses no CPU (waits for a dead file system, a lock) is given up after this many time limits.
_IDLE_LIMITS = 10
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def run_shard(
    keys: Iterable[ShapeKey],
    config: Config,
    root: str | Path,
    shapes_dir: str | Path,
    table_path: str | Path,
    workers: int = 1,
    progress: Callable[[int, int, Row], None] | None = None,
    process: Callable[..., Row] = process_shape.process,
) -> list[Row]:
    """`process_shapes` and write their table (CSV; columns as `process_shape.row`) to `table_path` at the end."""
    rows = process_shapes(keys, config, root, shapes_dir, workers, progress, process)
    write_rows(Path(table_path), rows, process_shape.COLUMNS)
    return rows


def process_shapes(
    keys: Iterable[ShapeKey],
    config: Config,
    root: str | Path,
    shapes_dir: str | Path,
    workers: int = 1,
    progress: Callable[[int, int, Row], None] | None = None,
    process: Callable[..., Row] = process_shape.process,
) -> list[Row]:
    """Treat shapes, up-to-date ones excepted.

    Shapes are treated one after another in `workers` processes that stay warm. A shape that takes more
    CPU time than `preprocess.time_limit`, or whose worker crashes or is killed, becomes `failed`; the
    worker is replaced and the rest goes on.

    Args:
        keys: the shapes.
        config: the whole configuration.
        root: folder of the raw meshes.
        shapes_dir: folder of the shape files.
        workers: how many processes.
        progress: told (done, total, row) after every shape.
        process: what the workers call, with the parameters of `process_shape.process`; a function of a module, or
            a partial of one.

    Returns:
        the rows, in the order of `keys`.

    Raises:
        DependencyError, DataError: a fault of the environment; nothing more is tried.
    """
    keys = list({key.name: key for key in keys}.values())
    job = _Job(config, Path(root), Path(shapes_dir), process)
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
    return [rows[key.name] for key in keys]


def _next_rows(pool: list[_Worker]) -> list[Row]:
    """Wait for a message, an end or a time limit of some worker; the rows of the shapes that are done."""
    busy = {worker.connection: worker for worker in pool if worker.key is not None}
    limit = min(worker.job.config.preprocess.time_limit for worker in busy.values())
    ready = wait(list(busy), timeout=min(1.0, limit / 4))
    rows = [busy[connection].read() for connection in ready if isinstance(connection, Connection)]
    rows += [worker.check_time() for worker in busy.values() if worker.key is not None]
    return [row for row in rows if row is not None]


@dataclass(frozen=True)
class _Job:
    """What all shapes have in common; goes to the worker process."""

    config: Config
    root: Path
    shapes_dir: Path
    process: Callable[..., Row]
    level: int = field(default_factory=lambda: logging.getLogger().getEffectiveLevel())


class _Worker:
    """A process that treats one shape at a time, seen from the parent."""

    def __init__(self, job: _Job) -> None:
        self.job = job
        self.key: ShapeKey | None = None
        self.killed_once: ShapeKey | None = None
        self._start()

    def _start(self) -> None:
        # Never fork: the parent may have used OpenGL or threads, which hang in the child.
        context = multiprocessing.get_context("spawn")
        self.ready = False
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, self.job), daemon=True)
        self.process.start()
        theirs.close()

    def give(self, key: ShapeKey) -> None:
        """Send a shape."""
        self.key, self.stage = key, "load"
        self._start_clock()
        try:
            self.connection.send(key)
        except OSError:
            logger.debug("the worker is gone; reading from it will tell")

    def _start_clock(self) -> None:
        self.started, self.cpu_before = time.monotonic(), _cpu_seconds(self.process.pid)

    def read(self) -> Row | None:
        """Read one message; a row when the shape is done, be it by the worker's end."""
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
            self._start_clock()  # starting the process is not the shape's time
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
        """Give the shape up where it is over the time limit."""
        if not self.ready:
            return None
        limit = self.job.config.preprocess.time_limit
        elapsed, used = time.monotonic() - self.started, _cpu_seconds(self.process.pid)
        spent = elapsed if used is None or self.cpu_before is None else used - self.cpu_before
        if (spent <= limit and elapsed <= _IDLE_LIMITS * limit) or self.connection.poll():
            return None
        self.process.kill()
        return self._give_up(f"not done after preprocess.time_limit={limit:g} seconds, in {self.stage}")

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()
        self.connection.close()

    def _how_it_ended(self) -> str:
        self.process.join()
        code = self.process.exitcode or 0
        if code == -signal.SIGKILL:
            return f"the process was killed in {self.stage}, probably for want of memory"
        if code < 0:
            return f"crashed with signal {-code} ({signal.Signals(-code).name}) in {self.stage}"
        return f"the process ended with code {code} in {self.stage}"

    def _try_again(self) -> None:
        """A kill comes from outside and may have had nothing to do with the shape: once more."""
        key = self.killed_once = self.key
        assert key is not None
        logger.warning("%s: the process was killed in %s; once more", key.name, self.stage)
        self.stop()
        self._start()
        self.give(key)

    def _give_up(self, reason: str) -> Row:
        """Record the shape as failed and go on with a new process."""
        self.stop()
        key, self.key = self.key, None
        assert key is not None
        logger.warning("%s: %s", key.name, reason)
        out_path = shape_file.path_of(self.job.shapes_dir, key)
        row = process_shape.fail(key, self.job.config, self.job.root, out_path, self.stage, reason)
        self._start()
        return row


def _work(connection: Connection, job: _Job) -> None:
    """The worker process: a shape comes in; log records, stages and a row go out."""
    _die_with_parent()
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    logging.basicConfig(level=job.level, format="%(message)s", handlers=[_ToParent(connection)], force=True)
    logging.captureWarnings(True)
    send = _sender(connection)
    send(("ready", None))
    while True:
        try:
            key = connection.recv()
        except EOFError:  # the parent is gone
            return
        try:
            out_path = shape_file.path_of(job.shapes_dir, key)
            row = job.process(
                key, job.config, job.root, out_path, on_stage=lambda stage: send(("stage", stage))
            )
            send(("row", row))
        except OccnetError as error:
            send(("error", error))


def _die_with_parent() -> None:
    """Have Linux kill this process when its parent is gone, lest it writes files beside the next run's workers."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def _sender(connection: Connection) -> Callable[[Any], None]:
    """Sending to the parent; without a parent the worker ends at once, lest that become the shape's fault."""

    def send(message: Any) -> None:
        try:
            connection.send(message)
        except OSError:
            os._exit(1)

    return send


class _ToParent(logging.handlers.QueueHandler):
    """Sends log records through the pipe."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)  # type: ignore[arg-type]  # only enqueue uses it
        self.send = _sender(connection)

    def enqueue(self, record: logging.LogRecord) -> None:
        self.send(("log", record))


def _cpu_seconds(pid: int | None) -> float | None:
    """CPU seconds that a process has used, all threads; None where the system does not tell."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
        user, system = text.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None
