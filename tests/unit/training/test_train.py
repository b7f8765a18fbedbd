"""Whole runs: files, resuming, degenerate splits, learning something."""

from __future__ import annotations

import csv
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from occnet_lib import seeds
from occnet_lib.config import Config, ImagesConfig, ModelConfig, TrainConfig, digest
from occnet_lib.config.learning import PRESETS
from occnet_lib.errors import ConfigError, DataError, OccnetError
from occnet_lib.networks import hardware
from occnet_lib.networks.checkpoint import load_network
from occnet_lib.networks.images import encoder_input
from occnet_lib.networks.occupancy_network import OccupancyNetwork
from occnet_lib.training import run_info
from occnet_lib.training.batch import collate
from occnet_lib.training.checkpoint_callback import CheckpointCallback
from occnet_lib.training.data_loaders import BatchOrder
from occnet_lib.training.dataset import ShapeSet, TrainingItems, ValidationItems
from occnet_lib.training.distributed import (
    ProcessSettings,
    reserve_devices,
    started_processes,
    trainer_options,
)
from occnet_lib.training.metrics_log import COLUMNS, ThroughputMeter
from occnet_lib.training.module import OccupancyModule
from occnet_lib.training.train import train
from occnet_lib.training.validation import validate
from occnet_lib.training.validation_images import ValidationImages, render_occupancy
from occnet_lib.versions import VERSIONS
from tests.support import training_forks
from tests.support.small_encoder import small_encoder
from tests.support.train_config import changed, train_config
from tests.support.training_shapes import make_shard
from tests.support.waiting import until

MODEL = ModelConfig(hidden=16, c_dim=8, blocks=1)
TRAIN = train_config(
    steps=8,
    batch_size=4,
    points=64,
    image_size=32,
    learning_rate=1e-3,
    schedule="cosine",
    gradient_clip=1.0,
    log_every=3,
    validate_every=4,
    checkpoint_every=2,
    validation_points=200,
    accelerator="cpu",
)


# A real encoder, as small as it gets.
RESNET10 = MODEL.model_copy(update={"encoder": "resnet10", "pretrained": False})

COMPILES = pytest.mark.skipif(
    not (shutil.which("g++") and shutil.which("gcc")), reason="torch.compile needs a C++ compiler"
)


@pytest.fixture
def _vector_instructions(monkeypatch):
    """torch's compiler takes those that the processor has; it would compile and run six programs to see that they work."""
    monkeypatch.setenv("TORCHINDUCTOR_VEC_ISA_OK", "1")


def configuration(model: ModelConfig = MODEL, **changes) -> Config:
    return Config(models={"small": model}, train=changed(TRAIN, **changes))


@pytest.fixture(scope="module")
def pack(tmp_path_factory) -> tuple[list[Path], list[Path]]:
    folder = tmp_path_factory.mktemp("pack")
    shards = [make_shard(folder / "train-0.h5", 3), make_shard(folder / "train-1.h5", 3, seed=1)]
    return shards, [make_shard(folder / "val-0.h5", 2, seed=2)]


# What else a state must hold to go on from: the average of weights, the balanced points.
EVERYTHING = {"ema": 0.9, "balance": 4, "crop": 0.8}


@pytest.fixture(scope="module")
def forks(tmp_path_factory) -> Iterator[Path]:
    """The server of `training_forks`; gives the folder of what its forks compile."""
    folder = tmp_path_factory.mktemp("compiled")
    with training_forks.fork_server(folder):
        yield folder


@pytest.fixture(scope="module")
def whole(pack, tmp_path_factory) -> Path:
    """A run from the first to the last step."""
    folder = tmp_path_factory.mktemp("whole")
    with small_encoder():
        train(configuration(**EVERYTHING), "small", *pack, folder)
    return folder


TIMES = ("samples_per_second", "data_wait")


def rows_of(folder: Path, without: tuple[str, ...] = TIMES) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if k not in without} for row in csv.DictReader(file)]


def state_of(folder: Path, name: str = "best.ckpt") -> dict[str, torch.Tensor]:
    return torch.load(folder / name, weights_only=True)["state_dict"]


