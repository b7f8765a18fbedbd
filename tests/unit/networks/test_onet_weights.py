"""ONet's checkpoints: the same logits as the paper's formulas, both key styles, both file formats."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from occnet_lib import cli
from occnet_lib.config import ModelConfig
from occnet_lib.errors import DataError
from occnet_lib.networks.checkpoint import load_network, network_file, save_network
from occnet_lib.networks.occupancy_network import OccupancyNetwork
from occnet_lib.networks.onet_weights import convert, from_onet, load_onet, to_onet
from occnet_lib.networks.torchvision_shim import torchvision

HIDDEN, CODE, BLOCKS = 24, 12, 5


def onet_state(
    hidden: int = HIDDEN, code: int = CODE, *, legacy: bool = False, seed: int = 0
) -> dict[str, Tensor]:
    """Random weights with the names and shapes of ONet's files, as `state_dict` lists them."""
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return (
            torch.randn(shape, generator=random) / max(1, shape[-1] if len(shape) == 1 else shape[1]) ** 0.5
        )

    def layer(name: str, out: int, into: int, *kernel: int) -> dict[str, Tensor]:
        return {f"{name}.weight": draw(out, into, *kernel), f"{name}.bias": 0.1 * draw(out)}

    def norm(name: str) -> dict[str, Tensor]:
        gamma, beta, kernel = ("fc_gamma", "fc_beta", ()) if legacy else ("conv_gamma", "conv_beta", (1,))
        return {
            **layer(f"{name}.{gamma}", hidden, code, *kernel),
            **layer(f"{name}.{beta}", hidden, code, *kernel),
            f"{name}.bn.running_mean": draw(hidden),
            f"{name}.bn.running_var": draw(hidden).abs() + 0.5,
            f"{name}.bn.num_batches_tracked": torch.tensor(7),
        }

    state = layer("decoder.fc_p", hidden, 3, 1)
    for block in range(BLOCKS):
        name = f"decoder.block{block}"
        state |= norm(f"{name}.bn_0") | norm(f"{name}.bn_1")
        state |= layer(f"{name}.fc_0", hidden, hidden, 1) | layer(f"{name}.fc_1", hidden, hidden, 1)
    state |= norm("decoder.bn") | layer("decoder.fc_out", 1, hidden, 1)
    torch.manual_seed(seed)
    resnet = torchvision.models.resnet18(weights=None)
    for name, value in resnet.state_dict().items():
        if not name.startswith("fc."):
            statistic = name.endswith(("running_mean", "running_var"))
            state[f"encoder.features.{name}"] = value + 0.1 * torch.rand_like(value) if statistic else value
    return state | layer("encoder.fc", code, 512)


def reference(state: dict[str, Tensor], images: Tensor, points: Tensor) -> Tensor:
    """ONet's network in evaluation, from its formulas alone: (B, T) logits of points (B, T, 3)."""
    w = state

    def bn2d(x: Tensor, name: str) -> Tensor:
        mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        scale = w[f"{name}.weight"] / (var + 1e-5).sqrt()
        return x * scale[:, None, None] + (w[f"{name}.bias"] - mean * scale)[:, None, None]

    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (images - mean[:, None, None]) / std[:, None, None]
    f = "encoder.features"
    x = functional.relu(bn2d(functional.conv2d(x, w[f"{f}.conv1.weight"], stride=2, padding=3), f"{f}.bn1"))
    x = functional.max_pool2d(x, 3, 2, 1)
    for stage in range(1, 5):
        for block in range(2):
            name, stride = f"{f}.layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = functional.conv2d(x, w[f"{name}.conv1.weight"], stride=stride, padding=1)
            y = functional.conv2d(
                functional.relu(bn2d(y, f"{name}.bn1")), w[f"{name}.conv2.weight"], padding=1
            )
            y = bn2d(y, f"{name}.bn2")
            if stride == 2:
                x = functional.conv2d(x, w[f"{name}.downsample.0.weight"], stride=2)
                x = bn2d(x, f"{name}.downsample.1")
            x = functional.relu(x + y)
    code = x.mean((2, 3)) @ w["encoder.fc.weight"].T + w["encoder.fc.bias"]

    def linear(x: Tensor, name: str) -> Tensor:
        weight = w[f"{name}.weight"]
        return torch.einsum("oi,bit->bot", weight.reshape(weight.shape[:2]), x) + w[f"{name}.bias"][:, None]

    def cbn(x: Tensor, name: str) -> Tensor:
        kind = "fc" if f"{name}.fc_gamma.weight" in w else "conv"
        gamma, beta = (linear(code[:, :, None], f"{name}.{kind}_{part}") for part in ("gamma", "beta"))
        mean, var = w[f"{name}.bn.running_mean"][:, None], w[f"{name}.bn.running_var"][:, None]
        return gamma * (x - mean) / (var + 1e-5).sqrt() + beta

    net = linear(points.transpose(1, 2), "decoder.fc_p")
    for block in range(BLOCKS):
        name = f"decoder.block{block}"
        inner = linear(functional.relu(cbn(net, f"{name}.bn_0")), f"{name}.fc_0")
        net = net + linear(functional.relu(cbn(inner, f"{name}.bn_1")), f"{name}.fc_1")
    return linear(functional.relu(cbn(net, "decoder.bn")), "decoder.fc_out")[:, 0]


