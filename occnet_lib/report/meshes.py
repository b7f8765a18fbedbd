"""Meshes and points inside the page, for viewer.js."""

from __future__ import annotations

import base64
import json
import logging

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.simplify import simplify
from occnet_lib.geometry.surface_error import surface_error
from occnet_lib.storage.point_clouds import QueriedPoints
from occnet_lib.types import Mesh

from .coloring import ERROR_LIMIT

LOG = logging.getLogger(__name__)
Camera = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float]
_FACES = 3000
_MOST_FACES = 20000  # of a mesh that would not stay closed with fewer
_LONGEST_EDGE = 0.05  # of faces whose corners have errors
_LEVELS = 2**16 - 1


def encode(mesh: Mesh, ground_truth: Mesh | None = None) -> str | None:
    """A mesh of some 3,000 faces as base64; None where it cannot be that small.

    Little-endian: uint32 V and F; float32 lowest corner (3) and step; uint16 vertices (V, 3) in steps from the
    corner; uint16 faces (F, 3); with a ground truth uint8 errors (V,). A step is 1/65,535 of the longest edge of the
    bounding box; an error is the signed distance to the ground truth, 127 for none, 0 and 254 for -`ERROR_LIMIT` and
    `ERROR_LIMIT` and beyond. With errors, large faces are divided.

    Args:
        mesh: unit frame.
        ground_truth: closed mesh, unit frame.
    """
    small = simplify(Mesh(mesh.vertices, mesh.faces), _FACES)
    codes = np.zeros(0, "u1")
    if ground_truth is not None:
        small, errors = surface_error(small, ground_truth, _LONGEST_EDGE)
        codes = np.rint(127 * (1.0 + np.clip(errors / ERROR_LIMIT, -1.0, 1.0))).astype("u1")
    if len(small.faces) > _MOST_FACES or len(small.vertices) > _LEVELS:
        LOG.warning("a mesh of %d faces is too large to be turned in the report", len(small.faces))
        return None
    counts = np.array([len(small.vertices), len(small.faces)], "<u4")
    return _base64(counts, *_quantized(small.vertices), small.faces.astype("<u2"), codes)


def encode_points(cloud: QueriedPoints) -> str:
    """Queried points as base64.

    Little-endian: uint32 N; float32 lowest corner (3) and step; uint16 points (N, 3) as in `encode`; uint8 probability
    (N,) in 255ths; uint8 number of the outcome (N,); uint8 whether predicted inside (N,).
    """
    probability = np.rint(255 * cloud.probability).astype("u1")
    count = np.array([len(cloud.points)], "<u4")
    flags = cloud.outcomes, cloud.predicted.astype("u1")
    return _base64(count, *_quantized(cloud.points), probability, *flags)


def _quantized(points: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """Lowest corner and step (4,), and points (N, 3) in steps from the corner."""
    if not len(points):
        return np.zeros(4, "<f4"), np.zeros((0, 3), "<u2")
    low = points.min(0)
    step = max(float((points.max(0) - low).max()) / _LEVELS, np.finfo(np.float32).tiny)
    levels = np.rint((points - low) / step).clip(0, _LEVELS)
    return np.array([*low, step], "<f4"), levels.astype("<u2")


def _base64(*parts: NDArray[np.generic]) -> str:
    return base64.b64encode(b"".join(part.tobytes() for part in parts)).decode()


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