def assert_equal_runs(a: Path, b: Path) -> None:
    """Bit for bit: weights, optimiser, schedule, best network, rows."""
    assert rows_of(a) == rows_of(b)
    for name in ("best.ckpt", "last.ckpt"):
        left, right = state_of(a, name), state_of(b, name)
        assert left.keys() == right.keys()
        assert all(torch.equal(left[key], right[key]) for key in left)
    left, right = (torch.load(folder / "last.ckpt", weights_only=True) for folder in (a, b))
    assert left["global_step"] == right["global_step"]
    assert left["lr_schedulers"] == right["lr_schedulers"]
    for key, moments in left["optimizer_states"][0]["state"].items():
        others = right["optimizer_states"][0]["state"][key]
        assert all(torch.equal(moments[name], others[name]) for name in moments)
    assert (
        left["loops"]["fit_loop"]["state_dict"] == right["loops"]["fit_loop"]["state_dict"]
    )  # the loader's position


def test_the_files_of_a_run(whole):
    rows = rows_of(whole, without=())
    assert tuple(rows[0]) == COLUMNS
    assert [int(row["step"]) for row in rows] == [3, 4, 6, 8]
    assert [bool(row["val_iou"]) for row in rows] == [False, True, False, True]
    assert all(row["train_loss"] and row["learning_rate"] and row["samples_per_second"] for row in rows)
    assert all(0 < float(row["data_wait"]) < 1 for row in rows)
    options = json.loads((whole / "options.json").read_text())
    network, inside = load_network(whole / "best.ckpt")
    assert options["parameters"] == network.parameter_count
    assert options["config"]["train"]["data"]["batch_size"] == 4
    assert options["precision"] in ("bf16", "fp32")
    assert options["versions"]["torch"]
    assert options["shapes"] == {"train": 6, "val": 2}
    assert inside["train"]["data"]["image_size"] == 32
    best = max(float(row["val_iou"]) for row in rows if row["val_iou"])
    assert inside["val_iou"] == pytest.approx(best, rel=1e-5)
    assert {row["val_threshold"] for row in rows} >= {str(inside["val_threshold"])}
    assert list((whole / "tensorboard").glob("events*"))
    assert not list(whole.glob(".*"))


def test_tensorboard_shows_curves_and_images(whole):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(whole / "tensorboard")).Reload()
    curves = {"train_loss", "train_accuracy", "train_iou", "val_iou", "learning_rate", *TIMES}
    assert curves <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("train_loss")] == [3, 4, 6, 8]
    shown = events.Images("validation")
    assert [event.step for event in shown] == [4, 8]
    assert (shown[0].width, shown[0].height) == (5 * 128, 2 * 128)


def test_time_counts_but_for_pauses(monkeypatch):
    now = 0.0
    monkeypatch.setattr("time.perf_counter", lambda: now)
    watch = ThroughputMeter()
    for _ in range(2):
        now += 1.0  # data
        watch.begin()
        now += 3.0  # the step
        watch.end(16)
    watch.pause()
    now += 100.0
    assert watch.read() == (4.0, 0.25)
    watch.resume()
    watch.begin()
    now += 2.0
    watch.end(16)
    watch.pause()
    assert watch.read() == (8.0, 0.0)


def test_images_of_occupancies(pack):
    """A network that knows the ground truth draws it beside itself; what is drawn is where the points are."""
    items = ValidationItems(ShapeSet(pack[1], TRAIN), TRAIN)

    class Knows(OccupancyNetwork):
        def decode(self, points, code, rotations=None):
            truth = [item.occupancies for item in (items[0], items[1]) if len(item.points) == points.shape[1]]
            place = [np.array_equal(item.points, points[0].half().numpy()) for item in (items[0], items[1])]
            return torch.from_numpy(truth[place.index(True)][None]).float() * 4 - 2

    drawn = ValidationImages(items).draw(Knows(MODEL), 0.5, 32)
    assert drawn.shape == (2 * 128, 5 * 128, 3)
    panels = drawn.reshape(2, 128, 5, 128, 3).swapaxes(1, 2)
    for row in panels:
        np.testing.assert_array_equal(row[1], row[2])
        np.testing.assert_array_equal(row[3], row[4])
        assert row[1].min() < 255
    dark = render_occupancy(np.array([[0.5, 0.4, 0.3], [0.5, 0.4, -0.3]]), 2)[..., 0] < 255
    v, u = np.argwhere(dark).mean(0) / 128
    assert (u, v) == pytest.approx((0.95, 0.13), abs=0.04)
    side = render_occupancy(np.array([[0.5, 0.4, 0.3]]), 0)[..., 0] < 255
    assert np.argwhere(side).mean(0)[1] / 128 == pytest.approx(0.23, abs=0.04)
    assert (render_occupancy(np.zeros((0, 3)), 2) == 255).all()


