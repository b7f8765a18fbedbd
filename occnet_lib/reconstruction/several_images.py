"""Fields of several images of one object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from occnet_lib.geometry.agreement import Agreement, agreement

from .reconstruct import CUBE_EDGE

if TYPE_CHECKING:
    from occnet_lib.networks.folded import TorchField

_POINTS = 2**13  # a power of two, for Sobol's sequence


def agreement_of_fields(fields: Sequence[TorchField], level: float) -> Agreement:
    """How far fields of the unit frame agree, at quasi-random points of the cube (Sobol 1967).

    Args:
        fields: at least two.
        level: logit above which a point is inside.
    """
    from scipy.stats.qmc import Sobol

    points = CUBE_EDGE * (Sobol(3, scramble=False).random(_POINTS) - 0.5)
    return agreement(np.stack([field.on_array(points) for field in fields]), level)
