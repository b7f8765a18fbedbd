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
def taken(count: int) -> Iterator[list[int]]:
    """Numbers of GPUs that no other process of this user has taken; the first is the current one.

    Of those that `CUDA_VISIBLE_DEVICES` shows. Waits while too few are free.
    """
    files = [_lock(gpu) for gpu in range(torch.cuda.device_count())]
    with locks.some_locks(files, count, "a GPU that no other training uses") as found:
        torch.cuda.set_device(found[0])
        yield found


def spread() -> None:
    """Choose the current GPU by the process's number, for work that may share one."""
    torch.cuda.set_device(os.getpid() % torch.cuda.device_count())


def _lock(gpu: int) -> Path:
    name = torch.cuda.get_device_properties(gpu).uuid
    return Path(tempfile.gettempdir()) / f"occnet-{os.getuid()}-{name}.lock"