def test_the_best_network_is_the_one_that_was_validated(whole, pack):
    from occnet_lib.training.data_loaders import validation_loader
    from occnet_lib.training.run_info import uses_bf16

    network, options = load_network(whole / "best.ckpt")
    items = ValidationItems(ShapeSet(pack[1], TRAIN), TRAIN)
    scores = validate(network, validation_loader(items), 32, bf16=uses_bf16(TRAIN, "cpu"))
    assert scores.iou == pytest.approx(options["val_iou"], abs=1e-3)
    assert scores.threshold == options["val_threshold"]
    assert options["view_size"] == 33  # of the images, which need not be what the section `views` makes


def test_the_result_is_the_average_of_weights(whole, pack, tmp_path):
    """Kept and validated is the average; last.ckpt has both; without averaging there is one network only."""
    best, last = state_of(whole), state_of(whole, "last.ckpt")
    options = torch.load(whole / "best.ckpt", weights_only=True)["options"]
    if options["step"] == 8:
        assert all(torch.equal(value, last[f"average.{name}"]) for name, value in best.items())
    assert not torch.equal(last["average.decoder.fc_p.weight"], last["network.decoder.fc_p.weight"])
    assert not torch.equal(
        last["average.decoder.bn.bn.running_var"], last["network.decoder.bn.bn.running_var"]
    )
    train(configuration(balance=4, steps=2), "small", *pack, tmp_path)
    assert not any(name.startswith("average") for name in state_of(tmp_path, "last.ckpt"))


def test_a_run_stopped_on_the_way_ends_as_the_whole_one(whole, pack, tmp_path, monkeypatch):
    from occnet_lib.training.module import OccupancyModule

    step = OccupancyModule.training_step

    def stop(self, batch, batch_idx):
        if self.global_step == 5:
            raise OccnetError("stopped")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(OccupancyModule, "training_step", stop)
    with pytest.raises(OccnetError, match="stopped"):
        train(configuration(**EVERYTHING), "small", *pack, tmp_path)
    monkeypatch.undo()
    # What a workflow manager removes before a job is run again.
    for name in ("best.ckpt", "metrics.csv", "options.json"):
        (tmp_path / name).unlink()
    (tmp_path / ".last.123.ckpt").write_bytes(b"half")
    train(configuration(**EVERYTHING, checkpoint_every=3, cache="gpu"), "small", *pack, tmp_path)
    assert_equal_runs(whole, tmp_path)
    assert not (tmp_path / ".last.123.ckpt").exists()
    assert kept_in(tmp_path) == []


@pytest.mark.parametrize("options", [{"cache": "gpu"}, {"cache": "none", "workers": 1}])
def test_a_run_goes_on_wherever_its_data_are(options, pack, tmp_path):
    """Also with what chance decides in the network: EfficientNet drops layers, its small stand-in drops channels."""
    model = MODEL.model_copy(update={"encoder": "efficientnet_b0"})
    section = changed(TRAIN, **options | {"schedule": "constant", "validate_every": 99})

    def run(folder: Path, steps: int) -> None:
        config = Config(models={"m": model}, train=changed(section, steps=steps))
        train(config, "m", pack[0], [], folder)

    run(tmp_path / "whole", 6)
    for steps in (2, 4, 6):
        run(tmp_path / "parts", steps)
    assert torch.load(tmp_path / "parts" / "last.ckpt", weights_only=True)["global_step"] == 6
    whole, parts = (state_of(tmp_path / name, "last.ckpt") for name in ("whole", "parts"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_chance_in_a_step_is_the_seeds_the_steps_and_the_processs(pack, tmp_path, monkeypatch):
    step, drawn = OccupancyModule.training_step, {}

    def draw(self, batch, batch_idx):
        drawn.setdefault(self.global_step, []).append(torch.rand(1).item())
        return step(self, batch, batch_idx)

    monkeypatch.setattr(OccupancyModule, "training_step", draw)
    for folder, steps in (("whole", 4), ("parts", 2), ("parts", 4)):
        train(configuration(steps=steps, schedule="constant"), "small", *pack, tmp_path / folder)
    assert [len(set(values)) for values in drawn.values()] == [1, 1, 1, 1]
    assert [len(values) for values in drawn.values()] == [2, 2, 2, 2]
    assert len({values[0] for values in drawn.values()}) == 4

    def first(seed: int, rank: int) -> float:
        callback = CheckpointCallback(tmp_path, TRAIN, {"seed": seed}, None, None, False, "")
        callback.on_train_batch_start(SimpleNamespace(global_step=0, global_rank=rank), None, None, 0)
        return torch.rand(1).item()

    assert first(0, 0) == drawn[0][0]
    assert len({first(0, 0), first(0, 1), first(1, 0)}) == 3


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, EVERYTHING])
def test_a_killed_run_ends_as_the_whole_one(pack, tmp_path, forks, options):
    config = configuration(steps=24, checkpoint_every=8, **options)
    killed = tmp_path / "killed"
    process = training_forks.process(config, pack, killed)
    process.start()

    def ready() -> bool:
        return not process.is_alive() or ((killed / "last.ckpt").exists() and len(rows_of(killed)) >= 6)

    until(ready, "a checkpoint and six rows", seconds=600)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, "it ended before it could be killed"
    train(config, "small", *pack, killed)
    train(config, "small", *pack, tmp_path / "whole")
    assert_equal_runs(tmp_path / "whole", killed)
    assert kept_in(killed) == []


