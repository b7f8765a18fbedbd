"""Watertight: CPU seconds by step over meshes, against dense numpy code, and exactness on known solids.

usage: OMP_NUM_THREADS=1 python benchmarks/watertight.py [--data FOLDER] [--limit N] [--reference-views 5]
           [--methods flood_fill carving tsdf]
       OMP_NUM_THREADS=1 python benchmarks/watertight.py --against …   (see side_by_side.py)

FOLDER holds `manifest.csv` with a column `file`, as OCCNET_REAL_DATA/dev; without it the demo solids are timed.
The reference is the method tsdf, that of ONet's mesh-fusion over every sample and view, in numpy; it is run on one shape
over a few views and scaled to all views.
"""

from __future__ import annotations

import argparse
import csv
import resource
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import wraps
from itertools import islice
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from occnet_lib import seeds
from occnet_lib.config import WatertightConfig
from occnet_lib.geometry import components, repair, simplify, untangle
from occnet_lib.geometry.fusion import depth_maps, flood_fill, surfaces, tsdf
from occnet_lib.geometry.fusion.carving import view_axes
from occnet_lib.geometry.grid import Grid, grid_around
from occnet_lib.geometry.normalise import unit_cube
from occnet_lib.geometry.occupancy import contains
from occnet_lib.stages import watertight
from occnet_lib.types import Mesh

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support import geometry_solids as solids

# Step and where it is called from: the name in that module is wrapped by a clock.
STEPS = {
    "depth maps": (depth_maps, "render_depth"),
    "carve": (surfaces, "carve"),
    "distances": (flood_fill, "stored_distance"),
    "cut edges": (flood_fill, "stored_cuts"),
    "signs": (surfaces, "resolve_near"),
    "sheets": (surfaces, "thicken"),
    "basins (with distances, cuts)": (surfaces, "find_basins"),
    "mean field": (surfaces, "tsdf_field"),
    "marching cubes": (surfaces, "surface"),
    "features": (surfaces, "sharpen"),
    "remove small components": (components, "remove_small_components"),
    "simplify": (simplify, "simplify"),
    "untangle": (untangle, "untangle"),
    "audit": (watertight, "measure"),
}
SOLIDS: dict[str, Callable[[], solids.Solid]] = {
    "sphere": solids.sphere,
    "torus": solids.torus,
    "chair": solids.chair,
    "bored block": solids.bored_block,
    "deep cup": solids.cup,
}
RODS = (2.0, 7.0)  # voxels
TURN = solids.rotation(1)


def rods(voxels: float, turn: np.ndarray) -> solids.Solid:
    """Turned rods of a width in voxels; the bounding box, and with it a voxel, depends on the turn."""
    width = voxels / (WatertightConfig().resolution - 2 - 2 * watertight.MARGIN)
    edge = np.ptp(solids.rods(width).mesh.vertices @ turn.T, axis=0).max()
    return solids.rods(width * edge).rotated(turn)


def known_solids() -> Iterator[tuple[str, solids.Solid]]:
    """Names and solids, each upright and turned."""
    for way, turn in (("upright", np.eye(3)), ("turned", TURN)):
        yield from ((f"{name}, {way}", make().rotated(turn)) for name, make in SOLIDS.items())
        yield from ((f"rods of {width:g} voxels, {way}", rods(width, turn)) for width in RODS)


