"""Inference on a checkpoint's parts: batched decoding, encoding, device and threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import ConfigError

from .mise import BatchOccupancyFn

if TYPE_CHECKING:
    from torch import Tensor

_ROW_LENGTH = 2048  # points of one shape in a row of a batch


def batched_decoder(decode: Callable[..., Tensor], *inputs: Tensor) -> BatchOccupancyFn:
    """An occupancy function of several shapes that decodes their points in one call.

    Args:
        decode: points (B, T, 3) and the inputs of their shapes to logits (B, T), as `OccupancyNetwork.decode`.
        inputs: its other arguments: codes (B, c_dim), rotations (B, 3, 3) and so on, on the device to use.
    """
    import torch

    def fields(points: NDArray[np.float32], shapes: NDArray[np.int64]) -> NDArray[np.float32]:
        owners, first, sizes = np.unique(shapes, return_index=True, return_counts=True)
        # Shapes have very different numbers of points: each takes as many short rows as it needs.
        length = min(_ROW_LENGTH, int(sizes.max()))
        rows = -(-sizes // length)
        place = np.arange(len(points)) - np.repeat(first, sizes)
        at = np.repeat(np.cumsum(rows) - rows, sizes) + place // length, place % length
        padded = np.zeros((rows.sum(), length, 3), np.float32)
        padded[at] = points
        of_rows = np.repeat(owners, rows)
        with torch.inference_mode():
            rows_of_points = torch.from_numpy(padded).to(inputs[0].device)
            logits = decode(rows_of_points, *(tensor[of_rows] for tensor in inputs))
        values: NDArray[np.float32] = logits.float().cpu().numpy()[at]
        return values

    return fields


def encoder_features(
    checkpoint: str | Path, accelerator: Literal["auto", "cpu", "gpu"] = "auto"
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """The encoder of a checkpoint: images (B, H, W, 3) uint8 sRGB on white to codes (B, c_dim) float32.

    Raises:
        DataError: the checkpoint is missing or broken.
        ConfigError: a GPU is requested and none is available.
    """
    import torch

    from occnet_lib.networks.checkpoint import load_network
    from occnet_lib.networks.framing import network_input

    device = select_device(accelerator)
    network, options = load_network(checkpoint, device)

    def features(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            codes = network.encode(network_input(images, options, device))
        return np.asarray(codes.float().cpu().numpy())

    return features


@contextmanager
def one_thread() -> Iterator[None]:
    """Run PyTorch on one thread: shards run in parallel, and sums over threads would differ in the last digit."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def select_device(accelerator: str) -> str:
    """cuda or cpu.

    Raises:
        ConfigError: a GPU is requested and none is available.
    """
    import torch

    available = torch.cuda.is_available()
    if accelerator == "gpu" and not available:
        raise ConfigError(
            "reconstruct.accelerator is gpu, but torch sees no CUDA device", hint="use auto or cpu"
        )
    return "cuda" if available and accelerator != "cpu" else "cpu"
