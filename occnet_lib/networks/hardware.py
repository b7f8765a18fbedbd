"""The machine's GPUs and number formats: Snakemake counts the GPUs of its jobs but does not assign them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from occnet_lib.storage import locks


@contextmanager
def exclusive_gpus(count: int) -> Iterator[list[int]]:
    """Reserve GPUs among those that `CUDA_VISIBLE_DEVICES` shows; waits while other processes of this user hold too many.

    Yields:
        their numbers; the first is the current device in the block.
    """
    files = [_lock(gpu) for gpu in range(torch.cuda.device_count())]
    before = torch.cuda.current_device()
    with locks.some_locks(files, count, "a GPU that no other training uses") as reserved:
        torch.cuda.set_device(reserved[0])
        try:
            yield reserved
        finally:
            torch.cuda.set_device(before)


def pick_shared_gpu() -> None:
    """Set the current GPU, if there is one, by the process id, for work that may share a GPU."""
    if torch.cuda.is_available():
        torch.cuda.set_device(os.getpid() % torch.cuda.device_count())


def has_fast_bf16(device: str) -> bool:
    """Whether a kind of device ("cpu", "cuda") multiplies bfloat16 in hardware, and faster than float32."""
    if device == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)  # older ones emulate it
    # torch has no public test for processors; False where the private ones are missing.
    tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, test, bool)() for test in tests)


def _lock(gpu: int) -> Path:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    # A process sees one slice (MIG) of a card, for which torch may report the card's UUID.
    name = (
        visible.replace("/", "-")
        if visible.startswith("MIG-")
        else torch.cuda.get_device_properties(gpu).uuid
    )
    return Path(tempfile.gettempdir()) / f"occnet-{os.getuid()}-{name}.lock"