@pytest.fixture(scope="module")
def question() -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(3)
    return torch.rand((2, 3, 64, 64), generator=random), torch.rand((2, 50, 3), generator=random) - 0.5


@pytest.mark.parametrize("legacy", [False, True])
def test_logits_are_those_of_the_formulas(legacy: bool, question) -> None:
    state = onet_state(legacy=legacy)
    network = from_onet(state)
    assert not network.training
    assert (network.model.hidden, network.model.c_dim, network.model.blocks) == (HIDDEN, CODE, BLOCKS)
    with torch.no_grad():
        logits = network(*question)
        expected = reference(state, *question)
    assert expected.std() > 0.1  # they depend on points and images
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


def test_widths_of_the_paper() -> None:
    state = onet_state(256, 256)
    assert len(state) == 223
    network = from_onet(state)
    assert network.model == ModelConfig()
    assert network.parameter_count == 13_414_465


def test_back_to_onets_names(question) -> None:
    state = onet_state()
    back = to_onet(from_onet(state))
    assert back.keys() == state.keys()
    for name, value in state.items():
        assert back[name].shape == value.shape
        assert torch.equal(back[name], value), name
    from_legacy = to_onet(from_onet(onet_state(legacy=True)))
    assert from_legacy.keys() == state.keys()


def test_resnet50_is_recognised_by_its_weights() -> None:
    network = OccupancyNetwork(ModelConfig(encoder="resnet50", hidden=8, c_dim=4))
    again = from_onet(to_onet(network))
    assert again.model.encoder == "resnet50"
    for name, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


def test_missing_and_left_over_weights_are_named() -> None:
    state = onet_state()
    del state["decoder.block2.bn_1.conv_beta.bias"]
    state["decoder.fc_z.weight"] = torch.zeros(24, 8)
    message = "missing: decoder.block2.bn_1.conv_beta.bias; unexpected: decoder.fc_z.weight"
    with pytest.raises(DataError, match=re.escape(message)):
        from_onet(state)
    legacy = onet_state(legacy=True)
    del legacy["decoder.bn.fc_gamma.weight"]
    with pytest.raises(DataError, match=r"missing: decoder\.bn\.fc_gamma\.weight"):
        from_onet(legacy)
    both = onet_state()
    both["decoder.bn.fc_gamma.bias"] = both["decoder.bn.conv_gamma.bias"]
    with pytest.raises(DataError, match=r"under two names: decoder\.bn\.(fc|conv)_gamma\.bias"):
        from_onet(both)
    short = {name: value for name, value in onet_state().items() if ".block4." not in name}
    with pytest.raises(
        DataError, match=r"missing: decoder\.block4\.bn_0\.bn\.num_batches_tracked.* and 10 more"
    ):
        from_onet(short)
    with pytest.raises(DataError, match=r"and 215 more"):
        from_onet({})
    wrong = onet_state()
    wrong["decoder.block1.fc_0.weight"] = torch.zeros(24, 25, 1)
    with pytest.raises(
        DataError, match=r"decoder\.block1\.fc_0\.weight has shape \(24, 25\) instead of \(24, 24\)"
    ):
        from_onet(wrong)


