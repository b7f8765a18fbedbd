"""Shards of ellipsoids seen by perspective cameras, whose silhouettes are exact, for tests of training without 3D labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from occnet_lib.geometry.cameras import camera_centres, image_projection, intrinsics, look_at_origin
from occnet_lib.networks.rays import rays_of
from occnet_lib.storage.packs import PackedShape, write_shard
from occnet_lib.types import Mesh, PointSamples, ShapeKey, Views, Watertight
from tests.support.train_config import train_config

TRAIN = train_config(
    steps=6,
    batch_size=4,
    points=32,
    image_size=32,
    learning_rate=2e-3,
    log_every=3,
    validate_every=3,
    checkpoint_every=2,
    validation_points=512,
    accelerator="cpu",
    views=2,
    per_view=3,
    samples=8,
)

SCALE = 0.7


def inside(points: np.ndarray, centre: np.ndarray, radii: np.ndarray) -> np.ndarray:
    return (((points - centre) / radii) ** 2).sum(-1) <= 1


def meets(origins: np.ndarray, directions: np.ndarray, centre: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """(R,) bool, whether rays meet an ellipsoid."""
    start, ahead = (origins - centre) / radii, directions / radii
    along, square = (start * ahead).sum(-1), (ahead**2).sum(-1)
    return along**2 >= square * ((start**2).sum(-1) - 1)


def silhouette(projection: np.ndarray, pixels: int, centre: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """(pixels, pixels) float, fraction of every pixel that an ellipsoid covers, by 4 x 4 rays."""
    fine = 4 * pixels
    v, u = np.divmod(np.arange(fine * fine), fine)
    places = torch.from_numpy((np.stack([u, v], 1) + 0.5) / fine).float()
    origins, directions = (part.numpy() for part in rays_of(torch.from_numpy(projection).float(), places))
    covered = meets(origins, directions, centre, radii).reshape(pixels, 4, pixels, 4)
    return covered.mean(axis=(1, 3))


def seen_ellipsoid(
    name: str, rng: np.random.Generator, views: int, pixels: int, points: int, distance: float = 1.4
) -> tuple[PackedShape, np.ndarray, np.ndarray]:
    """A shape with views of cameras around it, and its centre and radii (3,), unit frame."""
    radii = rng.uniform(0.15, 0.3, 3)
    centre = rng.uniform(-0.15, 0.15, 3)
    places = rng.uniform(-0.55, 0.55, (points, 3)).astype(np.float16)
    azimuth, elevation = np.arange(views) * 360 / views + rng.uniform(0, 90), rng.uniform(-20, 60, views)
    world_mat = look_at_origin(camera_centres(azimuth, elevation, np.full(views, distance)))
    camera_mat = np.repeat(intrinsics(pixels, 149.0)[None], views, axis=0)
    images = np.zeros((views, pixels, pixels, 3), np.uint8)
    for view in range(views):
        projection = image_projection(camera_mat[view], world_mat[view], np.zeros(3), SCALE, pixels, pixels)
        covered = silhouette(projection, pixels, centre, radii)
        images[view] = np.round(255 - covered[..., None] * rng.uniform(60, 250, 3))
    none = np.zeros((1, 3), np.float16)
    shape = PackedShape.of(
        ShapeKey("ellipsoid", name),
        Watertight(Mesh(np.zeros((3, 3)), np.zeros((1, 3), np.int32)), np.zeros(3), 1.0),
        PointSamples(
            places, inside(places.astype(float), centre, radii), none, none, np.zeros((2, 2, 2), np.bool_)
        ),
        Views(images, camera_mat, world_mat, np.zeros(3), SCALE),
    )
    return shape, centre, radii


def seen_shard(
    path: Path, shapes: int, *, views: int = 6, pixels: int = 33, points: int = 512, seed: int = 0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Write a shard; centres and radii of its shapes."""
    rng = np.random.default_rng(seed)
    made = [seen_ellipsoid(f"{path.stem}-{i}", rng, views, pixels, points) for i in range(shapes)]
    write_shard(path, [shape for shape, _, _ in made], path.stem, path.stem.partition("-")[0])
    return [(centre, radii) for _, centre, radii in made]
