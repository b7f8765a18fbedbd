"""Distributed training: one process per device; together they process one larger batch."""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import torch
from typing_extensions import override

from occnet_lib import logs
from occnet_lib.config import TrainConfig
from occnet_lib.errors import ConfigError, OccnetError
from occnet_lib.networks.hardware import exclusive_gpus

from .lightning_imports import DDPStrategy, LightningEnvironment, MultiProcessingLauncher, SLURMEnvironment
from .malloc import disable_heap_trimming

# How long processes wait for the first one, which validates alone.
_BARRIER_TIMEOUT = timedelta(hours=4)


def slurm_rank() -> int:
    """This process's rank where Slurm started all processes; else 0."""
    return int(os.environ.get("SLURM_PROCID", "0"))


class Devices(NamedTuple):
    """Devices of a training run.

    Attributes:
        device: cuda or cpu.
        devices: their number on this machine, or their indices.
    """

    device: str
    devices: int | list[int]


@contextmanager
def reserve_devices(train: TrainConfig, device: str) -> Iterator[Devices]:
    """The devices of a training run; its GPUs are reserved until the block ends."""
    hardware = train.hardware
    if device == "cpu" or hardware.nodes > 1:  # Slurm's tasks have GPUs of their own
        yield Devices(device, hardware.devices)
    else:
        with exclusive_gpus(hardware.devices) as gpus:
            yield Devices(device, gpus)


def trainer_options(train: TrainConfig, devices: int | list[int]) -> dict[str, Any]:
    """Lightning's options for `train.hardware.devices` and `train.hardware.nodes`.

    On one node the processes are started here; on several nodes Slurm has started one task per device.

    Args:
        train: section `train`.
        devices: `Devices.devices`.

    Raises:
        ConfigError: the number of Slurm tasks does not match `train.hardware`.
    """
    # Snakemake and Slurm handle time limits and requeueing.
    single: dict[str, Any] = {"devices": devices, "plugins": [LightningEnvironment()]}
    hardware = train.hardware
    if hardware.devices * hardware.nodes == 1:
        return single
    if hardware.nodes == 1:
        return single | {"strategy": _Processes(start_method="spawn", timeout=_BARRIER_TIMEOUT), **_OWN_ORDER}
    expected, tasks = hardware.devices * hardware.nodes, os.environ.get("SLURM_NTASKS", "none")
    if tasks != str(expected):
        raise ConfigError(
            f"train.hardware.nodes is {hardware.nodes}: expected {expected} Slurm tasks, got {tasks}",
            hint="`snakemake --profile slurm train`, or `srun --ntasks-per-node … occnet train …`",
        )
    return {
        **{"devices": hardware.devices, "num_nodes": hardware.nodes, **_OWN_ORDER},
        "strategy": DDPStrategy(timeout=_BARRIER_TIMEOUT),
        "plugins": [SLURMEnvironment(auto_requeue=False)],
    }


class _Launcher(MultiProcessingLauncher):
    """Lightning's launcher, defined here so that a started process imports the torchvision shim before Lightning."""


class _Processes(DDPStrategy):
    """Processes on this machine."""

    @override
    def _configure_launcher(self) -> None:
        self._launcher = _Launcher(self, start_method="spawn")


# `BatchOrder` distributes the batches.
_OWN_ORDER = {"use_distributed_sampler": False}


class ProcessSettings:
    """Settings that a started process does not inherit from its parent: log file, threads, matmul precision."""

    def __init__(self, devices: int) -> None:
        handlers = [h for h in logging.getLogger().handlers if isinstance(h, logging.FileHandler)]
        self._log_file = Path(handlers[0].baseFilename) if handlers else None
        self._threads = max(1, torch.get_num_threads() // devices)
        self._precision = torch.get_float32_matmul_precision()

    def restore(self, rank: int) -> None:
        """Apply the settings; does nothing in the parent process."""
        if multiprocessing.parent_process() is None:
            return
        disable_heap_trimming()
        torch.set_num_threads(self._threads)
        torch.set_float32_matmul_precision(self._precision)
        logs.append_to_log(self._log_file if rank == 0 else None)


@contextmanager
def started_processes() -> Iterator[None]:
    """Context in which processes are started; errors of occnet in one of them are raised here as well.

    Raises:
        OccnetError: with the message of the process's error.
    """
    sharing = torch.multiprocessing.get_sharing_strategy()
    # The default, file descriptors, fails where two tensors of the network share storage.
    torch.multiprocessing.set_sharing_strategy("file_system")
    try:
        yield
    except torch.multiprocessing.ProcessRaisedException as error:
        match = re.search(r"^occnet_lib\.errors\.\w+: (.+)$", str(error), re.MULTILINE)
        if match is None:
            raise
        raise OccnetError(match[1]) from error
    finally:
        torch.multiprocessing.set_sharing_strategy(sharing)
