"""Occupancy of and distance to a closed mesh at points."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from occnet_lib.geometry.open3d_import import import_open3d
from occnet_lib.types import Mesh


def raycasting_scene(mesh: Mesh) -> Any:
    """An open3d RaycastingScene of the mesh, which holds its vertices as float32."""
    o3d = import_open3d()

    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(
        o3d.core.Tensor.from_numpy(np.ascontiguousarray(mesh.vertices, dtype=np.float32)),
        o3d.core.Tensor.from_numpy(np.ascontiguousarray(mesh.faces, dtype=np.uint32)),
    )
    return scene


def triangle_scene(triangles: NDArray[np.float64]) -> Any:
    """As `raycasting_scene`, of triangles (F, 3, 3)."""
    return raycasting_scene(Mesh.from_triangles(triangles))


def contains(mesh: Mesh, points: ArrayLike) -> NDArray[np.bool_]:
    """Test which points lie inside a closed mesh.

    Majority vote of three rays for each point (open3d, Embree), so that rays that graze an edge do no harm.

    Args:
        mesh: closed, in the frame of the points.
        points: (N, 3), taken as float32.

    Returns:
        (N,) bool.
    """
    o3d = import_open3d()

    points = np.ascontiguousarray(points, dtype=np.float32)
    if len(points) == 0 or len(mesh.faces) == 0:
        return np.zeros(len(points), dtype=bool)
    corners = mesh.vertices.astype(np.float32)
    within = ((points >= corners.min(axis=0)) & (points <= corners.max(axis=0))).all(axis=1)
    rays = o3d.core.Tensor.from_numpy(points[within])  # most points of the cube are outside the box
    inside = np.zeros(len(points), dtype=bool)
    if within.any():
        inside[within] = raycasting_scene(mesh).compute_occupancy(rays, nthreads=1, nsamples=3).numpy() > 0.5
    return inside


def surface_distance(mesh: Mesh, points: ArrayLike) -> NDArray[np.float64]:
    """(N,) float64 unsigned distances of points (N, 3) to the nearest triangle, closed mesh or not."""
    o3d = import_open3d()

    points = np.ascontiguousarray(points, dtype=np.float32)
    distance = raycasting_scene(mesh).compute_distance(o3d.core.Tensor.from_numpy(points), nthreads=1)
    return distance.numpy().astype(np.float64)


def closest_faces(mesh: Mesh, points: ArrayLike) -> NDArray[np.int64]:
    """(N,) int64 indices of the faces nearest to points (N, 3)."""
    o3d = import_open3d()

    points = np.ascontiguousarray(points, dtype=np.float32)
    closest = raycasting_scene(mesh).compute_closest_points(o3d.core.Tensor.from_numpy(points), nthreads=1)
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
