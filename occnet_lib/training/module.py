"""The Lightning module: loss, optimiser and weight averaging."""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import deepcopy
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from occnet_lib.config import ModelConfig, TrainConfig
from occnet_lib.errors import OccnetError
from occnet_lib.networks.images import encoder_input
from occnet_lib.networks.occupancy_network import OccupancyNetwork
from occnet_lib.networks.pose import pose_loss
from occnet_lib.networks.rays import divergence

from .batch import Batch
from .lightning_imports import LightningModule
from .silhouettes import Silhouettes, ray_scores, silhouette_loss, training_points

# Reading a loss synchronises with the GPU, so losses are checked in groups of this many steps.
_CHECK_EVERY = 16


class Adam(torch.optim.Adam):
    """PyTorch's Adam without the copies of channels_last gradients that its fused step makes on a CPU.

    The fused step is elementwise, so it may process tensors in memory order, which needs no copy. With ResNet-18 an update
    takes 8.0 CPU ms instead of 20.4, with EfficientNet-B0 6.3 instead of 5.4; the results are equal.
    """

    @override
    def _init_group(self, group: dict[str, Any], *lists: list[torch.Tensor]) -> bool:
        has_complex: bool = super()._init_group(group, *lists)
        *values, _ = lists  # parameters, gradients, moments; the last one holds step counts
        for tensors in values:
            tensors[:] = [_in_memory_order(tensor) for tensor in tensors]
        return has_complex


