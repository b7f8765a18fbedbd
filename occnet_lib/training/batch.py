"""Training items and batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from occnet_lib.networks.projection import product, window_matrices

from .silhouettes import Silhouettes


@dataclass(frozen=True)
class Item:
    """One image and its points.

    Attributes:
        shape: which shape, an index into `ShapeSet.names`.
        image: (H, W, 3) uint8 sRGB.
        points: (T, 3) float16, unit frame.
        occupancies: (T,) bool.
        occupied_fraction: fraction of occupied points in the set from which these were chosen.
        rotation: (3, 3) float32, unit frame to the camera of the image.
        window: (4,) or with a roll (5,) float32, the part of the image that the encoder sees
            (`networks.images.encoder_input`); None: all of it. The same for all items of a set.
        near: (K, 3) float16, points near the surface.
        near_occupancies: (K,) bool.
        gamma: power to which the encoder's input is raised, in which white is 1; None: 1. The same for all items of a
            set.
        camera: (3, 4) float32, projection of the unit frame into the image (`geometry.cameras.image_projection`); None:
            the model needs none.
        silhouettes: pixels of the shape's views, where training or validation uses them.
        other: the same points under another view, for consistency.
    """

    shape: int
    image: NDArray[np.uint8]
    points: NDArray[np.float16]
    occupancies: NDArray[np.bool_]
    occupied_fraction: float
    rotation: NDArray[np.float32]
    window: NDArray[np.float32] | None
    near: NDArray[np.float16] = field(default_factory=lambda: np.zeros((0, 3), np.float16))
    near_occupancies: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    gamma: float | None = None
    camera: NDArray[np.float32] | None = None
    silhouettes: Silhouettes | None = None
    other: Item | None = None


@dataclass(frozen=True)
class Batch:
    """Items stacked along the first axis.

    Attributes:
        shapes: (B,) int64 indices into `ShapeSet.names`.
        images: (B, H, W, 3) uint8.
        points: (B, T, 3) float16.
        occupancies: (B, T) bool.
        occupied_fractions: (B,) float32 (`Item.occupied_fraction`).
        rotations: (B, 3, 3) float32.
        windows: (B, 4) or (B, 5) float32; (0, 4) for whole images.
        near: (B, K, 3) float16.
        near_occupancies: (B, K) bool.
        gammas: (B,) float32; (0,) where brightness stays as it is.
        cameras: (B, 3, 4) float32; (0, 3, 4) where the model needs none.
        silhouettes, other: of the items, stacked; None where they have none.
    """

    shapes: Tensor
    images: Tensor
    points: Tensor
    occupancies: Tensor
    occupied_fractions: Tensor
    rotations: Tensor
    windows: Tensor
    near: Tensor
    near_occupancies: Tensor
    gammas: Tensor
    cameras: Tensor = field(default_factory=lambda: torch.zeros(0, 3, 4))
    silhouettes: Silhouettes | None = None
    other: Batch | None = None

    @property
    def projections(self) -> Tensor | None:
        """(B, 3, 4) projections into the encoder's input; None where the model needs none."""
        if not len(self.cameras):
            return None
        return product(self.window_matrices, self.cameras)

    @property
    def window_matrices(self) -> Tensor:
        """(B, 3, 3) from fractions of the images to [-1, 1] of the encoder's input."""
        return window_matrices(self.windows, len(self.images), *self.images.shape[1:3])

    def to(self, device: torch.device | str) -> Batch:
        """The batch on a device."""
        return self._mapped(
            lambda part: part.to(device, non_blocking=True) if isinstance(part, Tensor) else part.to(device)
        )

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory, which copies to a GPU faster."""
        return self._mapped(lambda part: part.pin_memory())

    def weights(self) -> Tensor:
        """(B, T) float32, mean 1: importance weights of a balanced choice of points.

        An occupied point has weight (occupied fraction) / (that among the chosen), a free one likewise, so that the expected
        weighted mean of any function of a point is its mean over uniform points.
        """
        chosen = self.occupancies.float().mean(1, keepdim=True)
        occupied_fractions = self.occupied_fractions[:, None]
        # The clamped denominators belong to weights that no point has.
        occupied, free = (
            occupied_fractions / chosen.clamp(min=1e-9),
            (1 - occupied_fractions) / (1 - chosen).clamp(min=1e-9),
        )
        return torch.where(self.occupancies, occupied, free)

    def _mapped(self, change: Callable[[Any], Any]) -> Batch:
        """The batch with all parts that there are changed."""
        parts = (getattr(self, each.name) for each in fields(self))
        changed: list[Any] = [part if part is None else change(part) for part in parts]
        return Batch(*changed)


def collate(items: list[Item]) -> Batch:
    """Stack items; images are resized to the largest, points cut to the smallest number."""
    count = min(len(item.points) for item in items)
    edge = tuple(max(item.image.shape[axis] for item in items) for axis in (0, 1))
    images = [
        item.image if item.image.shape[:2] == edge else resize_image(item.image, edge) for item in items
    ]
    return Batch(
        torch.tensor([item.shape for item in items]),
        torch.from_numpy(np.stack(images)),
        torch.from_numpy(np.stack([item.points[:count] for item in items])),
        torch.from_numpy(np.stack([item.occupancies[:count] for item in items])),
        torch.tensor([item.occupied_fraction for item in items]),
        torch.from_numpy(np.stack([item.rotation for item in items])),
        stacked([item.window for item in items], 4),
        torch.from_numpy(np.stack([item.near for item in items])),
        torch.from_numpy(np.stack([item.near_occupancies for item in items])),
        powers([item.gamma for item in items]),
        stacked([item.camera for item in items], 3, 4),
        Silhouettes.stack([item.silhouettes for item in items]),
        collate(others) if (others := [item.other for item in items if item.other is not None]) else None,
    )


def stacked(arrays: list[NDArray[np.float32] | None], *shape: int) -> Tensor:
    """`Batch.windows` and `Batch.cameras` of those of items, (0, …) of that shape if there are none."""
    there = [array for array in arrays if array is not None]
    return torch.from_numpy(np.stack(there)) if there else torch.zeros(0, *shape)


def powers(gammas: list[float | None]) -> Tensor:
    """`Batch.gammas` of those of items."""
    return torch.tensor([gamma for gamma in gammas if gamma is not None], dtype=torch.float32)


def resize_image(image: NDArray[np.uint8], edge: tuple[int, ...]) -> NDArray[np.uint8]:
    """An image resized to (height, width)."""
    height, width = edge
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
