"""Colours that vary within faces: textures and interpolated vertex colours, evaluated at each sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.colors import srgb_to_linear
from occnet_lib.types import Mesh, Texture

_MAX_COORDINATE = 1e6  # texture coordinates beyond are meaningless in float32
_WHITE = Texture(np.full((1, 1, 3), 255, np.uint8))


def varying_faces(mesh: Mesh) -> NDArray[np.bool_]:
    """(F,) which faces may show more than one colour: textured ones, and those with different corner colours."""
    varies = np.zeros(len(mesh.faces), dtype=bool)
    if mesh.colors is not None:
        a, b, c = (mesh.colors[corner] for corner in mesh.faces.T)
        varies = ((a != b) | (b != c)).any(axis=1)
    if mesh.texturing is not None:
        varies |= mesh.texturing.index >= 0
    return varies


class SurfaceColors:
    """The colours of the points of a mesh; built once for all its views."""

    def __init__(self, mesh: Mesh, varies: NDArray[np.bool_]) -> None:
        """Filter the textures.

        Args:
            mesh: view frame.
            varies: (F,) as of `varying_faces`.
        """
        from .mipmaps import Pyramid, frozen  # numba takes half a second

        textures: tuple[Texture, ...] = ()
        uv = np.zeros((len(mesh.faces), 3, 2), np.float32)
        texture = np.full(len(mesh.faces), -1, np.int32)
        if mesh.texturing is not None:
            textures = mesh.texturing.textures
            texture = mesh.texturing.index
            uv = np.clip(
                np.nan_to_num(mesh.texturing.uv, posinf=0.0, neginf=0.0), -_MAX_COORDINATE, _MAX_COORDINATE
            )
        colors = np.ones(mesh.vertices.shape, np.float32) if mesh.colors is None else mesh.colors
        self._varies = np.append(varies, False)  # face -1 is the background
        # Small integers are sorted fastest.
        small = np.min_scalar_type(len(textures))
        self._pyramid = np.where(texture < 0, len(textures), texture).astype(small)
        self._pyramids = [Pyramid.of(texture) for texture in (*textures, _WHITE)]
        self._mesh = (
            frozen(mesh.vertices, np.float64),
            frozen(mesh.faces, np.int32),
            frozen(srgb_to_linear(colors), np.float32),
            frozen(uv, np.float32),
        )

    def paint(
        self,
        image: NDArray[np.uint8],
        ids: NDArray[np.int32],
        light: NDArray[np.float64],
        camera_mat: NDArray[np.float64],
        world_mat: NDArray[np.float64],
    ) -> None:
        """Colour the samples of faces whose colour varies.

        Args:
            image: (H, W, 3) uint8 sRGB, contiguous; modified at these samples.
            ids: (H, W) index of the face visible at each sample's centre; -1 for the background.
            light: (F,) factors of the sRGB values.
            camera_mat: (3, 3) intrinsics in samples.
            world_mat: (3, 4) extrinsics, view frame to camera.
        """
        from .mipmaps import frozen, paint

        flat = frozen(ids.ravel(), np.int32)
        samples = np.flatnonzero(self._varies[flat])
        pyramid = self._pyramid[flat[samples]]
        order = np.argsort(pyramid, kind="stable")
        samples = samples[order]
        starts = np.searchsorted(pyramid[order], np.arange(len(self._pyramids) + 1))
        rotation, translation = world_mat[:, :3], world_mat[:, 3]
        camera = (
            frozen(-rotation.T @ translation, np.float64),
            frozen(rotation.T @ np.linalg.inv(camera_mat), np.float64),
        )
        lit = frozen(light, np.float64)
        out = image.reshape(-1, 3)
        for number, one in enumerate(self._pyramids):
            chosen = frozen(samples[starts[number] : starts[number + 1]], np.int64)
            if len(chosen):
                paint(chosen, flat, ids.shape[1], self._mesh, lit, camera, one.arrays, out)
