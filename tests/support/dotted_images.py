"""Images of coloured dots at known points of the unit frame, under cameras of all kinds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from occnet_lib.config import EverydayConfig
from occnet_lib.geometry.cameras import everyday_cameras, project
from occnet_lib.storage.packs import PackedShape, write_shard
from occnet_lib.types import Mesh, PointSamples, ShapeKey, Views, Watertight

COLOURS = np.array(
    [(200, 0, 0), (0, 150, 0), (0, 0, 200), (150, 0, 150), (0, 130, 130), (90, 90, 0)], np.uint8
)


def cameras(count: int, seed: int, edge: int) -> tuple[np.ndarray, np.ndarray]:
    """Everyday cameras around a cube of diagonal 1, off-centre and rolled: camera_mat and world_mat."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 12**0.5
    return everyday_cameras(corners, count, np.random.default_rng(seed), EverydayConfig(roll=20.0), edge)


def dots(points: np.ndarray, views: int = 4, edge: int = 160, seed: int = 0, radius: float = 5.0) -> Views:
    """Views of discs around the projections of points (N, 3) of the unit frame; the scale to the view frame is 0.6."""
    camera_mat, world_mat = cameras(views, seed, edge)
    v, u = np.mgrid[:edge, :edge] + 0.5
    images = np.full((views, edge, edge, 3), 255, np.uint8)
    for image, *camera in zip(images, camera_mat, world_mat, strict=True):
        for (x, y), colour in zip(project(points, *camera, np.zeros(3), 0.6)[0], COLOURS, strict=False):
            image[(u - x) ** 2 + (v - y) ** 2 <= radius**2] = colour
    return Views(images, camera_mat, world_mat, np.zeros(3), 0.6)


def shape(name: str, points: np.ndarray, inside: np.ndarray, views: Views) -> PackedShape:
    none = np.zeros((1, 3), np.float16)
    return PackedShape.of(
        ShapeKey("dots", name),
        Watertight(Mesh(np.zeros((3, 3)), np.zeros((1, 3), np.int32)), np.zeros(3), 1.0),
        PointSamples(points.astype(np.float16), inside, none, none, np.zeros((2, 2, 2), np.bool_)),
        views,
    )


def hull_shard(path: Path, shapes: int, edge: int = 40, count: int = 512, seed: int = 0) -> Path:
    """Shapes of which a point is inside where its pixel of the one view is dark: images are random dots."""
    rng, made = np.random.default_rng(seed), []
    for i in range(shapes):
        views = dots(rng.uniform(-0.4, 0.4, (5, 3)), 1, edge, int(rng.integers(2**31)), radius=edge / 8)
        points = rng.uniform(-0.5, 0.5, (count, 3)).astype(np.float16)
        (x, y), _ = project(points, views.camera_mat[0], views.world_mat[0], views.loc, views.scale)[0].T, 0
        column, row = (np.clip(np.floor(value), 0, edge - 1).astype(int) for value in (x, y))
        made.append(shape(f"{path.stem}-{i}", points, views.images[0, row, column].min(-1) < 204, views))
    write_shard(path, made, path.stem, path.stem.partition("-")[0])
    return path
