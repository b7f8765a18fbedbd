"""Images of a mesh by a renderer that makes no training views, to measure the quality for photos of users.

Only the distribution of the cameras is that of `views`: rays pass through a distorting lens and random positions in the
pixels; shading has cast shadows, highlights and a sky in linear light with exposure and noise; the mesh has one random
colour.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import EverydayConfig
from occnet_lib.geometry.cameras import Camera, everyday_cameras
from occnet_lib.geometry.colors import linear_to_srgb
from occnet_lib.geometry.occupancy import cast_rays, raycasting_scene
from occnet_lib.types import Mesh

SIZE = 256  # pixels along the edge
_SAMPLES = 3  # along a pixel's edge
_ELEVATION = (-5.0, 50.0)  # degrees
_FILL = (0.45, 0.9)  # of the edge
_DISTORTION = 0.06  # largest radial distortion at the unit tangent, either way
_NOISE = 1.5  # of 255
_LIFT = 1e-4  # from the surface, of shadow rays; the object's diagonal is 1


def photograph(mesh: Mesh, count: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], list[Camera]]:
    """Render images of a mesh from everyday cameras: elevation -5° to 50°, lenses of 24 to 85 mm, a roll of up to 5°.

    Args:
        mesh: unit frame; its colours are not used.
        count: number of images.
        rng: generator.

    Returns:
        (count, SIZE, SIZE, 4) uint8 sRGB and opacity; their cameras, without the distortion of the lens.
    """
    low, high = mesh.bounds
    centre, diagonal = (low + high) / 2, float(np.linalg.norm(high - low))
    mesh = mesh.to_unit(centre, diagonal)
    ranges = EverydayConfig(elevation=_ELEVATION, fill=_FILL)
    camera_mat, world_mat = everyday_cameras(mesh.vertices, count, rng, ranges, SIZE)
    scene = raycasting_scene(mesh)
    paint = _paint(rng)
    pairs = list(zip(camera_mat, world_mat, strict=True))
    images = [_shoot(scene, *pair, paint, rng) for pair in pairs]
    frame = -centre / diagonal, 1.0 / diagonal
    return np.stack(images), [Camera(*pair, SIZE, SIZE, *frame) for pair in pairs]


def _shoot(
    scene: Any,
    camera_mat: NDArray[np.float64],
    world_mat: NDArray[np.float64],
    paint: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """(SIZE, SIZE, 4) of one camera; the object's linear colour is `paint` (3,)."""
    rotation = world_mat[:, :3]
    centre = -rotation.T @ world_mat[:, 3]
    directions = _lens_rays(camera_mat, rng) @ rotation
    distance, normals = cast_rays(scene, centre, directions)
    hit = np.isfinite(distance)
    towards = -directions[hit]
    normals = normals[hit]
    normals *= np.sign((normals * towards).sum(axis=1, keepdims=True))
    points = centre + directions[hit] * distance[hit, None] + _LIFT * normals
    light = _light(scene, points, normals, towards, paint, rotation, rng)
    count = _SAMPLES**2
    linear = np.zeros((len(hit), 3))
    opacity = hit.reshape(-1, count).mean(axis=1)
    linear[hit] = light
    # The mean over the covered samples only; the background is added later.
    mean = linear.reshape(-1, count, 3).sum(axis=1) / np.maximum(opacity * count, 1.0)[:, None]
    brightest = float(np.quantile(light, 0.98)) if len(light) else 1.0
    exposed = mean * rng.uniform(0.7, 0.95) / max(brightest, 1e-6)
    noise = rng.normal(0.0, _NOISE, mean.shape)
    levels = np.concatenate([255.0 * linear_to_srgb(exposed) + noise, 255.0 * opacity[:, None]], axis=1)
    return levels.clip(0, 255).round().astype(np.uint8).reshape(SIZE, SIZE, 4)


def _light(
    scene: Any,
    points: NDArray[np.float64],
    normals: NDArray[np.float64],
    towards: NDArray[np.float64],
    paint: NDArray[np.float64],
    rotation: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """(P, 3) linear light of surface points: a sky, a ground, and lamps that cast shadows (Blinn 1977)."""
    sky, ground = rng.uniform(0.25, 0.6), rng.uniform(0.05, 0.3)
    upper = 0.5 * (1.0 + normals[:, 1:2])
    diffuse = sky * upper + ground * (1.0 - upper)
    shine = np.zeros((len(points), 1))
    gloss = rng.uniform(0.0, 0.25)
    power = rng.uniform(8.0, 60.0)
    for energy in (1.0, *rng.uniform(0.1, 0.5, int(rng.integers(0, 3)))):
        # From above, and from the camera's half of the room.
        lamp = rotation.T @ np.array([rng.uniform(-1.2, 1.2), 0.0, -1.0])
        lamp += [0.0, rng.uniform(0.4, 1.6), 0.0]
        lamp /= np.linalg.norm(lamp)
        shaded, _ = cast_rays(scene, points, np.broadcast_to(lamp, points.shape))
        lit = energy * np.isinf(shaded)[:, None]
        diffuse = diffuse + lit * np.maximum(normals @ lamp, 0.0)[:, None]
        half = towards / np.linalg.norm(towards, axis=1, keepdims=True) + lamp
        half /= np.linalg.norm(half, axis=1, keepdims=True)
        shine = shine + lit * np.maximum((normals * half).sum(axis=1), 0.0)[:, None] ** power
    light: NDArray[np.float64] = paint * diffuse + gloss * shine
    return light


def _lens_rays(camera_mat: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """(SIZE² · samples², 3) directions in the camera's frame, ordered by pixel.

    The lens is that of `camera_mat` with a radial distortion: tangents x become x (1 + k |x|²) (Brown 1966).
    """
    place = np.stack(np.meshgrid(np.arange(_SAMPLES), np.arange(_SAMPLES)), axis=-1).reshape(1, 1, -1, 2)
    pixels = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), axis=-1)[:, :, None]
    at = pixels + (place + rng.random((SIZE, SIZE, _SAMPLES**2, 2))) / _SAMPLES
    tangents = (at.reshape(-1, 2) - camera_mat[:2, 2]) / camera_mat[[0, 1], [0, 1]]
    tangents *= 1.0 + rng.uniform(-_DISTORTION, _DISTORTION) * (tangents**2).sum(axis=1, keepdims=True)
    return np.concatenate([tangents, np.ones((len(tangents), 1))], axis=1)


def _paint(rng: np.random.Generator) -> NDArray[np.float64]:
    """(3,) linear colour of any hue, neither black nor white."""
    grey = rng.uniform(0.15, 0.8)
    tint = rng.dirichlet(np.ones(3)) * 3.0
    mixed: NDArray[np.float64] = grey * (1.0 + rng.uniform(0.0, 0.8) * (tint - 1.0))
    return mixed.clip(0.03, 0.9)
