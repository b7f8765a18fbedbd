"""Light and paint."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.cameras import intrinsics, look_at_origin
from occnet_lib.rendering.looks import Lights, everyday_looks
from occnet_lib.rendering.views import render_views
from tests.support.rendered_solids import box, config, join, sphere


def test_light_comes_from_above(renderer: str) -> None:
    settings = config(renderer)
    white = box((-0.3, -0.3, -0.3), (0.3, 0.3, 0.3), (1, 1, 1))
    camera_mat = np.repeat(intrinsics(64, 137)[None], 3, axis=0)
    centres = [[0.5, 1.8, 0.5], [0.5, 0.0, 1.8], [0.5, -1.8, 0.5]]
    images, *_ = render_views(white, camera_mat, look_at_origin(centres), settings)
    above, side, below = (int(image[32, 32, 0]) for image in images)
    assert 250 > above > side + 20
    assert side > below + 20
    # Where two upright faces meet, they differ.
    edge, *_ = render_views(white, camera_mat[:1], look_at_origin([[0.9, 0.3, 1.6]]), settings)
    row = edge[0, 32, :, 0]
    assert len(np.unique(row[row < 255])) >= 2


def test_lamps_from_points_to_hemispheres() -> None:
    up, aside, below = np.eye(3)[1], np.eye(3)[0], -np.eye(3)[1]
    between = np.array([np.sqrt(0.5), np.sqrt(0.5), 0.0])
    normals, facing = np.stack([up, between, aside, below]), np.array([1.0, 0.5, 0.0, 1.0])

    def lit(softness: float, ambient: float = 0.0, headlight: float = 0.0) -> NDArray[np.float64]:
        lights = Lights(up[None], np.ones(1), np.array([softness]), 0.8, ambient, headlight)
        return lights.on(normals, facing)

    np.testing.assert_allclose(lit(0.0), 0.8 * np.array([1, np.sqrt(0.5), 0, 0]), atol=1e-12)
    np.testing.assert_allclose(lit(1.0), 0.8 * np.array([1, 0.5 + np.sqrt(0.125), 0.5, 0]), atol=1e-12)
    np.testing.assert_allclose(lit(0.0, 0.2)[3], 0.2)
    np.testing.assert_allclose(lit(0.0, 0.2, 0.5)[:3], [1.0, 0.75 * (0.2 + 0.8 * np.sqrt(0.5)), 0.1])


def test_everyday_light_stays_within_its_bounds() -> None:
    normals = sphere(1.0).vertices
    mesh = box((-0.3, -0.3, -0.3), (0.3, 0.3, 0.3))
    looks = everyday_looks(mesh, 200, np.random.default_rng(0), 0.0)
    assert {len(look.lights.directions) for look in looks} == {1, 2, 3}
    for look in looks:
        assert look.paint is None
        np.testing.assert_allclose(np.linalg.norm(look.lights.directions, axis=1), 1.0)
        light = look.lights.on(normals, np.ones(len(normals)))
        assert 0.1 < light.min() < light.max() < 1.1 + 1e-9


def test_paint_is_one_color_a_material() -> None:
    mesh = join(box((-1, -1, -1), (0, 0, 0), (1, 0, 0)), box((0, 0, 0), (1, 1, 1), (0, 1, 0)), sphere(0.3))
    mesh.colors[-1] = 0.1  # type: ignore[index]  # some faces of the sphere vary
    painted = [
        look.paint
        for look in everyday_looks(mesh, 40, np.random.default_rng(0), 0.6)
        if look.paint is not None
    ]
    assert 14 <= len(painted) <= 34
    for paint in painted:
        assert paint.shape == (len(mesh.faces), 3)
        assert paint.min() >= 0
        assert paint.max() <= 0.95
        assert len(np.unique(paint[:12], axis=0)) == 1
        assert 3 <= len(np.unique(paint, axis=0)) <= 4
    assert len(np.unique([paint[0] for paint in painted], axis=0)) == len(painted)
