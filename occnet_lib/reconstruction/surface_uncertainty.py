"""Uncertainty of the place of a reconstructed surface, and its colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import log
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from occnet_lib.types import Mesh

if TYPE_CHECKING:
    from occnet_lib.networks.folded import TorchField

    from .reconstruct import Reconstruction

SCALE = (0.005, 0.12)
"""Half-widths of the first and the last colour, in edges of the unit cube; logarithmic in between. The upper one is the
farthest that is searched."""

_COLORS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))  # of viridis
_STEPS = 12  # along the normal, in each direction
_ODDS = log(3.0)


def surface_uncertainty(
    field: Callable[[NDArray[np.float32]], NDArray[np.floating]], mesh: Mesh, level: float
) -> NDArray[np.float32]:
    """(V,) half-width, along the normal, of the band in which the surface probably lies, in edges of the unit cube.

    The entropy is the same everywhere on the surface, whose probability is the threshold. So the field is evaluated along
    the vertex normals: outward to where the odds of being inside are a third, inward to where they are three times those at
    the surface. The result is half the distance between the two; a direction without such a point within `SCALE` counts as
    its upper end, as in parts whose inside is nowhere certain.

    Args:
        field: points (N, 3) to logits (N,).
        mesh: its surface.
        level: logit of the surface.
    """
    distance = np.linspace(0.0, SCALE[1], _STEPS + 1)
    total = np.zeros(len(mesh.vertices))
    for sign in (1.0, -1.0):
        along = sign * distance[:, None, None] * mesh.vertex_normals
        points = (mesh.vertices + along).reshape(-1, 3).astype(np.float32)
        fall = sign * (level - np.asarray(field(points), dtype=np.float64).reshape(len(distance), -1))
        total += _first_reach(fall, distance)
    return np.maximum(total / 2.0, 0.0).astype(np.float32)


def describe(uncertainty: NDArray[np.floating]) -> str:
    """Median and 95th percentile of `Reconstruction.uncertainty`, and what the colours mean, as one line."""
    middle, high = np.quantile(uncertainty, [0.5, 0.95])
    return (
        f"surface uncertain by ± {middle:.3f} (median), {high:.3f} (95th percentile) of the longest edge; "
        f"colours from {SCALE[0]:g} (dark violet) to {SCALE[1]:g} (yellow)"
    )


def _first_reach(fall: NDArray[np.float64], distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """(V,) distance at which a function, sampled as (S, V), first reaches `_ODDS`, linear between samples."""
    reached = fall >= _ODDS
    last = np.where(reached.any(axis=0), reached.argmax(axis=0), len(distance) - 1)
    before = np.maximum(last - 1, 0)
    column = np.arange(fall.shape[1])
    low, high = fall[before, column], fall[last, column]
    step = np.divide(_ODDS - low, high - low, out=np.ones_like(low), where=high > low)
    return np.asarray(distance[before] + np.clip(step, 0.0, 1.0) * (distance[last] - distance[before]))


def colors_of(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """(V, 3) sRGB colours in [0, 1] of half-widths by `SCALE`: from dark violet (certain) to yellow."""
    low, high = np.log(SCALE)
    place = (np.log(np.clip(values, *SCALE)) - low) / (high - low)
    stops = np.linspace(0.0, 1.0, len(_COLORS))
    channels = [np.interp(place, stops, channel) for channel in np.array(_COLORS).T / 255.0]
    return np.stack(channels, axis=1).astype(np.float32)


def with_uncertainty(result: Reconstruction, field: TorchField, level: float) -> Reconstruction:
    """A reconstruction with `uncertainty` and a mesh in its colours.

    Args:
        result: with a surface.
        field: that it is the surface of.
        level: logit of the surface.
    """
    values = surface_uncertainty(field.on_array, result.mesh, level)
    return replace(result, uncertainty=values, mesh=replace(result.mesh, colors=colors_of(values)))
