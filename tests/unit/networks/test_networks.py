"""The networks: parameter counts of ONet, formulas against naive twins, folding, files."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch

from occnet_lib.config import ModelConfig
from occnet_lib.errors import ConfigError, DataError, DependencyError
from occnet_lib.networks import blocks, blocks_cpu, folded, images
from occnet_lib.networks.blocks import ConditionalBatchNorm
from occnet_lib.networks.checkpoint import load_network, network_file, save_network
from occnet_lib.networks.decoders import CbnDecoder, FcDecoder, _input_layer
from occnet_lib.networks.encoders import Encoder, silhouettes
from occnet_lib.networks.images import encoder_input
from occnet_lib.networks.occupancy_network import OccupancyNetwork
from occnet_lib.networks.positional_encoding import encode, encoded_dim
from tests.support.torch_fields import between

SMALL = ModelConfig(hidden=16, c_dim=8, blocks=2)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(7)


def shaken(module: torch.nn.Module) -> torch.nn.Module:
    """All parameters and statistics random, so that nothing is hidden by a zero at the start."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(torch.randn_like(buffer))
            if name.endswith("running_var"):
                buffer.copy_(torch.rand_like(buffer) + 0.1)
    return module.eval()


def test_the_default_model_has_the_parameters_of_onet():
    network = OccupancyNetwork(ModelConfig())
    assert sum(p.numel() for p in network.encoder.parameters()) == 11_307_840
    assert sum(p.numel() for p in network.decoder.parameters()) == 2_106_625
    assert network.parameter_count == 13_414_465
    state = network.state_dict()
    assert len(state) == 223
    assert state["encoder.fc.weight"].shape == (256, 512)
    assert state["decoder.blocks.4.bn_1.conv_gamma.weight"].shape == (256, 256)
    assert state["decoder.fc_out.weight"].shape == (1, 256)


def test_decoders_start_near_the_prior_and_hand_a_gradient_to_the_code():
    points = torch.rand(2, 50, 3)
    for decoder in (CbnDecoder(16, 32, 3), FcDecoder(16, 32, 3)):
        code = torch.randn(2, 16, requires_grad=True)
        logits = decoder(points, code)
        assert logits.shape == (2, 50)
        assert abs(logits.mean().item() + 2.5) < 1
        logits[0].sum().backward()
        assert code.grad is not None
        assert code.grad[0].abs().min() > 0
        for block in decoder.blocks:
            assert not block.fc_1.weight.any()


def test_autocast_does_not_round_the_points():
    decoder = shaken(FcDecoder(4, 8, 2))
    points, near = torch.tensor([[[0.4, 0.4, 0.0]]]), torch.tensor([[[0.4001, 0.4, 0.0]]])
    assert (points.bfloat16() == near.bfloat16()).all()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        decoder.fc_p.weight.copy_(torch.tensor([1e3, -1e3, 0.0]))  # sees their difference alone
        assert (decoder(points, torch.zeros(1, 4)) != decoder(near, torch.zeros(1, 4))).all()


@pytest.mark.parametrize("frequencies", [0, 4])
def test_the_first_layer_under_autocast_is_single_precision_rounded(frequencies):
    layer = torch.nn.Linear(encoded_dim(frequencies), 32)
    points, toward = torch.rand(2, 300, 3) - 0.5, torch.randn(2, 300, 32).bfloat16()
    exact = layer(encode(points, frequencies))
    (exact * toward).sum().backward()
    expected = layer.weight.grad, layer.bias.grad
    layer.weight.grad = layer.bias.grad = None
    with torch.autocast("cpu", torch.bfloat16):
        found = _input_layer(layer, points, frequencies)
    (found * toward).sum().backward()
    assert found.dtype == torch.bfloat16
    # Half of what two neighbouring numbers differ by, and what is left out.
    assert ((found.double() - exact).abs() <= exact.abs() * 2**-8 + 2e-5).all()
    for gradient, other in zip((layer.weight.grad, layer.bias.grad), expected, strict=True):
        assert (gradient - other).norm() < 0.005 * other.norm()


