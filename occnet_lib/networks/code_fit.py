"""Fit of an image's code to the image's own silhouette, with fixed weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .arrays import tensor_of
from .rays import along, free_loss, hit_loss, rays_of, within_cube
from .silhouette_labels import Pixels

if TYPE_CHECKING:
    from .occupancy_network import OccupancyNetwork

# In a step: rays of the object, points along them, points on rays of the background.
_HITS, _SAMPLES, _FREE = 64, 16, 512
_RATE = 0.02
"""Adam's rate as a fraction of the code's root mean square: a step changes no number by much more."""


def fit_code(
    network: OccupancyNetwork,
    features: tuple[Tensor, ...],
    pixels: Pixels,
    projection: NDArray[np.floating],
    *,
    level: float,
    steps: int,
    edge: float,
    rotation: Tensor | None = None,
    into_input: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Features whose code is changed so that the field's silhouette agrees with the image's.

    Adam on the code alone, with the loss of rays of `networks.rays`, in which a point is as likely occupied as its logit is
    above `level`. The rays of a step are random, with a fixed seed.

    Args:
        network: in evaluation mode; its weights need no gradient.
        features: of `OccupancyNetwork.features`, of one image.
        pixels: labelled ones of the image; without object pixels nothing is fitted.
        projection: (3, 4) of the unit frame into fractions of the image.
        level: logit of the surface.
        steps: of Adam.
        edge: of the cube in which rays of the background are free.
        rotation, into_input: (1, 3, 3) and (1, 3, 4), as `rotations` and `projections` of `OccupancyNetwork.decode`.

    Returns:
        the fitted code (1, c_dim), and the maps as they are.
    """
    start, *maps = features
    if len(pixels.hits) == 0 or steps == 0:
        return features
    device, generator = start.device, torch.Generator().manual_seed(0)
    camera = tensor_of(projection, dtype=torch.float32)
    code = start.detach().clone().requires_grad_()
    rate = _RATE * float(start.square().mean().sqrt().clamp(min=1e-3))
    optimizer = torch.optim.Adam([code], lr=rate)
    for _ in range(steps):
        hits = _points(camera, pixels.hits, 1.0, _HITS, _SAMPLES, generator)
        free = _points(camera, pixels.free, edge, _FREE, 1, generator)
        points = torch.cat([hits.flatten(0, 1), free.flatten(0, 1)])[None].to(device)
        logits = network.decode(points, code, rotation, into_input, *maps)[0].float() - level
        of_hits, of_free = logits.split([hits.shape[0] * _SAMPLES, len(free)])
        loss = hit_loss(of_hits.unflatten(0, (-1, _SAMPLES))).mean()
        if len(free):
            loss = loss + free_loss(of_free).mean()
        optimizer.zero_grad()
        (code.grad,) = torch.autograd.grad(loss, [code])
        optimizer.step()
    return (code.detach(), *maps)


def _points(
    camera: Tensor,
    places: NDArray[np.float32],
    edge: float,
    rays: int,
    samples: int,
    generator: torch.Generator,
) -> Tensor:
    """Points (rays, samples, 3) at random on rays through some of the places (P, 2); (0, samples, 3) of none."""
    if len(places) == 0:
        return torch.zeros(0, samples, 3)
    chosen = torch.from_numpy(places)[torch.randint(len(places), (rays,), generator=generator)]
    origins, directions = rays_of(camera, chosen)
    ends = within_cube(origins, directions, edge)
    return along(origins, directions, ends, samples, torch.rand(rays, samples, generator=generator))
