"""Points fall on their pixels of what the encoder sees, whatever the window."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from occnet_lib.config import ImagesConfig, ModelConfig, TrainConfig
from occnet_lib.geometry.cameras import Camera, image_projection, project
from occnet_lib.networks import projection
from occnet_lib.networks.framing import input_projections, network_input
from occnet_lib.networks.images import encoder_input
from occnet_lib.storage.packs import write_shard
from occnet_lib.training.batch import collate
from occnet_lib.training.dataset import ShapeSet, TrainingItems, ValidationItems
from occnet_lib.training.device_set import DeviceSet
from tests.support.dotted_images import COLOURS, cameras, dots, shape
from tests.support.train_config import train_config

POINTS = np.array(
    [
        (0.5, 0.3, -0.4),
        (-0.5, 0.2, 0.3),
        (0.1, -0.5, 0.4),
        (-0.2, 0.45, -0.1),
        (0.4, -0.2, 0.1),
        (0.0, 0.0, 0.0),
    ]
)
SIZE = 96


def centres(seen: torch.Tensor) -> np.ndarray:
    """Middle of each colour in an encoder's input (3, S, S), in [-1, 1]; NaN where it is hardly seen."""
    colours = (255 * seen.permute(1, 2, 0)).numpy()[:, :, None] - COLOURS.astype(float)
    near = (np.abs(colours).max(-1) < 40).astype(float)
    at = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
    mass = near.sum((0, 1))
    middle = np.stack([np.tensordot(at, near.sum(0), 1), np.tensordot(at, near.sum(1), 1)], 1)
    return np.where(mass[:, None] > 6, middle / np.maximum(mass, 1)[:, None], np.nan)


def assert_on_their_dots(
    seen: torch.Tensor, projections: torch.Tensor, points: np.ndarray, least: int
) -> None:
    """Each seen dot is within half a pixel of its point; dots may hide each other, but not all of them."""
    at, depth = projection.project(
        torch.from_numpy(points).float()[None].expand(len(seen), -1, -1), projections
    )
    assert (depth > 0.2).all()
    gaps = [
        np.linalg.norm(centres(one) - own, axis=1) * SIZE / 2
        for one, own in zip(seen, at.numpy(), strict=True)
    ]
    visible = np.isfinite(gaps)
    assert visible.sum() >= least
    assert np.median(np.array(gaps)[visible]) < 0.35
    assert np.quantile(np.array(gaps)[visible], 0.9) < 1.0  # a partly hidden dot has another middle


@pytest.fixture(scope="module")
def pack(tmp_path_factory) -> ShapeSet:
    path = tmp_path_factory.mktemp("pack") / "train-0.h5"
    inside = np.zeros(len(POINTS), bool)
    write_shard(path, [shape("a", POINTS, inside, dots(POINTS, 6))], "train-0", "train")
    return ShapeSet([path], TrainConfig())


@pytest.mark.parametrize("framing", ["object", "camera"])
@pytest.mark.parametrize("mirror", [False, True])
def test_points_fall_on_their_dots_in_training(pack, framing, mirror):
    """Framed, shifted, scaled, rolled, cropped and mirrored, by the loader and by the device's set."""
    images = ImagesConfig(framing=framing, shift=0.1, scale=0.2, roll=30.0, mirror=mirror)
    train = train_config(points=6, image_size=SIZE, crop=0.8)
    items = TrainingItems(pack, train, 3, images, model=ModelConfig(pose=True))
    pairs = [(epoch, 0) for epoch in range(12)]
    batch = collate([items[pair] for pair in pairs])
    mirrored = np.array([items.draw(*pair).mirrored for pair in pairs])
    assert mirrored.any() == mirror
    seen = encoder_input(batch.images, SIZE, batch.windows)
    for side in {False, mirror}:
        at = torch.from_numpy(np.flatnonzero(mirrored == side))
        points = POINTS * (-1, 1, 1) if side else POINTS
        assert_on_their_dots(seen[at], batch.projections[at], points, 3 * len(at))
    gathered = DeviceSet(items, "cpu").batch(pairs)
    torch.testing.assert_close(gathered.projections, batch.projections)
    plain = TrainingItems(pack, train, 3, images)
    assert collate([plain[0, 0]]).projections is None
    assert DeviceSet(plain, "cpu").batch(pairs).projections is None


@pytest.mark.parametrize("framing", ["object", "camera"])
def test_points_fall_on_their_dots_in_validation_and_inference(pack, framing):
    options = {"images": {"framing": framing, "fill": 0.8}, "train": {"image_size": SIZE}}
    batch = collate(
        [ValidationItems(pack, TrainConfig(), ImagesConfig(framing=framing), model=ModelConfig(pose=True))[0]]
    )
    images = np.stack([pack.image(0, view) for view in range(6)])
    given_cameras = np.stack([pack.camera(0, view) for view in range(6)])
    projections = input_projections(given_cameras, images, options, "cpu")
    torch.testing.assert_close(batch.projections, projections[:1])
    assert_on_their_dots(network_input(images, options, "cpu"), projections, POINTS, 20)


def test_a_projection_is_that_of_the_geometry():
    (camera_mat,), (world_mat,) = cameras(1, 4, 200)
    loc, points = np.array([0.02, -0.01, 0.03]), POINTS
    uv, depth = project(points, camera_mat, world_mat, loc, 0.7)
    matrix = image_projection(camera_mat, world_mat, loc, 0.7, 200, 100)
    at, far = projection.project(torch.from_numpy(points)[None], torch.from_numpy(matrix)[None])
    np.testing.assert_allclose(at[0] * torch.tensor([200, 100]), uv)
    np.testing.assert_allclose(far[0], depth / 0.7)
    rotation = projection.rotations_of(torch.from_numpy(matrix)[None])[0]
    np.testing.assert_allclose(rotation, world_mat[:, :3], atol=1e-12)
    np.testing.assert_allclose(Camera(camera_mat, world_mat, 200, 100, loc, 0.7).projection, matrix)
    # Behind the camera a point has some finite place.
    behind, far = projection.project(torch.tensor([[[0.0, 0.0, -9.0]]]), torch.eye(4)[None, :3])
    assert torch.isfinite(behind).all()
    assert (far < 0).all()


@settings(deadline=None, max_examples=30)
@given(height=st.integers(1, 5), width=st.integers(1, 5), seed=st.integers(0, 99))
def test_taps_are_those_of_grid_sample(height, width, seed):
    rng = torch.Generator().manual_seed(seed)
    level = torch.rand(1, 3, height, width, generator=rng)
    places = 2.6 * torch.rand(40, 2, generator=rng) - 1.3
    taps = projection.bilinear_taps(places, torch.tensor([[width, height]]))
    actual = (level.flatten(2)[0].T[taps.rows] * taps.weights[..., None]).sum(1)
    expected = functional.grid_sample(level, places[None, None], padding_mode="border", align_corners=False)
    torch.testing.assert_close(actual, expected[0, :, 0].T, atol=1e-5, rtol=1e-5)
