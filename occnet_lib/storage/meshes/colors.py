"""Looks of loaded parts: materials, textures, vertex and face colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.colors import DEFAULT_COLOR
from occnet_lib.records import Texture

from .parts import Part

# What trimesh puts in place of a material that the file names but does not describe, with an image of 2 x 2.
_UNSET = (102, 102, 102, 255)


def part_of(vertices: NDArray[np.float64], faces: NDArray[np.int64], visual: Any) -> Part:
    """A part with its looks.

    Args:
        vertices: (V, 3).
        faces: (F, 3).
        visual: trimesh's description of the part's looks.

    Returns:
        the part, its vertices once a face where colours belong to faces.
    """
    if not getattr(visual, "defined", False):
        return Part(vertices, faces)
    if visual.kind == "face":
        colors = _bytes_to_float(visual.face_colors)
        vertices, faces = vertices[faces].reshape(-1, 3), np.arange(3 * len(faces)).reshape(-1, 3)
        return Part(vertices, faces, np.repeat(colors, 3, axis=0))
    if visual.kind == "vertex":
        colors = _bytes_to_float(visual.vertex_colors)
        return Part(vertices, faces, colors)
    return _with_material(vertices, faces, visual)


def _bytes_to_float(colors: Any) -> NDArray[np.float32]:
    """(N, 3) float32 in [0, 1] of (N, 3 or 4) bytes or floats; NaN becomes grey."""
    array = np.asarray(colors)
    scale = 255.0 if array.dtype.kind in "ui" else 1.0
    values = array[:, :3].astype(np.float32) / np.float32(scale)
    return np.clip(np.nan_to_num(values, nan=DEFAULT_COLOR), 0.0, 1.0)


def _with_material(vertices: NDArray[np.float64], faces: NDArray[np.int64], visual: Any) -> Part:
    """Colour factor and texture of a material."""
    material = visual.material
    # PBRMaterial (COLLADA) and SimpleMaterial name things differently.
    pbr = hasattr(material, "baseColorFactor")
    factor = material.baseColorFactor if pbr else material.diffuse
    image = getattr(material, "baseColorTexture" if pbr else "image", None)
    if (
        not pbr
        and not material.kwargs
        and tuple(factor) == _UNSET
        and (image is None or image.size == (2, 2))
    ):
        return Part(vertices, faces)
    flat = np.ones(3, np.float32) if factor is None else _bytes_to_float(np.asarray(factor)[None])[0]
    colors = np.tile(flat, (len(vertices), 1))
    uv = getattr(visual, "uv", None)
    if image is None or uv is None or len(uv) != len(vertices):
        return Part(vertices, faces, colors)
    pixels = np.asarray(image.convert("RGB"), np.uint8)
    down = np.array(uv, np.float32)[:, :2]
    down[:, 1] = 1 - down[:, 1]
    # The texture takes the place of the colour: many exporters write black beside a texture.
    return Part(vertices, faces, None, down[faces], Texture(pixels))
