"""Colours of loaded meshes: materials, textures, vertex and face colours become sRGB vertex colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Grey, for parts of a coloured mesh that have no colour themselves.
DEFAULT_COLOR = 0.7

# What trimesh puts in place of a material that the file names but does not describe, with an image of 2 x 2.
_UNSET = (102, 102, 102, 255)


def linear_to_srgb(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """sRGB of linear light, both in [0, 1] (IEC 61966-2-1)."""
    values = np.clip(values, 0.0, 1.0)
    return np.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055).astype(
        np.float32
    )


def srgb_to_linear(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Linear light of sRGB, both in [0, 1] (IEC 61966-2-1)."""
    values = np.clip(values, 0.0, 1.0)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


def part_colors(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], visual: Any, *, linear: bool
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float32] | None]:
    """Bring a part's colours to its vertices.

    Args:
        vertices: (V, 3).
        faces: (F, 3).
        visual: trimesh's description of the part's looks.
        linear: factors and vertex colours are linear light (glTF), textures never are.

    Returns:
        vertices and faces, the vertices once a face where colours belong to faces, and (V, 3)
        float32 colours, or None where the file tells none.
    """
    if not getattr(visual, "defined", False):
        return vertices, faces, None
    if visual.kind == "face":
        colors = _bytes_to_float(visual.face_colors)
        vertices, faces = vertices[faces].reshape(-1, 3), np.arange(3 * len(faces)).reshape(-1, 3)
        return vertices, faces, np.repeat(colors, 3, axis=0)
    if visual.kind == "vertex":
        colors = _bytes_to_float(visual.vertex_colors)
        return vertices, faces, linear_to_srgb(colors) if linear else colors
    return vertices, faces, _material_colors(visual, len(vertices), linear)


def _bytes_to_float(colors: Any) -> NDArray[np.float32]:
    """(N, 3) float32 in [0, 1] of (N, 3 or 4) bytes or floats; NaN becomes grey."""
    array = np.asarray(colors)
    scale = 255.0 if array.dtype.kind in "ui" else 1.0
    values = array[:, :3].astype(np.float32) / np.float32(scale)
    return np.clip(np.nan_to_num(values, nan=DEFAULT_COLOR), 0.0, 1.0)


def _material_colors(visual: Any, count: int, linear: bool) -> NDArray[np.float32] | None:
    """Colour factor times texture of a material, at every vertex."""
    material = visual.material
    # PBRMaterial (glTF, COLLADA) and SimpleMaterial (OBJ) name things differently.
    pbr = hasattr(material, "baseColorFactor")
    factor = material.baseColorFactor if pbr else material.diffuse
    image = getattr(material, "baseColorTexture" if pbr else "image", None)
    texture = _sample(image, getattr(visual, "uv", None), count)
    if (
        not pbr
        and not material.kwargs
        and tuple(factor) == _UNSET
        and (image is None or image.size == (2, 2))
    ):
        return None
    flat = np.ones(3, np.float32) if factor is None else _bytes_to_float(np.asarray(factor)[None])[0]
    if texture is None:
        return np.tile(linear_to_srgb(flat) if linear else flat, (count, 1))
    if linear:
        return linear_to_srgb(flat * srgb_to_linear(texture))
    # Elsewhere the texture takes the place of the colour: many exporters write black beside a texture.
    return texture


def _sample(image: Any, uv: Any, count: int) -> NDArray[np.float32] | None:
    """Nearest pixel of a repeating texture at uv (count, 2), v upwards; None without texture or uv."""
    if image is None or uv is None or len(uv) != count:
        return None
    pixels = np.asarray(image.convert("RGB"), np.float32) / 255
    height, width = pixels.shape[:2]
    u, v = np.nan_to_num(np.asarray(uv, np.float64)[:, :2], posinf=0.0, neginf=0.0).T
    column = np.minimum(((u % 1.0) * width).astype(int), width - 1)
    row = np.minimum(((1.0 - v) % 1.0 * height).astype(int), height - 1)
    return pixels[row, column]
