"""Cameras: Choy's protocol, projection and its inverse, directions on the sphere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from occnet_lib.config import Views
from occnet_lib.geometry.cameras import (
    choy_cameras,
    choy_centre,
    golden_spiral,
    intrinsics,
    look_at_origin,
    orthonormal_frames,
    project,
    random_rotation,
    random_spiral,
    unproject,
)


def test_choy_camera_centre_of_known_angles() -> None:
    centre = choy_centre([0.0, 90.0, 45.0], [0.0, 30.0, 90.0], [2.0, 1.0, 3.0])
    expected = [[2, 0, 0], [0, 0.5, np.sqrt(0.75)], [0, 3, 0]]
    np.testing.assert_allclose(centre, expected, atol=1e-15)


def test_choy_cameras_follow_the_protocol() -> None:
    config = Views()
    camera_mat, world_mat = choy_cameras(500, np.random.default_rng(0), config)
    rotation, translation = world_mat[:, :, :3], world_mat[:, :, 3]
    np.testing.assert_allclose(
        rotation @ rotation.transpose(0, 2, 1), np.tile(np.eye(3), (500, 1, 1)), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(rotation), 1.0)
    centre = -np.einsum("nji,nj->ni", rotation, translation)
    distance = np.linalg.norm(centre, axis=1)
    elevation = np.degrees(np.arcsin(centre[:, 1] / distance))
    azimuth = np.degrees(np.arctan2(centre[:, 2], centre[:, 0])) % 360
    assert 1.75 * 0.65 <= distance.min() < 1.16
    assert 1.64 < distance.max() <= 1.75 * 0.95
    assert elevation.min() >= 25.0 - 1e-9
    assert elevation.max() <= 30.0 + 1e-9
    assert np.histogram(azimuth, bins=8, range=(0, 360))[0].min() > 35
    assert camera_mat[7].tolist() == [[149.84375, 0, 68.5], [0, 149.84375, 68.5], [0, 0, 1]]


def test_origin_is_the_image_centre_and_up_is_up() -> None:
    camera_mat, world_mat = choy_cameras(20, np.random.default_rng(1), Views())
    for K, W in zip(camera_mat, world_mat, strict=True):
        uv, depth = project([[0, 0, 0], [0, 0.1, 0]], K, W, np.zeros(3), 1.0)
        np.testing.assert_allclose(uv[0], [68.5, 68.5])
        np.testing.assert_allclose(uv[1, 0], 68.5)
        assert uv[1, 1] < 68.5
        assert depth[0] > depth[1] > 0  # the camera looks down, so what is higher is nearer


def test_the_image_is_not_mirrored() -> None:
    # From +z towards the origin with y up, +x is on the right.
    uv, _ = project(
        [[0.1, 0, 0]], intrinsics(137, 149.84375), look_at_origin([[0, 0, 2]])[0], np.zeros(3), 1.0
    )
    assert uv[0, 0] > 68.5
    assert uv[0, 1] == pytest.approx(68.5)


def test_focal_length_grows_with_the_image() -> None:
    small, large = intrinsics(137, 149.84375), intrinsics(274, 149.84375)
    np.testing.assert_allclose(large[:2], 2 * small[:2])


def test_points_behind_the_camera_have_no_pixel() -> None:
    uv, depth = project(
        [[0, 0, 5.0]], intrinsics(64, 100.0), look_at_origin([[0, 0, 2]])[0], np.zeros(3), 1.0
    )
    assert np.isnan(uv).all()
    assert depth[0] < 0


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.2, 3.0), st.floats(-0.3, 0.3))
def test_unproject_inverts_project(seed: int, scale: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    camera_mat, world_mat = choy_cameras(1, rng, Views(image_size=224))
    points = rng.uniform(-0.3, 0.3, (20, 3)) / scale
    loc = np.array([shift, -shift, shift / 2]) / 2
    uv, depth = project(points, camera_mat[0], world_mat[0], loc, scale)
    back = unproject(uv, depth, camera_mat[0], world_mat[0], loc, scale)
    np.testing.assert_allclose(back, points, atol=1e-9)


def test_straight_up_and_down_have_a_frame() -> None:
    frames = orthonormal_frames([[0, 1, 0], [0, -2, 0], [1, 1, 1]])
    np.testing.assert_allclose(np.linalg.det(frames), 1.0)
    np.testing.assert_allclose(frames[1, 2], [0, -1, 0])


def test_golden_spiral_is_even() -> None:
    directions = golden_spiral(100)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0)
    np.testing.assert_allclose(directions.mean(axis=0), 0.0, atol=1e-3)
    closest = np.sort(directions @ directions.T, axis=1)[:, -2]
    assert np.degrees(np.arccos(closest)).min() > 15  # 100 even points are about 20° apart


def test_random_rotation_is_proper_and_drawn() -> None:
    rng = np.random.default_rng(0)
    drawn = np.stack([random_rotation(rng) for _ in range(400)])
    np.testing.assert_allclose(drawn @ drawn.transpose(0, 2, 1), np.tile(np.eye(3), (400, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(drawn), 1.0)
    np.testing.assert_allclose(drawn.mean(axis=0), 0.0, atol=0.12)
    one, two = (random_spiral(10, np.random.default_rng(s)) for s in (3, 3))
    assert np.array_equal(one, two)