def naive_norm(norm: ConditionalBatchNorm, features: np.ndarray, code: np.ndarray) -> np.ndarray:
    """The formula value by value in double precision."""
    weights = {name: value.detach().double().numpy() for name, value in norm.named_parameters()}
    result = np.zeros_like(features)
    for channel in range(features.shape[2]):
        values = features[:, :, channel]
        mean, variance = values.sum() / values.size, ((values - values.mean()) ** 2).sum() / values.size
        for item in range(features.shape[0]):
            gamma = weights["conv_gamma.weight"][channel] @ code[item] + weights["conv_gamma.bias"][channel]
            beta = weights["conv_beta.weight"][channel] @ code[item] + weights["conv_beta.bias"][channel]
            result[item, :, channel] = gamma * (values[item] - mean) / np.sqrt(variance + 1e-5) + beta
    return result


def test_conditional_batch_norm_is_its_formula():
    norm = shaken(ConditionalBatchNorm(5, 6)).train()
    features, code = torch.randn(3, 11, 6) * 2 + 1, torch.randn(3, 5)
    expected = naive_norm(norm, features.double().numpy(), code.double().numpy())
    np.testing.assert_allclose(norm(features, code).detach().numpy(), expected, atol=2e-5)


def test_running_statistics_follow_the_batches():
    norm = ConditionalBatchNorm(2, 3)
    features = torch.randn(4, 50, 3) * torch.tensor([1.0, 2.0, 3.0]) + torch.tensor([0.0, 5.0, -5.0])
    norm(features, torch.zeros(4, 2))
    flat = features.flatten(0, 1)
    torch.testing.assert_close(norm.bn.running_mean, 0.1 * flat.mean(0))
    torch.testing.assert_close(norm.bn.running_var, 0.9 + 0.1 * flat.var(0))


@pytest.mark.parametrize(("batch", "points"), [(3, 10), (1, 7), (4, 1), (17, 2)])
def test_norm_relu_and_linear_at_once_are_one_after_the_other(batch, points, monkeypatch):
    monkeypatch.setattr(blocks, "_MIN_FEATURES", 0)
    torch.manual_seed(0)
    apart, at_once = (ConditionalBatchNorm(4, 5).double().train() for _ in range(2))
    at_once.load_state_dict(apart.state_dict())
    linears = [torch.nn.Linear(5, 6).double() for _ in range(2)]
    linears[1].load_state_dict(linears[0].state_dict())
    features = torch.randn(batch, points, 5, dtype=torch.float64) * torch.arange(1, 6) + 2
    code = torch.randn(batch, 4, dtype=torch.float64)
    toward = torch.randn(batch, points, 6, dtype=torch.float64)
    found = []
    for norm, linear in zip((apart, at_once), linears, strict=True):
        leaves = features.clone().requires_grad_(), code.clone().requires_grad_()
        if norm is apart:
            out = linear(torch.relu(norm(*leaves)))
        else:
            out = norm.norm_relu_linear(linear, *leaves)
            assert "NormReluLinear" in type(out.grad_fn).__name__
            with pytest.raises(RuntimeError, match="no second derivative"):
                torch.autograd.grad(out.sum(), leaves[0], create_graph=True, retain_graph=True)
        (out * toward).sum().backward()
        gradients = [leaf.grad for leaf in (*leaves, *norm.parameters(), *linear.parameters())]
        found.append([out, *gradients, *norm.bn.buffers()])
    assert len(found[0]) == 12
    for expected, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-10)


