"""Camera prediction: an encoder of its own whose output is a camera (as DISN, Xu et al. 2019, section 3.1).

The azimuth is a class of 24 with a residual, because a regression averages over the poses that a symmetric shape could have
(Su et al. 2015, Render for CNN). All other quantities are regressed. They are those of a virtual camera that looks at the
centre of what the encoder sees: where the object was in the whole image cannot be seen in its window, but is known, so that
the camera of the whole image follows.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from occnet_lib.config import ModelConfig

from .encoders import Encoder
from .projection import intrinsics_of, principal_points, product, rotations_of

BINS = 24
_CODE = 256
_NUMBERS = 6
_STARTS = (0.35, 0.0, 0.0, 0.0, 0.5, 1.0)
_SPREADS = (0.2, 0.05, 0.1, 0.1, 0.1, 0.3)
"""Typical values and deviations of elevation, roll, the centre's x and y, logarithms of scale and distance."""


class Pose(NamedTuple):
    """A virtual camera that looks at the centre of the encoder's input, as tensors of equal leading shape (…).

    Attributes:
        azimuth, elevation, roll: radians, as in `geometry.cameras`; roll is the rotation about the camera's axis.
        centre: (…, 2) of the unit frame's origin in [-1, 1] of the encoder's input.
        log_scale: logarithm of the length there of a unit at the object's distance.
        log_distance: logarithm of the depth of the origin in units of the unit frame.
    """

    azimuth: Tensor
    elevation: Tensor
    roll: Tensor
    centre: Tensor
    log_scale: Tensor
    log_distance: Tensor


class PosePrediction(NamedTuple):
    """What `PoseNetwork` makes of B images.

    Attributes:
        logits: (B, 24) of the azimuth's classes.
        residuals: (B, 24) in widths of a class, from its middle.
        numbers: (B, 6) elevation, roll, centre, log_scale and log_distance.
    """

    logits: Tensor
    residuals: Tensor
    numbers: Tensor

    def likeliest(self, count: int) -> tuple[Pose, Tensor]:
        """The likeliest poses, (B, count), and their probabilities (B, count), which sum to 1.

        Only classes at least as probable as both neighbours count, together with these neighbours.
        """
        p = self.logits.float().softmax(1)
        left, right = p.roll(1, 1), p.roll(-1, 1)
        peaks = torch.where((p >= left) & (p >= right), p + left + right, 0.0)
        probabilities, bins = peaks.topk(count, dim=1)
        residual = self.residuals.float().gather(1, bins).clamp(-1.0, 1.0)
        azimuth = (bins + 0.5 + residual) * (2 * math.pi / BINS)
        numbers = self.numbers.float().unsqueeze(1).expand(-1, count, -1)
        elevation, roll, x, y, scale, distance = numbers.unbind(-1)
        pose = Pose(azimuth, elevation, roll, torch.stack([x, y], -1), scale, distance)
        return pose, probabilities / probabilities.sum(1, keepdim=True)

    def projections(self, matrices: Tensor) -> Tensor:
        """(B, 3, 4) projections of the likeliest cameras into the encoder's input.

        Args:
            matrices: (B, 3, 3) of `projection.window_matrices`.
        """
        pose, _ = self.likeliest(1)
        return projections_of(pose, principal_points(matrices).unsqueeze(1)).squeeze(1)


class PoseNetwork(nn.Module):
    """Image to camera.

    Args:
        model: `encoder`, `image` and `pretrained` are used.
        pretrained: whether to load ImageNet weights.
    """

    def __init__(self, model: ModelConfig, pretrained: bool) -> None:
        super().__init__()
        self.encoder = Encoder(model.encoder, _CODE, pretrained, model.image)
        self.hidden = nn.Linear(_CODE, _CODE)
        self.out = nn.Linear(_CODE, 2 * BINS + _NUMBERS)

    def forward(self, images: Tensor) -> PosePrediction:
        """The camera of images (B, 3, H, W), float in [0, 1]."""
        code = self.hidden(functional.relu(self.encoder(images)))
        out = self.out(functional.relu(code)).float()
        logits, residuals, numbers = out.split([BINS, BINS, _NUMBERS], dim=1)
        starts, spreads = (torch.tensor(values, device=out.device) for values in (_STARTS, _SPREADS))
        return PosePrediction(logits, residuals, starts + spreads * numbers)


