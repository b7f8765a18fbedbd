"""Preprocessing: CPU seconds by stage over meshes, bytes a shape, exactness, start-up, and a naive dense implementation.

usage: OMP_NUM_THREADS=1 python benchmarks/preprocess.py [--data FOLDER] [--limit N] [--quick] [--huge]
           [--resolutions 256 512 1024 [--against REVISION] [--rows FILE] [--keep FOLDER]] [--workers 1 2]

FOLDER is that of the real meshes (default: OCCNET_REAL_DATA, else ../shared/data); its `dev/manifest.csv` names them.
--limit takes N of them, evenly spaced; --quick is short for a limit of 8 and leaves out the solids of known inside.
--workers processes the meshes as one shard, with each of these numbers of workers, --repeats times.
--huge processes a mesh of five million faces, as PLY and as OBJ, each in a process of its own.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from benchmarks.memory import peak_memory
from benchmarks.parallel import shard
from benchmarks.resolutions import Records, compare
from benchmarks.watertight import exactness, time_reference
from occnet_lib.config import Config
from occnet_lib.stages import process_shape
from occnet_lib.storage.meshes import save_mesh
from occnet_lib.types import Mesh, ShapeKey

STAGES = ("load", "watertight", "points", "views")
FIGURES = ("surface_error_mean", "input_error_mean", "surface_error_p95", "input_error_p95", "edge_ratio")
HUGE = 1582  # vertices along either way around a torus: 2 · 1582² faces


def main() -> None:
    """Print every measurement that was requested."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    folder = os.environ.get("OCCNET_REAL_DATA", "../shared/data")
    parser.add_argument("--data", type=Path, default=Path(folder))
    parser.add_argument("--limit", type=int)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--huge", action="store_true")
    parser.add_argument("--resolutions", type=int, nargs="+", help="only close the meshes, at each of these")
    parser.add_argument("--against", help="with --resolutions: a git revision to compare with")
    parser.add_argument("--rows", type=Path, help="with --resolutions: continue the run of this file of rows")
    parser.add_argument("--keep", type=Path, help="with --resolutions: folder for the closed meshes")
    parser.add_argument("--workers", type=int, nargs="+", help="only process one shard, with each of these")
    parser.add_argument("--repeats", type=int, default=2, help="with --workers: runs of each")
    parser.add_argument("--reference-views", type=int, default=2)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        row = process_shapes(args.child, args.child.parent)
        print(f"{peak_memory():.2f} GB at the most; {row['status']} {row['reason']}")
        return
    with tempfile.TemporaryDirectory() as place:
        if args.huge:
            huge(Path(place))
            return
        paths = meshes(args.data / "dev", args.limit or (8 if args.quick else None), Path(place))
        if args.resolutions:
            records = Records(args.keep or Path(place), args.rows)
            compare(paths, args.resolutions, args.against, records)
            return
        if args.workers:
            shard(paths, args.workers, Path(place), args.repeats)
            return
        start_up(paths[0])
        rows = [process_shapes(path, Path(place)) for path in paths[:1] + paths][
            1:
        ]  # the first one loads libraries
    spent = seconds(rows)
    stored(rows)
    accuracy(rows)
    reference = time_reference(args.reference_views)
    print(
        f"  ratio to the stage watertight {reference / spent['watertight']:.0f}, to all {reference / spent['all']:.0f}"
    )
    if not args.quick:
        exactness(["flood_fill"])


def meshes(folder: Path, limit: int | None, place: Path) -> list[Path]:
    """Files of the manifest, evenly spaced where they are limited; without a folder three solids."""
    if not folder.is_dir():
        from tests.support import geometry_solids as solids

        print(f"no meshes at {folder}: some solids instead")
        paths = [place / f"{make.__name__}.obj" for make in (solids.chair, solids.torus, solids.cup)]
        for path in paths:
            save_mesh(getattr(solids, path.stem)().mesh, path)
        return paths
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as stream:
        paths = [folder / row["file"] for row in csv.DictReader(stream)]
    return [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, limit or len(paths)).astype(int))]


def process_shapes(path: Path, place: Path) -> dict[str, Any]:
    """The row of one shape, made as a worker does it, and the size of its file."""
    key = ShapeKey("benchmark", path.parent.name, path.name)
    out = place / "shape.h5"
    row = process_shape.process(key, Config(), path.parent, out, force=True)
    return row | {"bytes": out.stat().st_size}