def test_norm_relu_and_linear_are_at_once_in_training_on_many_features_alone():
    norm, linear = ConditionalBatchNorm(4, 64).train(), torch.nn.Linear(64, 1)
    code = torch.randn(2, 4)

    def at_once(points: int) -> bool:
        return (
            "NormReluLinear"
            in type(norm.norm_relu_linear(linear, torch.randn(2, points, 64), code).grad_fn).__name__
        )

    assert at_once(blocks._MIN_FEATURES // 64)
    assert not at_once(100)
    norm.bn.eval()
    before = norm.bn.running_mean.clone()
    assert not at_once(blocks._MIN_FEATURES // 64)
    assert torch.equal(norm.bn.running_mean, before)


def test_without_numba_norm_relu_and_linear_are_one_after_the_other(monkeypatch):
    monkeypatch.setattr(blocks, "find_spec", lambda name: None)
    blocks._numba_available.cache_clear()
    try:
        assert not blocks._uses_cpu_kernels(torch.zeros(blocks._MIN_FEATURES))
    finally:
        blocks._numba_available.cache_clear()
    monkeypatch.undo()
    assert blocks._uses_cpu_kernels(torch.zeros(blocks._MIN_FEATURES))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_kernels_round_as_pytorch_does(dtype):
    torch.manual_seed(0)
    features = (torch.randn(3, 400, 7) * torch.logspace(-30, 30, 7)).to(dtype)
    features[0, 0, 0], features[1, 1, 1] = math.inf, math.nan
    gamma, beta, mean, scale = torch.randn(3, 7), torch.randn(3, 7), torch.randn(7), torch.rand(7)
    beta.view(torch.int32)[2, 3] = 0x7FFFFFFF  # a NaN whose rounding would carry over
    above = torch.empty_like(features)
    blocks_cpu._parallel_over_batch(blocks_cpu._norm_relu, features, gamma, beta, mean, scale, above)
    normed = (features.float() - mean) * scale * gamma[:, None] + beta[:, None]
    assert torch.equal(above.nan_to_num(nan=-1.0), normed.relu().to(dtype).nan_to_num(nan=-1.0))
    assert above.isnan().sum() == normed.isnan().sum() > 0


def test_kernels_do_not_depend_on_the_number_of_threads(monkeypatch):
    torch.manual_seed(0)
    norm, layer = torch.nn.BatchNorm1d(6, affine=False).train(), torch.nn.Linear(6, 5)
    features, gamma, beta = torch.randn(7, 50, 6), torch.randn(7, 6), torch.randn(7, 6)
    found = []
    for threads in (1, 2, 3, 16):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        leaves = [value.clone().requires_grad_() for value in (features, gamma, beta)]
        out = blocks_cpu.norm_relu_linear(*leaves, norm, layer)
        out.square().sum().backward()
        found.append([out, *(leaf.grad for leaf in leaves)])
    for others in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], others, strict=True))


