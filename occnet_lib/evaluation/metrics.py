"""Metrics of a mesh against the ground truth, as defined by Mescheder et al. 2019 (their eval.py)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import EvaluateConfig, PointsConfig
from occnet_lib.geometry.occupancy import contains, volume_beyond
from occnet_lib.geometry.sampling import sample_surface
from occnet_lib.types import Mesh

if TYPE_CHECKING:
    from occnet_lib.geometry.orientation import OrientedMesh

    from .alignment import Alignment

F_SCORE_PERCENT = (0.5, 1, 2, 5, 10, 20)
"""Distances of the F-score in percent of the unit cube's edge (Tatarchenko et al. 2019 report 1 %)."""

DRAWS = 10
"""How often `compare` draws points and samples."""
NO_SURFACE = "is missing or has no area"
_STUDENT_T = 2.2622  # 97.5 % quantile with DRAWS - 1 degrees of freedom
_WORST_DISTANCE = math.sqrt(3.0)
METRICS = (
    "iou",
    "accuracy",
    "completeness",
    "chamfer_l1",
    "chamfer_l1_paper",
    "chamfer_l2",
    "normal_consistency",
    *(f"f_score_{percent:g}" for percent in F_SCORE_PERCENT),
)
"""Names of all metrics, in the order of every table."""
PAIR_METRICS = (
    *METRICS,
    *(f"{name}_{percent:g}" for name in ("precision", "recall") for percent in F_SCORE_PERCENT),
)
"""Names of what `compare` measures: the F-scores also by their parts."""
ORIGINAL_METRICS = ("accuracy_original", "completeness_original", "chamfer_l1_original")
"""The same against samples of the raw mesh instead of the closed one."""


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_], beyond: float = 0.0) -> float:
    """|A ∧ B| / |A ∨ B| of two occupancies of the same points; 1 where both are empty. `beyond`: points of one elsewhere."""
    union = np.count_nonzero(a | b) + beyond
    return float(np.count_nonzero(a & b) / union) if union else 1.0


def surface_metrics(
    predicted: NDArray[np.floating],
    predicted_normals: NDArray[np.floating],
    true: NDArray[np.floating],
    true_normals: NDArray[np.floating],
) -> dict[str, float]:
    """Distances between two sampled surfaces, in units of the unit cube's edge.

    * accuracy: mean distance of a predicted point to the nearest ground-truth point;
    * completeness: mean distance of a ground-truth point to the nearest predicted point;
    * chamfer_l1: ½ (accuracy + completeness), Euclidean distances all the same; `chamfer_l1_paper` is
      that times 10, the unit of the paper's tables (a tenth of the longest edge is 1);
    * chamfer_l2: half the sum of both mean squared distances;
    * normal_consistency: mean |n · n'| with the nearest point's normal, both ways averaged;
    * f_score_<p>: harmonic mean of precision and recall: the fractions of predicted and of ground-truth points within p %
      of the unit cube's edge of the other surface.

    Args:
        predicted, true: (N, 3) and (M, 3) points.
        predicted_normals, true_normals: unit normals there; sign does not matter.

    Returns:
        `PAIR_METRICS` without the IoU; precision_<p> and recall_<p> are the parts of f_score_<p>.
    """
    from .nearest import nearest

    predicted, predicted_normals = _along_curve(predicted, predicted_normals)
    true, true_normals = _along_curve(true, true_normals)
    to_true, nearest_true = nearest(true, predicted)
    to_predicted, nearest_predicted = nearest(predicted, true)
    accuracy, completeness = float(to_true.mean()), float(to_predicted.mean())
    chamfer = 0.5 * (accuracy + completeness)
    consistency = 0.5 * (
        _alignment(predicted_normals, true_normals[nearest_true])
        + _alignment(true_normals, predicted_normals[nearest_predicted])
    )
    values = {
        "accuracy": accuracy,
        "completeness": completeness,
        "chamfer_l1": chamfer,
        "chamfer_l1_paper": 10.0 * chamfer,
        "chamfer_l2": 0.5 * float((to_true**2).mean() + (to_predicted**2).mean()),
        "normal_consistency": consistency,
    }
    rates: dict[str, float] = {}
    for percent in F_SCORE_PERCENT:
        precision = float((to_true < percent / 100.0).mean())
        recall = float((to_predicted < percent / 100.0).mean())
        both = precision + recall
        values[f"f_score_{percent:g}"] = 2.0 * precision * recall / both if both else 0.0
        rates |= {f"precision_{percent:g}": precision, f"recall_{percent:g}": recall}
    return values | rates


