"""Rays of images through the cube of the unit frame, and losses of silhouettes along them.

A silhouette says two things (Tulsiani et al. 2017, section 3; Niemeyer et al. 2020, section 3.3): a ray through the
background is free everywhere, and one through the object is occupied somewhere. Losses are functions of logits and stable
for any finite ones.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .projection import product

_LEAST = 1e-9  # of a direction's components, whose inverse is needed
_FAR_BELOW = -15.0  # logits below it have log softplus(x) = x - exp(x) / 2 to float32


def rays_of(projections: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Origins (…, 1, 3) and directions (…, R, 3), unit frame, of rays through places of images.

    Args:
        projections: (…, 3, 4) of the unit frame into images, without skew (`networks.projection`).
        places: (…, R, 2) image coordinates in the units of `projections`.

    Returns:
        the cameras' centres, and directions whose length is that of a unit of depth.
    """
    inverse = torch.linalg.inv(projections[..., :3].float())
    origins = -product(inverse, projections[..., 3:].float()).transpose(-1, -2)
    homogeneous = torch.cat([places, torch.ones_like(places[..., :1])], dim=-1)
    return origins, product(homogeneous, inverse.transpose(-1, -2))


def within_cube(origins: Tensor, directions: Tensor, edge: float) -> tuple[Tensor, Tensor]:
    """Where rays enter and leave the cube of that edge about the origin, in units of their directions.

    A ray begins at its origin, which may be inside. One that misses the cube, or is not a number, leaves where it enters.

    Args:
        origins: (…, R or 1, 3).
        directions: (…, R, 3).
        edge: length of the cube's edge.

    Returns:
        (…, R) each, 0 <= entry <= exit.
    """
    slow = directions.abs() < _LEAST
    speed = torch.where(slow, torch.full_like(directions, _LEAST), directions)
    sides = torch.stack([(-edge / 2 - origins) / speed, (edge / 2 - origins) / speed])
    entry = sides.amin(0).amax(-1).clamp(min=0.0)
    leave = sides.amax(0).amin(-1)
    hits = leave > entry  # false for what is not a number
    entry = torch.where(hits, entry, 0.0)
    return entry, torch.where(hits, leave, entry)


def along(
    origins: Tensor, directions: Tensor, ends: tuple[Tensor, Tensor], samples: int, offsets: Tensor | float
) -> Tensor:
    """Points (…, R, samples, 3) on rays, one in each of as many equal parts between their ends.

    Args:
        origins, directions: of `rays_of`.
        ends: of `within_cube`; where they coincide the points are at the cube's centre.
        samples: points per ray.
        offsets: (…, R, samples) or a number, place within the part: 0.5 is its middle.
    """
    entry, leave = (end.unsqueeze(-1) for end in ends)
    steps = torch.arange(samples, device=directions.device) + offsets
    depths = entry + (leave - entry) * steps / samples
    points = origins.unsqueeze(-2) + depths.unsqueeze(-1) * directions.unsqueeze(-2)
    return torch.where((leave > entry).unsqueeze(-1), points, 0.0)


def hit_loss(logits: Tensor) -> Tensor:
    """-log(1 - Π (1 - p)), (…), of logits (…, M) along rays that hit: somewhere one of the samples is occupied.

    With s = Σ softplus(x), the loss is -log(1 - exp(-s)); s itself is kept as its logarithm where it is small, so that the
    gradient of a ray that is far from occupied everywhere is -1, distributed over its samples by their odds.
    """
    x = logits.float()
    near = x.clamp(min=_FAR_BELOW)
    tiny = x.clamp(max=_FAR_BELOW)
    log_softplus = torch.where(
        x < _FAR_BELOW, tiny - 0.5 * tiny.exp(), functional.softplus(near).clamp(min=1e-30).log()
    )
    log_sum = log_softplus.logsumexp(-1)
    few = log_sum.clamp(max=-4.6)
    many = log_sum.clamp(min=-4.7).exp()
    return torch.where(log_sum < -4.65, few.exp() / 2 - few, -torch.log(-torch.expm1(-many)))


def free_loss(logits: Tensor) -> Tensor:
    """-log(1 - p), (…), of logits (…): the binary cross-entropy of a point that is free."""
    return functional.softplus(logits.float())


def divergence(one: Tensor, two: Tensor) -> Tensor:
    """Symmetric divergence (…) of occupancies with logits x and y (…): KL(p‖q) + KL(q‖p) = (p - q) (x - y)."""
    one, two = one.float(), two.float()
    return (one.sigmoid() - two.sigmoid()) * (one - two)