@pytest.mark.slow
@pytest.mark.real_encoder
@COMPILES
@pytest.mark.usefixtures("_vector_instructions")
# torch's compiler imports what torch deprecates, and looks at tensors in ways that torch warns of.
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore:The .grad attribute:UserWarning")
def test_a_compiled_network_trains_as_a_plain_one(pack):
    """Gradients and running statistics are those of the plain one; names of weights stay; validation is not compiled."""
    batch = collate([TrainingItems(ShapeSet(pack[0], TRAIN), TRAIN, 0)[0, i] for i in range(6)])
    points, images = batch.points.double(), encoder_input(batch.images, 32).double()
    actual = []
    for compiled in (False, True):
        torch.manual_seed(1)
        module = OccupancyModule(MODEL, changed(TRAIN, compile=compiled), []).double()
        module.setup("fit")
        loss = module.network(images, points).square().mean()
        loss.backward()
        gradients = {name: value.grad for name, value in module.network.named_parameters()}
        actual.append((loss.detach(), gradients, module.network.state_dict()))
    (loss, gradients, state), (same_loss, same_gradients, same_state) = actual
    torch.testing.assert_close(same_loss, loss)
    torch.testing.assert_close(same_state, state)
    # Those of a bias in front of a norm are rounding alone.
    torch.testing.assert_close(same_gradients, gradients, rtol=1e-7, atol=1e-12)
    assert validate(module.float().network, [batch], 32).loss > 0


