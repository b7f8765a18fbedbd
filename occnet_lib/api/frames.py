"""Mesh files in the unit frame, from the frame written in the file or from its bounding box; a guess of their up axis."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import Config
from occnet_lib.errors import EmptyMeshError, MeshError, OccnetError
from occnet_lib.seeds import rng
from occnet_lib.types import Mesh

if TYPE_CHECKING:
    from occnet_lib.evaluation.alignment import Align
    from occnet_lib.evaluation.pair_tables import UpAxis
    from occnet_lib.evaluation.pairs import Pair
    from occnet_lib.storage.meshes import MeshFrame, Up

logger = logging.getLogger(__name__)
# Limits on the extent of a mesh in the unit frame: closing thickens it, at 32 samples by a tenth, or loses small parts.
_MOST_EXTENT, _LEAST_EDGE = 0.75, 0.05
_TRIED = 4  # pairs of which the up axis is guessed
_TIE = 0.02  # relative difference of the criteria below which the axes are not distinguishable
FRAME_MISMATCH = 0.5  # difference of bounding boxes, in longest edges of the ground truth


class UnitMesh(NamedTuple):
    """A mesh file in the unit frame.

    Attributes:
        mesh: unit frame.
        loc, scale: (3,) and float; `x_source = scale * x_unit + loc`, the source frame being y-up.
        frame: the frame written in the file; None if there is none, in which case its bounding box is the unit cube.
    """

    mesh: Mesh
    loc: NDArray[np.float64]
    scale: float
    frame: MeshFrame | None

    def describe(self, config: Config) -> str:
        """A description of the frame, printed by commands."""
        if self.frame is None:
            why = "dataset.up" if self.mesh.up == config.dataset.up else "from the file"
            return f"frame: its own bounding box, {self.mesh.up} up ({why})"
        return f"frame: {self.frame.frame}, {self.frame.up} up, from the file"


def unit_mesh(path: Path, config: Config) -> UnitMesh:
    """Read a mesh file and transform it to the unit frame: that of the raw mesh, if the file defines it (`meshes.frame`).

    Raises:
        MeshError: as `load_mesh`, or the frame of the file does not match its vertices.
    """
    from occnet_lib.geometry.normalise import unit_cube
    from occnet_lib.storage.meshes import load_mesh, read_frame

    mesh, frame = load_mesh(path, config.dataset.up), read_frame(path)
    if frame is None:
        return UnitMesh(*unit_cube(mesh), None)
    if frame.frame == "source" and frame.up != config.dataset.up:
        text = "%s defines %s as its up axis, not %s (dataset.up): views agree if its raw mesh is read with that up axis"
        logger.warning(text, path, frame.up, config.dataset.up)
    loc, scale = np.array(frame.loc), frame.scale
    if frame.frame == "source":
        mesh = mesh.to_unit(loc, scale)
    low, high = mesh.bounds
    far = max(-low.min(), high.max()) > _MOST_EXTENT or (high - low).max() < _LEAST_EDGE
    if frame.frame != "camera" and far:
        hint = f"if it was changed, remove `{frame.text()}` from it to use its bounding box"
        raise MeshError("its vertices do not match the frame in its header", path=path, hint=hint)
    return UnitMesh(replace(mesh, up="y"), loc, scale, frame)


def solid_mesh(path: Path, config: Config) -> UnitMesh:
    """As `unit_mesh`, for a closed mesh; faces that point inward are reversed, with a warning.

    Raises:
        MeshError: the mesh is not closed.
    """
    return solid_unit_mesh(unit_mesh(path, config), path)


def solid_unit_mesh(unit: UnitMesh, source: Path | str) -> UnitMesh:
    """As `solid_mesh`, for a mesh that is already read; `source` is its name in messages."""
    from occnet_lib.geometry.orientation import orient_outward

    solid = orient_outward(unit.mesh)
    if solid.defect:
        command = f"run `occnet watertight {source} -o …` first"
        hint = command if isinstance(source, Path) else "close it with `watertight` first"
        raise MeshError(solid.note, path=source, hint=hint)
    if solid.note:
        logger.warning("%s %s", source, solid.note)
    return unit._replace(mesh=solid.mesh)


def prediction_mesh(path: Path, ground_truth: UnitMesh, config: Config, up: Up | None = None) -> Mesh | None:
    """The predicted mesh in the unit frame of the ground truth; None if it has no surface.

    If both files define their frames, these are used, and so is the unit frame of a prediction. Otherwise the prediction
    is taken to be in the frame of the ground truth, or with its own up axis `up`.
    """
    from occnet_lib.storage.meshes import load_mesh, read_frame

    own = read_frame(path)
    if own and own.frame == "camera":
        logger.warning("%s is in the camera frame, the ground truth is not", path)
    try:
        if own and (ground_truth.frame or own.frame == "unit"):
            return unit_mesh(path, config).mesh
        mesh = load_mesh(path, up or (ground_truth.frame.up if ground_truth.frame else config.dataset.up))
    except EmptyMeshError as error:
        logger.debug("%s", error)
        return None
    in_unit = ground_truth.frame is not None and ground_truth.frame.frame == "unit"
    return mesh if in_unit else mesh.to_unit(ground_truth.loc, ground_truth.scale)


def frames_differ(predicted: Mesh, ground_truth: Mesh) -> bool:
    """Whether the bounding boxes differ by more than those of one shape in two frames."""
    return bool(np.abs(np.subtract(predicted.bounds, ground_truth.bounds)).max() > FRAME_MISMATCH)


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
