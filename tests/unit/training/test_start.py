"""`models.<name>.start`: weights to start from, in the digest by their content."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from occnet_lib.config import Config, ModelConfig, check
from occnet_lib.errors import ConfigError, DataError
from occnet_lib.training.start import check_starts
from occnet_lib.training.train import train
from tests.support.train_config import train_config
from tests.support.training_shapes import make_shard

MODEL = ModelConfig(hidden=16, c_dim=8, blocks=1)
KEYS = {
    "batch_size": 2,
    "points": 32,
    "image_size": 32,
    "validation_points": 64,
    "accelerator": "cpu",
    "ema": 0.5,
}
TINY = train_config(steps=1, learning_rate=1e-9, **KEYS)
TRAIN = train_config(steps=4, learning_rate=1e-2, **KEYS)


def run(shard: Path, out: Path, section=TINY, **keys) -> dict[str, torch.Tensor]:
    model = MODEL.model_copy(update=keys)
    train(Config(models={"m": model}, train=section), "m", [shard], [shard], out)
    return torch.load(out / "best.ckpt", weights_only=True)["state_dict"]


def test_a_run_starts_from_the_weights_of_another(shard, tmp_path):
    before = run(shard, tmp_path / "a", TRAIN)
    start = str(tmp_path / "a" / "best.ckpt")
    after, fresh = run(shard, tmp_path / "b", start=start), run(shard, tmp_path / "c")
    weights = [key for key in before if key.endswith("weight")]
    assert all(torch.allclose(before[key], after[key], atol=1e-6) for key in weights)
    assert not all(torch.allclose(before[key], fresh[key], atol=1e-3) for key in weights)


def test_other_weights_begin_another_run_and_a_moved_file_does_not(shard, tmp_path):
    run(shard, tmp_path / "a", TRAIN)
    first = tmp_path / "a" / "best.ckpt"
    run(shard, tmp_path / "b", start=str(first))
    moved = first.rename(tmp_path / "moved.ckpt")
    run(shard, tmp_path / "b", start=str(moved))
    assert not list((tmp_path / "b").glob("kept-*"))
    run(shard, tmp_path / "c", TRAIN, seed=3)
    run(shard, tmp_path / "b", start=str(tmp_path / "c" / "best.ckpt"))
    assert len(list((tmp_path / "b").glob("kept-*"))) == 1


def test_what_does_not_fit_is_one_line(shard, tmp_path):
    run(shard, tmp_path / "a")
    start = str(tmp_path / "a" / "best.ckpt")
    with pytest.raises(
        ConfigError, match=r"`models.m.start` is a network of hidden 16 and not 32: .*best.ckpt"
    ):
        run(shard, tmp_path / "b", start=start, hidden=32)
    wider = {"models": {"m": {"start": start, "hidden": 32}}}
    with pytest.raises(ConfigError, match="is a network of hidden 16 and not 32"):
        check_starts(check(wider | {"results": str(tmp_path / "results")}))
    check_starts(check(wider | {"results": str(tmp_path)}))  # of a model of the run, which may train it again
    with pytest.raises(
        ConfigError, match=r"`models\.b\.start` is a network of hidden 64 and not 32: results/train/a"
    ):
        check_starts(check({"models": {"a": {"hidden": 64}, "b": {"hidden": 32, "start": "a"}}}))
    with pytest.raises(DataError, match="no such file"):
        run(make_shard(tmp_path / "train-1.h5", 2), tmp_path / "b", start=str(tmp_path / "none.ckpt"))
