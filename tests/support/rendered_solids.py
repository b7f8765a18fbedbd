"""Solids and cameras for the tests of rendering."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import ViewsConfig
from occnet_lib.geometry.cameras import intrinsics, look_at_origin
from occnet_lib.rendering.views import render_views
from occnet_lib.types import Mesh


def config(renderer: str, **values: Any) -> ViewsConfig:
    return ViewsConfig.model_validate({"renderer": renderer, "image_size": 64, "supersampling": 2} | values)


def box(low: Any, high: Any, color: Any = None) -> Mesh:
    low, high = np.asarray(low, float), np.asarray(high, float)
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))], np.int32)
    colors = None if color is None else np.tile(np.float32(color), (8, 1))
    return Mesh(low + corners * (high - low), faces, colors)


def join(*meshes: Mesh) -> Mesh:
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    faces = [mesh.faces + start for mesh, start in zip(meshes, starts, strict=False)]
    grey = [np.full(mesh.vertices.shape, 0.7, np.float32) for mesh in meshes]
    colors = [other if mesh.colors is None else mesh.colors for mesh, other in zip(meshes, grey, strict=True)]
    vertices = np.concatenate([mesh.vertices for mesh in meshes])
    return Mesh(vertices, np.concatenate(faces).astype(np.int32), np.concatenate(colors))


def sphere(radius: float) -> Mesh:
    n = 60
    theta, phi = np.meshgrid(np.linspace(0, np.pi, n), np.linspace(0, 2 * np.pi, 2 * n), indexing="ij")
    points = np.stack([np.sin(theta) * np.cos(phi), np.cos(theta), np.sin(theta) * np.sin(phi)], axis=-1)
    i, j = np.meshgrid(np.arange(n - 1), np.arange(2 * n - 1), indexing="ij")
    a = (i * 2 * n + j).ravel()
    upper, lower = np.stack([a, a + 1, a + 2 * n], 1), np.stack([a + 1, a + 2 * n + 1, a + 2 * n], 1)
    faces = np.concatenate([upper, lower])
    return Mesh(radius * points.reshape(-1, 3), faces.astype(np.int32))


def from_front(
    mesh: Mesh, config: ViewsConfig, distance: float = 2.0, focal: float = 137.0
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """One image from +z."""
    camera_mat = intrinsics(config.image_size, focal)[None]
    images, coverage, *_ = render_views(mesh, camera_mat, look_at_origin([[0.0, 0.0, distance]]), config)
    return images[0], coverage[0]
