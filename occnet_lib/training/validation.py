"""Scores of a network on the validation split."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from occnet_lib.networks.images import encoder_input
from occnet_lib.networks.occupancy_network import OccupancyNetwork

from .batch import Batch
from .module import iou
from .silhouettes import checked_losses, checked_points, mask_ious

# Candidate thresholds of the occupancy probability.
THRESHOLDS = tuple(i / 20 for i in range(1, 20))
_CHUNK = 100_000  # points per call of the decoder


class Scores(NamedTuple):
    """Means over shapes.

    Attributes:
        loss: binary cross-entropy per point.
        accuracy: fraction of points classified correctly at probability 0.5.
        iou: at `threshold`; 1 where both are empty.
        threshold: the one of `THRESHOLDS` with the highest mean IoU on these shapes.
    """

    loss: float
    accuracy: float
    iou: float
    threshold: float


def validate(
    network: OccupancyNetwork, batches: Iterable[Batch], image_size: int, *, bf16: bool = False
) -> Scores:
    """Scores of a network, whose mode is restored.

    Args:
        network: on the device to use.
        batches: at least one.
        image_size: edge of the encoder's input in pixels.
        bf16: autocast to bfloat16, as in training.
    """
    rows = torch.cat([_scored(network, batch, image_size, bf16) for batch in batches])
    means = rows.double().mean(0).tolist()
    best = max(range(len(THRESHOLDS)), key=lambda i: means[2 + i])
    return Scores(means[0], means[1], means[2 + best], THRESHOLDS[best])


def _scored(network: OccupancyNetwork, batch: Batch, image_size: int, bf16: bool) -> Tensor:
    """`_rows` of a batch; of one with silhouettes they are about its rays, and the IoU is that of silhouettes."""
    silhouettes = batch.silhouettes
    if silhouettes is None:
        return _rows(logits_of(network, batch, image_size, bf16=bf16), batch)
    places = checked_points(silhouettes)
    batch = replace(batch, points=places.flatten(1, -2))
    logits = logits_of(network, batch, image_size, bf16=bf16).view(places.shape[:-1])
    device = logits.device
    silhouettes = silhouettes.to(device)
    levels = torch.tensor((0.5, *THRESHOLDS), device=device).logit()
    loss = checked_losses(logits, silhouettes)
    return torch.cat([loss[:, None], mask_ious(logits.amax(-1), silhouettes, levels)], dim=1)


def logits_of(network: OccupancyNetwork, batch: Batch, image_size: int, *, bf16: bool = False) -> Tensor:
    """Logits (B, T) float32 in evaluation mode, on the network's device; arguments as for `validate`."""
    device = next(network.parameters()).device
    batch = batch.to(device)
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            images = encoder_input(batch.images, image_size, batch.windows)
            code, *maps = network.features(images)
            cameras, rows = batch.projections, []
            if cameras is not None and network.pose is not None:
                cameras = network.pose(images).projections(batch.window_matrices)  # as for photos
            given = (code, batch.rotations) if cameras is None else (code, batch.rotations, cameras, *maps)
            for i, points in enumerate(batch.points):
                item = [tensor[i : i + 1] for tensor in given]
                parts = [network.decode(part[None].float(), *item)[0] for part in points.split(_CHUNK)]
                rows.append(torch.cat(parts).float())
    finally:
        network.train(was_training)
    return torch.stack(rows)


def _rows(logits: Tensor, batch: Batch) -> Tensor:
    """(B, 2 + thresholds): loss, accuracy and IoU at every threshold, per item."""
    thresholds = torch.tensor(THRESHOLDS, device=logits.device).logit()[:, None]
    rows = []
    for row, occupied in zip(logits, batch.occupancies.to(logits.device), strict=True):
        loss = functional.binary_cross_entropy_with_logits(row, occupied.float())
        accuracy = ((row > 0) == occupied).float().mean()
        rows.append(torch.cat([loss[None], accuracy[None], iou(row >= thresholds, occupied)]))
    return torch.stack(rows)
