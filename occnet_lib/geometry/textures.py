"""Sampling the textures of a mesh."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from occnet_lib.types import Mesh, Texture, Wrap

from .colors import DEFAULT_COLOR, linear_to_srgb, srgb_to_linear


def nearest_pixels(texture: Texture, uv: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Pixels of a texture, unfiltered.

    Args:
        texture: image and wrapping.
        uv: (..., 2) as in `types.Texturing`; values that are not finite count as 0.

    Returns:
        (..., 3) uint8 sRGB.
    """
    height, width = texture.pixels.shape[:2]
    column = _wrapped(uv[..., 0], width, texture.wrap[0])
    row = _wrapped(uv[..., 1], height, texture.wrap[1])
    return texture.pixels[row, column]


def bake(mesh: Mesh) -> Mesh:
    """The mesh with its textures sampled at the vertices, as vertex colours; unchanged without textures.

    A vertex gets the mean of its faces' corners in linear light. Detail between vertices is lost: use it for meshes
    finer than their textures, and for file formats with vertex colours only.
    """
    texturing = mesh.texturing
    if texturing is None:
        return mesh
    corners = np.ones((len(mesh.faces), 3, 3), np.float32)
    if mesh.colors is None:
        corners[texturing.index < 0] = srgb_to_linear(np.array(DEFAULT_COLOR, np.float32))
    for number, texture in enumerate(texturing.textures):
        of = texturing.index == number
        corners[of] = srgb_to_linear(
            nearest_pixels(texture, texturing.uv[of]).astype(np.float32) / np.float32(255)
        )
    if mesh.colors is not None:
        corners *= srgb_to_linear(mesh.colors)[mesh.faces]
    flat = mesh.faces.ravel()
    count = np.bincount(mesh.faces.ravel(), minlength=len(mesh.vertices))
    sums = [np.bincount(flat, corners[..., c].ravel(), len(mesh.vertices)) for c in range(3)]
    means = np.stack(sums, axis=1) / np.maximum(count, 1)[:, None]
    return replace(mesh, colors=linear_to_srgb(means.astype(np.float32)), texturing=None)


def _wrapped(coordinate: NDArray[np.floating], size: int, wrap: Wrap) -> NDArray[np.intp]:
    """Index of the pixel at a texture coordinate."""
    value = np.nan_to_num(np.asarray(coordinate, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    if wrap == "repeat":
        value = value % 1.0
    elif wrap == "mirror":
        value = 1.0 - np.abs(value % 2.0 - 1.0)
    return np.clip((value * size).astype(np.intp), 0, size - 1)