@pytest.mark.parametrize("away", [0.0, 1e3, -1e4])
def test_statistics_are_exact_far_from_zero(away):
    torch.manual_seed(0)
    features = torch.randn(5, 3000, 4) + away
    norm = torch.nn.BatchNorm1d(4, affine=False)
    mean, scale = blocks_cpu._statistics(features, norm, torch.float32)
    exact = features.double().flatten(0, 1)
    torch.testing.assert_close(mean.double(), exact.mean(0), rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(
        scale.double(), (exact.var(0, correction=0) + norm.eps).rsqrt(), rtol=1e-5, atol=0
    )
    torch.testing.assert_close(norm.running_var.double(), 0.9 + 0.1 * exact.var(0), rtol=1e-5, atol=0)


def test_norm_relu_and_linear_at_once_in_bfloat16():
    """Not further from double precision than one after the other."""
    torch.manual_seed(0)
    norm, linear = ConditionalBatchNorm(16, 32).train(), torch.nn.Linear(32, 32)
    features, code, toward = torch.randn(4, 500, 32) * 3 + 1, torch.randn(4, 16), torch.randn(4, 500, 32)

    def at_once(x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return blocks_cpu.norm_relu_linear(x, norm.conv_gamma(c), norm.conv_beta(c), norm.bn, linear)

    def run(kind, cast: torch.dtype) -> list[torch.Tensor]:
        norm.to(cast), linear.to(cast)
        x = features.bfloat16().to(torch.bfloat16 if cast == torch.float32 else cast).requires_grad_()
        for parameter in (*norm.parameters(), *linear.parameters()):
            parameter.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=cast == torch.float32):
            out = kind(x, code.to(cast))
        (out * toward.to(out.dtype)).sum().backward()
        gradients = [parameter.grad for parameter in (*norm.parameters(), *linear.parameters())]
        return [tensor.detach().double() for tensor in (out, x.grad, *gradients)]

    plain = run(lambda x, c: linear(torch.relu(norm(x, c))), torch.float32)
    ours = run(at_once, torch.float32)
    exact = run(lambda x, c: linear(torch.relu(norm(x, c))), torch.float64)
    for a, b, c in zip(plain, ours, exact, strict=True):
        assert (b - c).norm() <= 1.2 * (a - c).norm() + 1e-6 * c.norm()
        assert (b - c).norm() < 0.05 * c.norm()


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("where", ["features", "gamma", "beta"])
def test_what_is_no_number_stays_so_through_norm_relu_and_linear_at_once(where, sign):
    norm, linear = torch.nn.BatchNorm1d(64, affine=False).train(), torch.nn.Linear(64, 3)
    inputs = {"features": torch.randn(2, 5, 64), "gamma": torch.randn(2, 64), "beta": torch.randn(2, 64)}
    inputs[where].view(-1)[3] = math.copysign(math.nan, sign)
    out = blocks_cpu.norm_relu_linear(*(value.bfloat16() for value in inputs.values()), norm, linear)
    assert out.isnan().any()


def test_fc_decoder_is_its_formula():
    decoder = shaken(FcDecoder(4, 8, 2))
    points, code = torch.rand(1, 5, 3), torch.randn(1, 4)
    state = {name: value.detach().numpy() for name, value in decoder.named_parameters()}

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    net = linear("fc_p", points[0].numpy())
    for i in range(2):
        net = net + linear(f"blocks.{i}.fc_c", code.numpy())
        net = net + linear(f"blocks.{i}.fc_1", np.maximum(linear(f"blocks.{i}.fc_0", np.maximum(net, 0)), 0))
    expected = linear("fc_out", np.maximum(net, 0))[:, 0]
    np.testing.assert_allclose(decoder(points, code)[0].detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_positional_encoding_is_its_formula():
    points = torch.rand(2, 5, 3, dtype=torch.float64) - 0.5
    encoded = encode(points, 3).numpy()
    assert encoded.shape == (2, 5, encoded_dim(3))
    angles = [2**k * np.pi * points.numpy() for k in range(3)]
    expected = np.concatenate([points, *map(np.sin, angles), *map(np.cos, angles)], axis=-1)
    np.testing.assert_allclose(encoded, expected, atol=1e-12)
    assert encode(points, 0) is points


@pytest.mark.parametrize("frequencies", [0, 4])
@pytest.mark.parametrize("decoder", ["cbn", "fc"])
def test_folded_equals_unfolded(decoder, frequencies):
    network = OccupancyNetwork(
        ModelConfig(hidden=32, c_dim=16, decoder=decoder, positional_encoding=frequencies)
    )
    shaken(network.decoder)
    code, points = torch.randn(1, 16), torch.rand(257, 3) - 0.5
    expected = network.decode(points[None], code)[0].detach()
    field = network.fold(code, chunk=100)
    scale = float(expected.abs().max())
    torch.testing.assert_close(field(points), expected, rtol=0, atol=1e-4 * max(1.0, scale))
    np.testing.assert_allclose(field.on_array(points.double().numpy()), field(points).numpy())
    assert field.on_array(np.zeros((0, 3))).shape == (0,)


@pytest.mark.parametrize("frequencies", [0, 4])
def test_points_are_turned_into_the_frame_of_the_camera(frequencies):
    """At p under rotation R a model of the camera's frame is what its decoder is at R p."""
    camera = ModelConfig(hidden=32, c_dim=16, blocks=1, frame="camera", positional_encoding=frequencies)
    network = OccupancyNetwork(camera)
    shaken(network.decoder)
    rotations = torch.linalg.qr(torch.randn(2, 3, 3))[0]
    codes, points = torch.randn(2, 16), torch.rand(2, 50, 3) - 0.5
    turned = torch.stack([points[i] @ rotations[i].T for i in range(2)])
    expected = network.decode(turned, codes)
    torch.testing.assert_close(network.decode(points, codes, rotations), expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(network.decode(points, codes), expected, atol=1e-2)
    field = network.fold(codes[1], rotation=rotations[1])
    torch.testing.assert_close(field(points[1]), expected[1], rtol=1e-3, atol=1e-3)
    # A model of the unit frame pays no attention to it.
    network.model = camera.model_copy(update={"frame": "unit"})
    assert torch.equal(network.decode(points, codes, rotations), network.decode(points, codes))
    field = network.fold(codes[1], rotation=rotations[1])
    torch.testing.assert_close(field(points[1]), network.decode(points, codes)[1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("frequencies", [0, 4])
@pytest.mark.parametrize("decoder", ["cbn", "fc"])
def test_folded_derivatives_are_autograds(decoder, frequencies):
    """The first of the logits, and the second, which positional encoding has, of a mean over directions."""
    model = ModelConfig(hidden=32, c_dim=8, decoder=decoder, positional_encoding=frequencies, frame="camera")
    network = OccupancyNetwork(model)
    shaken(network.decoder)
    code, rotation = torch.randn(1, 8), torch.linalg.qr(torch.randn(3, 3))[0]
    points, toward = (torch.rand(50, 3) - 0.5).requires_grad_(), torch.randn(50, 3)
    field = network.fold(code, chunk=20, rotation=rotation)
    unfolded = network.decode(points[None], code, rotation[None])[0]
    (expected,) = torch.autograd.grad(unfolded.sum(), points, create_graph=True)
    logits, gradient = field.with_gradient(points)
    scale = float(expected.detach().abs().max())
    torch.testing.assert_close(logits, field(points.detach()), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-4 * scale)
    assert gradient.requires_grad == (frequencies > 0)
    if frequencies:
        second, wanted = (
            torch.autograd.grad((toward * slope).sum(), points)[0] for slope in (gradient, expected)
        )
        torch.testing.assert_close(second, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))
    plain = field.with_gradient(points.detach())[1]
    assert torch.equal(plain, gradient.detach())
    assert not plain.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())


def test_rough_derivatives_are_near_the_exact_ones(monkeypatch):
    monkeypatch.setattr(folded, "has_fast_bf16", lambda device: True)  # slow ones give the same
    network = OccupancyNetwork(ModelConfig(hidden=64, c_dim=16))
    shaken(network.decoder)
    field = network.fold(torch.randn(16), chunk=1000)
    points = torch.rand(3000, 3) - 0.5
    (logits, exact), (near, rough) = (field.with_gradient(points, low_precision=how) for how in (False, True))
    torch.testing.assert_close(near, field(points, low_precision=True))
    assert 0 < (near - logits).abs().max() < field.margin
    alike = torch.nn.functional.cosine_similarity(exact, rough)
    assert alike.median() > 0.999
    assert not torch.equal(exact, rough)


@pytest.mark.parametrize(
    "name",
    [
        "resnet10",
        "resnet18",
        "resnet50",
        "efficientnet_b0",
        "efficientnet_b1",
        "efficientnet_b5",
        "efficientnet_b7",
    ],
)
def test_encoders_give_a_code_of_the_asked_length(name):
    encoder = Encoder(name, 12)  # in training: untrained running statistics would hide the image
    with torch.no_grad():
        codes = encoder(torch.rand(2, 3, 33, 40))
    assert codes.shape == (2, 12)
    assert not torch.equal(codes[0], codes[1])


def test_resnet10_is_resnet18_with_one_block_a_stage():
    shapes = {key: value.shape for key, value in Encoder("resnet18", 4).state_dict().items()}
    kept = {key: shape for key, shape in shapes.items() if ".1." not in key.replace("downsample.1.", "")}
    assert {key: value.shape for key, value in Encoder("resnet10", 4).state_dict().items()} == kept
    with pytest.raises(ConfigError, match=r"no ImageNet weights of resnet10.*pretrained: false"):
        Encoder("resnet10", 4, pretrained=True)


@pytest.mark.parametrize("steepness", [0.1, 1.0])
@pytest.mark.parametrize("decoder", ["cbn", "fc"])
def test_logits_near_the_level_are_those_of_single_precision(decoder, steepness, monkeypatch):
    monkeypatch.setattr(folded, "has_fast_bf16", lambda device: True)  # slow ones give the same
    torch.manual_seed(3)
    network = OccupancyNetwork(ModelConfig(decoder=decoder, hidden=64, c_dim=16)).eval()
    for block in network.decoder.blocks:
        torch.nn.init.normal_(block.fc_1.weight, std=0.3)  # at the start it is zero
        torch.nn.init.normal_(block.fc_1.bias)
    torch.nn.init.normal_(network.decoder.fc_out.weight, std=steepness)
    field = network.fold(torch.randn(16), chunk=1000)
    points = np.random.default_rng(0).uniform(-0.55, 0.55, (5000, 3)).astype(np.float32)
    exact = field.on_array(points)
    level = between(exact)
    found = field.on_array(points, level)
    near = np.abs(exact - level) < 0.25 * field.margin  # a logit found further off may be off by as much
    assert near.sum() > 100
    np.testing.assert_allclose(found[near], exact[near], atol=1e-4)
    np.testing.assert_array_equal(found > level, exact > level)
    assert not np.array_equal(found, exact)
    np.testing.assert_allclose(found, exact, atol=0.5 * field.margin)


def test_the_encoder_normalises_as_imagenet():
    encoder = Encoder("resnet18", 4).eval()
    images = torch.rand(1, 3, 32, 32)
    seen: list[torch.Tensor] = []
    encoder.features.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    encoder(images)
    for channel, (mean, std) in enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]):
        torch.testing.assert_close(seen[0][0, channel], (images[0, channel] - mean) / std)


def test_silhouettes_have_no_colour_and_a_background_of_zero():
    images = torch.ones(1, 3, 32, 32)
    images[0, :, :, 8:16] = torch.tensor([0.9, 0.3, 0.0])[:, None, None]
    images[0, :, :, 16:24] = torch.tensor([0.0, 0.9, 0.3])[:, None, None]
    images[0, :, :, 24:] = torch.tensor([1.0, 0.99, 1.0])[:, None, None]  # outline softened by resizing
    seen = silhouettes(images)[0, :, 0]
    assert not seen[:, :8].any()
    torch.testing.assert_close(seen[:, 8:24], torch.tensor([1.0, 0.6, 0.6])[:, None].expand(3, 16))
    torch.testing.assert_close(seen[:, 31], torch.tensor([0.2, 0.01 / 3, 0.01 / 3]))


def test_only_networks_of_silhouettes_are_blind_to_colour():
    images = torch.rand(2, 3, 32, 32) * 0.5
    painted = images.roll(1, dims=1)
    for image, same in (("rgb", False), ("silhouette", True)):
        network = OccupancyNetwork(ModelConfig(image=image, hidden=8, c_dim=8)).eval()
        assert torch.allclose(network.encode(images), network.encode(painted), atol=1e-5) == same


def test_pretrained_weights_are_read_from_the_hub_folder(tmp_path, monkeypatch):
    from occnet_lib.networks.torchvision_shim import torchvision

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    state = torchvision.models.resnet18(weights=None).state_dict()
    torch.save(state, tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth")
    encoder = Encoder("resnet18", 4, pretrained=True)
    torch.testing.assert_close(encoder.features.conv1.weight, state["conv1.weight"])


def test_missing_pretrained_weights_say_where_to_put_them(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def refuse(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(
        DependencyError, match=r"place the file of http.*resnet18.*\.pth at .*hub/checkpoints"
    ):
        OccupancyNetwork(ModelConfig(pretrained=True))
    OccupancyNetwork(ModelConfig(pretrained=True), pretrained=False)  # inference asks for nothing


def test_a_broken_pretrained_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"<html>")
    with pytest.raises(DependencyError, match=r"resnet18-f37072fd.*delete the file"):
        Encoder("resnet18", 4, pretrained=True)
    for content in ({"conv1.weight": torch.zeros(1)}, torch.zeros(1)):
        torch.save(content, file)
        with pytest.raises(
            DependencyError, match=r"resnet18-f37072fd.*not hold the weights.*delete the file"
        ):
            Encoder("resnet18", 4, pretrained=True)


def test_encoder_input_scales_and_resizes():
    images = torch.randint(0, 256, (2, 50, 70, 3), dtype=torch.uint8)
    plain = encoder_input(images[:, :, :50], 50)
    torch.testing.assert_close(plain, images[:, :, :50].permute(0, 3, 1, 2).float() / 255)
    resized = encoder_input(images, 25)
    assert resized.shape == (2, 3, 25, 25)
    assert resized.is_contiguous(memory_format=torch.channels_last)
    flat = encoder_input(torch.full((1, 137, 137, 3), 51, dtype=torch.uint8), 64)
    torch.testing.assert_close(flat, torch.full((1, 3, 64, 64), 0.2))


def test_encoder_input_is_pillows_resize():
    from PIL import Image

    rng = np.random.default_rng(0)
    image = np.kron(rng.integers(0, 256, (14, 14, 3)), np.ones((10, 10, 1))).astype(np.uint8)[:137, :137]
    for size in (64, 224):
        expected = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)) / 255
        ours = encoder_input(torch.from_numpy(image.copy())[None], size)[0].permute(1, 2, 0).numpy()
        np.testing.assert_allclose(ours, expected, atol=1.01 / 255)


def test_resizing_in_8_bits_is_that_in_floats_but_for_rounding(monkeypatch):
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8))
    for size in (24, 56):
        rounded = encoder_input(pixels, size)
        with monkeypatch.context() as patch:
            patch.setattr(images, "_in_8_bits", lambda pixels: False)
            exact = encoder_input(pixels, size)
        assert not torch.equal(rounded, exact)
        torch.testing.assert_close(rounded, exact, atol=1.01 / 255, rtol=0)


