"""CPU seconds of a training step: ours against a plain implementation of ONet's network.

The reference is built as ONet's code is: points as (batch, channels, points) through convolutions of kernel size
1, float32, unfused Adam, images contiguous. Both see the same inputs, in this one process, on one thread: the reference
with the memory's settings as they come, then again with those that our training makes, then ours, at last with norm,
ReLU and linear layer one after the other (`networks.blocks`). What the decoder keeps for its derivative comes last.
"""

from __future__ import annotations

import argparse
import math
import resource
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from torch import Tensor, nn
from torch.nn import functional

from occnet_lib.config import ModelConfig, TrainConfig
from occnet_lib.networks import blocks
from occnet_lib.networks.decoders import CbnDecoder
from occnet_lib.networks.encoders import Encoder
from occnet_lib.training.malloc import disable_heap_trimming
from occnet_lib.training.module import OccupancyModule
from occnet_lib.training.run_info import uses_bf16
from tests.support.train_config import train_config


class ReferenceNorm(nn.Module):
    """Conditional batch norm over (batch, channels, points)."""

    def __init__(self, c_dim: int, channels: int) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Conv1d(c_dim, channels, 1), nn.Conv1d(c_dim, channels, 1)
        self.bn = nn.BatchNorm1d(channels, affine=False)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """γ · normalised + β."""
        return self.gamma(c) * self.bn(x) + self.beta(c)


class ReferenceBlock(nn.Module):
    """ResNet block of two norms and two convolutions."""

    def __init__(self, c_dim: int, hidden: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(ReferenceNorm(c_dim, hidden) for _ in range(2))
        self.convolutions = nn.ModuleList(nn.Conv1d(hidden, hidden, 1) for _ in range(2))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """(B, hidden, T) to the same."""
        net = x
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            net = convolution(functional.relu(norm(net, c)))
        return x + net


class Reference(nn.Module):
    """ONet's single-view network in its own layout."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.encoder = Encoder("resnet18", model.c_dim)
        self.fc_p = nn.Conv1d(3, model.hidden, 1)
        self.blocks = nn.ModuleList(ReferenceBlock(model.c_dim, model.hidden) for _ in range(model.blocks))
        self.norm, self.fc_out = ReferenceNorm(model.c_dim, model.hidden), nn.Conv1d(model.hidden, 1, 1)

    def forward(self, images: Tensor, points: Tensor) -> Tensor:
        """Logits (B, T)."""
        code = self.encoder(images).unsqueeze(2)
        net = self.fc_p(points.transpose(1, 2))
        for block in self.blocks:
            net = block(net, code)
        logits: Tensor = self.fc_out(functional.relu(self.norm(net, code))).squeeze(1)
        return logits


def reference_step(model: ModelConfig, inputs: tuple[Tensor, Tensor, Tensor]) -> Callable[[], None]:
    """A function that trains the reference for a step."""
    images, points, occupancies = inputs
    network = Reference(model).to(images.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, foreach=False)

    def step() -> None:
        optimizer.zero_grad()
        losses = functional.binary_cross_entropy_with_logits(
            network(images, points), occupancies, reduction="none"
        )
        losses.sum(-1).mean().backward()
        optimizer.step()

    return step


def our_step(
    model: ModelConfig, train: TrainConfig, inputs: tuple[Tensor, Tensor, Tensor]
) -> Callable[[], None]:
    """A function that trains our network for a step, as the Lightning module is set up."""
    module = OccupancyModule(model, train, [])
    module.setup("fit")
    optimizer = module.configure_optimizers()["optimizer"]
    images, points, occupancies = inputs
    images = images.contiguous(memory_format=torch.channels_last)
    bf16 = uses_bf16(train, "cpu")

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            logits = module.network(images, points).float()
            loss = functional.binary_cross_entropy_with_logits(logits, occupancies)
        loss.backward()
        optimizer.step()

    return step


def apart(work: Callable[[], Any]) -> Callable[[], Any]:
    """The same without the kernels of `networks.blocks_cpu`."""

    def run() -> Any:
        with mock.patch.object(blocks, "_MIN_FEATURES", math.inf):
            return work()

    return run


def kept_megabytes(model: ModelConfig, points: Tensor) -> float:
    """What the decoder keeps in bfloat16 between its pass over points (B, T, 3) and the derivative."""
    decoder, code = CbnDecoder(model.c_dim, model.hidden, model.blocks), torch.randn(len(points), model.c_dim)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16):
        logits = decoder(points, code)
    assert logits.requires_grad
    return sum(kept.values()) / 1e6


def cpu_seconds() -> float:
    """User and system time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--pixels", type=int, default=224)
    parser.add_argument("--points", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--compile", action="store_true", help="measure train.hardware.compile, too (a minute more)"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = torch.rand(args.batch, 3, args.pixels, args.pixels)
    points = torch.rand(args.batch, args.points, 3) - 0.5
    inputs = (images, points, (points.norm(dim=2) < 0.4).float())
    model = ModelConfig()
    plain = reference_step(model, inputs)
    steps = {"ONet's layout, fp32": plain, "the same, memory kept": plain}
    variants: dict[str, dict[str, Any]] = {
        "fp32": {"precision": "fp32"},
        "auto": {"precision": "auto"},
        "auto, compiled": {"precision": "auto", "compile": True},
    }
    for name, options in variants.items():
        if args.compile or not options.get("compile"):
            steps[f"ours, {name}"] = our_step(model, train_config(points=args.points, **options), inputs)
    steps["ours, auto, apart"] = apart(our_step(model, train_config(points=args.points), inputs))
    times: dict[str, list[float]] = {name: [] for name in steps}
    for name, step in steps.items():
        if name != "ONet's layout, fp32":
            disable_heap_trimming()
        for repeat in range(args.repeats + 1):
            start = cpu_seconds()
            step()
            if repeat:  # the first makes buffers
                times[name].append(cpu_seconds() - start)
    reference = statistics.median(next(iter(times.values())))
    print(f"batch {args.batch}, {args.pixels} px, {args.points} points, one thread, {args.repeats} repeats")
    print(f"{'':<22} {'CPU s a step':>12} {'times faster':>13}")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:<22} {median:12.2f} {reference / median:13.2f}")
    at_once = kept_megabytes(model, points)
    one_by_one = apart(lambda: kept_megabytes(model, points))()
    print(f"the decoder keeps {at_once:.0f} MB, operations apart {one_by_one:.0f} MB")


if __name__ == "__main__":
    main()
