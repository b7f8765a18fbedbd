"""Damaged mesh files of every format through the pipeline: each must end as a shape or as one line, and no process die.

usage: nice python benchmarks/fuzz.py [--files N] [--first I] [--seed S] [--kinds KIND …] [--keep FOLDER]

Small valid files (`fuzz_seeds.py`) are changed at random: bytes flipped, cut off, counts changed, pieces doubled, removed
and exchanged; what is compressed is also changed inside. The files are processed as `preprocess` does, by
`stages.workers` in a worker process of its own with a time limit, with coarse grids and small images. --first goes on at
a file's number, --keep writes those that failed in an unexpected way.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from benchmarks.fuzz_mutations import mutated
from benchmarks.fuzz_seeds import seeds
from occnet_lib.config import Config
from occnet_lib.stages import process_shape, workers
from occnet_lib.storage.meshes import isolated
from occnet_lib.types import ShapeKey

TIME_LIMIT = 30.0  # CPU seconds
MOST_MEMORY = 1500.0  # MB of a worker, which has 500 before it reads a file


@dataclass(frozen=True)
class Result:
    """What happened to a file."""

    number: int
    kind: str
    row: dict[str, Any]

    @property
    def outcome(self) -> str:
        """What became of the file; what must not is `crash`, `time limit`, `unexpected`, `several lines`, `memory`."""
        reason = str(self.row["reason"])
        if "its library" in reason:
            return "library hung" if "took more" in reason else "library crashed"
        if "crashed with" in reason or "process was killed" in reason or "process ended" in reason:
            return "crash"
        if "time_limit" in reason:
            return "time limit"
        if re.match(r"\w+(Error|Exception|Warning|Interrupt|Iteration): ", reason):
            return "unexpected"
        if "\n" in reason or len(reason) > 1000:
            return "several lines"
        if float(self.row.get("peak_mb") or 0) > MOST_MEMORY:
            return "memory"
        return "read" if self.row["status"] != "failed" else f"refused in {self.row['stage']}"

    @property
    def bad(self) -> bool:
        """Whether this must not happen."""
        return not self.outcome.startswith(("read", "refused", "library"))


def main() -> None:
    """Print counts by kind and outcome, reasons by class, and the slowest files; status 1 if something must not be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=3000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", default=[])
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    logging.basicConfig(handlers=[logging.NullHandler()])  # warnings come by the thousand
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        results = fuzz(
            Path(place), range(args.first, args.first + args.files), args.seed, args.kinds, args.keep
        )
    report(results, time.monotonic() - started)
    sys.exit(any(result.bad for result in results))


def fuzz(
    place: Path, numbers: Iterable[int], seed: int = 0, kinds: Iterable[str] = (), keep: Path | None = None
) -> list[Result]:
    """Make files, process them in one worker process, and say what happened to each."""
    originals = seeds()
    chosen = [kind for kind in originals if not kinds or kind in set(kinds)]
    keys, kind_of = [], {}
    for number in numbers:
        kind = chosen[number % len(chosen)]
        files = mutated(originals[kind], np.random.default_rng([seed, number]))
        folder = place / "raw" / "fuzz" / f"{number:06d}"
        folder.mkdir(parents=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
        key = ShapeKey("fuzz", folder.name, f"fuzz/{folder.name}/{next(iter(files))}")
        keys.append(key)
        kind_of[key.id] = kind
    rows = workers.process_shapes(
        keys, small_config(), place / "raw", place / "shapes", 1, _progress(len(keys)), process
    )
    results = [Result(int(row["id"]), kind_of[row["id"]], row) for row in rows]
    for result in results if keep else ():
        if keep and result.bad:
            (place / "raw" / "fuzz" / f"{result.number:06d}").rename(_made(keep) / f"{result.number:06d}")
    return results


def process(*args: Any, **options: Any) -> dict[str, Any]:
    """As `stages.process_shape.process`, with the peak memory of the worker during this shape."""
    isolated.CPU_SECONDS = 10
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory starts again
    row = process_shape.process(*args, **options)
    lines = Path("/proc/self/status").read_text().splitlines()
    return row | {"peak_mb": next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM"))}


def small_config() -> Config:
    """All stages, as small as they go."""
    return Config.model_validate(
        {
            "preprocess": {"time_limit": TIME_LIMIT},
            "watertight": {"resolution": 32, "views": 12, "image_size": 64, "max_faces": 500},
            "points": {"uniform": 200, "surface": 200, "voxels": 8},
            "views": {"count": 2, "image_size": 32, "renderer": "raycast"},
        }
    )


def report(results: list[Result], seconds: float) -> None:
    """Print the figures."""
    outcomes = sorted({result.outcome for result in results})
    by_kind: dict[str, Counter[str]] = defaultdict(Counter)
    for result in results:
        by_kind[result.kind][result.outcome] += 1
    print(f"{len(results)} files in {seconds:.0f} s\n\n{'kind':14s}" + "".join(f"{o:>24s}" for o in outcomes))
    for kind, counts in [*by_kind.items(), ("all", sum(by_kind.values(), Counter()))]:
        print(f"{kind:14s}" + "".join(f"{counts[outcome]:24d}" for outcome in outcomes))
    reasons = Counter(_class_of(r) for r in results if r.outcome.startswith(("refused", "library")))
    print("\nreasons of refusals, without names and numbers:")
    for reason, count in reasons.most_common(40):
        print(f"{count:6d}  {reason}")
    warned = sum(result.row["status"] == "warn" for result in results)
    print(f"\nread with a warning: {warned}")
    slowest = sorted(results, key=lambda result: -float(result.row["seconds"] or 0))[:5]
    print("slowest, CPU s:", ", ".join(f"{r.number} {r.kind} {r.row['seconds']}" for r in slowest))
    largest = sorted(results, key=lambda result: -float(result.row.get("peak_mb") or 0))[:5]
    print(
        "largest, MB of the worker:",
        ", ".join(f"{r.number} {r.kind} {r.row.get('peak_mb', 0):.0f}" for r in largest),
    )
    for result in results:
        if result.bad:
            print(f"{result.outcome.upper()}: {result.number} {result.kind}: {result.row['reason'][:300]}")


def _class_of(result: Result) -> str:
    reason = re.sub(r"'[^']*'|\"[^\"]*\"|-?\d[\d.e+-]*", "…", str(result.row["reason"]))
    return f"{result.row['stage']}: {reason[:90]}"


def _progress(total: int) -> Any:
    def show(done: int, _: int, __: dict[str, Any]) -> None:
        if done % 200 == 0 or done == total:
            print(f"{done} of {total}", file=sys.stderr, flush=True)

    return show


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    main()