def measure(
    mesh: Mesh | None,
    points: NDArray[np.floating],
    occupancies: NDArray[np.bool_],
    surface: NDArray[np.floating],
    normals: NDArray[np.floating],
    samples: int,
    rng: np.random.Generator,
) -> tuple[dict[str, float], str]:
    """All metrics of a predicted mesh, without any alignment.

    Args:
        mesh: unit frame. None, or one without area, counts as `worst`.
        points, occupancies: (N, 3) and (N,) bool, of the ground truth.
        surface, normals: (M, 3) samples of the ground-truth surface.
        samples: number of points to draw on the predicted surface.
        rng: draws them.

    Returns:
        values of `METRICS`, and a note if they are not reliable (the mesh is empty, open or has inward winding).
    """
    from occnet_lib.geometry.orientation import orient_outward

    if mesh is None or not has_area(mesh):
        return worst(), NO_SURFACE
    solid = orient_outward(mesh)
    values = _measure_oriented(solid, points, occupancies, surface, normals, samples, rng)
    return {name: values[name] for name in METRICS}, _note(solid)


def _measure_oriented(
    solid: OrientedMesh,
    points: NDArray[np.floating],
    occupancies: NDArray[np.bool_],
    surface: NDArray[np.floating],
    normals: NDArray[np.floating],
    samples: int,
    rng: np.random.Generator,
    beyond: float = 0.0,
) -> dict[str, float]:
    """`PAIR_METRICS` of a mesh with area; as `measure`, and `beyond` as in `iou`."""
    drawn, drawn_normals, _ = sample_surface(solid.mesh, samples, rng)
    overlap = iou(contains(solid.mesh, points), occupancies, beyond)
    return {"iou": overlap} | surface_metrics(
        drawn, drawn_normals, surface, np.asarray(normals, dtype=np.float64)
    )


def _note(solid: OrientedMesh) -> str:
    if solid.defect:
        return f"{solid.note}: an open mesh has no inside, so its IoU is not meaningful"
    return solid.note


def original_metrics(mesh: Mesh, original: Mesh, samples: int, rng: np.random.Generator) -> dict[str, float]:
    """Distances to the surface that a shape had before it was closed: `ORIGINAL_METRICS`.

    Raw meshes have interior faces, which closing removes; they affect the completeness and hardly the accuracy.

    Args:
        mesh: unit frame; without area it scores `worst`.
        original: raw mesh, unit frame.
        samples: number of points to draw on each surface.
        rng: draws them.

    Raises:
        MeshError: the raw mesh has no area.
    """
    true, true_normals, _ = sample_surface(original, samples, rng)
    values = worst()
    if has_area(mesh):
        values = surface_metrics(*sample_surface(mesh, samples, rng)[:2], true, true_normals)
    return {name: values[name.removesuffix("_original")] for name in ORIGINAL_METRICS}


class Comparison(NamedTuple):
    """One mesh against another.

    Attributes:
        values: means of all `PAIR_METRICS` over independent draws of points and samples. The IoU of an open mesh is NaN.
        intervals: 95 % intervals of these means by Student's t, for random draws; equal to the values for a single
            draw. Distances to a sampled surface are too long by about half the samples' spacing in every draw.
        note: as in `measure`.
        alignment: how the prediction was aligned before; None where it was not.
        up: up axis with which the file of the prediction was read; None for that of the ground truth.
    """

    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    note: str
    alignment: Alignment | None = None
    up: Literal["x", "y", "z"] | None = None


