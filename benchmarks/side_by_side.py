"""Closed meshes by this project and by the alternatives that pip installs, on the same meshes.

usage: OMP_NUM_THREADS=1 python benchmarks/watertight.py --against [METHOD …] [--data FOLDER] [--limit N]
           [--slow-limit 12] [--time-limit 120] [--out FOLDER] [--images FOLDER]

Meshes are those of the data folder and five solids of known inside, all in the unit frame (longest edge 1). Every mesh
and method is a process of its own. What crashes, refuses, hangs or exceeds the time limit is a row with the reason.

--limit takes N meshes, evenly spaced over the manifest; --slow-limit as many for the methods that take tens of seconds.
--out keeps each row in `rows.jsonl` as soon as it is measured, and a later run does not repeat it (unless the mesh, the
method's version or the time limit is another). After an interruption, run the same command again.
--images draws five hard shapes for each method: generated ones, and those of the data folder (`generated.png`, `real.png`).

A row of the tables covers the meshes that a method gave a result for: CPU seconds without imports and compilation; peak
memory of the process with its libraries; results that are closed once equal vertices are merged; mean distances in the
longest edge, from the result's surface to the input and from what is seen of the input to the result; and IoU with the exact
inside for the solids: the five of known inside and the inputs that bound a solid already.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from benchmarks.watertight_alternatives import METHODS, idle_limit
from benchmarks.watertight_shapes import Named, Shape, shapes_of, written
from occnet_lib.errors import OccnetError
from occnet_lib.storage.locks import run_lock
from occnet_lib.versions import VERSIONS

Row = dict[str, Any]

CHILD = Path(__file__).with_name("watertight_alternatives.py")


def version_of(method: str) -> str:
    """The version of what a method runs: of its package, or of the stage."""
    package = METHODS[method].package
    if package is not None:
        return importlib.metadata.version(package[0])
    return f"stage {VERSIONS['watertight']}" if method.startswith("occnet") else "scikit-image marching cubes"


def is_installed(method: str) -> bool:
    """Whether a method can run here."""
    package = METHODS[method].package
    return package is None or importlib.util.find_spec(package[1]) is not None


def attempts(method: str, shapes: Sequence[Shape], meshes: Path, limit: float) -> Iterator[Row]:
    """The row of a method on each shape, as soon as it is there: its figures, or `reason` where there is no result.

    The resulting meshes lie in the folder `meshes` (.npz).
    """
    meshes.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(CHILD), method, str(limit)]
    for shape in shapes:
        out = meshes / shape.file.stem
        for suffix in (".json", ".npz", ".log"):
            out.with_suffix(suffix).unlink(missing_ok=True)
        command += [str(shape.file), str(out)]
    left = {str(shape.file): shape for shape in shapes}
    errors = meshes / "errors.log"
    with (
        errors.open("w") as stream,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stream, text=True) as server,
    ):
        for line in server.stdout or ():
            done = json.loads(line)
            shape = left.pop(done["file"])
            yield _row(method, shape, limit) | _outcome(done["code"], meshes / shape.file.stem, limit)
    if left:
        raise SystemExit(f"the process that measures {method} ended early:\n{errors.read_text()}")


def _row(method: str, shape: Shape, limit: float) -> Row:
    return {
        "method": method,
        "version": version_of(method),
        "shape": shape.name,
        "input": shape.digest,
        "limit": limit,
    }


def _outcome(code: int | None, out: Path, limit: float) -> Row:
    """The figures of one process, or why it gave none."""
    figures, log = out.with_suffix(".json"), out.with_suffix(".log")
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    row = json.loads(figures.read_text()) if code == 0 else {"reason": reason_of(code, text, limit)}
    for file in (figures, log):
        file.unlink(missing_ok=True)
    return dict(row)


def reason_of(code: int | None, text: str, limit: float) -> str:
    """Why a process gave no result, by its exit code (None: it was killed for taking too long) and what it printed."""
    if code is None:
        return f"no result within {idle_limit(limit):g} s (wall clock)"
    if code == -signal.SIGXCPU:
        return f"no result within {limit:g} CPU s"
    if code < 0:
        return f"crashed ({signal.Signals(-code).name})"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:100] if lines else f"exit code {code}"


def measure_all(plan: dict[str, list[Shape]], folder: Path, limit: float, *, keep: bool = False) -> list[Row]:
    """Rows of methods and their shapes; those that the folder has are not measured again.

    Args:
        plan: shapes by method.
        folder: has `rows.jsonl`, to which each new row is appended at once.
        limit: CPU seconds for a mesh.
        keep: whether the resulting meshes stay, in `meshes/<method>`; without one, a row is measured again.
    """
    with _only_run(folder):
        return _measure_all(plan, folder, limit, keep)


def _only_run(folder: Path) -> IO[str]:
    """The lock of a folder: two runs in it would remove each other's meshes."""
    try:
        return run_lock(folder)
    except OccnetError as error:
        raise SystemExit(f"--out {folder}: {error.message}") from None


