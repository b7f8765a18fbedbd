"""Small pack shards of ellipsoids and their images, for the tests of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from occnet_lib.storage.packs import PackedShape, write_shard
from occnet_lib.types import Mesh, NearSurface, PointSamples, ShapeKey, Views, Watertight


def near_surface(rng: np.random.Generator, radii: np.ndarray, near: int) -> NearSurface:
    """Points near an ellipsoid; their density is not that of their distribution."""
    direction = rng.normal(size=(near, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    places = (direction * radii * rng.uniform(0.9, 1.1, (near, 1))).astype(np.float16)
    inside = ((places.astype(np.float64) / radii) ** 2).sum(1) <= 1
    return NearSurface(places, inside, np.ones(near, np.float16))


def ellipsoid(
    rng: np.random.Generator, name: str, points: int, views: int, pixels: int, near: int = 0
) -> PackedShape:
    """An ellipsoid whose image determines its radii: two by the outline, the third by the colour."""
    radii = rng.uniform(0.2, 0.5, 3)
    places = rng.uniform(-0.55, 0.55, (points, 3)).astype(np.float16)
    inside = ((places.astype(np.float64) / radii) ** 2).sum(1) <= 1
    close = near_surface(rng, radii, near) if near else None
    v, u = (np.mgrid[:pixels, :pixels] + 0.5) / pixels - 0.5
    images = np.full((views, pixels, pixels, 3), 255, np.uint8)
    for view in range(views):
        images[view][(u / radii[0]) ** 2 + (v / radii[1]) ** 2 <= 1] = (int(radii[2] * 400), 10 * view, 30)
    cosine, sine, zero = np.cos(0.3 * np.arange(views)), np.sin(0.3 * np.arange(views)), np.zeros(views)
    about_y = [[cosine, zero, sine, zero], [zero, zero + 1, zero, zero], [-sine, zero, cosine, zero]]
    world_mat = np.moveaxis(np.array(about_y), -1, 0)
    none = np.zeros((1, 3), np.float16)
    return PackedShape.of(
        ShapeKey("ellipsoid", name),
        Watertight(Mesh(np.zeros((3, 3)), np.zeros((1, 3), np.int32)), np.zeros(3), 1.0),
        PointSamples(places, inside, none, none, np.zeros((2, 2, 2), np.bool_), near=close),
        Views(images, np.tile(np.eye(3), (views, 1, 1)), world_mat, np.zeros(3), 1.0),
    )


def make_shard(
    path: Path,
    shapes: int,
    *,
    points: int = 1024,
    views: int = 3,
    pixels: int = 33,
    seed: int = 0,
    near: int = 0,
) -> Path:
    """A shard of ellipsoids named `<stem>-<number>`."""
    rng = np.random.default_rng(seed)
    made = [ellipsoid(rng, f"{path.stem}-{i}", points, views, pixels, near) for i in range(shapes)]
    write_shard(path, made, path.stem, path.stem.partition("-")[0])
    return path
