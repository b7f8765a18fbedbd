"""Processes that train, as forks of one that has imported the libraries, which takes most of the time of a short run."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
import torch

from occnet_lib.config import Config

from .small_encoder import small_encoder


@contextmanager
def fork_server(compiled: Path) -> Iterator[None]:
    """Run the server whose forks `process` and `start_in_forks` use.

    Args:
        compiled: folder of what the forks compile.
    """
    multiprocessing.set_forkserver_preload(["occnet_lib.training.train"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(compiled))
        forkserver.ensure_running()
    try:
        yield
    finally:
        forkserver._forkserver._stop()  # type: ignore[attr-defined]


def process(config: Config, shards: tuple[list[Path], list[Path]], folder: Path) -> ForkServerProcess:
    """A process that trains model `small` with a small encoder, and as many threads as this one has."""
    arguments = (config.model_dump_json(), shards, folder, torch.get_num_threads())
    return multiprocessing.get_context("forkserver").Process(target=_train, args=arguments)


def _train(config: str, shards: tuple[list[Path], list[Path]], folder: Path, threads: int) -> None:
    from occnet_lib.training.train import train

    torch.set_num_threads(threads)
    with small_encoder():
        train(Config.model_validate_json(config), "small", *shards, folder)


def start_in_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of distributed training are forks of the server; Lightning still does what it does for started ones."""
    start = torch.multiprocessing.start_processes

    def forked(*args: Any, start_method: str, **options: Any) -> Any:
        assert start_method == "spawn"
        return start(*args, start_method="forkserver", **options)

    monkeypatch.setattr(torch.multiprocessing, "start_processes", forked)
