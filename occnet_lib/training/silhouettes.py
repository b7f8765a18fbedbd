"""Rays of silhouettes: which pixels of which views an item has, for training without or beside 3D labels."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from occnet_lib import seeds
from occnet_lib.config import RaysConfig
from occnet_lib.networks.rays import along, free_loss, hit_loss, rays_of, within_cube
from occnet_lib.networks.silhouette_labels import Pixels, choose_pixels, labels_of

from .mirroring import mirrored as mirrored_camera

if TYPE_CHECKING:
    from .shape_set import ShapeSet

logger = logging.getLogger(__name__)

FREE_EDGE = 1.1
"""Edge of the cube in which rays of the background are free: that of MISE's grid. The shape is within the unit cube."""
_POOL = 512  # pixels of each label kept of a view
_CHECKED_VIEWS, _CHECKED_SAMPLES = 4, 32  # of a shape in validation, along a ray


@dataclass(frozen=True)
class Silhouettes:
    """Pixels of several views of shapes, as arrays or, stacked along a first axis, as tensors.

    Attributes:
        cameras: (…, V, 3, 4) float32, of the unit frame into fractions of the images.
        hits: (…, V, H, 2) float32, places of pixels of the object; NaN where a view has none.
        free: (…, V, F, 2) float32, places of pixels of the background; NaN where a view has none.
        fractions: (…, V) float32, the object's fraction of all labelled pixels (`Pixels.fraction`).
    """

    cameras: Tensor
    hits: Tensor
    free: Tensor
    fractions: Tensor

    def to(self, device: torch.device | str) -> Silhouettes:
        """The same on a device."""
        return Silhouettes(*(tensor.to(device, non_blocking=True) for tensor in self._tensors()))

    def pin_memory(self) -> Silhouettes:
        """The same in page-locked memory."""
        return Silhouettes(*(tensor.pin_memory() for tensor in self._tensors()))

    @staticmethod
    def stack(items: list[Silhouettes | None]) -> Silhouettes | None:
        """Those of items, stacked; None where items have none."""
        there = [item._tensors() for item in items if item is not None]
        return Silhouettes(*(torch.stack(parts) for parts in zip(*there, strict=True))) if there else None

    def _tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.cameras, self.hits, self.free, self.fractions