def pose_loss(predicted: PosePrediction, projections: Tensor) -> Tensor:
    """Mean loss of cameras whose projections into the encoder's input are (B, 3, 4).

    Cross-entropy of the azimuth's class, and absolute errors: of the residual in the true class in widths of a class, of
    the other quantities in their typical deviations.
    """
    true = pose_of(projections)
    place = (true.azimuth / (2 * math.pi / BINS)) % BINS
    bins = place.long().clamp(max=BINS - 1)
    residual = predicted.residuals.gather(1, bins[:, None])[:, 0]
    parts = true.elevation, true.roll, *true.centre.unbind(-1), true.log_scale, true.log_distance
    spreads = torch.tensor(_SPREADS, device=place.device)
    numbers = (predicted.numbers - torch.stack(parts, dim=1)) / spreads
    of_class = functional.cross_entropy(predicted.logits, bins)
    return of_class + functional.l1_loss(residual, place - bins - 0.5) + numbers.abs().mean()


def pose_of(projections: Tensor) -> Pose:
    """The pose of projections (…, 3, 4) into the encoder's input."""
    intrinsics, rotations = intrinsics_of(projections), rotations_of(projections)
    focal, principal = intrinsics[..., :2].mean(-1), intrinsics[..., 2:]
    offset = projections[..., 3]
    offset = torch.cat(
        [(offset[..., :2] - principal * offset[..., 2:]) / intrinsics[..., :2], offset[..., 2:]], -1
    )
    turn = _to_axis(-principal / intrinsics[..., :2])
    rotations, offset = product(turn, rotations), product(turn, offset.unsqueeze(-1)).squeeze(-1)
    ahead = rotations[..., 2, :]
    right, down = _upright(ahead)
    across = rotations[..., :1, :]
    roll = torch.atan2(-(across.squeeze(-2) * down).sum(-1), (across.squeeze(-2) * right).sum(-1))
    return Pose(
        torch.atan2(-ahead[..., 2], -ahead[..., 0]),
        torch.asin((-ahead[..., 1]).clamp(-1.0, 1.0)),
        roll,
        offset[..., :2] / offset[..., 2:] * focal.unsqueeze(-1),
        (focal / offset[..., 2]).log(),
        offset[..., 2].log(),
    )


def projections_of(pose: Pose, principal: Tensor) -> Tensor:
    """Projections (…, 3, 4) into the encoder's input of poses (…).

    Args:
        pose: of virtual cameras.
        principal: (…, 2) in [-1, 1] of the encoder's input, where the axis of the whole image's camera is.
    """
    distance = pose.log_distance.exp()
    focal = (pose.log_scale + pose.log_distance).exp()
    level = pose.elevation.cos()
    ahead = -torch.stack([level * pose.azimuth.cos(), pose.elevation.sin(), level * pose.azimuth.sin()], -1)
    right, down = _upright(ahead)
    cos, sin = pose.roll.cos().unsqueeze(-1), pose.roll.sin().unsqueeze(-1)
    rotations = torch.stack([cos * right - sin * down, sin * right + cos * down, ahead], dim=-2)
    sideways = pose.centre / focal.unsqueeze(-1)
    offset = torch.cat([sideways, torch.ones_like(sideways[..., :1])], -1) * distance.unsqueeze(-1)
    back = _to_axis(-principal / focal.unsqueeze(-1)).transpose(-1, -2)
    rigid = product(back, torch.cat([rotations, offset.unsqueeze(-1)], dim=-1))
    image = focal[..., None, None] * rigid[..., :2, :] + principal.unsqueeze(-1) * rigid[..., 2:, :]
    return torch.cat([image, rigid[..., 2:, :]], dim=-2)


def _to_axis(tangents: Tensor) -> Tensor:
    """(…, 3, 3) smallest rotations of rays with tangents x / z and y / z (…, 2) onto the camera's axis."""
    ray = functional.normalize(torch.cat([tangents, torch.ones_like(tangents[..., :1])], -1), dim=-1)
    x, y, z = ray.unbind(-1)
    k = 1.0 / (1.0 + z)
    rows = (1 - x * x * k, -x * y * k, -x, -x * y * k, 1 - y * y * k, -y, x, y, z)
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def _upright(ahead: Tensor) -> tuple[Tensor, Tensor]:
    """Right and down, (…, 3), of an upright camera that looks along unit vectors (…, 3)."""
    x, _, z = ahead.unbind(-1)
    level = (x * x + z * z).clamp(min=1e-12).sqrt()
    right = torch.stack([-z / level, torch.zeros_like(x), x / level], -1)
    return right, torch.linalg.cross(ahead, right, dim=-1)
