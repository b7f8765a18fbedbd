"""Training by several processes, one a device, which see together what one would see of a larger batch."""

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

# How long processes wait for the first, which validates alone.
_BARRIER_TIMEOUT = timedelta(hours=4)


def slurm_rank() -> int:
    """Which of the processes this one is where Slurm started them all; 0 where there is one, or they are not yet."""
    return int(os.environ.get("SLURM_PROCID", "0"))


class Place(NamedTuple):
    """Where a training runs.

    Attributes:
        device: cuda or cpu.
        devices: how many of this machine's, or which.
    """

    device: str
    devices: int | list[int]


@contextmanager
def place(train: TrainConfig, device: str) -> Iterator[Place]:
    """The place of a training, whose GPUs are its own as long as it lasts."""
    hardware = train.hardware
    if device == "cpu" or hardware.nodes > 1:  # there Slurm's tasks have their own
        yield Place(device, hardware.devices)
    else:
        with exclusive_gpus(hardware.devices) as found:
            yield Place(device, found)


def trainer_options(train: TrainConfig, devices: int | list[int]) -> dict[str, Any]:
    """Lightning's options for `train.hardware.devices` and `train.hardware.nodes`.

    On one node the processes are started from here; on several Slurm has started one task a device.

    Args:
        train: section `train`.
        devices: `Place.devices`.

    Raises:
        ConfigError: there are to be several nodes and Slurm has not started as many tasks.
    """
    # A job's time limit and requeueing are Snakemake's and Slurm's matter.
    alone: dict[str, Any] = {"devices": devices, "plugins": [LightningEnvironment()]}
    hardware = train.hardware
    if hardware.devices * hardware.nodes == 1:
        return alone
    if hardware.nodes == 1:
        return alone | {"strategy": _Processes(start_method="spawn", timeout=_BARRIER_TIMEOUT), **_OWN_ORDER}
    wanted, found = hardware.devices * hardware.nodes, os.environ.get("SLURM_NTASKS", "none")
    if found != str(wanted):
        raise ConfigError(
            f"train.hardware.nodes is {hardware.nodes}: that takes {wanted} tasks of Slurm, and there are {found}",
            hint="`snakemake --profile slurm train`, or `srun --ntasks-per-node … occnet train …`",
        )
    return {
        **{"devices": hardware.devices, "num_nodes": hardware.nodes, **_OWN_ORDER},
        "strategy": DDPStrategy(timeout=_BARRIER_TIMEOUT),
        "plugins": [SLURMEnvironment(auto_requeue=False)],
    }


class _Launcher(MultiProcessingLauncher):
    """Lightning's; found in this module, a started process imports torchvision's shim before Lightning."""


class _Processes(DDPStrategy):
    """Processes on this machine."""

    @override
    def _configure_launcher(self) -> None:
        self._launcher = _Launcher(self, start_method="spawn")


# `BatchOrder` divides the batches.
_OWN_ORDER = {"use_distributed_sampler": False}


class ProcessSettings:
    """What a process that was started for a device lacks of the one that started it: log, threads, torch's settings."""

    def __init__(self, devices: int) -> None:
        handlers = [h for h in logging.getLogger().handlers if isinstance(h, logging.FileHandler)]
        self._log_file = Path(handlers[0].baseFilename) if handlers else None
        self._threads = max(1, torch.get_num_threads() // devices)
        self._precision = torch.get_float32_matmul_precision()

    def restore(self, rank: int) -> None:
        """Call in every process; where none was started it does nothing."""
        if multiprocessing.parent_process() is None:
            return
        disable_heap_trimming()
        torch.set_num_threads(self._threads)
        torch.set_float32_matmul_precision(self._precision)
        logs.append_to_log(self._log_file if rank == 0 else None)


@contextmanager
def processes() -> Iterator[None]:
    """What starting processes takes; faults that one of them explains in one line are so here, too.

    Raises:
        OccnetError: with the message of the process's own.
    """
    sharing = torch.multiprocessing.get_sharing_strategy()
    # The other way, by descriptors, fails where two of the network's tensors share one.
    torch.multiprocessing.set_sharing_strategy("file_system")
    try:
        yield
    except torch.multiprocessing.ProcessRaisedException as error:
        found = re.search(r"^occnet_lib\.errors\.\w+: (.+)$", str(error), re.MULTILINE)
        if found is None:
            raise
        raise OccnetError(found[1]) from error
    finally:
        torch.multiprocessing.set_sharing_strategy(sharing)
