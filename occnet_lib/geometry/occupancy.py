"""Occupancy of and distance to a closed mesh at points."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from occnet_lib.geometry.open3d_import import float32_tensor, import_open3d
from occnet_lib.types import Mesh


def raycasting_scene(mesh: Mesh) -> Any:
    """An open3d RaycastingScene of the mesh, which holds its vertices as float32."""
    o3d = import_open3d()

    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    faces = o3d.core.Tensor.from_numpy(np.ascontiguousarray(mesh.faces, dtype=np.uint32))
    scene.add_triangles(float32_tensor(mesh.vertices), faces)
    return scene


def cast_rays(
    scene: Any, origins: NDArray[np.float64], directions: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First hits of rays, whose origins are (N, 3) or (3,).

    Returns:
        (N,) float64 distance in lengths of `directions`, inf without a hit; (N, 3) float64 unit normals of the triangles,
        of either side.
    """
    rays = np.concatenate([np.broadcast_to(origins, directions.shape), directions], axis=1)
    hits = scene.cast_rays(float32_tensor(rays), nthreads=1)
    distance, normals = (hits[name].numpy().astype(np.float64) for name in ("t_hit", "primitive_normals"))
    return distance, normals


def volume_beyond(mesh: Mesh, edge: float, samples: int, rng: np.random.Generator) -> float:
    """Volume of a closed mesh outside the cube of an edge around the origin, by uniform points in the mesh's bounding box.

    0 without drawing points if the mesh is within the cube.
    """
    low, high = mesh.bounds
    if max(-low.min(), high.max()) <= edge / 2:
        return 0.0
    points = low + rng.random((samples, 3)) * (high - low)
    outside = points[np.abs(points).max(axis=1) > edge / 2]
    return float(np.prod(high - low) * np.count_nonzero(contains(mesh, outside)) / samples)


def contains(mesh: Mesh, points: ArrayLike) -> NDArray[np.bool_]:
    """Test which points lie inside a closed mesh.

    Majority vote of three rays for each point (open3d, Embree), so that rays that graze an edge do no harm.

    Args:
        mesh: closed, in the frame of the points.
        points: (N, 3), taken as float32.

    Returns:
        (N,) bool.
    """
    points = np.ascontiguousarray(points, dtype=np.float32)
    if len(points) == 0 or len(mesh.faces) == 0:
        return np.zeros(len(points), dtype=bool)
    corners = mesh.vertices.astype(np.float32)
    within = ((points >= corners.min(axis=0)) & (points <= corners.max(axis=0))).all(axis=1)
    rays = float32_tensor(points[within])  # most points of the cube are outside the box
    inside = np.zeros(len(points), dtype=bool)
    if within.any():
        inside[within] = raycasting_scene(mesh).compute_occupancy(rays, nthreads=1, nsamples=3).numpy() > 0.5
    return inside


def surface_distance(mesh: Mesh, points: ArrayLike) -> NDArray[np.float64]:
    """(N,) float64 unsigned distances of points (N, 3) to the nearest triangle, closed mesh or not."""
    distance = raycasting_scene(mesh).compute_distance(float32_tensor(points), nthreads=1)
    return distance.numpy().astype(np.float64)


def closest_faces(mesh: Mesh, points: ArrayLike) -> NDArray[np.int64]:
    """(N,) int64 indices of the faces nearest to points (N, 3)."""
    closest = raycasting_scene(mesh).compute_closest_points(float32_tensor(points), nthreads=1)
    return closest["primitive_ids"].numpy().astype(np.int64)


def signed_distance(mesh: Mesh, points: ArrayLike) -> NDArray[np.float64]:
    """Distance of points to a closed mesh, negative inside.

    Args:
        mesh: closed, in the frame of the points.
        points: (N, 3), taken as float32.

    Returns:
        (N,) float64; its sign agrees with `contains` at every point.
    """
    distance = surface_distance(mesh, points)
    return np.where(contains(mesh, points), -distance, distance)


def voxel_centres(resolution: int) -> NDArray[np.float64]:
    """(R³, 3) float64 centres (i + 0.5) / R - 0.5 of the unit cube's voxels, in C order of [x, y, z]."""
    axis = (np.arange(resolution) + 0.5) / resolution - 0.5
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)


def solid_voxels(mesh: Mesh, resolution: int) -> NDArray[np.bool_]:
    """(R, R, R) bool, indexed [x, y, z]: which voxel centres of the unit cube lie inside a closed mesh."""
    return contains(mesh, voxel_centres(resolution)).reshape((resolution,) * 3)


def surface_voxels(mesh: Mesh, resolution: int) -> NDArray[np.bool_]:
    """(R, R, R) bool, indexed [x, y, z]: which voxels of the unit cube, borders included, some face meets.

    Exact, by separating axes (Akenine-Möller 2001, "Fast 3D triangle-box overlap testing"). Only voxels within the
    bounding box of a face are tested, which covers the axes of the box.
    """
    marks = np.zeros((resolution,) * 3, dtype=bool)
    corners = (mesh.triangles + 0.5) * resolution  # voxel i is [i, i + 1]
    low = np.maximum(np.ceil(corners.min(axis=1)).astype(np.intp) - 1, 0)
    high = np.minimum(np.floor(corners.max(axis=1)).astype(np.intp), resolution - 1)
    spans = np.maximum(high - low + 1, 0)
    counts = spans.prod(axis=1)
    whole = counts == 1  # in one voxel alone
    marks[tuple(low[whole].T)] = True
    rest = np.flatnonzero(counts > 1)
    batch = (np.cumsum(counts[rest]) - 1) // _CANDIDATES
    for number in np.unique(batch):
        faces = rest[batch == number]
        face = np.repeat(faces, counts[faces])
        place = np.arange(len(face)) - np.repeat(np.cumsum(counts[faces]) - counts[faces], counts[faces])
        _, rows, columns = spans[face].T
        x, yz = np.divmod(place, rows * columns)
        voxel = low[face] + np.stack([x, *np.divmod(yz, columns)], axis=1)
        marks[tuple(voxel[_meets(corners[face] - voxel[:, None] - 0.5)].T)] = True
    return marks


_CANDIDATES = 200_000  # pairs of a face and a voxel in a batch


def _meets(corners: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(P,) whether triangles (P, 3, 3) meet the box [-0.5, 0.5]³ along the axes that are not those of the box."""
    edges = np.roll(corners, -1, axis=1) - corners
    axes = [np.cross(edges[:, 0], edges[:, 1])]
    for edge in np.moveaxis(edges, 1, 0):
        axes += [np.cross(unit, edge) for unit in np.eye(3)]
    meets = np.ones(len(corners), dtype=bool)
    for axis in axes:
        along = np.einsum("pck,pk->pc", corners, axis)
        radius = 0.5 * np.abs(axis).sum(axis=1) + _TOUCH
        meets &= (along.min(axis=1) <= radius) & (along.max(axis=1) >= -radius)
    return meets


_TOUCH = 1e-9  # voxels, tolerance for contact
