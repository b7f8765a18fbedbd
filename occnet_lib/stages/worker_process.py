"""What a worker process of `workers` does: it receives shapes, and sends log records, stages and rows."""

from __future__ import annotations

import faulthandler
import logging
import logging.handlers
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from occnet_lib.config import Config
from occnet_lib.errors import OccnetError
from occnet_lib.storage.meshes.isolated import die_with_parent
from occnet_lib.storage.shape_file import path_of

Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """The arguments that all shapes have in common, sent to the worker processes."""

    config: Config
    root: Path
    shapes_dir: Path
    process: Callable[..., Row]
    level: int = field(default_factory=lambda: logging.getLogger().getEffectiveLevel())


def work(connection: Connection, job: Job) -> None:
    """Main function of a worker process: receives shapes; sends log records, stages and rows."""
    die_with_parent()  # it would write beside the next run's workers
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
            out_path = path_of(job.shapes_dir, key)
            row = job.process(
                key, job.config, job.root, out_path, on_stage=lambda stage: send(("stage", stage))
            )
            send(("row", row))
        except OccnetError as error:
            send(("error", error))


def _sender(connection: Connection) -> Callable[[Any], None]:
    """Function that sends to the parent; without a parent the worker exits, so that no shape is blamed."""

    def send(message: Any) -> None:
        try:
            connection.send(message)
        except OSError:
            os._exit(1)

    return send


class _ToParent(logging.handlers.QueueHandler):
    """Log handler that sends records through the pipe."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)  # type: ignore[arg-type]  # only enqueue uses it
        self.send = _sender(connection)

    def enqueue(self, record: logging.LogRecord) -> None:
        self.send(("log", record))
