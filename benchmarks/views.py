"""CPU seconds of rendering a shape's views, for every renderer that works here.

The naive reference casts the same rays one view at a time through a scene that is built for each view, and shades
every sample on its own. The columns `textured` are of the same mesh covered by a texture of 1024² pixels.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import ViewsConfig
from occnet_lib.geometry.cameras import choy_cameras
from occnet_lib.geometry.normalise import unit_cube
from occnet_lib.rendering import pyrender_backend
from occnet_lib.rendering.views import render_views
from occnet_lib.storage.meshes import load_mesh
from occnet_lib.types import Mesh, Texture, Texturing

SHAPES = (
    "chair/quat_Chair_3/model.glb",
    "car/pm_sedan/model.obj",
    "chair/sh3d_armchair/model.obj",
    "table/ikea_table_lack_0825/model.obj",
    "airplane/fr24_b748/model.obj",
    "table/ikea_desk_mikael_1064/model.obj",
)


def main() -> None:
    """Print medians of CPU seconds of all views of a shape."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("OCCNET_REAL_DATA", "../shared/data"))
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("meshes", nargs="*", type=Path, help="mesh files (default: some of the real ones)")
    args = parser.parse_args()
    meshes = args.meshes or [args.data / "dev" / name for name in SHAPES]
    renderers = ["raycast"] + ["pyrender"] * pyrender_backend.available(2 * ViewsConfig().image_size)
    titles = "".join(f"{name:>10} {'ratio':>7} {'textured':>9}" for name in renderers)
    print(f"{'faces':>8} {'naive':>8}{titles}  mesh")
    for path in meshes:
        mesh = in_view_frame(load_mesh(path))
        cameras = choy_cameras(ViewsConfig().count, np.random.default_rng(0), ViewsConfig())
        slow = median_cpu(lambda mesh=mesh, cameras=cameras: naive(mesh, *cameras), 1)
        line = f"{len(mesh.faces):8d} {slow:8.3f}"
        for name in renderers:
            config = ViewsConfig(renderer=name)
            seconds = median_cpu(lambda m=mesh, c=cameras, k=config: render_views(m, *c, k), args.repeats)
            covered = textured(mesh)
            more = median_cpu(lambda m=covered, c=cameras, k=config: render_views(m, *c, k), args.repeats)
            line += f"{seconds:10.3f} {slow / seconds:6.1f}x {more:9.3f}"
        print(f"{line}  {path.parent.name}")


def in_view_frame(mesh: Mesh) -> Mesh:
    """The mesh with a bounding box of diagonal 1 around the origin."""
    unit, _, _ = unit_cube(mesh)
    diagonal = np.linalg.norm(np.ptp(unit.vertices, axis=0))
    return replace(unit, vertices=unit.vertices / diagonal)


def textured(mesh: Mesh) -> Mesh:
    """The mesh with grain on all sides, in eight repetitions along the diagonal (projected along the axes)."""
    a, b, c = np.moveaxis(mesh.triangles, 1, 0)
    side = np.abs(np.cross(b - a, c - a)).argmax(axis=1)
    others = np.array([[1, 2], [0, 2], [0, 1]])[side]
    uv = 8 * np.take_along_axis(mesh.triangles, others[:, None, :].repeat(3, axis=1), axis=2)
    rows, columns = np.indices((1024, 1024)) * (2 * np.pi / 1024)
    grain = np.sin(6 * columns + 3 * np.sin(2 * rows)) + 0.3 * np.random.default_rng(0).random((1024, 1024))
    pixels = np.uint8([120, 80, 40]) + (60 * (grain + 1))[..., None].astype(np.uint8)
    texturing = Texturing(uv.astype(np.float32), np.zeros(len(uv), np.int32), (Texture(pixels),))
    return replace(mesh, texturing=texturing)


def median_cpu(work: Callable[[], Any], repeats: int) -> float:
    """Median CPU seconds, all threads, after one run to warm up."""
    work()
    seconds = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return statistics.median(seconds)


def naive(
    mesh: Mesh, camera_mat: NDArray[np.float64], world_mat: NDArray[np.float64]
) -> list[NDArray[np.float64]]:
    """Images by trimesh's ray tests on every sample, and shading of every sample."""
    import trimesh

    config = ViewsConfig()
    size = config.supersampling * config.image_size
    images = []
    for intrinsic, extrinsic in zip(camera_mat, world_mat, strict=True):
        body = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
        grid = (np.indices((size, size)).reshape(2, -1)[::-1].T + 0.5) / config.supersampling
        rays = np.insert(grid, 2, 1.0, axis=1) @ np.linalg.inv(intrinsic).T @ extrinsic[:, :3]
        origin = -extrinsic[:, :3].T @ extrinsic[:, 3]
        hit = body.ray.intersects_first(np.tile(origin, (len(rays), 1)), rays)
        image = np.ones((size * size, 3))
        normals = body.face_normals[hit[hit >= 0]]
        image[hit >= 0] = (0.7 * (0.5 + 0.5 * np.abs(normals[:, 1])))[:, None]
        blocks = image.reshape(
            config.image_size, config.supersampling, config.image_size, config.supersampling, 3
        )
        images.append(blocks.mean(axis=(1, 3)))
    return images


if __name__ == "__main__":
    main()
