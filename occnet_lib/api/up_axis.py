"""A guess of the up axis of prediction files."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np

from occnet_lib.config import Config
from occnet_lib.errors import OccnetError
from occnet_lib.seeds import rng

from .frames import UnitMesh, prediction_mesh, solid_mesh

if TYPE_CHECKING:
    from occnet_lib.evaluation.alignment import Align
    from occnet_lib.evaluation.pair_tables import UpAxis
    from occnet_lib.evaluation.pairs import Pair
    from occnet_lib.storage.meshes import Up

logger = logging.getLogger(__name__)
_TRIED = 4  # pairs
_TIE = 0.02  # relative difference of the criteria below which the axes are not distinguishable


def guess_up(pairs: Sequence[Pair], config: Config, align: Align, system: str = "") -> UpAxis:
    """The up axis of a system's predictions by which they agree best with the ground truth, with a warning.

    Some pairs, evenly spread over the list, are aligned as `align` allows with each axis; the least mean criterion
    (Chamfer-L1) decides. For the same files and seed the result is the same.

    Args:
        pairs: of the system.
        config, align: as for `evaluate_pairs`.
        system: its name in the warning, where several systems are measured.

    Returns:
        the axis of the ground truth, if no other one is clearly better: every rotation is free (`similarity`, `icp`), the
        files define their frames, or no pair can be read.
    """
    usable = [pair for pair in pairs if pair.prediction is not None]
    places = np.unique(np.linspace(0, len(usable) - 1, min(_TRIED, len(usable))).astype(int))
    tried = [usable[place] for place in places.tolist()]
    criteria = [_criteria(Path(str(p.prediction)), p.ground_truth, p.name, config, align) for p in tried]
    whose = f"the predictions of {system}" if system else "the predictions"
    return _decide(criteria, whose, f"{system}=" if system else "")


def guess_up_of_file(prediction: Path, true: UnitMesh, name: str, config: Config, align: Align) -> UpAxis:
    """The same for one file and its ground truth; `name` decides the random numbers."""
    return _decide([_criteria(prediction, true, name, config, align)], "the predictions")


def _decide(criteria: Iterable[dict[Up | None, float]], whose: str, system: str = "") -> UpAxis:
    """The axis of the least mean criterion; pairs without any do not count."""
    from occnet_lib.evaluation.pair_tables import UpAxis
    from occnet_lib.storage.meshes import Up

    known = [scores for scores in criteria if scores]
    means = {axis: float(np.mean([scores[axis] for scores in known])) for axis in known[0]} if known else {}
    best = min(means, key=lambda axis: means[axis], default=None)
    if best is None or means[best] >= (1.0 - _TIE) * means[None]:
        logger.warning("--up auto: the up axis of %s is taken to be that of the ground truth", whose)
        return UpAxis(None, guessed=True)
    listed = ", ".join(f"{axis}: {means[axis]:.4f}" for axis in get_args(Up))
    text = (
        "--up auto guesses that %s is the up axis of %s, from %d of them (Chamfer-L1 %s); state it: --up %s%s"
    )
    logger.warning(text, best, whose, len(known), listed, system, best)
    return UpAxis(best, guessed=True)


def _criteria(
    prediction: Path, ground_truth: UnitMesh | Path, name: str, config: Config, align: Align
) -> dict[Up | None, float]:
    """Alignment criterion for each up axis of the prediction; empty if a file cannot be read or has no surface."""
    from occnet_lib.evaluation.alignment import align as aligned
    from occnet_lib.evaluation.metrics import has_area
    from occnet_lib.storage.meshes import Up

    scores: dict[Up | None, float] = {}
    try:
        true = solid_mesh(ground_truth, config) if isinstance(ground_truth, Path) else ground_truth
        for axis in get_args(Up):
            mesh = prediction_mesh(prediction, true, config, axis)
            if mesh is None or not has_area(mesh):
                return {}
            mesh = replace(mesh, colors=None, texturing=None)
            scores[axis] = aligned(mesh, true.mesh, align, rng(config.seed, "align", name)).criterion
    except OccnetError:
        return {}
    own = true.frame.up if true.frame else config.dataset.up  # what None stands for in `prediction_mesh`
    return scores | {None: scores[own]}
