"""Symmetry about the vertical axis, of solids whose symmetry is known."""

from __future__ import annotations

import numpy as np
import pytest

from occnet_lib.geometry.cameras import camera_centres
from occnet_lib.geometry.symmetry import symmetric_angles, turns


def sampled(boxes: list[tuple[list[float], list[float]]], count: int = 20_000) -> np.ndarray:
    """Points in the walls of boxes of centres and half edges, in random order."""
    rng = np.random.default_rng(0)
    centre, half = (np.array(each) for each in zip(*boxes, strict=True))
    which = rng.integers(len(boxes), size=count)
    points = rng.uniform(-1, 1, (count, 3))
    side = rng.integers(3, size=count)
    points[np.arange(count), side] = np.sign(points[np.arange(count), side])
    return centre[which] + half[which] * points


SQUARE = [([0, 0, 0], [0.5, 0.1, 0.5])]
LONG = [([0, 0, 0], [0.5, 0.1, 0.25])]
CHAIR = [*SQUARE, ([0.0, 0.4, 0.45], [0.5, 0.3, 0.05])]


@pytest.mark.parametrize(("boxes", "expected"), [(SQUARE, [0, 90, 180, 270]), (LONG, [0, 180]), (CHAIR, [0])])
def test_the_angles_of_boxes(boxes, expected):
    np.testing.assert_array_equal(symmetric_angles(sampled(boxes)), expected)


def test_what_is_round_has_all_angles():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(20_000, 3))
    points *= 0.5 / np.linalg.norm(points, axis=1, keepdims=True)
    assert len(symmetric_angles(points)) == 72
    np.testing.assert_array_equal(symmetric_angles(points[:100]), [0])  # too few to say


def test_a_turn_lowers_the_azimuth_of_a_camera_that_stays():
    """Points of the shape move from azimuth 30° to 50°; a camera at 30° is where the shape has 10°."""
    at = camera_centres(30.0, 0.0, 1.0)
    np.testing.assert_allclose(turns(20.0) @ at, camera_centres(50.0, 0.0, 1.0), atol=1e-12)
    np.testing.assert_allclose(turns(20.0).T @ at, camera_centres(10.0, 0.0, 1.0), atol=1e-12)
    np.testing.assert_allclose(turns(np.array([0.0, 90.0])).shape, (2, 3, 3))
