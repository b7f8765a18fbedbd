"""Fit of a code to a silhouette: a field whose code is the radii of an ellipsoid."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from occnet_lib.geometry.cameras import camera_centres, image_projection, intrinsics, look_at_origin
from occnet_lib.networks.code_fit import fit_code
from occnet_lib.networks.silhouette_labels import Pixels, choose_pixels, labels_of
from tests.support.silhouette_shapes import silhouette

CAMERA = image_projection(
    intrinsics(48, 149.0), look_at_origin(camera_centres([90.0], [0.0], [2.0]))[0], np.zeros(3), 1.0, 48, 48
)


class Ellipsoid:
    """The code has the logarithms of the radii, in tenths."""

    def decode(self, points, code, rotation=None, projection=None, *maps):
        return 8 * (1 - (points / (10 * code).exp()[:, None]).norm(dim=-1))


def pixels_of(radii: list[float]) -> Pixels:
    covered = silhouette(CAMERA, 48, np.zeros(3), np.array(radii))
    return choose_pixels(labels_of(covered), CAMERA, 1.1, 4096, np.random.default_rng(0))


def fitted(radii: list[float], steps: int, pixels: Pixels | None = None) -> list[float]:
    start = torch.log(torch.full((1, 3), 0.2)) / 10
    pixels = pixels_of(radii) if pixels is None else pixels
    code, kept = fit_code(Ellipsoid(), (start, start), pixels, CAMERA, level=0.0, steps=steps, edge=1.1)
    assert kept is start
    return (10 * code).exp()[0].tolist()


def test_the_silhouette_becomes_that_of_the_image():
    radii = [0.3, 0.15, 0.2]
    x, y, z = fitted(radii, 80)  # the camera looks along z
    assert (x, y) == pytest.approx(radii[:2], abs=0.03)
    assert 0.1 < z < 0.4


def test_steps_are_bounded_and_the_same_each_time():
    one = fitted([0.3, 0.15, 0.2], 5)
    assert one == fitted([0.3, 0.15, 0.2], 5)
    rate = 0.02 * abs(np.log(0.2))
    assert np.abs(np.log(one) - np.log(0.2)).max() < 5 * rate * 1.5
    assert fitted([0.3, 0.15, 0.2], 0) == pytest.approx([0.2] * 3)


def test_without_an_object_nothing_is_fitted_and_without_background_it_grows():
    empty = Pixels(np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32), 0.0)
    assert fitted([], 20, empty) == pytest.approx([0.2] * 3)
    full = choose_pixels(labels_of(np.ones((48, 48))), CAMERA, 1.1, 4096, np.random.default_rng(0))
    x, y, _ = fitted([], 50, full)
    assert min(x, y) > 0.25