def test_a_network_survives_its_file(tmp_path):
    network = OccupancyNetwork(SMALL).eval()
    shaken(network.decoder)  # the encoder's numbers would overflow
    path = tmp_path / "best.ckpt"
    options = {"model": SMALL.model_dump(), "train": {"image_size": 64}, "step": 3}
    save_network(path, network_file(network.state_dict(), options))
    torch.load(path, weights_only=True)
    loaded, read = load_network(path)
    assert read == options
    assert not loaded.training
    images, points = torch.rand(1, 3, 32, 32), torch.rand(1, 7, 3)
    torch.testing.assert_close(loaded(images, points), network(images, points), rtol=0, atol=0)


def test_broken_network_files_are_one_line_errors(tmp_path):
    path = tmp_path / "best.ckpt"
    with pytest.raises(DataError, match="no such file"):
        load_network(path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(DataError, match="not readable"):
        load_network(path)
    torch.save([1, 2], path)
    with pytest.raises(DataError, match="not a checkpoint"):
        load_network(path)
    torch.save({"model": {}}, path)
    with pytest.raises(DataError, match="not a network written by occnet"):
        load_network(path)
    content = network_file(OccupancyNetwork(SMALL).state_dict(), {"model": SMALL.model_dump()})
    torch.save(content | {"version": 99}, path)
    with pytest.raises(DataError, match="version 99"):
        load_network(path)
    torch.save(content | {"options": {"model": SMALL.model_dump() | {"hidden": 17}}}, path)
    with pytest.raises(DataError, match="do not fit"):
        load_network(path)
    del content["state_dict"]["decoder.fc_p.bias"]
    torch.save(content, path)
    with pytest.raises(DataError, match="do not fit"):
        load_network(path)


def test_the_shim_leaves_a_working_torchvision_alone_and_comes_before_lightning():
    code = (
        "from occnet_lib.networks.torchvision_shim import torchvision, import_torchvision\n"
        "import torchmetrics\n"
        "assert import_torchvision() is torchvision\n"
        "assert torchvision.models.resnet18(weights=None) is not None\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
