"""The face visible in each pixel, by ray casting (open3d's Embree); needs no OpenGL."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.occupancy import raycasting_scene
from occnet_lib.geometry.open3d_import import float32_tensor
from occnet_lib.types import Mesh


def face_ids(
    mesh: Mesh, camera_mat: NDArray[np.float64], world_mat: NDArray[np.float64], size: int
) -> Iterator[NDArray[np.int32]]:
    """The face visible at the centre of each pixel; see `pyrender_backend.face_ids`."""
    scene = raycasting_scene(mesh)
    for intrinsic, extrinsic in zip(camera_mat, world_mat, strict=True):
        ids = np.full((size, size), -1, np.int32)
        rows, columns = _window(mesh, intrinsic, extrinsic, size)
        rays = _rays(intrinsic, extrinsic, rows, columns)
        hits = scene.cast_rays(float32_tensor(rays), nthreads=1)["primitive_ids"].numpy()
        ids[rows.start : rows.stop, columns.start : columns.stop] = hits.view(np.int32)  # no hit is 2³² - 1
        yield ids


def _window(
    mesh: Mesh, intrinsic: NDArray[np.float64], extrinsic: NDArray[np.float64], size: int
) -> tuple[range, range]:
    """Rows and columns of the image outside which no ray can hit, from the corners of the bounding box."""
    corners = np.array(np.meshgrid(*zip(*mesh.bounds, strict=True))).reshape(3, -1).T
    image = (corners @ extrinsic[:, :3].T + extrinsic[:, 3]) @ intrinsic.T
    if image[:, 2].min() <= 1e-6:  # the camera is within the box
        return range(size), range(size)
    uv = image[:, :2] / image[:, 2:]
    u0, v0 = np.clip(np.floor(uv.min(axis=0)) - 1, 0, size).astype(int)
    u1, v1 = np.clip(np.ceil(uv.max(axis=0)) + 1, 0, size).astype(int)
    return range(v0, v1), range(u0, u1)


def _rays(
    intrinsic: NDArray[np.float64], extrinsic: NDArray[np.float64], rows: range, columns: range
) -> NDArray[np.float32]:
    """(rows, columns, 6) origin and direction of the rays through the centres of pixels."""
    rotation, translation = extrinsic[:, :3], extrinsic[:, 3]
    u, v = np.meshgrid(np.array(columns) + 0.5, np.array(rows) + 0.5)
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1)
    rays = np.zeros((len(rows), len(columns), 6), np.float32)
    rays[..., :3] = -rotation.T @ translation
    rays[..., 3:] = pixels @ (rotation.T @ np.linalg.inv(intrinsic)).T
    return rays