def clocked(seconds: dict[str, float], step: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, adding the CPU seconds of every call to `seconds[step]`."""

    @wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        start = process_time()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[step] += process_time() - start

    return timed


def meshes(folder: Path | None, limit: int) -> Iterator[tuple[str, Mesh]]:
    """Names and meshes of a data folder, evenly spaced over its manifest, or the solids of the exactness table."""
    if folder is None:
        yield from ((name, solid.mesh) for name, solid in islice(known_solids(), limit))
        return
    import trimesh

    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows[:: max(1, len(rows) // limit)][:limit]:
        loaded = trimesh.load(folder / row["file"], force="mesh", process=False)
        yield row["id"], Mesh(np.asarray(loaded.vertices, float), np.asarray(loaded.faces, np.int32))


def time_steps(method: str, folder: Path | None, limit: int) -> float:
    """Print median and 95th percentile of every step; return the median of fusion, depth maps included."""
    config = WatertightConfig(method=method)
    watertight.run(solids.chair().mesh, config, seeds.rng(0, "watertight"))  # compile
    rows: list[dict[str, float]] = []
    kept = {step: getattr(*where) for step, where in STEPS.items()}
    try:
        for name, mesh in meshes(folder, limit):
            seconds: dict[str, float] = defaultdict(float)
            for step, (module, attribute) in STEPS.items():
                setattr(module, attribute, clocked(seconds, step, kept[step]))
            start = process_time()
            watertight.run(mesh, config, seeds.rng(0, "watertight", name))
            seconds["all"] = process_time() - start
            rows.append(seconds)
    finally:
        for step, (module, attribute) in STEPS.items():
            setattr(module, attribute, kept[step])
    print(f"\nmethod {method}, {len(rows)} meshes, CPU seconds: median, 95th percentile")
    for step in (*STEPS, "all"):
        values = [r[step] for r in rows]
        if any(values):
            print(f"  {step:16s} {np.median(values):7.3f} {np.quantile(values, 0.95):7.3f}")
    print(f"  peak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")
    fused = ("depth maps", "carve", "signs", "sheets", "basins (with distances, cuts)", "mean field")
    return float(np.median([sum(r[step] for step in fused) for r in rows]))


def dense_mean(maps: depth_maps.DepthMaps, grid: Grid) -> np.ndarray:
    """Every sample in every view, in numpy: mean of truncated differences (maps already moved and eroded)."""
    index = np.stack(np.meshgrid(*(np.arange(s) for s in grid.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    total, count = np.zeros(len(index)), np.zeros(len(index))
    size = maps.depth.shape[1]
    for image, axes in zip(maps.depth, view_axes(maps, grid), strict=True):
        place = index @ axes[:, :3].T + axes[:, 3]
        pixel = np.floor(place[:, :2]).astype(np.int64)
        seen = ((pixel >= 0) & (pixel < size)).all(axis=1)
        pixel = pixel.clip(0, size - 1)
        difference = np.where(seen, image[pixel[:, 1], pixel[:, 0]], np.inf) - place[:, 2]
        difference /= grid.step
        counted = difference >= -tsdf.TRUNCATION
        total += np.where(counted, np.minimum(difference, tsdf.TRUNCATION), 0.0)
        count += counted
    return np.where(count > 0, total / np.maximum(count, 1), -tsdf.TRUNCATION).reshape(grid.shape)


def time_reference(views: int) -> float:
    """CPU seconds of the dense reference for 256³ samples and all views, measured over `views` views of a chair."""
    unit = unit_cube(solids.chair().mesh)[0]
    config = WatertightConfig(method="tsdf")
    directions = watertight_directions(views)
    maps = depth_maps.render_depth(unit.triangles, directions, config.depth_map_size)
    cube = grid_around(np.full(3, -0.5), np.full(3, 0.5), config.resolution, watertight.MARGIN)
    start = process_time()
    dense_mean(maps, cube)
    seconds = (process_time() - start) * config.views / views
    print(
        f"\ndense numpy implementation, {cube.shape} samples, scaled from {views} to {config.views} views: {seconds:.0f} s"
    )
    return seconds


def watertight_directions(views: int) -> np.ndarray:
    """(views, 3) directions as the stage draws them."""
    from occnet_lib.geometry.cameras import random_directions

    return random_directions(views, seeds.rng(0, "watertight"))


def exactness(methods: list[str], samples: int = 1_000_000) -> None:
    """Print how the closed meshes of solids agree with their closed form, upright and turned."""
    print(
        "\nIoU with the exact solid, mean error result to input and input to result, longest edge, faces, closed"
    )
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (samples, 3))
    for method in methods:
        for name, solid in known_solids():
            mixed = solids.shapenet_like(solid.mesh, np.random.default_rng(0))
            result = watertight.run(mixed, WatertightConfig(method=method), seeds.rng(0, "watertight", name))
            ground_truth = solid.inside(points * result.scale + result.loc)
            got = contains(result.mesh, points)
            a = result.audit
            print(
                f"  {method:10s} {name:27s} {(ground_truth & got).sum() / (ground_truth | got).sum():.4f}"
                f"  {a['surface_error_mean']:.5f} {a['input_error_mean']:.5f}  {a['edge_ratio']:.4f}"
                f" {a['faces_out']:6d} {repair.check_watertight(result.mesh).closed}"
            )


def main() -> None:
    """Everything, in one process."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--reference-views", type=int, default=5)
    parser.add_argument("--methods", nargs="+", default=["flood_fill", "carving", "tsdf"])
    parser.add_argument(
        "--against", nargs="*", metavar="METHOD", help="compare with alternatives: side_by_side.py"
    )
    parser.add_argument(
        "--slow-limit", type=int, default=12, help="with --against: meshes for the slow methods"
    )
    parser.add_argument("--time-limit", type=float, default=120, help="with --against: CPU s for each mesh")
    parser.add_argument("--out", type=Path, help="with --against: folder that keeps rows, to continue from")
    parser.add_argument("--images", type=Path, help="with --against: folder for images of hard shapes")
    args = parser.parse_args()
    if args.against is not None:
        from benchmarks.side_by_side import METHODS, compare

        named = [] if args.data is None else list(meshes(args.data, args.limit))
        limits = {"slow_limit": args.slow_limit, "time_limit": args.time_limit}
        compare(named, args.against or list(METHODS), **limits, out=args.out, images=args.images)
        return
    fusion = {method: time_steps(method, args.data, args.limit) for method in args.methods}
    reference = time_reference(args.reference_views)
    for method, seconds in fusion.items():
        print(f"  fusion by method {method}: {seconds:.3f} s, ratio {reference / seconds:.0f}")
    exactness(args.methods)


if __name__ == "__main__":
    main()
