"""Meshes inside the page, for viewer.js."""

from __future__ import annotations

import base64
import json
import logging

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.simplify import simplify
from occnet_lib.types import Mesh

LOG = logging.getLogger(__name__)
Camera = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float]
_FACES = 3000
_MOST_FACES = 20000  # of a mesh that would not stay closed with fewer
_LEVELS = 2**16 - 1


def encode(mesh: Mesh) -> str | None:
    """A mesh of some 3,000 faces as base64; None where it cannot be that small.

    Little-endian: uint32 V and F; float32 lowest corner (3) and step; uint16 vertices (V, 3) in steps from the
    corner; uint16 faces (F, 3). A step is 1/65,535 of the longest edge of the bounding box.
    """
    small = simplify(Mesh(mesh.vertices, mesh.faces), _FACES)
    if len(small.faces) > _MOST_FACES or len(small.vertices) > _LEVELS:
        LOG.warning("a mesh of %d faces is too large to be turned in the report", len(small.faces))
        return None
    low = small.vertices.min(0)
    step = max(float((small.vertices.max(0) - low).max()) / _LEVELS, np.finfo(np.float32).tiny)
    parts = (
        np.array(small.faces.shape[:1], "<u4"),
        np.array([*low, step], "<f4"),
        np.rint((small.vertices - low) / step).clip(0, _LEVELS).astype("<u2"),
        small.faces.astype("<u2"),
    )
    data = np.uint32(len(small.vertices)).astype("<u4").tobytes() + b"".join(part.tobytes() for part in parts)
    return base64.b64encode(data).decode()


def encode_camera(camera: Camera) -> str:
    """A photo's camera in the unit frame of its shape, as JSON: position, up, forward, fov (degrees, upright), aspect.

    Args:
        camera: camera_mat (pixels, principal point in the middle), world_mat, loc and scale as `Shard.camera` gives them.
    """
    camera_mat, world_mat, loc, scale = camera
    rotation = world_mat[:, :3]
    position = (-rotation.T @ world_mat[:, 3] - loc) / scale
    half = camera_mat[:2, 2] / camera_mat[[0, 1], [0, 1]]
    view = {"position": position, "up": -rotation[1], "forward": rotation[2]}
    numbers = {name: np.round(vector, 6).tolist() for name, vector in view.items()}
    lens = {"fov": 2 * np.degrees(np.arctan(half[1])), "aspect": half[0] / half[1]}
    return json.dumps(numbers | {name: round(float(value), 6) for name, value in lens.items()})