@pytest.mark.parametrize(
    ("device", "threads", "said", "workers", "compiled"),
    [
        ("cpu", 16, {"steps": 10**6}, 0, False),
        ("cuda", 16, {"steps": 10**6}, 8, True),
        ("cuda", 16, {"steps": 9_999, "devices": 4}, 3, False),
        ("cuda", 1, {"steps": 10_000}, 0, True),
        ("cuda", 16, {"steps": 10_000, "devices": 2}, 7, False),
        ("cuda", 16, {"steps": 10_000, "nodes": 2}, 8, False),
        ("cuda", 16, {"steps": 10**6, "workers": 2, "compile": False}, 2, False),
        ("cpu", 16, {"workers": 1, "compile": True}, 1, True),
    ],
)
def test_what_is_auto_is_decided_by_the_device(device, threads, said, workers, compiled, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(run_info, "_missing_for_compile", lambda: "")
    train, decided = train_config(**said), {"workers": workers, "compile": compiled}
    assert run_info.resolve_auto(train, device) == changed(train, **decided)


@pytest.mark.parametrize(
    "lacking", ["", "GPU this old", "triton is not", "no C compiler", "no Python headers"]
)
def test_what_cannot_be_compiled_trains_as_it_is(lacking, monkeypatch, caplog, tmp_path):
    capability = (6, 1) if lacking == "GPU this old" else (7, 0)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(run_info, "find_spec", lambda name: None if lacking == "triton is not" else name)
    monkeypatch.setattr(shutil, "which", lambda name: None if lacking == "no C compiler" else name)
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    if lacking != "no Python headers":
        (tmp_path / "Python.h").touch()
    assert run_info.resolve_auto(train_config(steps=10_000), "cuda").hardware.compile is not bool(lacking)
    assert lacking in caplog.text
    assert ("torch.compile is not available" in caplog.text) == bool(lacking)


def test_the_network_is_compiled_in_the_process_that_trains(pack, tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda module, mode: compiled.append((type(module), mode))
    )
    config = configuration(compile=True, steps=2, validate_every=1)
    train(config, "small", *pack, tmp_path)
    assert compiled == [(OccupancyNetwork, "default")]
    OccupancyModule(MODEL, config.train, [])
    assert len(compiled) == 1, "it may yet be sent to another process"
    OccupancyModule(MODEL, config.train, [], graphs=True).setup("fit")
    assert compiled[1:] == [(OccupancyNetwork, "reduce-overhead")]


def test_runs_of_before_the_sections_go_on(pack):
    """The digest is that of the flat section `train` which the first runs had."""
    flat = {
        **{"batch_size": 64, "points": 2048, "balance": 0, "near_points": 0, "near_weight": 0.3},
        **{"image_size": 224, "crop": 1.0, "learning_rate": 1e-4, "schedule": "constant", "warmup": 0},
        **{"gradient_clip": 0.0, "ema": 0.0, "validation_points": 100_000, "devices": 1, "nodes": 1},
    }
    images = {"framing": "object", "fill": 0.8, "shift": 0.03, "scale": 0.08, "roll": 2.0}
    sets = [ShapeSet(paths, TRAIN) for paths in pack]
    data = [shapes.fingerprint() for shapes in sets]
    first = digest(VERSIONS["train"], MODEL, images, flat, 7, data)
    assert run_info.run_digest(MODEL, ImagesConfig(), TrainConfig(), 7, *sets) == first
    assert run_info.run_digest(MODEL, ImagesConfig(mirror=True), TrainConfig(), 7, *sets) != first
    assert run_info.run_digest(MODEL, ImagesConfig(), train_config(ema=0.5), 7, *sets) != first


def test_a_finished_run_is_not_trained_again(whole, pack, caplog):
    before = (whole / "last.ckpt").stat().st_mtime_ns
    (whole / "metrics.csv").unlink()
    with caplog.at_level(logging.INFO):
        train(configuration(**EVERYTHING), "small", *pack, whole)
    assert "trained already" in caplog.text
    assert (whole / "last.ckpt").stat().st_mtime_ns == before
    assert len(rows_of(whole)) == 4


def test_another_configuration_starts_from_the_beginning(pack, tmp_path, caplog):
    config = configuration(steps=2)
    train(config, "small", *pack, tmp_path)
    first = state_of(tmp_path)
    train(configuration(steps=2, learning_rate=1e-2), "small", *pack, tmp_path)
    assert "another configuration" in caplog.text
    assert not torch.equal(first["decoder.fc_p.weight"], state_of(tmp_path)["decoder.fc_p.weight"])
    assert len(rows_of(tmp_path)) == 1
    (tmp_path / "last.ckpt").write_bytes(b"torn")
    caplog.clear()
    train(config, "small", *pack, tmp_path)
    assert "cannot be used" in caplog.text
    assert torch.equal(first["decoder.fc_p.weight"], state_of(tmp_path)["decoder.fc_p.weight"])


NAMES = ["best.ckpt", "last.ckpt", "metrics.csv", "options.json", "tensorboard"]


def contents_of(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in NAMES[:-1]}


def kept_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("kept-*"))


def test_a_finished_run_is_kept_aside_when_other_settings_begin(pack, tmp_path, caplog):
    one, other = configuration(steps=2), configuration(steps=2, learning_rate=1e-2)
    train(one, "small", *pack, tmp_path)
    first = contents_of(tmp_path)
    train(other, "small", *pack, tmp_path)
    assert f"is kept in {tmp_path / 'kept-001'}" in caplog.text
    assert sorted(path.name for path in (tmp_path / "kept-001").iterdir()) == NAMES
    assert contents_of(tmp_path / "kept-001") == first
    second = contents_of(tmp_path)
    train(one, "small", *pack, tmp_path, resume=False)
    assert contents_of(tmp_path / "kept-002") == second
    assert kept_in(tmp_path) == ["kept-001", "kept-002"]
    caplog.clear()
    with caplog.at_level(logging.INFO):
        train(one, "small", *pack, tmp_path / "kept-001")
    assert "trained already" in caplog.text


