"""Cameras: Choy's protocol, projection and its inverse, directions on the sphere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from occnet_lib.config import EverydayConfig, ViewsConfig
from occnet_lib.geometry.cameras import (
    camera_centres,
    choy_cameras,
    everyday_cameras,
    golden_spiral,
    intrinsics,
    look_at_origin,
    orthonormal_frames,
    project,
    random_directions,
    random_rotation,
)


def test_choy_camera_centre_of_known_angles() -> None:
    centre = camera_centres([0.0, 90.0, 45.0], [0.0, 30.0, 90.0], [2.0, 1.0, 3.0])
    expected = [[2, 0, 0], [0, 0.5, np.sqrt(0.75)], [0, 3, 0]]
    np.testing.assert_allclose(centre, expected, atol=1e-15)


def test_choy_cameras_follow_the_protocol() -> None:
    config = ViewsConfig()
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
    camera_mat, world_mat = choy_cameras(20, np.random.default_rng(1), ViewsConfig())
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


def unprojected(
    uv: np.ndarray,
    depth: np.ndarray,
    camera_mat: np.ndarray,
    world_mat: np.ndarray,
    loc: np.ndarray,
    scale: float,
) -> np.ndarray:
    """(N, 3) points of the unit frame at pixels (N, 2) and depths (N,)."""
    rays = np.linalg.solve(camera_mat, np.concatenate([uv, np.ones((len(uv), 1))], axis=1).T).T
    return ((rays * depth[:, None] - world_mat[:, 3]) @ world_mat[:, :3] - loc) / scale


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.2, 3.0), st.floats(-0.3, 0.3))
def test_pixels_and_depths_give_the_points_back(seed: int, scale: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    camera_mat, world_mat = choy_cameras(1, rng, ViewsConfig(image_size=224))
    points = rng.uniform(-0.3, 0.3, (20, 3)) / scale
    loc = np.array([shift, -shift, shift / 2]) / 2
    uv, depth = project(points, camera_mat[0], world_mat[0], loc, scale)
    back = unprojected(uv, depth, camera_mat[0], world_mat[0], loc, scale)
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
    one, two = (random_directions(10, np.random.default_rng(s)) for s in (3, 3))
    assert np.array_equal(one, two)


def angles(
    world_mat: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Azimuth, elevation (of the viewing direction, seen from the object) and roll in degrees."""
    right, back = world_mat[:, 0, :3], -world_mat[:, 2, :3]
    down = world_mat[:, 1, :3]
    azimuth = np.degrees(np.arctan2(back[:, 2], back[:, 0])) % 360
    return azimuth, np.degrees(np.arcsin(back[:, 1])), np.degrees(np.arctan2(right[:, 1], -down[:, 1]))


def test_everyday_cameras_follow_their_ranges() -> None:
    vertices = np.random.default_rng(0).uniform(-1, 1, (50, 3)) * [0.25, 0.4, 0.2]
    camera_mat, world_mat = everyday_cameras(vertices, 600, np.random.default_rng(0), EverydayConfig(), 137)
    rotation = world_mat[:, :, :3]
    np.testing.assert_allclose(
        rotation @ rotation.transpose(0, 2, 1), np.tile(np.eye(3), (600, 1, 1)), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(rotation), 1.0)
    azimuth, elevation, roll = angles(world_mat)
    assert np.histogram(azimuth, bins=8, range=(0, 360))[0].min() > 40
    assert -10 - 1e-9 <= elevation.min() < -8
    assert 58 < elevation.max() <= 60 + 1e-9
    assert -5 - 1e-9 <= roll.min() < -4.5
    assert 4.5 < roll.max() <= 5 + 1e-9
    lens = camera_mat[:, 0, 0] / 137 * 36
    assert 24 - 1e-9 <= lens.min() < 25
    assert 82 < lens.max() <= 85 + 1e-9
    assert 0.3 < np.mean(lens < np.sqrt(24 * 85)) < 0.6
    np.testing.assert_array_equal(camera_mat[:, :2, 2], 68.5)


@settings(max_examples=40, deadline=None)
@given(
    extent=st.tuples(*[st.floats(0.1, 1.0)] * 3),
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([64, 137, 224]),
    ranges=st.sampled_from(
        [{}, {"fill": (0.3, 1.0), "roll": 180.0, "elevation": (-90.0, 90.0)}, {"lens": (14.0, 20.0)}]
    ),
)
def test_everyday_cameras_see_the_whole_object_as_large_as_wanted(
    extent: tuple[float, float, float], seed: int, size: int, ranges: dict[str, Any]
) -> None:
    rng, config = np.random.default_rng(seed), EverydayConfig.model_validate(ranges)
    vertices = rng.uniform(-1, 1, (30, 3)) * extent
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    vertices = (vertices - (low + high) / 2) / np.linalg.norm(high - low)
    camera_mat, world_mat = everyday_cameras(vertices, 8, rng, config, size)
    for K, W in zip(camera_mat, world_mat, strict=True):
        uv, depth = project(vertices, K, W, np.zeros(3), 1.0)
        assert depth.min() >= 0.4 - 1e-9
        assert uv.min() >= -1e-9
        assert uv.max() <= size + 1e-9
        fill = np.ptp(uv, axis=0).max() / size
        assert fill <= config.fill[1] + 1e-9
        if depth.min() > 0.4 + 1e-9:
            assert fill >= config.fill[0] - 1e-9
        middle = (uv.min(axis=0) + uv.max(axis=0)) / 2 / size - 0.5
        assert np.abs(middle[np.argmax(np.ptp(uv, axis=0))]) <= 0.25 * (1 - config.fill[0]) + 1e-9


def test_of_things_seen_along_their_length_everyday_cameras_keep_a_distance() -> None:
    rod = (np.indices((2, 2, 2)).reshape(3, -1).T - 0.5) * [0.999, 0.02, 0.02]
    along = EverydayConfig(elevation=(0.0, 0.0), roll=0.0, fill=(0.9, 0.95))
    camera_mat, world_mat = everyday_cameras(rod, 300, np.random.default_rng(0), along, 100)
    azimuth, _, _ = angles(world_mat)
    end_on = np.abs((azimuth + 90) % 180 - 90) < 2
    assert 0 < end_on.sum() < 30
    for k in range(300):
        uv, depth = project(rod, camera_mat[k], world_mat[k], np.zeros(3), 1.0)
        assert depth.min() >= 0.4 - 1e-9
        fill = np.ptp(uv, axis=0).max() / 100
        assert (fill < 0.9) if end_on[k] else (fill <= 0.95 + 1e-9)
        if end_on[k]:
            assert camera_mat[k, 0, 0] == pytest.approx(85 / 36 * 100)
