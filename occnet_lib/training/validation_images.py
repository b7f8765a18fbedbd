"""Images of some validation shapes and their predicted occupancy for TensorBoard."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from occnet_lib.networks.occupancy_network import OccupancyNetwork

from .batch import collate, resize_image
from .dataset import ValidationItems
from .validation import logits_of

_SHAPES = 4
_EDGE = 128  # pixels of a panel
_CELLS = 32  # a panel of 100,000 points has about 100 in the column behind a cell
_HALF = 0.55  # of the edge of the cube that holds the points


class ValidationImages:
    """Images of a few validation shapes, evenly spaced over all.

    Args:
        items: at least one.
    """

    def __init__(self, items: ValidationItems) -> None:
        self._items = items
        self._chosen = np.unique(np.linspace(0, len(items) - 1, _SHAPES).round().astype(int)).tolist()

    def draw(
        self, network: OccupancyNetwork, threshold: float, image_size: int, bf16: bool = False
    ) -> NDArray[np.uint8]:
        """One row per shape: input image, ground truth and prediction from the front, then both from the side.

        Args:
            network: on the device where to compute.
            threshold: occupancy probability of the surface.
            image_size: pixels along the encoder's input.
            bf16: as in `validate`.

        Returns:
            (rows, columns, 3) uint8.
        """
        items = [self._items[shape] for shape in self._chosen]
        rows = []
        for item in items:
            logits = logits_of(network, collate([item]), image_size, bf16=bf16)[0]
            predicted = torch.sigmoid(logits).cpu().numpy() >= threshold
            panels = [
                render_occupancy(item.points[inside], axis)
                for axis in (2, 0)
                for inside in (item.occupancies, predicted)
            ]
            rows.append(np.hstack([resize_image(item.image, (_EDGE, _EDGE)), *panels]))
        return np.vstack(rows)


def render_occupancy(points: NDArray[np.floating], axis: int) -> NDArray[np.uint8]:
    """Points seen along an axis from its positive end, y up: the nearer the darker; (E, E, 3) uint8.

    Args:
        points: (N, 3), unit frame.
        axis: 2: from the front, x to the right; 0: from the side, z to the left.
    """
    across, towards = (points[:, 0], points[:, 2]) if axis == 2 else (-points[:, 2], points[:, 0])
    cells = [
        np.clip((value.astype(np.float64) / (2 * _HALF) + 0.5) * _CELLS, 0, _CELLS - 1).astype(int)
        for value in (-points[:, 1], across)
    ]
    nearest = np.full((_CELLS, _CELLS), -np.inf)
    np.maximum.at(nearest, tuple(cells), towards.astype(np.float64))
    depth = np.clip((_HALF - nearest) / (2 * _HALF), 0, 1)
    shade = np.where(np.isfinite(nearest), 40 + 160 * depth, 255).astype(np.uint8)
    return np.repeat(np.kron(shade, np.ones((_EDGE // _CELLS,) * 2, np.uint8))[..., None], 3, axis=2)
