"""Grid of logits to closed mesh."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.grid import Grid, isosurface
from occnet_lib.types import Mesh


def threshold_logit(threshold: float) -> float:
    """log(t / (1 - t)) of a probability t in (0, 1)."""
    return float(np.log(threshold) - np.log1p(-threshold))


def surface(logits: NDArray[np.float32], level: float, box: float = 1.1) -> Mesh:
    """The closed surface of a grid as `mise` gives it; without faces if no point is inside.

    Args:
        logits: (n+1, n+1, n+1) float32; inside is above `level`.
        level: logit of the surface.
        box: edge of the cube that the grid spans.

    Returns:
        Mesh of the unit frame, faces outward. Where the inside reaches the border of the box, the
        surface is closed less than one cell outside it.
    """
    if not (logits > level).any():
        return Mesh.empty()
    n = logits.shape[0]
    return isosurface(np.float32(level) - logits, Grid(np.full(3, -box / 2.0), box / (n - 1), (n, n, n)))