class SilhouettePool:
    """The labelled pixels of the views of a set of shapes; a fixed random choice of each view's is kept.

    Args:
        shapes: the set.
        rays: section `train.rays`.
        seed: of the training.
    """

    def __init__(self, shapes: ShapeSet, rays: RaysConfig, seed: int) -> None:
        self._shapes, self._rays, self._seed = shapes, rays, seed
        self._pixels: dict[tuple[int, int], Pixels] = {}

    def training(self, epoch: int, shape: int, mirrored: bool) -> Silhouettes:
        """Random pixels of random views of a shape, which depend on the seed, the epoch and the shape."""
        rays = self._rays
        rng = seeds.rng(self._seed, "train silhouettes", f"{epoch}/{shape}")
        chosen = rng.permutation(self._shapes.views(shape))[: rays.views]
        counts = rays.per_view, rays.per_view * rays.samples
        parts = []
        for view in np.resize(chosen, rays.views).tolist():
            pixels = self.pixels(shape, view)
            picked = [_picked(places, n, rng) for places, n in zip(pixels[:2], counts, strict=True)]
            parts.append((self._shapes.camera(shape, view), *picked, pixels.fraction))
        return _assembled(parts, mirrored)

    def validation(self, shape: int, points: int) -> Silhouettes:
        """The first pixels of views other than view 0, about as many as have that number of samples in all."""
        views = self._shapes.views(shape)
        count = min(_CHECKED_VIEWS, max(1, views - 1))
        each = max(1, min(_POOL, points // (2 * count * _CHECKED_SAMPLES)))
        parts = []
        for view in (1 + np.arange(count) * max(1, views - 1) // count) % views:
            pixels = self.pixels(shape, int(view))
            picked = [_filled(places[:each], each) for places in pixels[:2]]
            parts.append((self._shapes.camera(shape, int(view)), *picked, pixels.fraction))
        return _assembled(parts, mirrored=False)

    def pixels(self, shape: int, view: int) -> Pixels:
        """Labelled pixels of a view; of one without object pixels none, with a warning."""
        if (known := self._pixels.get((shape, view))) is not None:
            return known
        labels = labels_of(self._shapes.coverage(shape, view))
        rng = seeds.rng(self._seed, "silhouette", f"{shape}/{view}")
        pixels = choose_pixels(labels, self._shapes.camera(shape, view), FREE_EDGE, _POOL, rng)
        if len(pixels.hits) == 0:
            name = self._shapes.names[shape]
            logger.warning("view %d of %s shows no object: its silhouette is not used", view, name)
        if self._shapes.cached:
            self._pixels[shape, view] = pixels
        return pixels


def training_points(silhouettes: Silhouettes, samples: int) -> Tensor:
    """Random points (B, T, 3), unit frame, on the rays of a batch: T = V (H samples + F).

    Along each ray of the object `samples`, and a single one on each ray of the background: its loss is a mean over the ray,
    which single points of many rays estimate with less variance than many points of one ray.
    """
    hits = _points(silhouettes.cameras, silhouettes.hits, 1.0, samples, jitter=True)
    free = _points(silhouettes.cameras, silhouettes.free, FREE_EDGE, 1, jitter=True)
    return torch.cat([hits.flatten(1, -2), free.flatten(1, -2)], dim=1)


def silhouette_loss(logits: Tensor, silhouettes: Silhouettes) -> Tensor:
    """Mean loss of a batch's rays of the object plus that of its rays of the background.

    Args:
        logits: (B, T) of the points of `training_points`.
        silhouettes: of the batch.
    """
    free = silhouettes.free[..., 0].flatten(1)
    hits = silhouettes.hits[..., 0].flatten(1)
    of_hits, of_free = logits.split([logits.shape[1] - free.shape[1], free.shape[1]], dim=1)
    return _mean(hit_loss(of_hits.unflatten(1, (hits.shape[1], -1))), hits) + _mean(free_loss(of_free), free)


def ray_scores(logits: Tensor, silhouettes: Silhouettes) -> tuple[Tensor, Tensor]:
    """Accuracy and IoU at probability one half of a batch's rays, single points on rays of the background among them."""
    free = silhouettes.free[..., 0].flatten(1)
    hits = silhouettes.hits[..., 0].flatten(1)
    of_hits, of_free = logits.split([logits.shape[1] - free.shape[1], free.shape[1]], dim=1)
    reached = _mean((of_hits.unflatten(1, (hits.shape[1], -1)).amax(-1) > 0).float(), hits)
    wrong = _mean((of_free > 0).float(), free)
    return (reached + 1 - wrong) / 2, reached / (1 + wrong)


def checked_points(silhouettes: Silhouettes) -> Tensor:
    """Points (B, V, 2 H, M, 3), unit frame, at even distances on all rays: first of the object, then of the background."""
    sides = [
        _points(silhouettes.cameras, places, FREE_EDGE, _CHECKED_SAMPLES, jitter=False)
        for places in (silhouettes.hits, silhouettes.free)
    ]
    return torch.cat(sides, dim=2)


def mask_ious(largest: Tensor, silhouettes: Silhouettes, thresholds: Tensor) -> Tensor:
    """(B, K) IoU of predicted and true silhouettes at K thresholds, mean over the views that show the shape.

    A ray hits the predicted shape if one of its samples reaches the threshold. Rays of both labels are weighted to their
    fractions in the image.

    Args:
        largest: (B, V, 2 H) largest logit along each ray of `checked_points`.
        silhouettes: of the batch; a shape that no view shows has the IoU 0.
        thresholds: (K,) logits.
    """
    reached = (largest.unsqueeze(-1) >= thresholds).float()
    count = silhouettes.hits.shape[2]
    rates = []
    for part, places in zip(reached.split(count, dim=2), (silhouettes.hits, silhouettes.free), strict=True):
        valid = ~places[..., 0].isnan().unsqueeze(-1)
        rates.append((part * valid).sum(2) / valid.sum(2).clamp(min=1))
    fraction = silhouettes.fractions.unsqueeze(-1)
    ious = fraction * rates[0] / (fraction + (1 - fraction) * rates[1]).clamp(min=1e-9)
    shown = (silhouettes.fractions > 0).float().unsqueeze(-1)
    return (ious * shown).sum(1) / shown.sum(1).clamp(min=1)


def checked_losses(logits: Tensor, silhouettes: Silhouettes) -> Tensor:
    """(B,) mean loss of a shape's rays of the object plus that of its rays of the background.

    Args:
        logits: (B, V, 2 H, M) of `checked_points`.
        silhouettes: of the batch.
    """
    of_hits, of_free = logits.split(silhouettes.hits.shape[2], dim=2)
    rows = zip(of_hits, of_free, silhouettes.hits[..., 0], silhouettes.free[..., 0], strict=True)
    return torch.stack([_mean(hit_loss(h), p) + _mean(free_loss(f).mean(-1), q) for h, f, p, q in rows])


def _points(cameras: Tensor, places: Tensor, edge: float, samples: int, *, jitter: bool) -> Tensor:
    """Points (…, R, samples, 3) on rays through places (…, R, 2); those of no ray are at the cube's centre."""
    rays = rays_of(cameras, places)
    ends = within_cube(*rays, edge)
    offsets = torch.rand(*ends[0].shape, samples, device=places.device) if jitter else 0.5
    return along(*rays, ends, samples, offsets)


def _mean(values: Tensor, places: Tensor) -> Tensor:
    """Mean of the values of rays; of those that are not a number there is no place."""
    valid = ~places.isnan()
    return (values * valid).sum() / valid.sum().clamp(min=1)


def _picked(places: NDArray[np.float32], count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A random choice, with repetition, of `count` places; NaN if there are none."""
    drawn = rng.random(count)
    if len(places) == 0:
        return np.full((count, 2), np.nan, np.float32)
    return places[(drawn * len(places)).astype(np.intp)]


def _filled(places: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Places (count, 2), with NaN after the last one."""
    return np.concatenate([places, np.full((count - len(places), 2), np.nan, np.float32)])


def _assembled(parts: list[tuple[Any, ...]], mirrored: bool) -> Silhouettes:
    cameras, hits, free, fractions = (np.stack(part).astype(np.float32) for part in zip(*parts, strict=True))
    if mirrored:
        cameras = np.stack([mirrored_camera(camera) for camera in cameras])
        hits, free = (np.stack([1 - side[..., 0], side[..., 1]], -1) for side in (hits, free))
    return Silhouettes(*(torch.from_numpy(part) for part in (cameras, hits, free, fractions)))
