"""Progress of a training run: metrics.csv, throughput and a progress bar."""

from __future__ import annotations

import csv
import io
import logging
import sys
import time
from pathlib import Path
from typing import Any

from typing_extensions import override

from occnet_lib.storage.tables import write_rows

from .lightning_imports import Callback, LightningModule, Trainer

logger = logging.getLogger(__name__)

COLUMNS = (
    *("step", "train_loss", "train_accuracy", "train_iou"),
    *("val_loss", "val_accuracy", "val_iou", "val_threshold"),
    *("learning_rate", "samples_per_second", "data_wait"),
)
Row = dict[str, float]


class MetricsTable:
    """metrics.csv: one row per record; values that were not measured are empty.

    Args:
        path: the file; rewritten at the start, then appended to.
        rows: of earlier steps, when a training resumes.
    """

    def __init__(self, path: Path, rows: list[Row]) -> None:
        self._path, self.rows = path, rows
        write_rows(path, rows, COLUMNS)

    def add(self, row: Row) -> None:
        """Append a row in one write."""
        self.rows.append(row)
        buffer = io.StringIO()
        csv.DictWriter(buffer, COLUMNS, lineterminator="\n").writerow(row)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(buffer.getvalue())


def describe(row: Row) -> str:
    """A row as a log message."""
    parts = [f"{name} {value:.4g}" for name, value in row.items() if name != "step"]
    return f"step {int(row['step'])}: {', '.join(parts)}"


class ThroughputMeter:
    """Training throughput without validation and writing, and the fraction of it spent waiting for data."""

    def __init__(self) -> None:
        self._samples, self._waited, self._spent = 0, 0.0, 0.0
        self._since = self._ended = time.perf_counter()

    def begin(self) -> None:
        """A step received its batch."""
        self._waited += time.perf_counter() - self._ended

    def end(self, samples: int) -> None:
        """A step ended."""
        self._samples += samples
        self._ended = time.perf_counter()

    def pause(self) -> None:
        """Stop counting time."""
        self._spent += time.perf_counter() - self._since

    def resume(self) -> None:
        """Continue counting time."""
        self._since = self._ended = time.perf_counter()

    def read(self) -> tuple[float, float]:
        """Samples per second since the last call and the fraction of time between steps; call while paused."""
        spent = max(self._spent, 1e-9)
        rate, waiting = self._samples / spent, self._waited / spent
        self._samples, self._waited, self._spent = 0, 0.0, 0.0
        return rate, waiting


class ProgressBar(Callback):
    """A progress bar on terminals only."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._progress: Any = None

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar."""
        if not sys.stderr.isatty() or not trainer.is_global_zero:
            return
        try:
            from rich.console import Console
            from rich.progress import Progress
        except ImportError:  # training does not need it
            return
        self._progress = Progress(console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task("training", total=self._steps, completed=trainer.global_step)
        self._progress.start()

    @override
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Move the bar."""
        if self._progress:
            self._progress.update(self._task, completed=trainer.global_step)

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Remove the bar, also after an error."""
        if self._progress:
            self._progress.stop()