def save_as_onet(path: Path, *, zipped: bool, numpy_one: bool = False, **more: object) -> dict[str, Tensor]:
    """A checkpoint as ONet's training writes it: loss_val_best is numpy's. `numpy_one`: by numpy before 2."""
    state = onet_state(legacy=not zipped)
    optimiser = {
        "state": {0: {"step": 3, "exp_avg": torch.ones(2)}},
        "param_groups": [{"lr": 1e-4, "params": [0]}],
    }
    content = {"model": state, "optimizer": optimiser, "epoch_it": 12, "it": 345_000, **more}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    if numpy_one:
        assert not zipped  # its checksums would have to be written again
        data = path.read_bytes()
        assert b"numpy._core.multiarray" in data
        path.write_bytes(data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    return state


@pytest.mark.parametrize("best", [0.5872, np.float64(0.5872), np.float32(0.5872)])
@pytest.mark.parametrize("zipped", [True, False])
def test_files_with_and_without_numpys_numbers(best, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    state = save_as_onet(path, zipped=zipped, loss_val_best=best)
    network, numbers = load_onet(path)
    assert numbers["it"] == 345_000
    assert type(numbers["loss_val_best"]) is float
    assert numbers["loss_val_best"] == pytest.approx(0.5872)
    assert torch.equal(network.encoder.fc.weight, state["encoder.fc.weight"])


def test_files_of_old_numpy(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    save_as_onet(path, zipped=False, numpy_one=True, loss_val_best=np.float64(0.571))
    assert load_onet(path)[1]["loss_val_best"] == 0.571


class Intruder:
    def __reduce__(self):
        return (print, ("code of the file's ran",))


def test_a_file_runs_no_code(tmp_path: Path, capsys) -> None:
    path = tmp_path / "model.pt"
    save_as_onet(path, zipped=True, extra=Intruder())
    with pytest.raises(DataError, match="not readable as a checkpoint"):
        load_onet(path)
    assert capsys.readouterr().out == ""


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load_onet(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("weights")
    with pytest.raises(DataError, match="not readable as a checkpoint"):
        load_onet(tmp_path / "text.pt")
    for content in ([1], {"it": 3}, {"model": {"a": 1}}):
        torch.save(content, tmp_path / "other.pt")
        with pytest.raises(DataError, match="has no ONet weights"):
            convert(tmp_path / "other.pt", tmp_path / "out.pt")


@pytest.mark.parametrize(
    "change", [{"decoder": "fc"}, {"encoder": "efficientnet_b0"}, {"blocks": 4}, {"image": "silhouette"}]
)
def test_what_onet_does_not_have_is_said(change, tmp_path: Path) -> None:
    network = OccupancyNetwork(ModelConfig(hidden=8, c_dim=4, **change))
    ((key, value),) = change.items()
    with pytest.raises(DataError, match=f"ONet has no network with {key}: {value} "):
        to_onet(network)


def test_command_line_there_and_back(tmp_path: Path, question, capsys, monkeypatch) -> None:
    monkeypatch.setattr("occnet_lib.logs.configure", lambda *_: None)
    onet, ours, back = (tmp_path / name for name in ("model.pt", "best.ckpt", "back.pt"))
    state = save_as_onet(onet, zipped=True, loss_val_best=np.float64(0.5))
    assert cli.main(["weights", str(onet), "-o", str(ours)]) == 0
    network, options = load_network(ours)
    assert options["val_threshold"] == 0.2
    assert options["train"]["data"]["image_size"] == 224
    with torch.no_grad():
        torch.testing.assert_close(network(*question), reference(state, *question), rtol=1e-5, atol=1e-5)
    assert cli.main(["weights", str(ours), "-o", str(back)]) == 0
    again = torch.load(back, weights_only=True)
    assert again["it"] == 345_000
    assert again["model"].keys() == state.keys()
    assert all(torch.equal(again["model"][name], value) for name, value in state.items())
    said = capsys.readouterr().out
    assert "a network of occnet" in said
    assert "a checkpoint of ONet" in said


def test_a_trained_network_of_ours_reads_in_onets_names(tmp_path: Path) -> None:
    network = OccupancyNetwork(ModelConfig(hidden=8, c_dim=4))
    options = {"model": network.model.model_dump(mode="json"), "train": {"image_size": 64}, "step": None}
    save_network(tmp_path / "best.ckpt", network_file(network.state_dict(), options))
    assert convert(tmp_path / "best.ckpt", tmp_path / "model.pt") == "onet"
    loaded, numbers = load_onet(tmp_path / "model.pt")
    assert numbers == {}
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
