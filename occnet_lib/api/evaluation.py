"""Evaluation of one mesh or of folders of meshes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from occnet_lib.config import Config
from occnet_lib.errors import ConfigError, MeshError, OccnetError
from occnet_lib.seeds import rng
from occnet_lib.types import Mesh, Watertight

from .files import PathLike
from .frames import (
    UnitMesh,
    frames_differ,
    guess_up_of_file,
    prediction_mesh,
    solid_mesh,
    solid_unit_mesh,
)
from .shapes import stem

if TYPE_CHECKING:
    from occnet_lib.evaluation.alignment import Align, Alignment
    from occnet_lib.evaluation.metrics import Comparison
    from occnet_lib.evaluation.pair_tables import Measured, Report, UpAxis
    from occnet_lib.evaluation.pairs import Pair
    from occnet_lib.reconstruction.reconstruct import Reconstruction
    from occnet_lib.storage.meshes import Up

logger = logging.getLogger(__name__)
_OTHER_UNIT = 5.0  # scale from which a prediction seems to be in another unit
_NEAR_AXIS = 20.0  # degrees


def evaluate(
    prediction: Mesh | Reconstruction | PathLike,
    ground_truth: Mesh | Watertight | PathLike,
    config: Config | None = None,
    *,
    name: str = "",
    align: Align = "none",
    up: Up | Literal["auto"] | None = None,
) -> Comparison:
    """Measure a mesh against the ground truth: IoU, Chamfer-L1, normal consistency, F-scores.

    The meshes are aligned only as `align` states. Lengths are in units of the longest edge of the ground truth.

    Args:
        prediction: in the frame of the ground truth, which for a `Watertight` is the unit frame. A reconstruction is in
            the unit frame, and so is a file that defines it. If both files define their frames, these are used.
        ground_truth: closed mesh.
        config: sections `points` and `evaluate` (numbers of samples) and `seed` are used.
        name: see the module; for a file the stem of the ground truth.
        align: what may be changed to bring the prediction to the ground truth: `scale` (and translation), `yaw` (also
            rotation about +y), `similarity` (any rotation), `icp` (rotation and translation without scale).
        up: up axis of a prediction file, if it is another than that of the ground truth; `auto`: that with the best fit,
            with a warning.

    Returns:
        `values` and 95 % sampling `intervals` of every metric; `note`: a limitation of the values, if there is one;
        `alignment`: its `transform`; `up`: as given or guessed. The IoU of an open prediction is NaN.
        An empty prediction has the worst value of every metric.

    Raises:
        MeshError: the ground truth is open or has no area, or a file is unreadable.
        ConfigError: `up` is given for a mesh in memory, which is y-up.

    Examples:
        >>> mesh = occnet.load_mesh("cube.obj")
        >>> result = occnet.evaluate(mesh, mesh, config)
        >>> result.values["iou"], result.values["chamfer_l1"] < 0.05  # 1,000 samples each: their spacing
        (1.0, True)
    """
    from occnet_lib.evaluation.metrics import DRAWS

    config = config or Config()
    true, name = _ground_truth(ground_truth, config), name or stem(ground_truth)
    axis: Up | None = None
    if isinstance(prediction, str | Path):
        file = Path(prediction)
        axis = guess_up_of_file(file, true, name, config, align).axis if up == "auto" else up
        predicted = prediction_mesh(file, true, config, axis)
    elif up is not None:
        raise ConfigError(
            f"up={up!r} is of a prediction file", hint="a mesh in memory is y-up: rotate its vertices"
        )
    else:
        predicted = _in_unit_frame(prediction, true)
    is_placed = align == "none" and predicted is not None and len(predicted.faces) > 0
    if predicted and is_placed and frames_differ(predicted, true.mesh):
        text = (
            "%s and %s seem to be in different frames: their bounding boxes differ by more than half of their size "
            "(`occnet watertight --frame unit` writes the frame of predictions; --align brings them into one)"
        )
        logger.warning(text, _label(prediction, "prediction"), _label(ground_truth, "ground truth"))
    result = _compare(predicted, true, config, name, align, DRAWS)._replace(up=axis)
    if result.alignment is not None:
        _warn_of_alignments([result.alignment])
    return result


def evaluate_pairs(
    pairs: Iterable[Pair], config: Config, align: Align = "none", up: UpAxis | None = None, system: str = ""
) -> Report:
    """Measure the meshes of one system; one draw of samples for each shape.

    A prediction that is missing, unreadable or empty counts as the worst value of every metric. A shape whose ground
    truth is open or unreadable is left out, with a warning.

    Args:
        pairs: of evaluation.pairs.
        config: as for `evaluate`; also `evaluate.bootstrap`.
        align: as for `evaluate`, for all shapes.
        up: up axis of the prediction files; that of the ground truth by default.
        system: its name in warnings, where several systems are measured.

    Raises:
        MeshError: no ground truth can be used.
    """
    from occnet_lib.evaluation.pair_tables import AS_GROUND_TRUTH, Report
    from occnet_lib.evaluation.pairs import abbreviated

    up, of_system = up or AS_GROUND_TRUTH, f"{system}: " if system else ""
    shapes: list[Measured] = []
    excluded: list[tuple[Pair, str]] = []
    misplaced: list[str] = []
    for pair in pairs:
        try:
            true = solid_mesh(pair.ground_truth, config)
        except MeshError as error:
            excluded.append((pair, str(error)))
            continue
        shapes.append(_measure_pair(pair, true, config, align, up.axis, misplaced))
    if excluded:
        counts = f"{len(excluded)} of {len(excluded) + len(shapes)}"
        if not shapes:
            raise MeshError(f"{of_system}no ground truth can be used ({counts}); the first: {excluded[0][1]}")
        text = "%s%s ground truths cannot be used and are left out; the first: %s"
        logger.warning(text, of_system, counts, excluded[0][1])
    if misplaced:
        text = (
            "%s%d of %d predictions seem to be in another frame than their ground truth "
            "(--align brings them into one): %s"
        )
        logger.warning(text, of_system, len(misplaced), len(shapes), abbreviated(misplaced))
    _warn_of_alignments([shape.alignment for shape in shapes if shape.alignment], system)
    return Report.of(align, shapes, excluded, config, up)


def _measure_pair(
    pair: Pair, true: UnitMesh, config: Config, align: Align, up: Up | None, misplaced: list[str]
) -> Measured:
    """Metrics of a pair; the name of a prediction in another frame is added to `misplaced`."""
    from occnet_lib.evaluation.pair_tables import Measured

    predicted, reason = None, "no prediction" if pair.prediction is None else ""
    try:
        if pair.prediction is not None:
            predicted = prediction_mesh(pair.prediction, true, config, up)
    except OccnetError as error:
        reason = error.message
    if align == "none" and predicted is not None and frames_differ(predicted, true.mesh):
        misplaced.append(pair.name)
    result = _compare(predicted, true, config, pair.name, align, draws=1)
    return Measured.of(pair, result, reason)


def _compare(
    predicted: Mesh | None, true: UnitMesh, config: Config, name: str, align: Align, draws: int
) -> Comparison:
    """Align and measure; random numbers of the metrics do not depend on the alignment."""
    from occnet_lib.evaluation import alignment
    from occnet_lib.evaluation.metrics import compare, has_area
    from occnet_lib.geometry.similarity import Similarity

    result = None
    if align != "none" and predicted is not None and has_area(predicted):
        result = alignment.align(predicted, true.mesh, align, rng(config.seed, "align", name))
        result = result._replace(frame=Similarity(true.scale, np.eye(3), true.loc))
        predicted = replace(predicted, vertices=result.transform.apply(predicted.vertices))
    drawing = rng(config.seed, "evaluate", name)
    return compare(predicted, true.mesh, config.points, config.evaluate, drawing, draws)._replace(
        alignment=result
    )


def _warn_of_alignments(alignments: list[Alignment], system: str = "") -> None:
    """Warn if the transforms suggest another unit or up axis, which alignment may have hidden."""
    if not alignments:
        return
    whose = f"predictions of {system}" if system else "predictions"
    scale = float(np.median([each.transform.scale for each in alignments]))
    if not 1.0 / _OTHER_UNIT < scale < _OTHER_UNIT:
        text = "%s were scaled by %.4g (median): they seem to be in another unit than the ground truth"
        logger.warning(text, whose, scale)
    if axis := _tilted_up(alignments):
        text = "alignment turns the %s axis of most %s up: their up axis may be another than that of the ground truth "
        logger.warning(text + (f"(--up {system}=…)" if system else "(--up)"), axis, whose)


def _tilted_up(alignments: Sequence[Alignment]) -> str:
    """The axis that alignment turns up in most of the pairs; empty if it is +y.

    Where rotations are unknown, each is another one, and no axis is that of most of them.
    """
    up = np.array([each.transform.rotation[1] for each in alignments])  # in the frame of the prediction
    along = np.concatenate([up, -up], axis=1) > np.cos(np.radians(_NEAR_AXIS))
    counts = along.sum(axis=0)
    name = ("+x", "+y", "+z", "-x", "-y", "-z")[counts.argmax()]
    return name if 2 * counts.max() > len(alignments) and name != "+y" else ""


def _ground_truth(ground_truth: Mesh | Watertight | PathLike, config: Config) -> UnitMesh:
    """The ground truth in the unit frame; `frame` is that of meshes compared with it; None: the source frame."""
    from occnet_lib.geometry.normalise import unit_cube
    from occnet_lib.storage.meshes import MeshFrame

    if isinstance(ground_truth, Watertight):
        x, y, z = ground_truth.loc.tolist()
        frame = MeshFrame("unit", "y", (x, y, z), ground_truth.scale)
        return solid_unit_mesh(
            UnitMesh(ground_truth.mesh, ground_truth.loc, ground_truth.scale, frame), "ground truth"
        )
    if isinstance(ground_truth, Mesh):
        return solid_unit_mesh(UnitMesh(*unit_cube(ground_truth), None), "ground truth")
    return solid_mesh(Path(ground_truth), config)


def _in_unit_frame(prediction: Mesh | Reconstruction, true: UnitMesh) -> Mesh:
    if not isinstance(prediction, Mesh):
        if prediction.frame == "camera":
            logger.warning("the reconstruction is in the camera frame, the ground truth is not")
        return prediction.mesh
    if true.frame is not None and true.frame.frame == "unit":
        return prediction
    return prediction.to_unit(true.loc, true.scale)


def _label(source: object, otherwise: str) -> str:
    return str(source) if isinstance(source, str | Path) else otherwise
