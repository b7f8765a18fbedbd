"""Silhouettes through predicted cameras: which cameras they are, that no other is read, whole runs, what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from occnet_lib.config import Config, ImagesConfig, ModelConfig, ReconstructConfig, check
from occnet_lib.errors import ConfigError, OccnetError
from occnet_lib.networks.checkpoint import load_network
from occnet_lib.networks.framing import input_matrices
from occnet_lib.networks.images import encoder_input
from occnet_lib.networks.pose import BINS, PoseNetwork, PosePrediction, pose_of
from occnet_lib.networks.projection import product
from occnet_lib.reconstruction.reconstructor import Reconstructor
from occnet_lib.training.batch import collate
from occnet_lib.training.dataset import ShapeSet, TrainingItems, ValidationItems
from occnet_lib.training.module import OccupancyModule
from occnet_lib.training.predicted_cameras import predict_cameras
from occnet_lib.training.start import check_starts
from occnet_lib.training.train import train
from tests.support.silhouette_shapes import TRAIN, inside, seen_shard
from tests.support.small_encoder import small_encoder
from tests.support.train_config import changed

SMALL = {"hidden": 16, "c_dim": 8, "blocks": 1}
RAYS = SMALL | {"labels": "none", "silhouettes": 1.0}
LARGER = {"hidden": 32, "c_dim": 8, "blocks": 2}
LONGER = changed(
    TRAIN, steps=60, points=256, balance=8, samples=12, validation_points=4000, validate_every=60
)
WHOLE = ImagesConfig(framing="camera")


def run(path: Path, out: Path, section=TRAIN, images=WHOLE, **keys) -> dict[str, torch.Tensor]:
    config = Config(models={"m": ModelConfig(**keys)}, train=section, images=images)
    train(config, "m", [path], [path], out)
    return torch.load(out / "best.ckpt", weights_only=True)["state_dict"]


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> Path:
    """A shard of four ellipsoids with six views each."""
    path = tmp_path_factory.mktemp("pack") / "train-0.h5"
    seen_shard(path, 4)
    return path


@pytest.fixture(scope="module")
def poses(seen, tmp_path_factory) -> str:
    """A network that predicts cameras, however wrong."""
    folder = tmp_path_factory.mktemp("poses")
    with small_encoder():
        run(seen, folder, changed(TRAIN, steps=2), ImagesConfig(), **SMALL, pose=True)
    return str(folder / "best.ckpt")


def test_cameras_are_those_of_a_reconstruction(seen, poses):
    shapes = ShapeSet([seen], TRAIN)
    true = shapes.camera(2, 3)
    predict_cameras((shapes,), ModelConfig(**RAYS, silhouette_cameras=poses), "m", "cpu")
    network = Reconstructor(Path(poses), ReconstructConfig())
    for shape in range(4):
        images = np.stack([shapes.image(shape, view) for view in range(6)])
        cameras = np.stack([shapes.camera(shape, view) for view in range(6)])
        np.testing.assert_allclose(cameras, network.cameras(images).projections[:, 0], atol=1e-4)
    assert not np.allclose(shapes.camera(2, 3), true, atol=0.05)


@pytest.mark.parametrize("mirror", [False, True])
def test_a_network_that_is_right_predicts_the_true_cameras(seen, poses, monkeypatch, mirror):
    """Then items are those of true cameras."""
    true, predicted = ShapeSet([seen], TRAIN), ShapeSet([seen], TRAIN)
    _, options = load_network(poses)
    answers = iter(range(4))

    def forward(self, images):
        shape = next(answers)
        views = np.stack([true.image(shape, view) for view in range(6)])
        cameras = np.stack([true.camera(shape, view) for view in range(6)])
        into = product(input_matrices(views, options, "cpu"), torch.from_numpy(cameras))
        pose = pose_of(into)
        place = pose.azimuth / (2 * np.pi / BINS) % BINS
        logits = 9.0 * torch.nn.functional.one_hot(place.long(), BINS)
        residuals = (place - place.floor() - 0.5)[:, None].expand(-1, BINS)
        numbers = pose.elevation, pose.roll, *pose.centre.T, pose.log_scale, pose.log_distance
        return PosePrediction(logits, residuals, torch.stack(numbers, 1))

    monkeypatch.setattr(PoseNetwork, "forward", forward)
    model = ModelConfig(**RAYS, silhouette_cameras=poses)
    predict_cameras((predicted,), model, "m", "cpu")
    one, two = (TrainingItems(s, TRAIN, 0, ImagesConfig(mirror=mirror), model) for s in (true, predicted))
    for epoch in range(3):
        for shape in range(4):
            pixels, others = one[epoch, shape].silhouettes, two[epoch, shape].silhouettes
            assert torch.equal(pixels.hits, others.hits)
            # Up to a factor, which is the unit of depth: the origin has the same depth here.
            torch.testing.assert_close(pixels.cameras, others.cameras, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("labels", ["none", "hull"])
def test_no_camera_of_the_pack_is_read(seen, poses, tmp_path, labels):
    keys = RAYS | {"labels": labels, "silhouette_cameras": poses}
    one = run(seen, tmp_path / "one", **keys)
    other = tmp_path / "train-0.h5"
    seen_shard(other, 4)
    with h5py.File(other, "r+") as file:
        file["world_mat"][...] = file["world_mat"][...][:, ::-1]
        file["camera_mat"][..., 0, 0] *= 1.5
    two = run(other, tmp_path / "two", **keys)
    assert all(torch.equal(one[key], two[key]) for key in one)
    true = run(seen, tmp_path / "true", **keys | {"silhouette_cameras": ""})
    assert not all(torch.equal(one[key], true[key]) for key in one)


@pytest.mark.parametrize("labels", ["none", "hull"])
def test_a_run_stopped_on_the_way_ends_as_the_whole_one(seen, poses, tmp_path, monkeypatch, labels):
    keys = RAYS | {"labels": labels, "silhouette_cameras": poses}
    whole, step = run(seen, tmp_path / "whole", **keys), OccupancyModule.training_step

    def stop(self, batch, batch_idx):
        if self.global_step == 4:
            raise OccnetError("stopped")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(OccupancyModule, "training_step", stop)
    with pytest.raises(OccnetError, match="stopped"):
        run(seen, tmp_path / "parts", **keys)
    monkeypatch.undo()
    copied = shutil.copy(poses, tmp_path / "copied.ckpt")
    parts = run(seen, tmp_path / "parts", **keys | {"silhouette_cameras": str(copied)})
    assert not list((tmp_path / "parts").glob("kept-*"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_other_cameras_begin_another_run(seen, poses, tmp_path):
    run(seen, tmp_path / "run", **RAYS, silhouette_cameras=poses)
    run(seen, tmp_path / "others", changed(TRAIN, steps=3), **SMALL, pose=True)
    run(seen, tmp_path / "run", **RAYS, silhouette_cameras=str(tmp_path / "others" / "best.ckpt"))
    assert len(list((tmp_path / "run").glob("kept-*"))) == 1


@pytest.fixture(scope="module")
def learned(tmp_path_factory) -> tuple[Path, tuple[np.ndarray, np.ndarray], str]:
    """A shard of one ellipsoid with six views, its centre and radii, and a network that knows these views' cameras."""
    folder = tmp_path_factory.mktemp("learned")
    (solid,) = seen_shard(folder / "train-0.h5", 1)
    section = changed(
        LONGER,
        steps=120,
        points=8,
        batch_size=6,
        learning_rate=5e-3,
        validate_every=120,
        checkpoint_every=120,
    )
    with small_encoder():
        run(folder / "train-0.h5", folder / "run", section, **LARGER, pose=True)
    return folder / "train-0.h5", solid, str(folder / "run" / "best.ckpt")


