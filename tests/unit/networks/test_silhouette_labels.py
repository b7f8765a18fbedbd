"""Labels of pixels: boundaries, empty and full images, and which rays are chosen."""

from __future__ import annotations

import numpy as np
import pytest

from occnet_lib.geometry.cameras import camera_centres, image_projection, intrinsics, look_at_origin
from occnet_lib.networks.silhouette_labels import (
    BACKGROUND,
    NEITHER,
    OBJECT,
    choose_pixels,
    coverage_of,
    labels_of,
)

RNG = np.random.default_rng(0)


def disc(edge: int, radius: float, finer: int = 8) -> np.ndarray:
    """(edge, edge) fraction of every pixel that a disc in the middle covers."""
    v, u = (np.mgrid[: edge * finer, : edge * finer] + 0.5) / finer - edge / 2
    return (u**2 + v**2 <= radius**2).reshape(edge, finer, edge, finer).mean(axis=(1, 3))


def photo(coverage: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.round(255 + coverage[..., None] * (np.array(colour) - 255.0)).astype(np.uint8)


def projection(distance: float = 1.5) -> np.ndarray:
    place = look_at_origin(camera_centres([30.0], [20.0], [distance]))[0]
    return image_projection(intrinsics(40, 149.0), place, np.zeros(3), 1.0, 40, 40)


@pytest.mark.parametrize("colour", [(0, 0, 0), (200, 120, 60), (235, 235, 225)])
def test_labels_by_the_image_are_those_of_the_mask_but_at_some_pixels_of_the_boundary(colour):
    covered = disc(40, 11.3)
    by_mask, by_image = labels_of(covered), labels_of(coverage_of(photo(covered, colour)))
    assert set(np.unique(by_mask)) == {BACKGROUND, OBJECT, NEITHER}
    surely = (covered == 0) | (covered == 1)
    assert (by_image == by_mask)[surely].all()
    # What is covered but little may look white; no other pixel gets the opposite label.
    wrong = (by_image != by_mask) & (by_image != NEITHER) & (by_mask != NEITHER)
    assert not wrong[covered > 0.3].any()
    assert (by_image == OBJECT)[(covered > 0.55) & (covered < 1)].all()


def test_chosen_pixels_have_the_label_and_their_rays_meet_the_cube():
    covered = disc(40, 6.0)
    chosen = choose_pixels(labels_of(covered), projection(3.0), 1.1, 200, RNG)
    for places, wanted in ((chosen.hits, 1.0), (chosen.free, 0.0)):
        rows, columns = (places[:, ::-1] * 40).astype(int).T
        assert (covered[rows, columns] >= 0.5).all() if wanted else (covered[rows, columns] == 0).all()
    assert len(chosen.hits) == (labels_of(covered) == OBJECT).sum()
    assert 20 < len(chosen.free) <= 200
    # Seen from there, the cube is a part of the image.
    assert np.abs(chosen.free - 0.5).max() < 0.36
    near = choose_pixels(labels_of(covered), projection(1.2), 1.1, 200, RNG)
    assert chosen.fraction > near.fraction > 0


def test_an_empty_image_says_nothing_and_a_full_one_has_no_background():
    empty = choose_pixels(labels_of(np.zeros((40, 40))), projection(), 1.1, 30, RNG)
    assert len(empty.hits) == len(empty.free) == empty.fraction == 0
    full = choose_pixels(labels_of(np.ones((40, 40))), projection(), 1.1, 30, RNG)
    assert (len(full.hits), len(full.free), full.fraction) == (30, 0, 1.0)


def test_from_within_the_cube_every_ray_meets_it():
    chosen = choose_pixels(labels_of(disc(40, 6.0)), projection(0.2), 1.1, 2000, RNG)
    assert len(chosen.free) == (labels_of(disc(40, 6.0)) == BACKGROUND).sum()
