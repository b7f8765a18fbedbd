"""Similarity transforms against their matrices."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from occnet_lib.geometry.similarity import IDENTITY, Similarity


def test_similarities_compose_and_invert():
    one = Similarity(9.0, Rotation.from_rotvec([0.4, 2.2, -1.5]).as_matrix(), np.array([40.0, 1, 7]))
    two = Similarity(0.02, Rotation.from_rotvec([0, 2.1, 0]).as_matrix(), np.array([0.3, 0.2, -0.5]))
    points = np.random.default_rng(0).normal(size=(5, 3))
    np.testing.assert_allclose(
        one.apply(points), points @ one.matrix[:3, :3].T + one.matrix[:3, 3], atol=1e-12
    )
    np.testing.assert_allclose(one.after(two).matrix, one.matrix @ two.matrix, atol=1e-12)
    np.testing.assert_allclose(one.after(one.inverse()).matrix, IDENTITY.matrix, atol=1e-12)
    assert np.radians(two.angle) == pytest.approx(2.1)