@pytest.mark.parametrize("labels", ["none", "hull"])
def test_a_shape_is_learned_through_cameras_that_were_learned(learned, tmp_path, labels):
    path, (centre, radii), cameras = learned
    keys = LARGER | {"labels": labels, "silhouettes": float(labels == "none"), "silhouette_cameras": cameras}
    run(path, tmp_path, LONGER, **keys)
    network, options = load_network(tmp_path / "best.ckpt")
    item = collate([ValidationItems(ShapeSet([path], LONGER), LONGER)[0]])
    points = np.random.default_rng(1).uniform(-0.55, 0.55, (20_000, 3))
    with torch.no_grad():
        logits = network(encoder_input(item.images, 32), torch.from_numpy(points)[None].float())[0]
    field, exact = logits.sigmoid().numpy() > options["val_threshold"], inside(points, centre, radii)
    assert (field & exact).sum() / (field | exact).sum() > 0.35


def test_what_cannot_be_is_one_line(seen, poses, tmp_path):
    run(seen, tmp_path / "plain", changed(TRAIN, steps=2), **SMALL)
    plain = str(tmp_path / "plain" / "best.ckpt")
    message = r"`models.m.silhouette_cameras` is a network that predicts no cameras: .*best.ckpt"
    with pytest.raises(ConfigError, match=message):
        run(seen, tmp_path / "run", **RAYS, silhouette_cameras=plain)
    with pytest.raises(ConfigError, match=message):
        check_starts(check({"models": {"m": RAYS | {"silhouette_cameras": plain}}}))
    check_starts(check({"models": {"m": RAYS | {"silhouette_cameras": poses}}}))
    with pytest.raises(ConfigError, match="needs `labels: hull` or `silhouettes`"):
        check({"models": {"m": {"silhouette_cameras": poses}}})
    for keys in ({"pose": True}, {"local": True}, {"frame": "camera"}):
        with pytest.raises(ConfigError, match="need true ones"):
            check({"models": {"m": RAYS | keys | {"silhouette_cameras": poses}}})
