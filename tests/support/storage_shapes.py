"""Small shapes for tests of files: an octahedron with points of known occupancy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from occnet_lib.types import Mesh, NearSurface, PointSamples, ShapeKey, Views, Watertight

OCTAHEDRON = Mesh(
    np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]) / 2.0,
    np.array(
        [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]],
        dtype=np.int32,
    ),
)


def records(
    seed: int, points: int = 200, surface: int = 50, views: int = 3, voxels: int = 4, near: int = 0
) -> tuple[ShapeKey, Watertight, PointSamples, Views]:
    """A shape whose numbers all depend on `seed`; with `near` points it has all that is optional."""
    rng = np.random.default_rng(seed)
    vertices = (OCTAHEDRON.vertices * rng.uniform(0.5, 1.0)).astype(np.float32).astype(np.float64)
    closed = Watertight(
        Mesh(vertices, OCTAHEDRON.faces[: 8 - seed % 3]),
        rng.normal(size=3),
        float(rng.uniform(1, 9)),
        {"volume": np.float64(0.125), "closed": True},
    )
    xyz = rng.uniform(-0.55, 0.55, (points, 3)).astype(np.float16)
    normals = rng.normal(size=(surface, 3))
    samples = PointSamples(
        points=xyz,
        occupancies=np.abs(xyz.astype(float)).sum(axis=1) < 0.5,
        surface=rng.uniform(-0.5, 0.5, (surface, 3)).astype(np.float16),
        normals=(normals / np.linalg.norm(normals, axis=1, keepdims=True)).astype(np.float16),
        voxels=rng.random((voxels, voxels, voxels)) < 0.5,
        audit={"occupied": 0.1},
    )
    images = Views(
        rng.integers(0, 256, (views, 9, 9, 3), dtype=np.uint8),
        rng.normal(size=(views, 3, 3)),
        rng.normal(size=(views, 3, 4)),
        rng.normal(size=3),
        0.7,
        {"renderer": "raycast"},
    )
    if near:
        samples = replace(
            samples,
            near=NearSurface(
                points=rng.normal(0, 0.1, (near, 3)).astype(np.float16),
                occupancies=rng.random(near) < 0.5,
                density=rng.uniform(0, 20, near).astype(np.float16),
            ),
            surface_voxels=rng.random((voxels, voxels, voxels)) < 0.5,
        )
        extra = {
            "depth": rng.integers(0, 2**16, (views, 9, 9), dtype=np.uint16),
            "mask": rng.integers(0, 256, (views, 9, 9), dtype=np.uint8),
            "normals": rng.integers(0, 256, (views, 9, 9, 3), dtype=np.uint8),
        }
        images = replace(images, extra=extra)
    return (
        ShapeKey("chair", f"shape{seed}", f"chair/shape{seed}.obj", "train", "train-000"),
        closed,
        samples,
        images,
    )