def compare(
    predicted: Mesh | None,
    true: Mesh,
    points: PointsConfig,
    config: EvaluateConfig,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> Comparison:
    """All metrics of one mesh against another, both in the unit frame; samples drawn here.

    Args:
        predicted: as in `measure`.
        true: ground-truth mesh, closed.
        points: the section `points`: number and padding of the IoU's points, number of ground-truth surface samples.
        config: the section `evaluate`: number of predicted surface samples.
        rng: draws all of them.
        draws: 1, or `DRAWS` for intervals.

    Raises:
        MeshError: the ground-truth mesh has no area.
    """
    from occnet_lib.geometry.orientation import orient_outward

    if predicted is None or not has_area(predicted):
        bounds = worst(PAIR_METRICS)
        return Comparison(bounds, {name: (value, value) for name, value in bounds.items()}, NO_SURFACE)
    solid, drawn, edge = orient_outward(predicted), [], 1.0 + points.padding
    for _ in range(draws):
        beyond = volume_beyond(solid.mesh, edge, points.uniform, rng) * points.uniform / edge**3
        uniform = (rng.random((points.uniform, 3)) - 0.5) * edge
        surface, normals, _ = sample_surface(true, points.surface, rng)
        values = _measure_oriented(
            solid, uniform, contains(true, uniform), surface, normals, config.surface, rng, beyond
        )
        drawn.append([values[name] for name in PAIR_METRICS])
    values, intervals = _with_intervals(np.array(drawn))
    if solid.defect:
        values["iou"], intervals["iou"] = math.nan, (math.nan, math.nan)
    return Comparison(values, intervals, _note(solid))


def _with_intervals(drawn: NDArray[np.float64]) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Means of (draws, K) values and their intervals, within the bounds of each metric."""
    mean, error = drawn.mean(axis=0), np.zeros(drawn.shape[1])
    if len(drawn) > 1:
        error = drawn.std(axis=0, ddof=1) / math.sqrt(len(drawn))
    bounds = worst(PAIR_METRICS)
    values, intervals = {}, {}
    for name, value, half in zip(PAIR_METRICS, mean.tolist(), (_STUDENT_T * error).tolist(), strict=True):
        most = bounds[name] or 1.0  # metrics other than distances are bounded by 1
        values[name], intervals[name] = value, (max(value - half, 0.0), min(value + half, most))
    return values, intervals


def worst(names: Sequence[str] = METRICS) -> dict[str, float]:
    """Scores of a missing or empty mesh: the bound of every metric.

    Distances are √3, the diagonal of the unit cube, as in ONet. Unlike there, every metric has a value, so a
    failed shape is never left out of a mean, and normal consistency is 0, the minimum of its definition.
    """
    distances = {
        "accuracy": _WORST_DISTANCE,
        "completeness": _WORST_DISTANCE,
        "chamfer_l1": _WORST_DISTANCE,
        "chamfer_l1_paper": 10.0 * _WORST_DISTANCE,
        "chamfer_l2": 3.0,
    }
    return {name: distances.get(name, 0.0) for name in names}


def has_area(mesh: Mesh) -> bool:
    """Whether points can be drawn on the mesh."""
    if len(mesh.faces) == 0 or not np.isfinite(mesh.vertices).all():
        return False
    return bool(mesh.area_vectors.any())


def _along_curve(
    points: NDArray[np.floating], normals: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points and normals in the order in which `nearest` is fast."""
    from .nearest import along_curve

    at = np.asarray(points, dtype=np.float64)
    order = along_curve(at)
    return at[order], np.asarray(normals, dtype=np.float64)[order]


def _alignment(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    return float(np.abs(np.einsum("nd,nd->n", a, b)).mean())
