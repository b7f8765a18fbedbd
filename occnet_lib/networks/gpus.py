"""Which of a machine's GPUs a process uses: Snakemake counts what its jobs take, but tells none which ones it has."""

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
    """Numbers of GPUs that no other process of this user has taken; the first is the current one meanwhile.

    Of those that `CUDA_VISIBLE_DEVICES` shows. Waits while too few are free.
    """
    files = [_lock(gpu) for gpu in range(torch.cuda.device_count())]
    before = torch.cuda.current_device()
    with locks.some_locks(files, count, "a GPU that no other training uses") as found:
        torch.cuda.set_device(found[0])
        try:
            yield found
        finally:
            torch.cuda.set_device(before)


def pick_shared_gpu() -> None:
    """Choose the current GPU, if there is one, by the process's number, for work that may share it."""
    if torch.cuda.is_available():
        torch.cuda.set_device(os.getpid() % torch.cuda.device_count())


def _lock(gpu: int) -> Path:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    # Of the slices of a card (MIG) a process sees one, which torch may give the card's name.
    name = (
        visible.replace("/", "-")
        if visible.startswith("MIG-")
        else torch.cuda.get_device_properties(gpu).uuid
    )
    return Path(tempfile.gettempdir()) / f"occnet-{os.getuid()}-{name}.lock"
