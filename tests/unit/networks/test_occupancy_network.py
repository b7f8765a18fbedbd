"""The whole network: parameters, precision, frame, level."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from occnet_lib.config import ModelConfig
from occnet_lib.networks import folded
from occnet_lib.networks.decoders import FcDecoder
from occnet_lib.networks.occupancy_network import OccupancyNetwork
from tests.support.random_networks import shaken
from tests.support.torch_fields import between


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


def test_autocast_does_not_round_the_points():
    decoder = shaken(FcDecoder(4, 8, 2))
    points, near = torch.tensor([[[0.4, 0.4, 0.0]]]), torch.tensor([[[0.4001, 0.4, 0.0]]])
    assert (points.bfloat16() == near.bfloat16()).all()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        decoder.fc_p.weight.copy_(torch.tensor([1e3, -1e3, 0.0]))  # sees their difference alone
        assert (decoder(points, torch.zeros(1, 4)) != decoder(near, torch.zeros(1, 4))).all()


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
    actual = field.on_array(points, level)
    near = np.abs(exact - level) < 0.25 * field.margin  # a logit found further off may be off by as much
    assert near.sum() > 100
    np.testing.assert_allclose(actual[near], exact[near], atol=1e-4)
    np.testing.assert_array_equal(actual > level, exact > level)
    assert not np.array_equal(actual, exact)
    np.testing.assert_allclose(actual, exact, atol=0.5 * field.margin)
