"""Positional encoding."""

from __future__ import annotations

import numpy as np
import torch

from occnet_lib.networks.positional_encoding import encode, encoded_dim


def test_positional_encoding_is_its_formula():
    points = torch.rand(2, 5, 3, dtype=torch.float64) - 0.5
    encoded = encode(points, 3).numpy()
    assert encoded.shape == (2, 5, encoded_dim(3))
    angles = [2**k * np.pi * points.numpy() for k in range(3)]
    expected = np.concatenate([points, *map(np.sin, angles), *map(np.cos, angles)], axis=-1)
    np.testing.assert_allclose(encoded, expected, atol=1e-12)
    assert encode(points, 0) is points
