"""Training data kept on the training device: a batch costs a gather instead of loading and copying."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .batch import Batch, powers, stacked
from .dataset import TrainingItems
from .mirroring import MIRROR, mirrored
from .shape_set import ShapeSet

# Fraction of the free GPU memory for data; the rest is for weights and activations.
_MEMORY_FRACTION = 0.5


class DeviceSet:
    """Images, cameras, points and occupancies of all shapes as tensors on a device.

    Args:
        items: training items; shapes have equal numbers of points and views, and images one size.
        device: cpu or cuda.
    """

    def __init__(self, items: TrainingItems, device: str | torch.device) -> None:
        shapes, self._items, self._device = items.shapes, items, torch.device(device)
        views, count = range(shapes.views(0)), shapes.points_of(0)
        size = (len(shapes), len(views), *shapes.image(0, 0).shape)
        self._images = torch.zeros(size, dtype=torch.uint8, device=device)
        self._points = torch.zeros(len(shapes), count, 3, dtype=torch.float16, device=device)
        self._occupancies = torch.zeros(len(shapes), count, dtype=torch.bool, device=device)
        near = shapes.near_of(0) if items.near_count else 0
        self._near = torch.zeros(len(shapes), near, 3, dtype=torch.float16, device=device)
        self._near_occupancies = torch.zeros(len(shapes), near, dtype=torch.bool, device=device)
        self._frames: list[list[list[NDArray[np.float32] | None]]] = []  # by shape, mirroring and view
        rotations = np.zeros((len(shapes), len(views), 3, 3), np.float32)
        for shape in range(len(shapes)):
            images = [shapes.image(shape, view) for view in views]
            points, occupancies = shapes.points(shape, 0, count)
            sides = [images, [image[:, ::-1] for image in images] if items.mirrors else []]
            self._frames.append([[items.frame(image) for image in side] for side in sides])
            self._images[shape] = torch.from_numpy(np.stack(images)).to(device)
            self._points[shape] = torch.from_numpy(points).to(device)
            self._occupancies[shape] = torch.from_numpy(occupancies).to(device)
            if near:
                points, occupancies = shapes.near(shape, 0, near)
                self._near[shape] = torch.from_numpy(points).to(device)
                self._near_occupancies[shape] = torch.from_numpy(occupancies).to(device)
            rotations[shape] = [shapes.rotation(shape, view) for view in views]
        self._rotations = torch.from_numpy(rotations).to(device)
        self._mirror = torch.from_numpy(MIRROR).to(device)
        self._cameras = torch.zeros(len(shapes), len(views), 0, 3, 4, device=device)
        if items.cameras:
            cameras = [[shapes.camera(shape, view) for view in views] for shape in range(len(shapes))]
            both = np.array([[(camera, mirrored(camera)) for camera in of_shape] for of_shape in cameras])
            self._cameras = torch.from_numpy(both).to(device)

    @staticmethod
    def fits(shapes: ShapeSet, device: str) -> bool:
        """Whether data fit on a device: shapes have equal numbers and sizes, and enough memory is free."""
        numbers = {(shapes.views(i), shapes.points_of(i), shapes.near_of(i)) for i in range(len(shapes))}
        if len(numbers) > 1:
            return False
        if device != "cpu" and shapes.nbytes() >= _MEMORY_FRACTION * torch.cuda.mem_get_info()[0]:
            return False
        return len(shapes.image_sizes()) == 1  # last because it reads every image

    def batch(self, pairs: Sequence[tuple[int, int]]) -> Batch:
        """The items of (epoch, shape) pairs, without synchronising with the device."""
        draws = [self._items.draw(epoch, shape) for epoch, shape in pairs]
        index = np.array(
            [(shape, draw.view, draw.start, draw.near) for (_, shape), draw in zip(pairs, draws, strict=True)]
        )
        shapes, views, starts, near_starts = self._moved(torch.from_numpy(index)).unbind(1)
        frames = [
            self._frames[shape][draw.mirrored][draw.view]
            for (_, shape), draw in zip(pairs, draws, strict=True)
        ]
        windows = self._moved(
            stacked([self._items.window_of(*pair) for pair in zip(draws, frames, strict=True)], 4)
        )
        window = self._items.window(pairs[0][1])
        places = (starts[:, None] + torch.arange(window, device=self._device)) % self._points.shape[1]
        occupancies = self._occupancies[shapes[:, None], places]
        occupied_fractions = occupancies.float().mean(1)
        if window > self._items.count:
            chosen = balanced_choice_batch(occupancies, self._items.count)
            places, occupancies = places.gather(1, chosen), occupancies.gather(1, chosen)
        points = self._points[shapes[:, None], places]
        images, rotations = self._images[shapes, views], self._rotations[shapes, views]
        near_places = near_starts[:, None] + torch.arange(self._items.near_count, device=self._device)
        near_places = near_places % max(1, self._near.shape[1])
        near = self._near[shapes[:, None], near_places]
        if self._items.mirrors:
            mirrored = self._moved(torch.tensor([draw.mirrored for draw in draws]))
            images = torch.where(mirrored[:, None, None, None], images.flip(2), images)
            factors = torch.where(mirrored[:, None], self._mirror, torch.ones_like(self._mirror))
            points, near = points * factors[:, None], near * factors[:, None]
            rotations = rotations * (factors[:, :, None] * factors[:, None, :]).float()
        near_occupancies = self._near_occupancies[shapes[:, None], near_places]
        gammas = self._moved(powers([draw.gamma for draw in draws]))
        cameras = torch.zeros(0, 3, 4, device=self._device)
        if self._items.cameras:
            sides = self._moved(torch.tensor([int(draw.mirrored) for draw in draws]))
            cameras = self._cameras[shapes, views, sides]
        return Batch(
            shapes,
            images,
            points,
            occupancies,
            occupied_fractions,
            rotations,
            windows,
            near,
            near_occupancies,
            gammas,
            cameras,
        )

    def _moved(self, values: Tensor) -> Tensor:
        if self._device.type == "cuda":
            values = values.pin_memory()
        return values.to(self._device, non_blocking=True)


def balanced_choice_batch(occupancies: Tensor, count: int) -> Tensor:
    """`dataset.balanced_choice` for every row: (B, T) bool to (B, count) indices, on the rows' device.

    Every point's position in the result follows from the number of points of its class before it.
    """
    rows, points = occupancies.shape
    before, free_before = occupancies.cumsum(1), (~occupancies).cumsum(1)
    occupied = before[:, -1:]
    taken = torch.minimum(occupied, (count - points + occupied).clamp(min=count // 2))
    place = torch.where(occupancies, before - 1, taken + free_before - 1)
    kept = torch.where(occupancies, before <= taken, free_before <= count - taken)
    # Points that are not chosen are written to an extra column.
    result = torch.empty(rows, count + 1, dtype=torch.int64, device=occupancies.device)
    index = torch.arange(points, device=occupancies.device).expand(rows, points)
    return result.scatter_(1, place.where(kept, count), index)[:, :count]
