"""Closing at several resolutions: CPU seconds, memory and error of the stage `watertight`, beside another revision.

usage: OMP_NUM_THREADS=1 python benchmarks/preprocess.py --resolutions 256 512 1024 [--against REVISION|FOLDER] [--limit N]
           [--rows FILE] [--keep FOLDER]

Every mesh is closed in a process of its own, forked after the libraries are loaded and compiled, so that its CPU time
and its peak memory are its own. The other revision, or a folder that holds it, runs at the first
resolution alone; the ratios are to its median. FILE gets a line of JSON for each mesh as soon as it is closed; those that
it already has are not closed again, unless the stage has another version, so that an interrupted run continues. FOLDER
gets the closed meshes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from occnet_lib.versions import VERSIONS

Row = dict[str, Any]  # figures of one mesh
PROJECT = Path(__file__).parents[1]
# The public functions, which other revisions have, too.
_CHILD = """
import json, os, resource, sys
from contextlib import suppress
from pathlib import Path
import occnet_lib as occnet
import trimesh
from occnet_lib.stages.audit import judge
resolution, folder, paths = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
config = occnet.load_config(watertight={"resolution": resolution})
rebuilt = dict(resolution=min(resolution, 384), method="flood_fill")
for path, closing in [(paths[0], rebuilt)] + [(path, dict(resolution=64)) for path in paths[:4]]:
    with suppress(occnet.OccnetError):
        occnet.watertight(path, occnet.load_config(watertight=closing))
for path in paths:
    reader, writer = os.pipe()
    if os.fork() == 0:
        before = resource.getrusage(resource.RUSAGE_SELF)
        row = {"file": path}
        try:
            closed = occnet.watertight(path, config)
            row |= {k: v for k, v in closed.audit.items() if isinstance(v, (int, float, str, bool))}
        except Exception as error:
            row["error"] = str(error)
        after = resource.getrusage(resource.RUSAGE_SELF)
        row["seconds"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        row["gigabytes"] = after.ru_maxrss / 1e6
        if "error" not in row:
            row["status"], row["reason"] = judge({"watertight": closed.audit}, config.audit)
            place = folder / (Path(path).parent.name + ".ply")
            occnet.save_mesh(closed, place)
            row["is_watertight"] = bool(trimesh.load(place).is_watertight)
        os.write(writer, (json.dumps(row, default=float) + "\\n").encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        print(stream.readline().strip() or json.dumps({"file": path, "error": "killed"}), flush=True)
    os.wait()
"""


@dataclass(frozen=True)
class Records:
    """Where the rows of a run, and the closed meshes, are kept.

    Attributes:
        folder: of the closed meshes, one folder for each revision and resolution.
        file: one line of JSON a row; None: rows are not kept.
    """

    folder: Path
    file: Path | None

    def rows(self, run: str, version: int | None = None) -> dict[str, Row]:
        """The rows of a run so far, by input file; with a version of the stage those of that version alone."""
        lines = self.file.read_text().splitlines() if self.file and self.file.is_file() else []
        rows = [row for row in map(json.loads, lines) if row["run"] == run]
        rows = [row for row in rows if version is None or row.get("version") == version]
        return {row["file"]: row for row in rows}

    def add(self, row: Row) -> None:
        """Append a row."""
        if self.file:
            with self.file.open("a") as stream:
                stream.write(json.dumps(row) + "\n")


def compare(paths: list[Path], resolutions: list[int], against: str | None, records: Records) -> None:
    """Print one line for each resolution, and one for the other revision."""
    print(
        "\nresolution: CPU s median, mean, 95th percentile; GB median, most; ratio; surface error p95, voxels; closed"
    )
    base = None
    if against:
        against = _commit(against)
        run = f"{resolutions[0]} at {against}"
        with tempfile.TemporaryDirectory() as place:
            root = Path(against) if Path(against).is_dir() else Path(place)
            if not Path(against).is_dir() and records.rows(run).keys() < set(map(str, paths)):
                archive = subprocess.run(
                    ["git", "archive", against], cwd=PROJECT, check=True, capture_output=True
                ).stdout
                subprocess.run(["tar", "x", "-C", place], input=archive, check=True)
            base = _report(run, _rows(root, run, paths, resolutions[0], records), None)
    for resolution in resolutions:
        run = str(resolution)
        median = _report(run, _rows(PROJECT, run, paths, resolution, records), base)
        base = base or median


def _commit(against: str) -> str:
    """The commit of a revision, since rows of a branch's name would be kept when it moves; a folder as it is."""
    if Path(against).is_dir():
        return against
    command = ["git", "rev-parse", "--verify", "--quiet", "--short=12", f"{against}^{{commit}}"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"--against {against}: neither a folder nor a revision of {PROJECT}")
    return done.stdout.strip()


def _rows(root: Path, run: str, paths: list[Path], resolution: int, records: Records) -> list[Row]:
    """The rows of all meshes, of which those not yet recorded are made."""
    version = (
        VERSIONS["watertight"] if root == PROJECT else None
    )  # another revision is in the name of the run
    rows = records.rows(run, version)
    folder = records.folder / run.replace("/", "_")
    folder.mkdir(parents=True, exist_ok=True)
    missing = [str(path) for path in paths if str(path) not in rows]
    if missing:
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(resolution), str(folder), *missing],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout
        for line in child.stdout:
            row = {"run": run, "version": version, **json.loads(line)}
            rows[row["file"]] = row
            records.add(row)
        if child.wait():
            raise SystemExit(f"closing at {run} ended with exit status {child.returncode}")
    return [rows[str(path)] for path in paths]


def _report(name: str, rows: list[Row], base: float | None) -> float:
    usable = [row for row in rows if "error" not in row]

    def column(key: str, chosen: list[Row]) -> np.ndarray:
        return np.array([row[key] for row in chosen], dtype=float)

    if not usable:
        raise SystemExit(f"no mesh was closed at {name}")
    seconds, memory = column("seconds", usable), column("gigabytes", usable)
    rebuilt = [row for row in usable if row["method"] != "exact"]
    error = column("surface_error_p95", rebuilt) / column("voxel", rebuilt) if rebuilt else np.zeros(1)
    median = float(np.median(seconds))
    print(
        f"  {name:18s} {median:7.2f} {seconds.mean():7.2f} {np.quantile(seconds, 0.95):7.2f}; "
        f"{np.median(memory):.2f} {memory.max():.2f}; {median / (base or median):.2f}; "
        f"{np.median(error):.3f} {error.max():.3f}; "
        f"closed {sum(bool(row['closed']) for row in usable)}, by trimesh "
        f"{sum(bool(row['is_watertight']) for row in usable)} of {len(rows)}, {len(rebuilt)} rebuilt, "
        f"{sum(bool(row['self_intersecting']) for row in usable)} with intersections, "
        f"{sum(bool(row['repaired']) for row in usable)} repaired, "
        f"{sum(row['ragged'] > 0 for row in usable)} ragged, "
        f"{', '.join(f'{n} {status}' for status, n in Counter(row['status'] for row in usable).items())}",
        flush=True,
    )
    for row in rows:
        if "error" in row or row["status"] != "ok":
            print(f"    {row['file']}: {row.get('error') or row['reason']}")
    return median
