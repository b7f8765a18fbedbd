"""Cameras of what the encoder sees: their numbers, and a network that predicts them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from occnet_lib.config import ImagesConfig, ModelConfig, TrainConfig
from occnet_lib.geometry.cameras import camera_centres, image_projection, intrinsics, look_at_origin
from occnet_lib.networks.occupancy_network import OccupancyNetwork
from occnet_lib.networks.pose import BINS, PosePrediction, pose_loss, pose_of, projections_of
from occnet_lib.networks.projection import principal_points, window_matrices
from occnet_lib.storage.packs import write_shard
from occnet_lib.training.batch import collate
from occnet_lib.training.dataset import ShapeSet, TrainingItems
from tests.support.dotted_images import dots, shape
from tests.support.train_config import train_config


def test_a_camera_is_its_azimuth_elevation_and_distance():
    azimuth, elevation, distance = (
        np.array([10.0, 200.0, 359.0]),
        np.array([25.0, -5.0, 80.0]),
        np.array([1.5, 2, 3]),
    )
    world = look_at_origin(camera_centres(azimuth, elevation, distance))
    k = intrinsics(100, 150.0)
    matrix = np.diag([2.0, 2.0, 1.0]) + np.array([[0, 0, -1.0], [0, 0, -1], [0, 0, 0]])
    into = np.stack([matrix @ image_projection(k, one, np.zeros(3), 1.0, 100, 100) for one in world])
    pose = pose_of(torch.from_numpy(into))
    np.testing.assert_allclose(np.degrees(pose.azimuth.numpy()) % 360, azimuth, atol=1e-9)
    np.testing.assert_allclose(np.degrees(pose.elevation.numpy()), elevation, atol=1e-9)
    np.testing.assert_allclose(pose.roll.numpy(), 0, atol=1e-9)
    np.testing.assert_allclose(pose.centre.numpy(), 0, atol=1e-9)
    np.testing.assert_allclose(pose.log_distance.exp().numpy(), distance)
    np.testing.assert_allclose(pose.log_scale.exp().numpy(), 2 * 150 / 137 / distance)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> ShapeSet:
    path, rng = tmp_path_factory.mktemp("pack") / "train-0.h5", np.random.default_rng(0)
    points = rng.uniform(-0.4, 0.4, (6, 3))
    made = [shape("a", points, np.zeros(6, bool), dots(points, 12, 64, radius=6.0))]
    write_shard(path, made, "train-0", "train")
    return ShapeSet([path], TrainConfig())


@pytest.mark.parametrize("framing", ["object", "camera"])
def test_a_window_and_its_pose_give_the_projection_again(shapes, framing):
    """Also off the image's middle, rolled, scaled and mirrored, under autocast."""
    images = ImagesConfig(framing=framing, shift=0.2, scale=0.3, roll=40.0, mirror=True)
    items = TrainingItems(shapes, train_config(points=6, crop=0.7), 1, images, model=ModelConfig(pose=True))
    batch = collate([items[epoch, 0] for epoch in range(30)])
    matrices = window_matrices(batch.windows, 30, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        pose = pose_of(batch.projections)
        again = projections_of(pose, principal_points(matrices))
    torch.testing.assert_close(again, batch.projections, atol=2e-4, rtol=1e-4)
    assert pose.roll.abs().max() > 0.2
    assert pose.centre.abs().max() > 0.1


def test_the_likeliest_poses_are_peaks_with_their_neighbours():
    logits = torch.full((1, BINS), -9.0)
    logits[0, [3, 4, 15]] = torch.tensor([2.0, 1.5, 1.0])
    residuals = torch.zeros(1, BINS)
    residuals[0, 15] = 0.25
    pose, probabilities = PosePrediction(logits, residuals, torch.zeros(1, 6)).likeliest(2)
    width = 2 * np.pi / BINS
    np.testing.assert_allclose(pose.azimuth[0], [3.5 * width, 15.75 * width], rtol=1e-5)
    mass = np.exp([2.0, 1.5, 1.0])
    np.testing.assert_allclose(probabilities[0, 0], (mass[0] + mass[1]) / mass.sum(), atol=1e-3)
    assert float(probabilities.sum()) == pytest.approx(1)


def test_a_network_learns_the_cameras_of_a_few_images(shapes):
    model = ModelConfig(encoder="resnet10", hidden=8, c_dim=8, blocks=1, pose=True)
    network = OccupancyNetwork(model)
    assert network.pose is not None
    items = TrainingItems(
        shapes, train_config(points=6), 1, ImagesConfig(shift=0, scale=0, roll=0), model=model
    )
    batch = collate([items[epoch, 0] for epoch in range(24)])
    images, true = batch.images.permute(0, 3, 1, 2) / 255, pose_of(batch.projections)
    optimizer = torch.optim.Adam(network.pose.parameters(), 1e-3)
    for _ in range(50):
        optimizer.zero_grad()
        loss = pose_loss(network.pose(images), batch.projections)
        loss.backward()
        optimizer.step()
    pose, _ = network.pose(images).likeliest(1)
    off = torch.rad2deg(pose.azimuth[:, 0] - true.azimuth).remainder(360)
    assert torch.minimum(off, 360 - off).median() < 5
    assert (pose.log_distance[:, 0] - true.log_distance).abs().median() < 0.1
    assert (pose.elevation[:, 0] - true.elevation).abs().median() < 0.1
    assert loss < 2


def test_likeliest_cameras_fall_into_the_window_that_the_network_sees(shapes):
    images = ImagesConfig(shift=0.2, roll=20.0)
    items = TrainingItems(shapes, train_config(points=6), 1, images, model=ModelConfig(pose=True))
    batch = collate([items[epoch, 0] for epoch in range(4)])
    true = pose_of(batch.projections)
    place = true.azimuth / (2 * np.pi / BINS) % BINS
    logits = 9.0 * torch.nn.functional.one_hot(place.long(), BINS)
    residuals = (place - place.floor() - 0.5)[:, None].expand(-1, BINS)
    numbers = torch.stack([true.elevation, true.roll, *true.centre.T, true.log_scale, true.log_distance], 1)
    again = PosePrediction(logits, residuals, numbers).projections(batch.window_matrices)
    torch.testing.assert_close(again, batch.projections, atol=1e-3, rtol=1e-3)
