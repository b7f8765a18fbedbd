"""Shapes that occur twice, also scaled, rotated or mirrored, and how near test shapes are to training shapes.

Candidates (`descriptors`) are verified by the distance between their surfaces after alignment of the principal axes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.evaluation.voxel_grids import Grids
from occnet_lib.geometry.occupancy import raycasting_scene
from occnet_lib.geometry.open3d_import import float32_tensor
from occnet_lib.geometry.similarity import Similarity
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.tables import write_rows
from occnet_lib.types import ShapeKey

from .descriptors import Described, candidate_pairs, describe

logger = logging.getLogger(__name__)
SAME = 0.002
"""Mean distance of two surfaces, in longest edges, below which shapes are near-duplicates."""
PAIR_COLUMNS = ("category", "id", "split", "other_category", "other_id", "other_split", "kind", "distance")
NEAREST_COLUMNS = ("category", "id", "nearest_category", "nearest_id", "voxel_iou", "distance")
_MOST_VERIFIED = 2000  # pairs, the most similar ones
_SAMPLES = 1500  # surface points for a distance
_COARSE = 100  # of these, to choose among transforms
_STEP = 250  # of these, after which a distance that is too large already is given up
_YAWS = 24
_CANDIDATES = 5  # training shapes of the highest voxel IoU whose distance is measured


def near_duplicates(shapes: Described) -> list[dict[str, Any]]:
    """Rows with `PAIR_COLUMNS`, sorted by distance.

    `kind`: copy (equal up to scale and translation, which the unit frame removes), rotated, or mirrored (and perhaps
    rotated).
    """
    pairs = candidate_pairs(shapes.descriptors)
    if len(pairs) > _MOST_VERIFIED:
        text = "%d pairs of shapes have similar descriptors; the %d most similar ones are verified"
        logger.warning(text, len(pairs), _MOST_VERIFIED)
    samples = cache(lambda k: _samples(*shapes.places[k]))  # a shape is in several pairs
    rows = []
    for a, b in pairs[:_MOST_VERIFIED]:
        kind, distance = _verify(shapes, a, b, [samples(a), samples(b)])
        if distance < SAME:
            one, two = sorted(
                (shapes.key(a), shapes.key(b)), key=lambda key: (_SPLITS.index(key.split), key.name)
            )
            rows.append(_pair_row(one, two, kind, distance))
    return sorted(rows, key=lambda row: (row["distance"], row["id"], row["other_id"]))


def _samples(shard: Shard, i: int) -> NDArray[np.float64]:
    """Surface points (at most 1500, 3) of a shape for a distance."""
    return shard.surface_points(i)[:_SAMPLES].astype(np.float64)


_SPLITS = ("test", "val", "train")


def _pair_row(one: ShapeKey, two: ShapeKey, kind: str, distance: float) -> dict[str, Any]:
    values = (one.category, one.id, one.split, two.category, two.id, two.split, kind, round(distance, 6))
    return dict(zip(PAIR_COLUMNS, values, strict=True))


def _verify(shapes: Described, a: int, b: int, points: Sequence[NDArray[np.float64]]) -> tuple[str, float]:
    """The least distance between two shapes under the transforms to try, and what the best one is.

    Distances of `SAME` or more need not be exact: such a pair is not reported.
    """
    (shard_a, i), (shard_b, j) = shapes.places[a], shapes.places[b]
    meshes = shard_a.mesh(i), shard_b.mesh(j)
    if not all(len(mesh.faces) for mesh in meshes):
        return "", np.inf
    still = Similarity(1.0, np.eye(3), np.zeros(3))
    scenes = [raycasting_scene(mesh) for mesh in meshes]
    plain = surfaces_distance(points, scenes, still, SAME)
    if plain < SAME:
        return "copy", plain
    tried = list(_transforms(shapes, a, b))
    coarse = _coarse_distances([part[:_COARSE] for part in points], scenes, tried)
    best = [tried[k] for k in np.argsort(coarse, kind="stable")[:3].tolist()]
    exact = [surfaces_distance(points, scenes, transform, SAME) for transform in best]
    k = int(np.argmin(exact))
    mirrored = np.linalg.det(best[k].rotation) < 0
    return ("mirrored" if mirrored else "rotated"), exact[k]


def _transforms(shapes: Described, a: int, b: int) -> Iterator[Similarity]:
    """Similarities and reflections from one shape to another: between principal axes, and about the up axis."""
    from scipy.spatial.transform import Rotation

    scale = float(shapes.scales[b] / shapes.scales[a])
    signs = [np.diag([x, y, z]) for x in (1, -1) for y in (1, -1) for z in (1, -1)]
    turns = [shapes.axes[b] @ sign @ shapes.axes[a].T for sign in signs]
    angles = np.arange(_YAWS) * (2.0 * np.pi / _YAWS)
    yaws = Rotation.from_euler("y", angles[:, None]).as_matrix()
    for turn in [*turns, *yaws, *(yaws @ np.diag([-1.0, 1.0, 1.0]))]:
        yield Similarity(scale, turn, shapes.centres[b] - scale * turn @ shapes.centres[a])


def surfaces_distance(
    points: Sequence[NDArray[np.float64]], scenes: Sequence[Any], transform: Similarity, limit: float = np.inf
) -> float:
    """Mean distance of points of each of two surfaces to the other one, the first transformed; in units of the second.

    Args:
        points: (N, 3) and (M, 3) samples of the surfaces.
        scenes: of `raycasting_scene`.
        transform: from the frame of the first to that of the second.
        limit: as soon as the distance is certain to be larger, the result is infinite, without evaluating all points.
    """
    back = transform.inverse()
    forward, backward = np.zeros(len(points[0])), np.zeros(len(points[1]))
    step = max(len(forward), len(backward), 1) if np.isinf(limit) else _STEP
    for start in range(0, max(len(forward), len(backward)), step):
        part = slice(start, start + step)
        forward[part] = _distances(scenes[1], transform.apply(points[0][part]))
        backward[part] = _distances(scenes[0], back.apply(points[1][part])) * transform.scale
        if _mean(forward, backward) > limit * (1.0 + 1e-9):  # points to come are 0 here
            return np.inf
    return _mean(forward, backward)


def _mean(forward: NDArray[np.float64], backward: NDArray[np.float64]) -> float:
    return float(0.5 * (forward.mean() + backward.mean()))


def _coarse_distances(
    points: Sequence[NDArray[np.float64]], scenes: Sequence[Any], transforms: Sequence[Similarity]
) -> NDArray[np.float64]:
    """(T,) `surfaces_distance` under each of the transforms, by one query of each scene."""
    forward = _distances(scenes[1], np.stack([transform.apply(points[0]) for transform in transforms]))
    backward = _distances(
        scenes[0], np.stack([transform.inverse().apply(points[1]) for transform in transforms])
    )
    scales = np.array([transform.scale for transform in transforms])[:, None]
    return np.asarray(0.5 * (forward.mean(axis=1) + (backward * scales).mean(axis=1)))


def _distances(scene: Any, points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(scene.compute_distance(float32_tensor(points), nthreads=1).numpy(), np.float64)


def nearest_training(train: Sequence[Shard], test: Sequence[Shard]) -> list[dict[str, Any]]:
    """Rows with `NEAREST_COLUMNS`: the training shape nearest to each test shape, both in the unit frame as they are.

    Of the five training shapes of the highest voxel IoU, that with the least mean distance of the surfaces.
    """
    grids, names = Grids.of(train)
    places = {key.name: (shard, i) for shard in train for i, key in enumerate(shard.keys)}
    rows = []
    still = Similarity(1.0, np.eye(3), np.zeros(3))
    for shard in test:
        for i, key in enumerate(shard.keys):
            voxels, mesh = shard.voxels(i), shard.mesh(i)
            if not names or not voxels.any() or not len(mesh.faces):
                continue
            own = _samples(shard, i)
            scene, ious = raycasting_scene(mesh), grids.iou(voxels)
            measured = []
            for k in np.argsort(-ious, kind="stable")[:_CANDIDATES].tolist():
                other, j = places[names[k]]
                other_mesh = other.mesh(j)
                if len(other_mesh.faces):
                    pair = (own, _samples(other, j)), (scene, raycasting_scene(other_mesh))
                    measured.append((surfaces_distance(*pair, still), k))
            if measured:
                distance, k = min(measured)
                other, j = places[names[k]]
                near = other.keys[j]
                values = key.category, key.id, near.category, near.id, float(ious[k]), distance
                rows.append(dict(zip(NEAREST_COLUMNS, values, strict=True)))
    return rows


def write_duplicates(packs: Sequence[Path], out: Path) -> int:
    """Write duplicates.csv and nearest.csv into a folder; the number of pairs of near-duplicates.

    Raises:
        DataError: a shard is missing or corrupt.
    """
    shards = [Shard(path) for path in packs]
    rows = near_duplicates(describe(shards))
    parts = [[shard for shard in shards if shard.split == split] for split in ("train", "test")]
    if not all(parts):
        logger.warning("no training shards or no test shards are given: %s stays empty", out / "nearest.csv")
    write_rows(out / "nearest.csv", nearest_training(*parts), NEAREST_COLUMNS)
    write_rows(out / "duplicates.csv", rows, PAIR_COLUMNS)
    return len(rows)