def seconds(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Print median, mean and 95th percentile of every stage; return the medians."""
    done = [row for row in rows if row["status"] != "failed"]
    print(f"\n{len(rows)} shapes, {len(done)} usable; CPU seconds: median, mean, 95th percentile")
    medians = {}
    for stage in (*STAGES, "all"):
        values = [row["seconds" if stage == "all" else f"seconds_{stage}"] for row in done]
        medians[stage] = float(np.median(values))
        print(f"  {stage:12s} {medians[stage]:7.3f} {np.mean(values):7.3f} {np.quantile(values, 0.95):7.3f}")
    print(f"  peak memory of the process {peak_memory():.2f} GB")
    return medians


def stored(rows: list[dict[str, Any]]) -> None:
    """Print how large the files are."""
    sizes = np.array([row["bytes"] for row in rows if row["status"] != "failed"]) / 1e6
    print(f"\nMB a shape: median {np.median(sizes):.3f}, largest {sizes.max():.3f}")


def accuracy(rows: list[dict[str, Any]]) -> None:
    """Print the figures of the audit over the meshes, and every shape that is not ok."""
    done = [row for row in rows if row["status"] != "failed"]
    print("\nclosed mesh against input (longest edge 1): median, 95th percentile, largest")
    for name in FIGURES:
        values = [row[f"watertight_{name}"] for row in done]
        print(f"  {name:20s} {np.median(values):.5f} {np.quantile(values, 0.95):.5f} {max(values):.5f}")
    for name in ("inside", "covered"):
        values = [row[f"views_{name}"] for row in done]
        print(f"  silhouette {name:9s} {np.median(values):.4f}, least {min(values):.4f}")
    print(f"  closed {sum(row['watertight_closed'] for row in done)} of {len(rows)}", end="")
    print(f", repaired {sum(row['watertight_repaired'] for row in done)}")
    for row in rows:
        if row["status"] != "ok":
            print(f"  {row['id']}: {row['status']}: {row['reason']}")


def start_up(path: Path) -> None:
    """Print what a process costs before its first shape, and what the first shape costs on top (libraries)."""
    bare = child("-c", "import occnet_lib.stages.workers")[0]
    script = (
        "from pathlib import Path; from benchmarks.preprocess import process_shapes\n"
        "import tempfile\n"
        "with tempfile.TemporaryDirectory() as place:\n"
        f"    first, second = (process_shapes(Path({str(path)!r}), Path(place))['seconds'] for _ in range(2))\n"
        "print(first - second)"
    )
    libraries = float(child("-c", script)[1].split()[-1])
    print(
        f"start of a stage process {bare:.2f} CPU s; libraries on its first shape {libraries:.2f} CPU s, once"
    )


def child(*arguments: str) -> tuple[float, str]:
    """CPU seconds and output of Python in another process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent, done.stdout


def huge(place: Path) -> None:
    """Print CPU seconds and peak memory for a torus with bumps."""
    turn = np.arange(HUGE) * (2 * np.pi / HUGE)
    u, v = np.meshgrid(turn, turn, indexing="ij")
    radius = 0.12 + 0.01 * np.sin(20 * u) * np.cos(12 * v)
    ring = 0.375 + radius * np.cos(v)
    vertices = np.stack([ring * np.cos(u), radius * np.sin(v), ring * np.sin(u)], axis=-1).reshape(-1, 3)
    a = np.arange(HUGE**2, dtype=np.int32).reshape(HUGE, HUGE)
    b, d = np.roll(a, -1, axis=0), np.roll(a, -1, axis=1)
    c = np.roll(d, -1, axis=0)
    corners = (np.stack([a, d, c], axis=-1), np.stack([a, c, b], axis=-1))
    faces = np.concatenate([part.reshape(-1, 3) for part in corners])
    for suffix in ("ply", "obj"):
        path = place / f"huge.{suffix}"
        save_mesh(Mesh(vertices, faces), path)
        spent, reported = child(__file__, "--child", str(path))
        print(f"{len(faces)} faces, {suffix}: {spent:.1f} CPU s, {reported.strip()}", flush=True)


if __name__ == "__main__":
    main()
