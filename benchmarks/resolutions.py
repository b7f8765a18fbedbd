"""Closing at several resolutions: CPU seconds, memory and error of the stage `watertight`, beside another revision.

usage: OMP_NUM_THREADS=1 python benchmarks/preprocess.py --resolutions 256 512 1024 [--against REVISION|FOLDER] [--limit N]

Every mesh is closed in a process of its own, forked after the libraries are loaded and compiled, so that its CPU time
and its peak memory are its own. The other revision, or a folder that holds it, runs at the first
resolution alone; the ratios are to its median.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).parents[1]
# The public functions, which other revisions have, too.
_CHILD = """
import json, os, resource, sys
import numpy as np
import occnet_lib as occnet
resolution, paths = int(sys.argv[1]), sys.argv[2:]
config = occnet.load_config(watertight={"resolution": resolution})
first = next((p for p in paths if occnet.watertight(p, config).audit["method"] != "exact"), paths[0])
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
            import trimesh
            mesh = trimesh.Trimesh(closed.mesh.vertices.astype(np.float32), closed.mesh.faces)
            row["is_watertight"] = bool(mesh.is_watertight)
        os.write(writer, (json.dumps(row, default=float) + "\\n").encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        print(stream.readline() or json.dumps({"file": path, "error": "killed"}), flush=True)
    os.wait()
"""


def compare(paths: list[Path], resolutions: list[int], against: str | None) -> None:
    """Print one line for each resolution, and one for the other revision."""
    print(
        "\nresolution: CPU s median, mean, 95th percentile; GB median, most; ratio; surface error p95, voxels; closed"
    )
    base = None
    if against and Path(against).is_dir():
        base = _report(f"{resolutions[0]} before", _rows(Path(against), paths, resolutions[0]), None)
    elif against:
        with tempfile.TemporaryDirectory() as place:
            archive = subprocess.run(
                ["git", "archive", against], cwd=PROJECT, check=True, capture_output=True
            ).stdout
            subprocess.run(["tar", "x", "-C", place], input=archive, check=True)
            base = _report(f"{resolutions[0]} at {against}", _rows(Path(place), paths, resolutions[0]), None)
    for resolution in resolutions:
        median = _report(str(resolution), _rows(PROJECT, paths, resolution), base)
        base = base or median


def _rows(root: Path, paths: list[Path], resolution: int) -> list[dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(resolution), *map(str, paths)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines() if line.strip()]


def _report(name: str, rows: list[dict[str, object]], base: float | None) -> float:
    usable = [row for row in rows if "error" not in row]

    def column(key: str, chosen: list[dict[str, object]]) -> np.ndarray:
        return np.array([row[key] for row in chosen], dtype=float)

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
        f"{sum(bool(row['repaired']) for row in usable)} repaired",
        flush=True,
    )
    for row in rows:
        if "error" in row:
            print(f"    {row['file']}: {row['error']}")
    return median
