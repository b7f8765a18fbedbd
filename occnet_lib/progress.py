"""Progress of a run in shapes and steps: jobs tally what they did, the run's process adds it up."""

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
    """Where the job of a shard keeps its tally: a letter a shape, o(k), w(arn) or f(ailed)."""
    return Path(results) / "logs" / "preprocess" / f"{shard}.tally"


def tally(path: Path) -> Callable[[int, int, dict[str, Any]], None]:
    """A listener for `run_shard` that writes the tally anew."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")

    def add(_done: int, _total: int, row: dict[str, Any]) -> None:
        with path.open("ab") as file:
            file.write(row["status"][:1].encode())

    return add


class Progress(threading.Thread):
    """Says how far shapes and trainings are: every ten seconds at first, ever less often in a run of hours.

    Reads the catalogue, the shards' tallies and the trainings' tables, so it works wherever on a shared file
    system jobs run.

    Args:
        results: folder of results.
        out: where lines go.
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
        self._said, self._complete = "", False

    def run(self) -> None:
        """Say it until the process ends."""
        while True:
            time.sleep(max(self.seconds, (time.monotonic() - self.started) / 30))
            try:
                line = self.line(time.monotonic()) or self.training()
            except (OSError, OccnetError):  # a folder that is being removed, a file system away: next time
                continue
            if line and line != self._said:
                self.out.write(line + "\n")
                self.out.flush()
                self._said = line

    def line(self, now: float) -> str:
        """How far the shapes are at the time `now` (seconds); empty when none is to do or all are said done."""
        if not self.sizes:
            self.sizes = self._catalogue()
        pending = {shard for shard in self.sizes if not (self.tables / f"{shard}.csv").exists()}
        self.before -= pending  # a shard that is treated again loses its table first
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
        """How far the trainings of this run are; empty when none is under way."""
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
        """Shapes a second over the last lines."""
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
