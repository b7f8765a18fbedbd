"""The ray caster against a slow reference."""

from __future__ import annotations

import numpy as np

from occnet_lib.geometry.cameras import intrinsics, look_at_origin
from occnet_lib.rendering import pyrender_backend, raycast
from occnet_lib.types import Mesh


def test_ids_against_a_slow_reference() -> None:
    rng = np.random.default_rng(3)
    mesh = Mesh(rng.uniform(-0.4, 0.4, (36, 3)), np.arange(36, dtype=np.int32).reshape(12, 3))
    camera_mat, world_mat = intrinsics(24, 137)[None], look_at_origin([[0.9, 0.7, 1.0]])
    want = np.full((24, 24), -1)
    rotation, translation = world_mat[0, :, :3], world_mat[0, :, 3]
    for row in range(24):
        for column in range(24):
            ray = np.linalg.solve(camera_mat[0], [column + 0.5, row + 0.5, 1.0])
            nearest = np.inf
            for number, triangle in enumerate(mesh.triangles @ rotation.T + translation):
                # ray * depth = a + s (b - a) + t (c - a)
                a, b, c = triangle
                depth, s, t = np.linalg.solve(np.stack([ray, a - b, a - c], axis=1), a)
                if s >= 0 and t >= 0 and s + t <= 1 and 0 < depth < nearest:
                    nearest, want[row, column] = depth, number
    backends = [raycast.face_ids]
    if pyrender_backend.available(24):
        backends.append(pyrender_backend.face_ids)
    for face_ids in backends:
        (got,) = face_ids(mesh, camera_mat, world_mat, 24)
        assert got.dtype == np.int32
        assert (got == want).mean() > 0.99
