"""The optimiser."""

from __future__ import annotations

import torch

from occnet_lib.config import ModelConfig, TrainConfig
from occnet_lib.training.adam import Adam
from occnet_lib.training.module import OccupancyModule

SMALL = ModelConfig(hidden=16, c_dim=8, blocks=1)


def test_adam_of_weights_in_channels_last_order():
    """The same as PyTorch's plain loop, without a copy of a gradient."""
    torch.manual_seed(0)
    shapes = ((8, 4, 3, 3), (6, 8, 1, 1), (5, 7), (5,))
    starts = [torch.randn(shape) for shape in shapes]
    starts[0] = starts[0].contiguous(memory_format=torch.channels_last)
    weights, plain = ([torch.nn.Parameter(start.clone()) for start in starts] for _ in range(2))
    optimizer, reference = Adam(weights, lr=0.1, fused=True), torch.optim.Adam(plain, lr=0.1, foreach=False)
    for _ in range(3):
        for ours, other in zip(weights, plain, strict=True):
            ours.grad = torch.randn_like(ours)
            other.grad = ours.grad.clone()
        with torch.profiler.profile() as profile:
            optimizer.step()
        assert "aten::_fused_adam_" in {event.key for event in profile.key_averages()}
        assert "aten::clone" not in {event.key for event in profile.key_averages()}
        reference.step()
    for ours, other in zip(weights, plain, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-5, atol=1e-6)
    assert optimizer.state[weights[0]]["exp_avg"].stride() == weights[0].stride()
    module = OccupancyModule(SMALL, TrainConfig(), [])
    assert isinstance(module.configure_optimizers()["optimizer"], Adam)