def test_a_kept_run_is_whole_where_its_outputs_were_removed(pack, tmp_path):
    """Workflow managers remove the outputs of a job before it runs; last.ckpt holds what was in them."""
    train(configuration(steps=2), "small", *pack, tmp_path)
    network, rows = state_of(tmp_path), (tmp_path / "metrics.csv").read_bytes()
    for name in ("best.ckpt", "metrics.csv", "options.json"):
        (tmp_path / name).unlink()
    train(configuration(steps=2, ema=0.5), "small", *pack, tmp_path)
    kept = state_of(tmp_path / "kept-001")
    assert all(torch.equal(network[name], kept[name]) for name in network)
    assert (tmp_path / "kept-001" / "metrics.csv").read_bytes() == rows


def test_a_network_without_a_state_is_kept_and_what_is_kept_is_not_kept_twice(pack, tmp_path):
    train(configuration(steps=2), "small", *pack, tmp_path)
    (tmp_path / "last.ckpt").unlink()  # to save room
    best = (tmp_path / "best.ckpt").read_bytes()
    train(configuration(steps=2), "small", *pack, tmp_path)
    assert (tmp_path / "kept-001" / "best.ckpt").read_bytes() == best
    (tmp_path / "last.ckpt").unlink()
    (tmp_path / "best.ckpt").write_bytes(best)  # as restored after a run that failed
    train(configuration(steps=2, learning_rate=1e-2), "small", *pack, tmp_path)
    assert kept_in(tmp_path) == ["kept-001"]


def test_a_failed_run_among_restored_files_of_the_one_before_is_kept_alone(pack, tmp_path):
    """Where a job fails, Snakemake puts the files back that were there before it."""
    train(configuration(steps=2), "small", *pack, tmp_path)
    first = contents_of(tmp_path)
    train(configuration(steps=2, learning_rate=1e-2), "small", *pack, tmp_path)
    failed, rows = state_of(tmp_path), (tmp_path / "metrics.csv").read_bytes()
    for name in ("best.ckpt", "metrics.csv", "options.json"):
        (tmp_path / name).write_bytes(first[name])
    train(configuration(steps=2, ema=0.5), "small", *pack, tmp_path)
    assert contents_of(tmp_path / "kept-001") == first
    kept = state_of(tmp_path / "kept-002")
    assert all(torch.equal(failed[name], kept[name]) for name in failed)
    assert (tmp_path / "kept-002" / "metrics.csv").read_bytes() == rows
    assert not (tmp_path / "kept-002" / "options.json").exists()


def test_a_run_killed_before_its_first_state_is_begun_again(pack, tmp_path):
    config = configuration(steps=4, validate_every=1, checkpoint_every=4)
    train(config, "small", *pack, tmp_path)
    (tmp_path / "last.ckpt").unlink()
    lines = (tmp_path / "metrics.csv").read_text().splitlines(keepends=True)
    (tmp_path / "metrics.csv").write_text("".join(lines[:3]))
    train(config, "small", *pack, tmp_path)
    assert kept_in(tmp_path) == []


def test_a_constant_rate_can_be_prolonged(pack, tmp_path, caplog):
    train(configuration(steps=2, schedule="constant"), "small", *pack, tmp_path / "a")
    finished = contents_of(tmp_path / "a")
    train(configuration(steps=4, schedule="constant"), "small", *pack, tmp_path / "a")
    assert "from the beginning" not in caplog.text
    assert contents_of(tmp_path / "a" / "kept-001") == finished
    train(configuration(steps=4, schedule="constant", validate_every=2), "small", *pack, tmp_path / "b")
    weights = [state_of(tmp_path / name, "last.ckpt")["network.decoder.fc_p.weight"] for name in "ab"]
    assert torch.equal(*weights)
    assert kept_in(tmp_path / "b") == []


def test_without_validation_the_last_network_is_the_best(pack, tmp_path, caplog):
    train(configuration(steps=3), "small", pack[0], [], tmp_path)
    assert "validation split" in caplog.text
    network, options = load_network(tmp_path / "best.ckpt")
    assert options["step"] == 3
    assert options["val_iou"] is None
    last = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(network.decoder.fc_p.weight, last["network.decoder.fc_p.weight"])


