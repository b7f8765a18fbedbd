"""Small real results for tests of what reads results: demo shapes with true points, images and cameras."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from occnet_lib.config import Views as ViewsConfig
from occnet_lib.demo import generate
from occnet_lib.geometry.cameras import choy_cameras
from occnet_lib.records import Mesh, PointSamples, ShapeKey, Views, Watertight
from occnet_lib.storage.shards import PackedShape, write_shard

VIEWS, POINTS, SURFACE, IMAGE_SIZE = 3, 4096, 2048, 64


@cache
def packed(category: str, index: int, split: str = "test", shard: str = "test-000") -> PackedShape:
    """A demo shape as the stages would hand it over, but for its mesh, which stays the union of its parts."""
    shape, rng = generate(category, index, 0), np.random.default_rng(index)
    low, high = shape.mesh.vertices.min(0), shape.mesh.vertices.max(0)
    loc, scale = (low + high) / 2, float((high - low).max())
    starts = np.cumsum([0, *(len(part.vertices) for part in shape.parts)])
    faces = np.concatenate([part.faces + start for part, start in zip(shape.parts, starts, strict=False)])
    mesh = Mesh((shape.mesh.vertices - loc) / scale, faces.astype(np.int32), shape.mesh.colors)
    points = rng.uniform(-0.55, 0.55, (POINTS, 3)).astype(np.float16)
    inside = shape.occupancy(points.astype(np.float64) * scale + loc)
    surface, normals = sampled(mesh, rng)
    samples = PointSamples(points, inside, surface, normals, np.zeros((2, 2, 2), bool))
    key = ShapeKey(category, shape.id, f"{category}/{shape.id}/model.obj", split, shard)
    watertight = Watertight(mesh, loc, scale)
    return PackedShape.of(key, watertight, samples, photographed(mesh, loc, scale, rng))


def sampled(mesh: Mesh, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Area-weighted points on a mesh with the normals of their faces, float16."""
    a, b, c = np.moveaxis(mesh.triangles, 1, 0)
    cross = np.cross(b - a, c - a)
    area = np.linalg.norm(cross, axis=1)
    face = rng.choice(len(area), SURFACE, p=area / area.sum())
    u, v = rng.random((2, SURFACE, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    points = a[face] + u * (b - a)[face] + v * (c - a)[face]
    return points.astype(np.float16), (cross[face] / area[face, None]).astype(np.float16)


def photographed(mesh: Mesh, loc: np.ndarray, scale: float, rng: np.random.Generator) -> Views:
    """Ray-cast images, without any of the library's renderers: flat colours on white."""
    import open3d as o3d

    camera_mat, world_mat = choy_cameras(VIEWS, rng, ViewsConfig(image_size=IMAGE_SIZE))
    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    vertices = mesh.vertices * scale + loc
    scene.add_triangles(
        o3d.core.Tensor(vertices.astype(np.float32)), o3d.core.Tensor(mesh.faces.astype(np.uint32))
    )
    colors = np.full((len(mesh.faces), 3), 0.5) if mesh.colors is None else mesh.colors[mesh.faces[:, 0]]
    pixel = np.arange(IMAGE_SIZE) + 0.5
    u, v = np.meshgrid(pixel, pixel)
    images = []
    for k, world in zip(camera_mat, world_mat, strict=True):
        rays = (
            np.stack([(u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], np.ones_like(u)], axis=-1)
            @ world[:, :3]
        )
        centre = np.broadcast_to(-world[:, :3].T @ world[:, 3], rays.shape)
        cast = scene.cast_rays(o3d.core.Tensor(np.concatenate([centre, rays], axis=-1).astype(np.float32)))
        hit = np.isfinite(cast["t_hit"].numpy())
        light = 0.4 + 0.6 * np.abs(cast["primitive_normals"].numpy()[..., 1])
        image = np.ones((*hit.shape, 3))
        image[hit] = 0.95 * colors[cast["primitive_ids"].numpy()[hit]] * light[hit][:, None]
        images.append((255 * image).astype(np.uint8))
    return Views(np.stack(images), camera_mat, world_mat, loc, scale)


def write_packs(folder: Path, categories: Sequence[str] = ("car", "chair"), test: int = 2) -> list[Path]:
    """The shards train-000, val-000 and test-000 with a shape, a shape and `test` shapes of each category."""
    paths = []
    first = 0
    for split, count in (("train", 1), ("val", 1), ("test", test)):
        name = f"{split}-000"
        shapes = [packed(c, first + i, split, name) for c in categories for i in range(count)]
        paths.append(folder / f"{name}.h5")
        write_shard(paths[-1], shapes, name, split)
        first += count
    return paths
