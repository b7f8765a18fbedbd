"""The meshes that `benchmarks/watertight.py --against` measures on, as files for the processes that measure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from occnet_lib.geometry import exact, occupancy
from occnet_lib.geometry.cameras import random_directions
from occnet_lib.geometry.normalise import unit_cube
from occnet_lib.storage import atomic
from occnet_lib.types import Mesh
from tests.support import geometry_solids as solids

Named = tuple[str, Mesh]

MARGIN = 0.05  # of the box in which points are drawn for the IoU, beyond the mesh
POINTS = 200_000  # for the IoU
SURFACE_POINTS = 20_000  # for the distances


@dataclass(frozen=True)
class Shape:
    """An input on disk.

    Attributes:
        name: unique.
        file: as `watertight_alternatives.measure` reads it.
        digest: of its content.
        solid: its inside is known.
        real: of the data folder.
    """

    name: str
    file: Path
    digest: str
    solid: bool
    real: bool


def known() -> dict[str, solids.Solid]:
    """Solids whose inside is known, turned so that no grid has an advantage."""
    turn = solids.rotation(1)
    made = {
        "sphere": solids.sphere,
        "torus": solids.torus,
        "chair": solids.chair,
        "bored block": solids.bored_block,
        "deep cup": solids.cup,
    }
    return {name: make().rotated(turn) for name, make in made.items()}


def shapes_of(named: Iterable[Named], place: Path) -> list[Shape]:
    """The real meshes and then the known solids, written for the processes that measure."""
    place.mkdir(parents=True, exist_ok=True)
    shapes = [written(name, mesh, None, place) for name, mesh in named]
    return shapes + [written(f"solid: {name}", s.mesh, s.inside, place) for name, s in known().items()]


def written(name: str, mesh: Mesh, inside: solids.Inside | None, place: Path) -> Shape:
    """A shape in a file, with points that are seen, and if its inside is known points whose occupancy is known.

    Without `inside` it is known if the mesh bounds a solid. A file that is there for the same mesh is kept.
    """
    unit, loc, scale = unit_cube(mesh)
    digest = hashlib.sha256(unit.vertices.tobytes() + unit.faces.tobytes()).hexdigest()[:16]
    file = place / f"{name.replace(': ', '-').replace(' ', '-')}-{digest}.npz"
    if not file.exists():
        rng = np.random.default_rng(0)
        low, high = unit.vertices.min(axis=0) - MARGIN, unit.vertices.max(axis=0) + MARGIN
        points = rng.uniform(low, high, (POINTS, 3)).astype(np.float32).astype(np.float64)
        if inside is not None:
            occupied = inside(points * scale + loc)
        else:
            solid = exact.exact_solid(unit).mesh
            points, occupied = (
                (points[:0], []) if solid is None else (points, occupancy.contains(solid, points))
            )
        arrays = {"vertices": unit.vertices, "faces": unit.faces, "points": points, "inside": occupied}
        arrays |= {"seen": seen_points(unit, SURFACE_POINTS)}
        with atomic.replacing(file) as new:
            np.savez(new, **arrays)
    with np.load(file) as data:
        return Shape(name, file, digest, solid=len(data["points"]) > 0, real=inside is None)


def seen_points(mesh: Mesh, count: int) -> np.ndarray:
    """Points of a mesh that rays from outside meet first, from 64 directions."""
    import open3d

    rng = np.random.default_rng(0)
    directions = random_directions(64, rng)
    each = count // 16  # most rays miss
    rays = np.zeros((64, each, 6), np.float32)
    for i, direction in enumerate(directions):
        side = np.linalg.qr(np.column_stack([direction, rng.normal(size=(3, 2))]))[0][:, 1:]
        offsets = rng.uniform(-0.9, 0.9, (each, 2)) @ side.T
        rays[i, :, :3], rays[i, :, 3:] = offsets + 2 * direction, -direction
    flat = rays.reshape(-1, 6)
    hit = occupancy.raycasting_scene(mesh).cast_rays(open3d.core.Tensor(flat), nthreads=1)["t_hit"].numpy()
    good = np.isfinite(hit)
    points = flat[good, :3] + hit[good, None] * flat[good, 3:]
    return points[rng.permutation(len(points))[:count]]