def _measure_all(plan: dict[str, list[Shape]], folder: Path, limit: float, keep: bool) -> list[Row]:
    stored = folder / "rows.jsonl"
    lines = stored.read_text(encoding="utf-8").splitlines() if stored.exists() else []
    known_rows = {_key(row): row for row in map(json.loads, lines)}
    rows = []
    for method, shapes in plan.items():
        meshes = folder / "meshes" / method.replace(" ", "-")
        todo = []
        for shape in shapes:
            row = known_rows.get(_key(_row(method, shape, limit)))
            if row is None or (
                keep and "reason" not in row and not (meshes / f"{shape.file.stem}.npz").exists()
            ):
                todo.append(shape)
            else:
                rows.append(row)
        for row in attempts(method, todo, meshes, limit) if todo else ():
            with stored.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
            rows.append(row)
            took = f"{row['seconds']:.2f} CPU s" if "reason" not in row else row["reason"]
            print(f"  {method}, {row['shape']}: {took}", flush=True)
        if not keep:
            for shape in todo:
                (meshes / f"{shape.file.stem}.npz").unlink(missing_ok=True)
    return rows


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("method", "version", "shape", "input", "limit"))


def table(rows: Sequence[Row], methods: Sequence[str], names: set[str]) -> list[str]:
    """Lines of a Markdown table over the shapes of some names."""
    lines = [
        "| | meshes | no result | CPU s, median (mean) | MB | closed | result to input | visible input to result "
        "| IoU on solids, median, worst (number) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for method in methods:
        own = [row for row in rows if row["method"] == method and row["shape"] in names]
        good = [row for row in own if "reason" not in row]
        start = f"| {METHODS[method].title} | {len(own)} | {len(own) - len(good)} |"
        if not good:
            lines.append(f"{start} | | | | | |")
            continue
        column = {
            k: np.array([row[k] for row in good]) for k in ("seconds", "memory", "to_input", "from_input")
        }
        agreement = [row["iou"] for row in good if "iou" in row]
        known_ = f"{np.median(agreement):.4f}, {min(agreement):.4f} ({len(agreement)})" if agreement else ""
        lines.append(
            f"{start} {np.median(column['seconds']):.2f} ({column['seconds'].mean():.2f}) "
            f"| {np.median(column['memory']):.0f} | {sum(row['closed'] for row in good)} of {len(good)} "
            f"| {np.median(column['to_input']):.6f} | {np.median(column['from_input']):.6f} | {known_} |"
        )
    return lines


def report(rows: Sequence[Row], methods: Sequence[str], shapes: Sequence[Shape]) -> str:
    """The tables: all meshes with the solids, and the real meshes that bound no solid; then versions and failures."""
    everything = {shape.name for shape in shapes}
    open_ones = {shape.name for shape in shapes if shape.real and not shape.solid}
    real = sum(shape.real for shape in shapes)
    text = [f"\n{real} meshes and {len(shapes) - real} solids", "", *table(rows, methods, everything)]
    if open_ones:
        text += ["", f"the {len(open_ones)} meshes that bound no solid", "", *table(rows, methods, open_ones)]
    text += ["", "versions: " + ", ".join(f"{method} {version_of(method)}" for method in methods)]
    for method in methods:
        reasons = Counter(row["reason"] for row in rows if row["method"] == method and "reason" in row)
        text += [f"no result, {method}: {count} × {reason}" for reason, count in reasons.most_common()]
    return "\n".join(text)


def compare(
    named: Sequence[Named],
    methods: Sequence[str],
    *,
    slow_limit: int,
    time_limit: float,
    out: Path | None,
    images: Path | None,
) -> None:
    """Measure what is not yet measured, print the tables, and draw the hard shapes."""
    unknown = [name for name in methods if name not in METHODS]
    if unknown:
        raise SystemExit(f"unknown method {unknown[0]}; there are: {', '.join(METHODS)}")
    for name in methods:
        if not is_installed(name):
            print(f"  {name} is left out: {METHODS[name].package[0]} is not installed")  # type: ignore[index]
    methods = [name for name in methods if is_installed(name)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = out or Path(temporary)
        shapes = shapes_of(named, folder / "shapes")
        few = set(evenly([shape.name for shape in shapes if shape.real], slow_limit))
        plan = {
            method: [s for s in shapes if not METHODS[method].slow or not s.real or s.name in few]
            for method in methods
        }
        print(report(measure_all(plan, folder, time_limit), methods, shapes))
        if images is not None:
            draw(named, methods, folder, time_limit, images)


def draw(named: Sequence[Named], methods: Sequence[str], folder: Path, limit: float, images: Path) -> None:
    """Draw the hard shapes, generated and real."""
    from benchmarks import hard_shapes

    for name, drawn in hard_shapes.sets(named).items():
        shapes = [written(title, mesh, None, folder / "shapes") for title, mesh in drawn]
        measure_all(dict.fromkeys(methods, shapes), folder, limit, keep=True)
        hard_shapes.draw(shapes, methods, folder / "meshes", images / f"{name}.png")
        print(f"  {images / name}.png")


def evenly(names: Sequence[str], count: int) -> list[str]:
    """At most `count` of them, evenly spaced."""
    return [names[i] for i in np.unique(np.linspace(0, len(names) - 1, min(count, len(names))).astype(int))]