def test_what_cannot_be_trained_is_a_one_line_error(pack, tmp_path):
    empty = make_shard(tmp_path / "train-9.h5", 0)
    with pytest.raises(DataError, match="no shape in the training split"):
        train(configuration(), "small", [empty], [], tmp_path)
    with pytest.raises(DataError, match="no such file"):
        train(configuration(), "small", [tmp_path / "train-8.h5"], [], tmp_path)
    with pytest.raises(ConfigError, match=r"no model 'large'.*small"):
        train(configuration(), "large", *pack, tmp_path)
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no CUDA device"):
            train(configuration(accelerator="gpu"), "small", *pack, tmp_path)


@pytest.mark.real_encoder
def test_a_network_learns_shapes_by_heart(tmp_path):
    shard = make_shard(tmp_path / "train-0.h5", 2, points=512, views=2)
    model = ModelConfig(hidden=64, c_dim=16, blocks=2)
    section = changed(
        TRAIN,
        **{"steps": 60, "points": 512, "image_size": 32, "learning_rate": 2e-3, "gradient_clip": 0.0},
        **{"validation_points": 512, "validate_every": 1000, "checkpoint_every": 1000},
    )
    train(Config(models={"m": model}, train=section), "m", [shard], [shard], tmp_path / "run")
    rows = rows_of(tmp_path / "run")
    assert float(rows[-1]["train_loss"]) < 0.1
    assert float(rows[-1]["train_iou"]) > 0.95
    assert float(rows[-1]["val_iou"]) > 0.95


@pytest.mark.real_encoder
@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_trains(preset, pack, tmp_path):
    config = Config(
        models={"m": ModelConfig(preset=preset, pretrained=False)},
        train=changed(TRAIN, steps=2, checkpoint_every=2, validate_every=2),
    )
    train(config, "m", *pack, tmp_path)
    network, _ = load_network(tmp_path / "best.ckpt")
    assert network.model == config.models["m"]


def by_one_process(
    model: ModelConfig, section: TrainConfig, shards: list[Path]
) -> tuple[OccupancyModule, list[float]]:
    """The network, and the loss of each batch, of a loop that takes the batches of both processes in each step."""
    shapes = ShapeSet(shards, section)
    torch.manual_seed(seeds.entropy(0, "train") % 2**63)
    module = OccupancyModule(model, section, shapes.names)
    optimizer = module.configure_optimizers()["optimizer"]
    items = TrainingItems(shapes, section, 0, ImagesConfig())
    order = BatchOrder(len(shapes), section.data.batch_size, 0)
    order.processes, losses = 2, []
    for step in range(section.steps):
        optimizer.zero_grad()
        for order.rank in range(2):
            loss = module.training_step(collate([items[pair] for pair in order.batch(step)]), step)
            (loss / 2).backward()
            losses.append(loss.item())
        module.on_before_optimizer_step(optimizer)
        optimizer.step()
    return module, losses


def kernels(folder: Path) -> list[Path]:
    """What torch's compiler made in a folder."""
    return list(folder.rglob("*.so"))


@pytest.mark.slow
@pytest.mark.real_encoder
def test_two_processes_train_on_the_mean_of_their_batches(pack, tmp_path, monkeypatch, forks):
    """Stopped on the way, so that it goes on, too."""
    training_forks.start_in_forks(monkeypatch)
    options = {"devices": 2, "batch_size": 2, "schedule": "constant", "precision": "fp32", "log_every": 2}
    for steps in (2, 3):
        train(configuration(RESNET10, **options, steps=steps), "small", *pack, tmp_path)
    assert not kernels(forks)
    module, losses = by_one_process(RESNET10, configuration(**options, steps=3).train, pack[0])
    actual = state_of(tmp_path, "last.ckpt")
    for name, parameter in module.network.named_parameters():
        torch.testing.assert_close(actual[f"network.{name}"], parameter.data, rtol=1e-3, atol=1e-5)
    rows = rows_of(tmp_path)
    assert [int(row["step"]) for row in rows] == [2, 3]
    assert float(rows[0]["train_loss"]) == pytest.approx(sum(losses[:4]) / 4, rel=1e-3)
    assert float(rows[1]["train_loss"]) == pytest.approx(sum(losses[4:]) / 2, rel=1e-3)
    assert load_network(tmp_path / "best.ckpt")[1]["step"] in (2, 3)


