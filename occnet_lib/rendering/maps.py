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
    """The requested maps ("depth", "mask", "normals") of one view.

    Args:
        names: the requested maps.
        mesh: view frame.
        ids: (H, W) index of the face visible at, or just beside, the centre of each pixel; -1 for the background.
        coverage: (H, W) fraction of each pixel that the mesh covers.
        camera_mat: (3, 3) intrinsics in pixels.
        world_mat: (3, 4) extrinsics, view frame to camera.
    """
    out: dict[str, NDArray[Any]] = {}
    if "mask" in names:
        out["mask"] = np.round(255 * coverage).astype(np.uint8)
    if "depth" in names or "normals" in names:
        depth, normals = _at_centres(mesh, ids, camera_mat, world_mat)
        visible = ids >= 0
        if "depth" in names:
            out["depth"] = np.zeros(ids.shape, np.uint16)
            out["depth"][visible] = np.clip(np.round(depth / DEPTH_STEP), 1, 2**16 - 1)
        if "normals" in names:
            out["normals"] = np.zeros((*ids.shape, 3), np.uint8)
            out["normals"][visible] = np.round(127 * normals) + 128
    return {name: out[name] for name in names}


def _at_centres(
    mesh: Mesh, ids: NDArray[np.int32], camera_mat: NDArray[np.float64], world_mat: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Depth (P,) and unit normal (P, 3), camera frame, of the visible faces, where the pixels' rays meet their planes."""
    rows, columns = np.nonzero(ids >= 0)
    corners = mesh.vertices[mesh.faces[ids[rows, columns]]] @ world_mat[:, :3].T + world_mat[:, 3]
    normals = Mesh.from_triangles(corners).face_normals
    offset = np.einsum("pk,pk->p", normals, corners[:, 0])
    normals[offset > 0] *= -1.0  # towards the camera
    pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], axis=1)
    rays = pixels @ np.linalg.inv(camera_mat).T  # of depth 1
    cosine = np.einsum("pk,pk->p", normals, rays)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = -np.abs(offset) / cosine
    # Outside the face, its plane may be anywhere, or edge-on.
    near, far = corners[:, :, 2].min(axis=1), corners[:, :, 2].max(axis=1)
    depth = np.clip(np.where(np.isfinite(depth), depth, (near + far) / 2), near, far)
    return depth, normals
