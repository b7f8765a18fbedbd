"""Rotations about the vertical axis that map a shape onto itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEP = 5.0  # degrees
_POINTS, _TREE = 1500, 20_000
TOLERANCE = 0.01
"""Largest mean distance between the rotated surface and the surface, beyond that of samples; the longest edge is 1."""


def turns(degrees: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """(…, 3, 3) rotations about +y, by which the azimuth of a camera that stays in place decreases."""
    angle = np.radians(np.asarray(degrees, dtype=np.float64))
    cos, sin, zero, one = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    rows = [[cos, zero, -sin], [zero, one, zero], [sin, zero, cos]]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def symmetric_angles(surface: NDArray[np.floating]) -> NDArray[np.float64]:
    """Angles in degrees, multiples of `STEP` from 0 on, by which a shape can be rotated about +y and looks the same.

    A table of four equal legs has the angles 0, 90, 180 and 270 or, if its top is longer than wide, 0 and 180; a round lamp
    has all.

    Args:
        surface: (M, 3) points in random order, uniform on the surface; unit frame.

    Returns:
        (K,); 0 is always the first.
    """
    from scipy.spatial import cKDTree

    points = np.asarray(surface[: _POINTS + _TREE], dtype=np.float64)
    moving, resting = points[:_POINTS], points[_POINTS:]
    if not len(resting):
        return np.zeros(1)
    tree, angles = cKDTree(resting), np.arange(0.0, 360.0, STEP)
    gaps = np.array([np.mean(tree.query(moving @ turn.T)[0]) for turn in turns(angles)])
    same = gaps <= gaps[0] + TOLERANCE
    if not same.all():  # neighbours of an angle are nearly as good, but it alone counts
        same &= gaps <= np.minimum.reduce([np.roll(gaps, shift) for shift in (-2, -1, 1, 2)])
    return angles[same]
