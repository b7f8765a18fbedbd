"""Data loaders whose order depends only on the seed and the step."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import count
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler

from occnet_lib import seeds
from occnet_lib.config import TrainConfig
from occnet_lib.errors import ConfigError

from .batch import Batch, Item, collate
from .dataset import TrainingItems, ValidationItems
from .device_set import DeviceSet


class BatchOrder(Sampler[list[tuple[int, int]]]):
    """The items of each step's batch: endless epochs, each a permutation of the shapes.

    Epochs follow each other without a gap, so every batch is full, even with fewer shapes than the batch size.

    Args:
        shapes: their number, at least one.
        batch_size: items per batch.
        seed: of the configuration.

    Attributes:
        first: the step to start with.
        rank, processes: of several processes each one has its part of a batch that is larger by their number.
    """

    def __init__(self, shapes: int, batch_size: int, seed: int) -> None:
        self._shapes, self._batch_size, self._seed = shapes, batch_size, seed
        self._epoch, self._permutation = -1, list(range(shapes))
        self.first, self.rank, self.processes = 0, 0, 1

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        distributed = torch.distributed
        if distributed.is_available() and distributed.is_initialized():
            self.rank, self.processes = distributed.get_rank(), distributed.get_world_size()
        return (self.batch(step) for step in count(self.first))

    def __len__(self) -> int:
        return sys.maxsize

    def batch(self, step: int) -> list[tuple[int, int]]:
        """The (epoch, shape) pairs of a step, counted from 0."""
        first = (step * self.processes + self.rank) * self._batch_size
        places = range(first, first + self._batch_size)
        return [self._item(*divmod(place, self._shapes)) for place in places]

    def _item(self, epoch: int, place: int) -> tuple[int, int]:
        if epoch != self._epoch:
            rng = seeds.rng(self._seed, "train order", str(epoch))
            self._epoch, self._permutation = epoch, rng.permutation(self._shapes).tolist()
        return epoch, self._permutation[place]


class _Positioned:
    """A position in a `BatchOrder`, stored in checkpoints."""

    _order: BatchOrder

    def state_dict(self) -> dict[str, int]:
        """The position: the number of batches delivered."""
        return {"batches": self._order.first}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue after a position."""
        self._order.first = state["batches"]


class TrainingLoader(_Positioned, DataLoader[Item]):
    """The batches of `BatchOrder`, with a position stored in checkpoints.

    Args:
        items: at least one.
        batch_size: items per batch.
        seed: of the configuration.
        workers: loading processes; batches do not depend on them.
        pin: load into page-locked memory.
    """

    def __init__(
        self, items: TrainingItems, batch_size: int, seed: int, workers: int = 0, pin: bool = False
    ) -> None:
        self._order = BatchOrder(len(items), batch_size, seed)
        super().__init__(
            items,
            batch_sampler=self._order,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=pin,
            # The loader draws an unused seed, which must not come from the global generator.
            generator=torch.Generator(),
        )

    def __iter__(self) -> Any:
        for batch in super().__iter__():
            self._order.first += 1
            yield batch


class DeviceLoader(_Positioned):
    """The same batches as `TrainingLoader`, gathered from data kept on the device.

    Args:
        items: at least one.
        batch_size: items per batch.
        seed: of the configuration.
        device: cpu or cuda; data are copied there with the first batch.
    """

    def __init__(self, items: TrainingItems, batch_size: int, seed: int, device: str) -> None:
        self._order = BatchOrder(len(items), batch_size, seed)
        self._items, self._device = items, device
        self._set: DeviceSet | None = None

    def __len__(self) -> int:
        # Of what has no length Lightning asks for a batch ahead, which the position would count.
        return sys.maxsize

    def __iter__(self) -> Iterator[Batch]:
        if self._set is None:
            self._set = DeviceSet(self._items, self._device)
        for pairs in self._order:
            batch = self._set.batch(pairs)
            self._order.first += 1
            yield batch


def training_loader(
    items: TrainingItems, train: TrainConfig, seed: int, device: str
) -> TrainingLoader | DeviceLoader:
    """The loader for `train.hardware.cache`.

    Raises:
        ConfigError: `cache` is gpu and the data do not fit.
    """
    cache, batch_size = train.hardware.cache, train.data.batch_size
    wanted = cache == "gpu" or (cache == "auto" and device == "cuda")
    if cache == "gpu" and items.uses_views:
        raise ConfigError(
            "train.hardware.cache is gpu, which models with `silhouettes`, `consistency` or `labels: hull` cannot use",
            hint="use auto",
        )
    if wanted and not items.uses_views and DeviceSet.fits(items.shapes, device):
        return DeviceLoader(items, batch_size, seed, device)
    if cache == "gpu":
        raise ConfigError(
            f"train.hardware.cache is gpu, but {items.shapes.nbytes() / 1e9:.1f} GB of data exceed half of the free GPU "
            "memory, or shapes differ in the number of points or views or in image size",
            hint="use auto",
        )
    return TrainingLoader(items, batch_size, seed, train.hardware.loading_processes, pin=device == "cuda")


def validation_loader(items: ValidationItems, workers: int = 0) -> DataLoader[Item]:
    """All items once, in order, in batches (`Batch`)."""
    generator = torch.Generator()  # as in `TrainingLoader`
    return DataLoader(items, batch_size=16, num_workers=workers, collate_fn=collate, generator=generator)
