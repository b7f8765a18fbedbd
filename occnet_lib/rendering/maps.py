"""Depth, mask and normals of a view, as `types.Views.extra` defines them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.types import DEPTH_STEP, Mesh


def maps(
    names: Sequence[str],
    mesh: Mesh,
    ids: NDArray[np.int32],
    coverage: NDArray[np.float32],
    camera_mat: NDArray[np.float64],
    world_mat: NDArray[np.float64],
) -> dict[str, NDArray[Any]]:
    """Those of "depth", "mask" and "normals" that are asked for, of one view.

    Args:
        names: which.
        mesh: view frame.
        ids: (H, W) number of the face seen at, or just beside, the centre of every pixel, -1 where there is none.
        coverage: (H, W) share of every pixel that the mesh covers.
        camera_mat: (3, 3) intrinsics in pixels.
        world_mat: (3, 4) extrinsics, view frame to camera.
    """
    found: dict[str, NDArray[Any]] = {}
    if "mask" in names:
        found["mask"] = np.round(255 * coverage).astype(np.uint8)
    if "depth" in names or "normals" in names:
        depth, normals = _at_centres(mesh, ids, camera_mat, world_mat)
        seen = ids >= 0
        if "depth" in names:
            found["depth"] = np.zeros(ids.shape, np.uint16)
            found["depth"][seen] = np.clip(np.round(depth / DEPTH_STEP), 1, 2**16 - 1)
        if "normals" in names:
            found["normals"] = np.zeros((*ids.shape, 3), np.uint8)
            found["normals"][seen] = np.round(127 * normals) + 128
    return {name: found[name] for name in names}


def _at_centres(
    mesh: Mesh, ids: NDArray[np.int32], camera_mat: NDArray[np.float64], world_mat: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Depth (P,) and unit normal (P, 3), camera frame, of the faces seen, where the pixels' rays meet their planes."""
    rows, columns = np.nonzero(ids >= 0)
    corners = mesh.vertices[mesh.faces[ids[rows, columns]]] @ world_mat[:, :3].T + world_mat[:, 3]
    a, b, c = np.moveaxis(corners, 1, 0)
    normals = np.cross(b - a, c - a)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    normals /= np.where(lengths > 0, lengths, 1.0)
    offset = np.einsum("pk,pk->p", normals, a)
    normals[offset > 0] *= -1.0  # towards the camera
    pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], axis=1)
    rays = pixels @ np.linalg.inv(camera_mat).T  # of depth 1
    slope = np.einsum("pk,pk->p", normals, rays)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = -np.abs(offset) / slope
    # Beside the face itself its plane may be anywhere, or edge-on.
    near, far = corners[:, :, 2].min(axis=1), corners[:, :, 2].max(axis=1)
    depth = np.clip(np.where(np.isfinite(depth), depth, (near + far) / 2), near, far)
    return depth, normals
