"""How far a mesh is from the true shape, by the definitions of Mescheder et al. 2019 (their eval.py)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import Evaluate, Points
from occnet_lib.geometry.occupancy import contains
from occnet_lib.geometry.sampling import sample_surface
from occnet_lib.records import Mesh

F_SCORE_PERCENT = (0.5, 1, 2, 5, 10, 20)
"""Distances of the F-score in percent of the unit cube's edge (Tatarchenko et al. 2019 report 1 %)."""

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
ORIGINAL_METRICS = ("accuracy_original", "completeness_original", "chamfer_l1_original")
"""The same against samples of the raw mesh instead of the closed one."""


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """|A ∧ B| / |A ∨ B| of two occupancies of the same points; 1 where both are empty."""
    union = np.count_nonzero(a | b)
    return float(np.count_nonzero(a & b) / union) if union else 1.0


def surface_metrics(
    predicted: NDArray[np.floating],
    predicted_normals: NDArray[np.floating],
    true: NDArray[np.floating],
    true_normals: NDArray[np.floating],
) -> dict[str, float]:
    """Distances between two sampled surfaces, in units of the unit cube's edge.

    * accuracy: mean distance of a predicted point to the nearest true point;
    * completeness: mean distance of a true point to the nearest predicted point;
    * chamfer_l1: ½ (accuracy + completeness), Euclidean distances all the same; `chamfer_l1_paper` is
      that times 10, the unit of the paper's tables (a tenth of the longest edge is 1);
    * chamfer_l2: half the sum of both mean squared distances;
    * normal_consistency: mean |n · n'| with the nearest point's normal, both ways averaged;
    * f_score_<p>: harmonic mean of the shares of predicted and of true points nearer than p % of the
      unit cube's edge to the other surface.

    Args:
        predicted, true: (N, 3) and (M, 3) points.
        predicted_normals, true_normals: unit normals there; sign does not matter.
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
    for percent in F_SCORE_PERCENT:
        precision = float((to_true < percent / 100.0).mean())
        recall = float((to_predicted < percent / 100.0).mean())
        both = precision + recall
        values[f"f_score_{percent:g}"] = 2.0 * precision * recall / both if both else 0.0
    return values


def mesh_metrics(
    mesh: Mesh,
    points: NDArray[np.floating],
    occupancies: NDArray[np.bool_],
    surface: NDArray[np.floating],
    normals: NDArray[np.floating],
    samples: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    """All metrics of a predicted mesh, without any alignment.

    Args:
        mesh: closed, unit frame, with area (`has_area`; what has none counts as `worst`).
        points, occupancies: (N, 3) and (N,) bool, of the true shape.
        surface, normals: (M, 3) samples of the true surface.
        samples: how many points to draw on the predicted surface.
        rng: draws them.

    Raises:
        MeshError: the mesh has no area.
    """
    drawn, drawn_normals, _ = sample_surface(mesh, samples, rng)
    overlap = iou(contains(mesh, points), occupancies)
    return {"iou": overlap} | surface_metrics(
        drawn, drawn_normals, surface, np.asarray(normals, dtype=np.float64)
    )


def original_metrics(mesh: Mesh, original: Mesh, samples: int, rng: np.random.Generator) -> dict[str, float]:
    """Distances to the surface that a shape had before it was closed: `ORIGINAL_METRICS`.

    Raw meshes have faces inside, which closing removes: these count in the completeness. Accuracy hardly
    depends on them.

    Args:
        mesh: unit frame; without area it counts as `worst`.
        original: raw mesh, unit frame.
        samples: how many points to draw on either surface.
        rng: draws them.

    Raises:
        MeshError: the raw mesh has no area.
    """
    true, true_normals, _ = sample_surface(original, samples, rng)
    values = worst()
    if has_area(mesh):
        values = surface_metrics(*sample_surface(mesh, samples, rng)[:2], true, true_normals)
    return {name: values[name.removesuffix("_original")] for name in ORIGINAL_METRICS}


def compare(
    predicted: Mesh, true: Mesh, points: Points, config: Evaluate, rng: np.random.Generator
) -> dict[str, float]:
    """All metrics of one mesh against another, both closed and in the unit frame; samples drawn here.

    Args:
        predicted: what is measured; without area it counts as `worst`.
        true: what it is measured against.
        points: the section `points`: number and padding of the IoU's points, number of true surface samples.
        config: the section `evaluate`: number of predicted surface samples.
        rng: draws all of them.

    Raises:
        MeshError: the true mesh has no area.
    """
    uniform = (rng.random((points.uniform, 3)) - 0.5) * (1.0 + points.padding)
    surface, normals, _ = sample_surface(true, points.surface, rng)
    if not has_area(predicted):
        return worst()
    occupancies = contains(true, uniform)
    return mesh_metrics(predicted, uniform, occupancies, surface, normals, config.surface, rng)


def worst() -> dict[str, float]:
    """What a missing or empty mesh counts as: the bound of every metric.

    Distances are √3, the diagonal of the unit cube, as in ONet. Unlike there every metric has its value, so
    a failed shape is never left out of a mean, and normal consistency is 0, the least its definition allows.
    """
    distances = {
        "accuracy": _WORST_DISTANCE,
        "completeness": _WORST_DISTANCE,
        "chamfer_l1": _WORST_DISTANCE,
        "chamfer_l1_paper": 10.0 * _WORST_DISTANCE,
        "chamfer_l2": 3.0,
    }
    return {name: distances.get(name, 0.0) for name in METRICS}


def has_area(mesh: Mesh) -> bool:
    """Whether the mesh has a face of which a point can be drawn."""
    if len(mesh.faces) == 0 or not np.isfinite(mesh.vertices).all():
        return False
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    return bool(np.any(np.cross(b - a, c - a)))


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
