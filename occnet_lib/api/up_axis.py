"""A guess of the up axis of prediction files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np

from occnet_lib.config import Config
from occnet_lib.errors import OccnetError
from occnet_lib.seeds import rng

from .frames import prediction_mesh, solid_mesh

if TYPE_CHECKING:
    from occnet_lib.evaluation.alignment import Align
    from occnet_lib.evaluation.pairs import Pair
    from occnet_lib.storage.meshes import Up

logger = logging.getLogger(__name__)
_TRIED = 4  # pairs
_TIE = 0.02  # relative difference of the criteria below which the axes are not distinguishable


def guess_up(pairs: Sequence[Pair], config: Config, align: Align, system: str = "") -> Up | None:
    """The up axis of a system's predictions by which they agree best with the ground truth, with a warning.

    Some pairs, evenly spread over the list, are aligned as `align` allows with each axis; the least mean criterion
    (Chamfer-L1) decides. For the same files and seed the result is the same.

    Args:
        pairs: of the system.
        config, align: as for `evaluate_pairs`.
        system: its name in the warning, where several systems are measured.

    Returns:
        None, as the ground truth, if no axis is clearly better than that: every rotation is free (`similarity`, `icp`),
        the files define their frames, or no pair can be read.
    """
    from occnet_lib.storage.meshes import Up

    whose = f"the predictions of {system}" if system else "the predictions"
    usable = [pair for pair in pairs if pair.prediction is not None]
    places = np.unique(np.linspace(0, len(usable) - 1, min(_TRIED, len(usable))).astype(int))
    criteria: dict[Up | None, list[float]] = {axis: [] for axis in (None, *get_args(Up))}
    for pair in (usable[place] for place in places.tolist()):
        scores = _criteria(pair, config, align)
        for axis, score in scores.items():
            criteria[axis].append(score)
    means = {axis: float(np.mean(scores)) for axis, scores in criteria.items() if scores}
    best = min(means, key=lambda axis: means[axis], default=None)
    if best is None or means[best] >= (1.0 - _TIE) * means[None]:
        logger.warning("--up auto: the up axis of %s is taken to be that of the ground truth", whose)
        return None
    listed = ", ".join(f"{axis}: {means[axis]:.4f}" for axis in get_args(Up))
    text = (
        "--up auto guesses that %s is the up axis of %s, from %d of them (Chamfer-L1 %s); state it: --up %s"
    )
    logger.warning(text, best, whose, len(criteria[best]), listed, best)
    return best


def _criteria(pair: Pair, config: Config, align: Align) -> dict[Up | None, float]:
    """Alignment criterion of a pair for each up axis of the prediction; empty if it cannot be measured."""
    from occnet_lib.evaluation.alignment import align as aligned
    from occnet_lib.evaluation.metrics import has_area
    from occnet_lib.storage.meshes import Up

    scores: dict[Up | None, float] = {}
    try:
        true = solid_mesh(pair.ground_truth, config)
        own = true.frame.up if true.frame else config.dataset.up  # what None stands for in `prediction_mesh`
        for axis in get_args(Up):
            mesh = prediction_mesh(Path(str(pair.prediction)), true, config, axis)
            if mesh is None or not has_area(mesh):
                return {}
            mesh = replace(mesh, colors=None, texturing=None)
            result = aligned(mesh, true.mesh, align, rng(config.seed, "align", pair.name))
            scores[axis] = result.criterion
        scores[None] = scores[own]
    except OccnetError:
        return {}
    return scores