def _in_memory_order(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.permute(0, 2, 3, 1) if tensor.is_cpu and tensor.dim() == 4 else tensor


class OccupancyModule(LightningModule):
    """Binary cross-entropy of occupancies (Mescheder et al. 2019, equation 3) and Adam.

    The loss is the mean over points and images. ONet takes the sum over points; Adam's update does not
    depend on the scale of the loss but for its ε, which is divided by the number of points to make the
    updates the same.

    Args:
        model: the network.
        train: section `train`.
        names: of all training shapes, for the error message of a loss that is not finite.
        graphs: where `train.hardware.compile` is true, launch compiled code as CUDA graphs.
    """

    def __init__(
        self, model: ModelConfig, train: TrainConfig, names: list[str], graphs: bool = False
    ) -> None:
        super().__init__()
        self.network = OccupancyNetwork(model)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in stubs
        self.average = deepcopy(self.network).requires_grad_(False) if train.optimizer.ema else None
        self.sums = torch.zeros(4, dtype=torch.float64)  # of loss, accuracy, IoU and 1 since the last record
        self._train, self._names, self._graphs = train, names, graphs
        self._unchecked: list[tuple[Tensor, Tensor]] = []

    @override
    def setup(self, stage: str) -> None:
        """Compile in the training process: compiled code cannot be sent to another one."""
        if self._train.hardware.compile is True:
            # In place, which keeps the weights' names. Only the module's call is compiled, which only training uses.
            self.network.compile(mode="reduce-overhead" if self._graphs else "default")

    @override
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The mean loss of a batch."""
        points, silhouettes = [batch.points.float(), batch.near.float()], batch.silhouettes
        if silhouettes is not None:
            points.append(training_points(silhouettes, self._train.rays.samples))
        counts, joined = [part.shape[1] for part in points], torch.cat(points, dim=1)
        logits, pose = self._logits(batch, joined)
        labelled, near, *on_rays = logits.split(counts, dim=1)
        by_rays = None
        if silhouettes is not None:
            by_rays = self.network.model.silhouettes * silhouette_loss(on_rays[0], silhouettes)
        if self.network.model.labels == "none" and silhouettes is not None and by_rays is not None:
            loss, row = by_rays, self._recorded_rays(by_rays, on_rays[0], silhouettes)
        else:
            loss, row = self._occupancies(labelled, near, batch)
            # Not part of the recorded loss, which is that of occupancy in validation, too.
            loss = loss if by_rays is None else loss + by_rays
        self.sums = self.sums.to(row.device) + row
        if batch.other is not None:
            other, _ = self._logits(batch.other, joined)
            loss = loss + self.network.model.consistency * divergence(logits, other).mean()
        if pose is not None:
            loss = loss + pose
        self._unchecked.append((loss.detach(), batch.shapes))
        if row.device.type == "cpu" or len(self._unchecked) >= _CHECK_EVERY:
            self.check_losses()
        return loss

    def _logits(self, batch: Batch, points: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits (B, T) of points (B, T, 3) under a batch's images, and the loss of predicted cameras."""
        images = encoder_input(batch.images, self._train.data.image_size, batch.windows)
        if len(batch.gammas):
            images = images ** batch.gammas[:, None, None, None]
        cameras = projections = batch.projections
        pose = None if self.network.pose is None else self.network.pose(images)
        if pose is not None and self._uses_own_cameras:
            cameras = pose.projections(batch.window_matrices).detach()
        logits = self.network(images, points, batch.rotations, cameras).float()
        return logits, None if pose is None or projections is None else pose_loss(pose, projections)

    def _occupancies(self, logits: Tensor, near: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss of 3D labels, and what is recorded (`sums`)."""
        data = self._train.data
        weights = batch.weights() if data.balance else None
        loss = functional.binary_cross_entropy_with_logits(logits, batch.occupancies.float(), weights)
        if near.shape[1]:
            near_loss = functional.binary_cross_entropy_with_logits(near, batch.near_occupancies.float())
            loss = loss + data.near_weight * near_loss
        with torch.no_grad():
            predicted = logits > 0
            correct = (predicted == batch.occupancies).float()
            accuracy = (correct if weights is None else correct * weights).mean()
            overlap = iou(predicted, batch.occupancies, weights).mean()
            row = torch.stack([loss.detach(), accuracy, overlap, torch.ones_like(loss)])
        return loss, row

    @staticmethod
    def _recorded_rays(loss: Tensor, logits: Tensor, silhouettes: Silhouettes) -> Tensor:
        """What is recorded (`sums`) where rays are all there is: they take the place of points."""
        with torch.no_grad():
            scores = ray_scores(logits, silhouettes)
            return torch.stack([loss.detach(), *scores, torch.ones_like(loss)])

    @property
    def _uses_own_cameras(self) -> bool:
        """Whether pixel-aligned features are sampled by predicted cameras in this step (`own_cameras`)."""
        return self.network.model.own_cameras and self.global_step >= self._train.steps // 3

    def check_losses(self) -> None:
        """Check that all losses since the last call are finite.

        Raises:
            OccnetError: a loss is not finite; names the shapes of the first such batch.
        """
        unchecked, self._unchecked = self._unchecked, []
        losses = torch.stack([loss for loss, _ in unchecked]).tolist() if unchecked else []  # one transfer
        for loss, (_, shapes) in zip(losses, unchecked, strict=True):
            if not math.isfinite(loss):
                names = ", ".join(self._names[i] for i in shapes.tolist())
                raise OccnetError(
                    f"the loss became {loss} in a batch of {names}",
                    hint="check these shapes, lower train.optimizer.learning_rate or set train.optimizer.gradient_clip",
                )

    @property
    def result(self) -> OccupancyNetwork:
        """The network that is validated and saved: the averaged one if weights are averaged."""
        return self.network if self.average is None else self.average

    def update_average(self, step: int) -> None:
        """Move the average towards the weights after a step (counted from 1).

        avg ← d · avg + (1 − d) · weights (Polyak & Juditsky 1992, with exponential weights), where d rises
        to `train.optimizer.ema` so that the first weights, which are random, do not stay in it. The running mean and
        variance of batch norms are averaged alike; the counts of batches are copied.
        """
        if self.average is None:
            return
        decay = min(self._train.optimizer.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            # Not `state_dict`, which takes as long as the rest. Buffers outside of it are constants.
            pairs = list(zip(_tensors(self.average), _tensors(self.network), strict=True))
            floats = [(old, new) for old, new in pairs if old.is_floating_point()]
            torch._foreach_lerp_([old for old, _ in floats], [new for _, new in floats], 1 - decay)
            for old, new in pairs:
                if not old.is_floating_point():
                    old.copy_(new)

    def means(self) -> tuple[float, float, float]:
        """Loss, accuracy and IoU (at probability one half), means over the steps since the last call."""
        loss, accuracy, overlap, steps = self.sums.tolist()
        self.sums = torch.zeros_like(self.sums)
        return loss / steps, accuracy / steps, overlap / steps

    @override
    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip the gradient (Lightning's own clipping refuses fused optimisers)."""
        if limit := self._train.optimizer.gradient_clip:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), limit)

    @override
    def configure_optimizers(self) -> Any:
        """Adam with the rate of `learning_rate_factor` at every step."""
        train = self._train
        optimizer = Adam(
            self.network.parameters(),
            lr=train.optimizer.learning_rate,
            eps=1e-8 / train.data.points,
            fused=True,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(train, step)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _tensors(network: torch.nn.Module) -> Iterator[Tensor]:
    """Parameters and buffers."""
    return chain(network.parameters(), network.buffers())


def learning_rate_factor(train: TrainConfig, step: int) -> float:
    """Factor of the learning rate at a step, counted from 0.

    Linear warm-up, then constant or half a cosine down to 0 (Loshchilov & Hutter 2017, equation 5).
    """
    warmup = train.optimizer.warmup
    warm = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if train.optimizer.schedule == "constant":
        return warm
    progress = max(0, step - warmup) / max(1, train.steps - warmup)
    return warm * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


def iou(a: Tensor, b: Tensor, weights: Tensor | None = None) -> Tensor:
    """Intersection over union (…,) of booleans (…, T), weighted by (…, T) or not; 1 where both are empty."""
    both, either = a & b, a | b
    if weights is None:
        intersection, union = both.sum(-1), either.sum(-1)
    else:
        intersection, union = (both * weights).sum(-1), (either * weights).sum(-1)
    return torch.where(union > 0, intersection / union.where(union > 0, 1), 1.0)