@pytest.mark.slow
@COMPILES
@pytest.mark.usefixtures("_vector_instructions")
def test_two_processes_train_a_compiled_network(pack, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    options = {"devices": 2, "batch_size": 4, "schedule": "constant", "precision": "fp32", "log_every": 1}
    train(configuration(**options, steps=3, compile=True), "small", pack[0], [], tmp_path)
    assert kernels(tmp_path / "compiled")
    actual = [float(row["train_loss"]) for row in rows_of(tmp_path)]
    _, losses = by_one_process(MODEL, configuration(**options, steps=3).train, pack[0])
    expected = [sum(losses[i : i + 2]) / 2 for i in (0, 2, 4)]
    assert actual[0] == pytest.approx(expected[0], rel=1e-5), "before any step"
    assert actual == pytest.approx(expected, rel=0.05)
    assert actual[2] != pytest.approx(actual[0], rel=0.05)


def test_several_nodes_need_as_many_tasks_of_slurm(pack, tmp_path, monkeypatch):
    monkeypatch.delenv("SLURM_NTASKS", raising=False)
    with pytest.raises(ConfigError, match=r"nodes is 2: expected 4 Slurm tasks, got none"):
        train(configuration(nodes=2, devices=2), "small", *pack, tmp_path)
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "2")
    options = trainer_options(changed(TRAIN, nodes=2, devices=2), 2)
    assert (options["num_nodes"], options["devices"]) == (2, 2)


def test_a_started_process_is_set_up_as_the_one_that_started_it(monkeypatch):
    threads = torch.get_num_threads()
    torch.set_float32_matmul_precision("high")
    try:
        surroundings = ProcessSettings(1)
        torch.set_float32_matmul_precision("highest")
        surroundings.restore(0)
        assert torch.get_float32_matmul_precision() == "highest", "no process was started"
        monkeypatch.setattr("multiprocessing.parent_process", lambda: "one")
        monkeypatch.setattr("occnet_lib.logs.append_to_log", lambda _: None)
        surroundings.restore(1)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
        torch.set_num_threads(threads)


def test_trainings_of_one_machine_take_gpus_of_their_own(tmp_path, monkeypatch):
    """With GPUs that are made up."""
    current = []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda gpu: SimpleNamespace(uuid=f"gpu{gpu}"))
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 7)
    two = changed(TRAIN, devices=2)
    with reserve_devices(TRAIN, "cuda") as first, reserve_devices(two, "cuda") as others:
        assert (first, others) == (("cuda", [0]), ("cuda", [1, 2]))
        assert trainer_options(two, others.devices)["devices"] == [1, 2]
    with reserve_devices(two, "cuda") as again:
        assert again.devices == [0, 1]
    assert current == [0, 1, 7, 7, 0, 7]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-a/1/0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with reserve_devices(TRAIN, "cuda"):
        assert [path.name for path in tmp_path.glob("*MIG*")] == [f"occnet-{os.getuid()}-MIG-a-1-0.lock"]
    with reserve_devices(two, "cpu") as plain, reserve_devices(changed(two, nodes=2), "cuda") as slurm:
        assert (plain.devices, slurm.devices) == (2, 2)


def test_jobs_on_one_gpu_are_distributed(monkeypatch):
    current = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(os, "getpid", lambda: 4003)
    for there in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        hardware.pick_shared_gpu()
    assert current == [3]


def test_faults_of_started_processes_are_one_line():
    text = "\n-- Process 1 terminated with the following error:\nTraceback …\noccnet_lib.errors.DataError: a.h5: gone\n"
    error = torch.multiprocessing.ProcessRaisedException(text, 1, 2)
    with pytest.raises(OccnetError, match=r"^a\.h5: gone$"), started_processes():
        raise error
    error = torch.multiprocessing.ProcessRaisedException("ValueError: x", 1, 2)
    with pytest.raises(torch.multiprocessing.ProcessRaisedException), started_processes():
        raise error


def test_freed_memory_is_kept_for_the_next_array():
    code = (
        "import resource, numpy as np\n"
        "from occnet_lib.training.malloc import disable_heap_trimming\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    np.ones(2**23)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "faults()\n"
        "print(faults(), disable_heap_trimming())\n"
        "faults()\n"
        "print(faults())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    given_back, understood, kept = done.stdout.split()
    if understood == "False":
        pytest.skip("not glibc")
    assert int(kept) < int(given_back) / 4
