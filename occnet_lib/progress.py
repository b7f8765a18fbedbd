"""Progress of a run in shapes and training steps: jobs write tallies, and the process of the run sums them up."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from .errors import OccnetError
from .storage.tables import read_rows


def tally_path(results: str | Path, shard: str) -> Path:
    """File with the tally of a shard: one letter per shape, o(k), w(arn) or f(ailed)."""
    return Path(results) / "logs" / "preprocess" / f"{shard}.tally"


def tally(path: Path) -> Callable[[int, int, dict[str, Any]], None]:
    """A listener for `process_shapes` that writes a new tally."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")

    def add(_done: int, _total: int, row: dict[str, Any]) -> None:
        with path.open("ab") as file:
            file.write(row["status"][:1].encode())

    return add


class Progress(threading.Thread):
    """Prints the progress of shapes and trainings: every ten seconds at first, less often in a run of hours.

    It reads the catalogue, the tallies of the shards and the tables of the trainings, so that jobs may run on any machine
    of a shared file system.

    Args:
        results: folder of results.
        out: stream for the lines.
        seconds: time to the first line.
    """

    def __init__(self, results: str | Path, out: IO[str] = sys.stderr, seconds: float = 10.0) -> None:
        super().__init__(name="progress", daemon=True)
        self.results, self.out, self.seconds = Path(results), out, seconds
        self.started, self.started_at = time.monotonic(), time.time()
        self.sizes: Counter[str] = Counter()
        self.tables = self.results / "preprocess" / "shards"
        self.before = {path.stem for path in self.tables.glob("*.csv")}  # finished already
        self.seen: deque[tuple[float, int]] = deque(maxlen=20)
        self._last_line, self._complete = "", False

    def run(self) -> None:
        """Print lines until the process ends."""
        while True:
            time.sleep(max(self.seconds, (time.monotonic() - self.started) / 30))
            try:
                line = self.line(time.monotonic()) or self.training()
            except (OSError, ValueError, OccnetError):  # a file is being written or removed: next time
                continue
            if line and line != self._last_line:
                self.out.write(line + "\n")
                self.out.flush()
                self._last_line = line

    def line(self, now: float) -> str:
        """Progress of the shapes at the time `now` (seconds); empty if none remains or the last line had all."""
        if not self.sizes:
            self.sizes = self._catalogue()
        pending = {shard for shard in self.sizes if not (self.tables / f"{shard}.csv").exists()}
        self.before -= pending  # a shard that is processed again loses its table first
        todo = self.sizes.keys() - self.before
        if not todo or (self._complete and not pending):
            return ""
        counts = {shard: self._tally(shard) for shard in todo}
        done = sum(counts[shard].total() if shard in pending else self.sizes[shard] for shard in todo)
        total = sum(self.sizes[shard] for shard in todo)
        self._complete = not pending
        failed = sum(count["f"] for count in counts.values())
        rate = self._rate(now, done)
        left = f"{rate:.3g} a second, {_duration((total - done) / rate)} left" if rate else "no rate yet"
        return f"preprocess: {done} of {total} shapes ({done / total:.0%}), {left}, {failed} failed"

    def training(self) -> str:
        """Progress of the trainings of this run; empty if none is running."""
        config = self.results / "config.json"
        if not config.exists():
            return ""
        steps, parts = json.loads(config.read_text())["train"]["steps"], []
        for table in sorted((self.results / "train").glob("*/metrics.csv")):
            rows = read_rows(table) if table.stat().st_mtime >= self.started_at else []
            if rows and int(rows[-1]["step"]) < steps:
                parts.append(f"{table.parent.name} step {rows[-1]['step']} of {steps}")
        return f"train: {', '.join(parts)}" if parts else ""

    def _rate(self, now: float, done: int) -> float:
        """Shapes per second over the last lines."""
        self.seen.append((now, done))
        before, first = self.seen[0]
        return max(done - first, 0) / (now - before) if now > before else 0.0

    def _catalogue(self) -> Counter[str]:
        from .storage.dataset.catalogue import read_table

        path = self.results / "catalogue" / "shapes.csv"
        return Counter(key.shard for key in read_table(path)) if path.exists() else Counter()

    def _tally(self, shard: str) -> Counter[str]:
        path = tally_path(self.results, shard)
        return Counter(path.read_text()) if path.exists() else Counter()


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
