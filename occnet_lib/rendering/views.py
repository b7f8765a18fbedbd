"""Images of a mesh: one shading for both renderers, which return the visible face of each pixel;
depth, mask and normals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import ViewsConfig
from occnet_lib.geometry.colors import DEFAULT_COLOR
from occnet_lib.types import DEPTH_STEP, Mesh

from .looks import Look, choy_look
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

    Both sides of each face are drawn. Faces are shaded flat and anti-aliased by a box filter over `supersampling`²
    samples per pixel.

    A sample has the colour of its point on the face: vertex colours are interpolated, textures are filtered for the
    sample's footprint, and both are multiplied in linear light (as glTF 2.0 defines; other formats do not say). The
    light multiplies the result's sRGB values.

    Args:
        mesh: view frame; grey where it has neither colours nor textures.
        camera_mat: (V, 3, 3) float64 intrinsics in pixels.
        world_mat: (V, 3, 4) float64 extrinsics, view frame to camera.
        config: `image_size`, `supersampling`, `renderer` and `extra`.
        looks: V of them, light and paint of each view; `choy_look` without.

    Returns:
        images (V, H, W, 3) uint8 sRGB; coverage (V, H, W) float32, the fraction of each pixel that the mesh covers; the
        maps in `extra` (`types.Views.extra`); the name of the renderer.

    Raises:
        DependencyError: the configured renderer does not work on this machine.
    """
    size = config.image_size
    samples = config.supersampling
    renderer, face_ids = choose_renderer(config.renderer, samples * size)
    fine_mat = camera_mat * np.array([samples, samples, 1.0])[:, None]
    images = np.zeros((len(camera_mat), size, size, 3), np.uint8)
    coverage = np.zeros((len(camera_mat), size, size), np.float32)
    extra: dict[str, list[NDArray[Any]]] = {name: [] for name in config.extra}
    centre = samples // 2  # the sample at, or nearest to, the pixel's centre
    looks = [choy_look()] * len(camera_mat) if looks is None else looks
    varies = varying_faces(mesh)
    colors = SurfaceColors(mesh, varies) if varies.any() else None
    for view, ids in enumerate(face_ids(mesh, fine_mat, world_mat, samples * size)):
        images[view] = box_filter(
            shaded(mesh, ids, fine_mat[view], world_mat[view], looks[view], colors), samples
        )
        coverage[view] = block_sums((ids >= 0).view(np.uint8), samples) / np.float32(samples * samples)
        cameras = camera_mat[view], world_mat[view]
        made = maps(config.extra, mesh, ids[centre::samples, centre::samples], coverage[view], *cameras)
        for name in extra:
            extra[name].append(made[name])
    return images, coverage, {name: np.stack(values) for name, values in extra.items()}, renderer


def choose_renderer(wanted: str, size: int) -> tuple[str, FaceIds]:
    """Name and function of the renderer for the option `wanted` (pyrender, raycast, auto) on this machine.

    Args:
        wanted: `views.renderer`.
        size: edge of the images in pixels.

    Raises:
        DependencyError: `wanted` is pyrender, which does not work on this machine.
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
    """Colour the visible faces.

    Args:
        mesh: view frame.
        ids: (H, W) index of the face visible at each sample; -1 for the background.
        camera_mat: (3, 3) intrinsics in samples.
        world_mat: (3, 4) the camera.
        look: light and paint.
        colors: for the faces whose colour varies; None where each face has one colour.

    Returns:
        (H, W, 3) uint8 sRGB.
    """
    is_visible = np.zeros(len(mesh.faces) + 1, dtype=bool)
    is_visible[ids] = True  # -1 is the last one
    numbers = np.flatnonzero(is_visible[:-1])
    faces = mesh.faces[numbers]
    normals = Mesh(mesh.vertices, faces).face_normals
    camera = -world_mat[:, :3].T @ world_mat[:, 3]
    # Use the normal on the camera's side.
    normals[np.einsum("fk,fk->f", normals, camera - mesh.vertices[faces[:, 0]]) < 0] *= -1.0
    # As from infinity, so that the triangles of one plane look alike.
    facing = np.abs(normals @ (camera / np.linalg.norm(camera)))
    light = look.lights.on(normals, facing)
    albedo: Any = DEFAULT_COLOR
    if look.paint is not None:
        albedo = look.paint[numbers]
    elif mesh.colors is not None:
        albedo = mesh.colors[faces].mean(axis=1, dtype=np.float64)
    table = np.full((len(is_visible), 3), 255, np.uint8)
    table[numbers] = np.round(255 * np.clip(albedo * light[:, None], 0.0, 1.0))
    image = table[ids]
    if colors is not None and look.paint is None:
        of_face = np.zeros(len(mesh.faces))
        of_face[numbers] = light
        colors.paint(image, ids, of_face, camera_mat, world_mat)
    return image


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
