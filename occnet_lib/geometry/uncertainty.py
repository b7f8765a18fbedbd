"""Uncertainty of an occupancy field: probabilities, entropy, and the IoU that the field itself expects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def probabilities(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Occupancy probabilities, float64, of logits of any shape."""
    clipped = np.clip(np.asarray(logits, dtype=np.float64), -50.0, 50.0)
    return np.asarray(1.0 / (1.0 + np.exp(-clipped)))


def entropy(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Entropy in bits of the occupancy at each point: 1 where the probability is 1/2, 0 where it is certain."""
    x = np.clip(np.abs(np.asarray(logits, dtype=np.float64)), 0.0, 50.0)
    # -p log p - q log q with q = 1 / (1 + e^x), the smaller of the two.
    return np.asarray((np.log1p(np.exp(-x)) + x / (1.0 + np.exp(x))) / np.log(2.0))


def expected_iou(logits: NDArray[np.floating], level: float) -> float:
    """The IoU of a thresholded field with the ground truth that its own probabilities predict.

    E|A ∩ B| / E|A ∪ B| for the predicted set A and a ground truth B whose points are occupied with these
    probabilities: the sum of p over A, divided by the size of A plus the sum of p outside. It equals the expected IoU up to
    O(1/n) for independent points; points of a shape are not independent, which changes the spread, not these expectations.

    Args:
        logits: (N,) at points uniform in the cube.
        level: logit above which a point is predicted as inside.

    Returns:
        0 to 1; 0 where no point is inside.
    """
    p, inside = probabilities(logits), np.asarray(logits) > level
    union = np.count_nonzero(inside) + p[~inside].sum()
    return float(p[inside].sum() / union) if inside.any() else 0.0


def viewing_directions(rotations: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Azimuth in [0, 360) and elevation in [-90, 90], degrees, from which cameras see the object.

    The convention is that of `cameras.camera_centres`, +y up: azimuth from +x towards +z. It is the direction of the
    optical axis, so an object off the centre of the image is seen from a slightly different one.

    Args:
        rotations: (V, 3, 3), unit frame to camera (x right, y down, z forward).
    """
    towards = -np.asarray(rotations, dtype=np.float64)[:, 2]
    azimuth = np.degrees(np.arctan2(towards[:, 2], towards[:, 0])) % 360.0
    elevation = np.degrees(np.arcsin(np.clip(towards[:, 1], -1.0, 1.0)))
    return azimuth % 360.0, elevation
