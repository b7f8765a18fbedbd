"""Training with pixel-aligned features: it learns what the code cannot hold, and resumes as if it had not stopped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from occnet_lib.config import Config, ImagesConfig, ModelConfig, ReconstructConfig
from occnet_lib.errors import ConfigError
from occnet_lib.networks.checkpoint import load_network
from occnet_lib.reconstruction.reconstructor import Reconstructor
from occnet_lib.reconstruction.shard import reconstruct_shard
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.reconstructions import read_mesh
from occnet_lib.training import train as training
from occnet_lib.training.data_loaders import validation_loader
from occnet_lib.training.dataset import ShapeSet, ValidationItems
from occnet_lib.training.train import train
from occnet_lib.training.validation import validate
from tests.support.dotted_images import hull_shard
from tests.support.train_config import changed, train_config

pytestmark = pytest.mark.real_encoder
MODEL = ModelConfig(encoder="resnet10", decoder="fc", hidden=32, c_dim=8, blocks=1, local=True)
TRAIN = train_config(
    steps=40,
    batch_size=8,
    points=256,
    image_size=32,
    learning_rate=3e-3,
    ema=0.5,
    log_every=20,
    validate_every=40,
    validation_points=512,
    accelerator="cpu",
    precision="fp32",
    workers=0,
)
IMAGES = ImagesConfig(mirror=True)


@pytest.fixture(scope="module")
def pack(tmp_path_factory) -> tuple[list[Path], list[Path]]:
    folder = tmp_path_factory.mktemp("pack")
    return [hull_shard(folder / "train-0.h5", 24)], [hull_shard(folder / "val-0.h5", 4, seed=9)]


def configuration(steps: int, **keys) -> Config:
    models = {"net": MODEL.model_copy(update=keys)}
    train = changed(TRAIN, steps=steps, checkpoint_every=steps // 2)  # one takes as long as a step
    return Config(models=models, images=IMAGES, train=train)


@pytest.fixture(scope="module")
def trained(pack, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train(configuration(40), "net", *pack, folder)
    return folder


def scores(folder: Path, pack, image_size: int = 32) -> float:
    network, _ = load_network(folder / "best.ckpt")
    shapes = ShapeSet(pack[1], TRAIN)
    items = ValidationItems(shapes, TRAIN, IMAGES, network.model)
    return validate(network, validation_loader(items), image_size).iou


def test_points_in_the_outline_of_unseen_images_are_learned(pack, trained, tmp_path):
    """Where a point's pixel is dark it is inside: 24 images of random dots teach the rule only to local features."""
    train(configuration(40, local=False), "net", *pack, tmp_path)
    assert scores(trained, pack) > scores(tmp_path, pack) + 0.15


def test_a_stopped_training_goes_on_as_if_it_had_not(pack, tmp_path, monkeypatch):
    """Also with predicted cameras, on which it trains from the third step on."""
    config = configuration(6, pose=True, own_cameras=True)
    train(config, "net", *pack, tmp_path / "whole")
    trainer = training._trainer

    def stopping(*args):
        made = trainer(*args)
        made.fit_loop.epoch_loop.max_steps = 3
        return made

    with monkeypatch.context() as patch:
        patch.setattr(training, "_trainer", stopping)
        train(config, "net", *pack, tmp_path / "parts")
    assert torch.load(tmp_path / "parts/last.ckpt", weights_only=True)["global_step"] == 3
    train(config, "net", *pack, tmp_path / "parts")
    whole, parts = (
        torch.load(tmp_path / name / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("whole", "parts")
    )
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    assert {"network.local.fc_out.weight", "network.pose.out.weight"} <= whole.keys()


def test_a_packed_image_gives_one_mesh_alone_and_in_a_batch_and_needs_its_camera(pack, trained, tmp_path):
    config = ReconstructConfig(resolution0=16, upsampling_steps=1, simplify={"faces": None}, refine_steps=0)
    for batch in (1, 2):
        config = config.model_copy(update={"batch": batch})
        reconstruct_shard(trained / "best.ckpt", pack[1][0], config, tmp_path / str(batch))
    shard, network = Shard(pack[1][0]), Reconstructor(trained / "best.ckpt", config)
    for key in shard.keys:
        alone, together = (read_mesh(tmp_path / str(batch), key) for batch in (1, 2))
        np.testing.assert_allclose(alone.vertices, together.vertices, atol=2e-3)
        assert len(alone.faces) > 0
    image, points = shard.image(0, 0), shard.points(0)[0][:200]
    cameras = np.stack([shard.projection(i, 0, image.shape) for i in (0, 1)])
    images, rotations = np.stack([image, image]), np.zeros((2, 3, 3))
    logits = network.logits(images, rotations, points, cameras)
    assert np.abs(logits[0] - logits[1]).max() > 0.5
    field = network.field(image, projection=cameras[1])
    np.testing.assert_allclose(field.on_array(points), logits[1], atol=1e-3)
    with pytest.raises(ConfigError, match="needs the camera"):
        network.logits(images, rotations, points)
