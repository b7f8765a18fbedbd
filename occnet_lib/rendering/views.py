"""Images of a mesh: one shading for both renderers, which only say which face is seen where."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import ViewsConfig
from occnet_lib.geometry.colors import DEFAULT_COLOR
from occnet_lib.types import Mesh

from .looks import Look, choy_look
from .maps import maps
from .surface_colors import SurfaceColors, varying_faces

FaceIds = Callable[[Mesh, NDArray[np.float64], NDArray[np.float64], int], Iterator[NDArray[np.int32]]]


def render_views(
    mesh: Mesh,
    camera_mat: NDArray[np.float64],
    world_mat: NDArray[np.float64],
    config: ViewsConfig,
    looks: Sequence[Look] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.float32], dict[str, NDArray[Any]], str]:
    """Render a mesh from several cameras on a white background.

    Both sides of every face are drawn. Faces are shaded flat and anti-aliased by a box filter over
    `supersampling`² samples a pixel.

    A sample has the colour of its own point on the face: vertex colours are interpolated and textures
    filtered for the sample's footprint, and both are multiplied, in linear light (as glTF 2.0 defines
    it; other formats leave it open). The light multiplies the result's sRGB values.

    Args:
        mesh: view frame; grey where it has neither colours nor textures.
        camera_mat: (V, 3, 3) float64 intrinsics in pixels.
        world_mat: (V, 3, 4) float64 extrinsics, view frame to camera.
        config: `image_size`, `supersampling`, `renderer` and `extra`.
        looks: V of them, light and paint of each view; `choy_look` without.

    Returns:
        images (V, H, W, 3) uint8 sRGB; coverage (V, H, W) float32, the share of a pixel that the mesh
        covers; what `extra` asks for (`types.Views.extra`); the renderer that was used.

    Raises:
        DependencyError: the renderer asked for does not work here.
    """
    size, samples = config.image_size, config.supersampling
    renderer, face_ids = choose_renderer(config.renderer, samples * size)
    fine_mat = camera_mat * np.array([samples, samples, 1.0])[:, None]
    images = np.zeros((len(camera_mat), size, size, 3), np.uint8)
    coverage = np.zeros((len(camera_mat), size, size), np.float32)
    extra: dict[str, list[NDArray[Any]]] = {name: [] for name in config.extra}
    centre = samples // 2  # the sample at a pixel's centre, or where four meet there one of them
    looks = [choy_look()] * len(camera_mat) if looks is None else looks
    varies = varying_faces(mesh)
    colors = SurfaceColors(mesh, varies) if varies.any() else None
    for view, ids in enumerate(face_ids(mesh, fine_mat, world_mat, samples * size)):
        images[view] = box_filter(
            shaded(mesh, ids, fine_mat[view], world_mat[view], looks[view], colors), samples
        )
        coverage[view] = block_sums((ids >= 0).view(np.uint8), samples) / np.float32(samples * samples)
        cameras = camera_mat[view], world_mat[view]
        found = maps(config.extra, mesh, ids[centre::samples, centre::samples], coverage[view], *cameras)
        for name in extra:
            extra[name].append(found[name])
    return images, coverage, {name: np.stack(values) for name, values in extra.items()}, renderer


def choose_renderer(wanted: str, size: int) -> tuple[str, FaceIds]:
    """Name and function of the renderer that `wanted` (pyrender, raycast, auto) means here.

    Args:
        wanted: the configuration's word.
        size: pixels along the edge of the images to come.

    Raises:
        DependencyError: `wanted` is pyrender, and it does not work here.
    """
    from . import pyrender_backend, raycast

    if wanted == "pyrender" or (wanted == "auto" and pyrender_backend.available(size)):
        return "pyrender", pyrender_backend.face_ids
    return "raycast", raycast.face_ids


def box_filter(image: NDArray[np.uint8], samples: int) -> NDArray[np.uint8]:
    """Mean of blocks of `samples` x `samples` pixels: (s H, s W, 3) uint8 to (H, W, 3) uint8, rounded."""
    area = samples * samples
    return ((block_sums(image, samples) + area // 2) // area).astype(np.uint8)


def block_sums(image: NDArray[np.uint8], samples: int) -> NDArray[np.uint32]:
    """Sums over blocks of `samples` x `samples` pixels: (s H, s W, ...) uint8 to (H, W, ...) uint32."""
    sums = np.zeros((image.shape[0] // samples, image.shape[1] // samples, *image.shape[2:]), np.uint32)
    for row in range(samples):
        for column in range(samples):
            sums += image[row::samples, column::samples]
    return sums


def shaded(
    mesh: Mesh,
    ids: NDArray[np.int32],
    camera_mat: NDArray[np.float64],
    world_mat: NDArray[np.float64],
    look: Look,
    colors: SurfaceColors | None,
) -> NDArray[np.uint8]:
    """Colour the faces that are seen.

    Args:
        mesh: view frame.
        ids: (H, W) number of the face seen by every sample, -1 where there is none.
        camera_mat: (3, 3) intrinsics in samples.
        world_mat: (3, 4) the camera.
        look: light and paint.
        colors: of the faces whose colour varies; None where all have one colour each.

    Returns:
        (H, W, 3) uint8 sRGB.
    """
    marks = np.zeros(len(mesh.faces) + 1, dtype=bool)
    marks[ids] = True  # -1 is the last one
    numbers = np.flatnonzero(marks[:-1])
    faces = mesh.faces[numbers]
    a, b, c = np.moveaxis(mesh.vertices[faces], 1, 0)
    normals = np.cross(b - a, c - a)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    normals /= np.where(lengths > 0, lengths, 1.0)
    camera = -world_mat[:, :3].T @ world_mat[:, 3]
    # Of both normals of a face the one counts that is on the camera's side.
    normals[np.einsum("fk,fk->f", normals, camera - a) < 0] *= -1.0
    # As from far away, so that the triangles of one plane look alike.
    facing = np.abs(normals @ (camera / np.linalg.norm(camera)))
    light = look.lights.on(normals, facing)
    albedo: Any = DEFAULT_COLOR
    if look.paint is not None:
        albedo = look.paint[numbers]
    elif mesh.colors is not None:
        albedo = mesh.colors[faces].mean(axis=1, dtype=np.float64)
    table = np.full((len(marks), 3), 255, np.uint8)
    table[numbers] = np.round(255 * np.clip(albedo * light[:, None], 0.0, 1.0))
    image = table[ids]
    if colors is not None and look.paint is None:
        of_face = np.zeros(len(mesh.faces))
        of_face[numbers] = light
        colors.paint(image, ids, of_face, camera_mat, world_mat)
    return image
