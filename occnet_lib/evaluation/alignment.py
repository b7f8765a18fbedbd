"""Alignment of a predicted mesh with the ground truth, before it is measured.

Both surfaces are sampled once, and a transform is refined from many starts by point-to-plane ICP (Chen and Medioni 1992)
with correspondences in both directions, so that a free scale cannot collapse. Closest points are exact ones on the
triangles (open3d). The criterion, for starts and result, is the Chamfer-L1 distance between samples of each mesh and the
surface of the other. Registration functions of open3d and trimesh do not apply: they work in one direction, and
neither can hold an axis of rotation fixed while the scale is free.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.normalise import unit_cube
from occnet_lib.geometry.occupancy import raycasting_scene
from occnet_lib.geometry.open3d_import import float32_tensor
from occnet_lib.geometry.sampling import sample_surface
from occnet_lib.geometry.similarity import IDENTITY, Similarity
from occnet_lib.types import Mesh

Align = Literal["none", "scale", "similarity", "yaw", "icp"]
DEGREES_OF_FREEDOM: dict[Align, str] = {
    "none": "not aligned",
    "scale": "aligned by uniform scale and translation",
    "similarity": "aligned by rotation, uniform scale and translation",
    "yaw": "aligned by rotation about the up axis, uniform scale and translation",
    "icp": "aligned by rotation and translation, without scale",
}
"""What each mode may change, as outputs state it."""

# Columns of the step's parameters: rotation vector (0 to 2), translation (3 to 5), logarithm of the scale (6).
_FREE: dict[Align, list[int]] = {
    "none": [],
    "scale": [3, 4, 5, 6],
    "similarity": [0, 1, 2, 3, 4, 5, 6],
    "yaw": [1, 3, 4, 5, 6],
    "icp": [0, 1, 2, 3, 4, 5],
}
# Samples of each surface for scoring, refining and the last refinement.
_COARSE, _MEDIUM, _FINE = 200, 600, 3000
_REFINED = 8  # starts that are refined
_RANDOM_ROTATIONS = 200
_YAWS = 120
_ICP_STEPS, _DESCENT_STEPS = 20, 60
_EXACT = 1e-7  # criterion below which two surfaces are the same in float32
_TIE = 1e-3  # relative difference of the criterion below which the smaller rotation is preferred


class Alignment(NamedTuple):
    """An alignment.

    Attributes:
        mode: what it may change (`DEGREES_OF_FREEDOM`).
        transform: from the prediction's frame to the aligned one.
        criterion: Chamfer-L1 after it, of the fixed samples to the other surface.
        criterion_before: the same without it.
        starts: number of starts.
        frame: unit frame of the ground truth to its source frame (that of its file, y up).
    """

    mode: Align
    transform: Similarity
    criterion: float
    criterion_before: float
    starts: int
    frame: Similarity = IDENTITY

    def record(self) -> dict[str, Any]:
        """The alignment for JSON.

        `matrix` applies to points of the prediction in the source frame of the ground truth, `matrix_unit` to those in
        the unit frame.
        """
        source = self.frame.after(self.transform).after(self.frame.inverse())
        return {
            "align": self.mode,
            "matrix": source.matrix.tolist(),
            "matrix_unit": self.transform.matrix.tolist(),
            "scale": self.transform.scale,
            "rotation_degrees": self.transform.angle,
            "criterion": self.criterion,
            "criterion_before": self.criterion_before,
            "starts": self.starts,
        }


def align(predicted: Mesh, ground_truth: Mesh, mode: Align, rng: np.random.Generator) -> Alignment:
    """The transform of `mode` that brings a prediction nearest to the ground truth, by the criterion of the module.

    The identity is always among the starts, and a step is taken only if it lowers the criterion: the result is never
    worse than no alignment. Among transforms of (almost) equal criterion, as of a symmetric shape, the one with the
    smallest rotation is taken. The same generator gives the same transform.

    Args:
        predicted: mesh with area, in any frame for the modes that can reach it; +y is the axis of `yaw`.
        ground_truth: mesh with area, unit frame.
        mode: what may be changed.
        rng: draws the samples and the starting rotations.
    """
    own, loc, scale = unit_cube(predicted)  # the scenes of open3d hold float32
    to_frame = Similarity(scale, np.eye(3), loc)
    pairs = _Correspondences(own, ground_truth, rng)
    before = pairs.criterion(to_frame, _FINE)
    if mode == "none":
        return Alignment(mode, IDENTITY, before, before, 1)
    starts = [to_frame, *_starts(own, ground_truth, to_frame, mode, rng)]
    scores = [pairs.criterion(start, _COARSE) for start in starts]
    best = [0, *(i for i in np.argsort(scores, kind="stable")[:_REFINED].tolist() if i)]
    refined = [_refine(pairs, starts[i], mode, _MEDIUM) for i in best]
    lowest = min(score for _, score in refined)
    finalists = [transform for transform, score in refined if score <= 1.5 * lowest + 1e-3]
    results = [_refine(pairs, start, mode, _FINE) for start in finalists]
    results.append((to_frame, before))
    limit = min(score for _, score in results) * (1.0 + _TIE) + 1e-6
    equal = [result for result in results if result[1] <= limit]
    transform, criterion = min(equal, key=lambda result: (round(result[0].angle, 2), result[1]))
    return Alignment(mode, transform.after(to_frame.inverse()), criterion, before, len(starts))


class _Matches(NamedTuple):
    """Corresponding points on the moved prediction and on the ground truth, and the normals there: (N, 3) each."""

    moved: NDArray[np.float64]
    target: NDArray[np.float64]
    normals: NDArray[np.float64]

    @property
    def distances(self) -> NDArray[np.float64]:
        """(N,) distances of corresponding points."""
        return np.asarray(np.linalg.norm(self.moved - self.target, axis=1))

    @property
    def chamfer(self) -> float:
        """Their mean."""
        return float(self.distances.mean())


class _Correspondences:
    """Samples of two meshes and their closest points on the other one, under transforms of the first."""

    def __init__(self, predicted: Mesh, ground_truth: Mesh, rng: np.random.Generator) -> None:
        self.points = [sample_surface(mesh, _FINE, rng)[0] for mesh in (predicted, ground_truth)]
        self.scenes = [raycasting_scene(mesh) for mesh in (predicted, ground_truth)]

    def of(self, transform: Similarity, n: int) -> _Matches:
        """2 n correspondences: from n samples of each mesh to the surface of the other."""
        predicted, ground_truth = (points[:n] for points in self.points)
        moved = transform.apply(predicted)
        nearest, normals = _closest(self.scenes[1], moved)
        own, own_normals = _closest(self.scenes[0], transform.inverse().apply(ground_truth))
        return _Matches(
            np.concatenate([moved, transform.apply(own)]),
            np.concatenate([nearest, ground_truth]),
            np.concatenate([normals, own_normals @ transform.rotation.T]),
        )

    def criterion(self, transform: Similarity, n: int) -> float:
        """Chamfer-L1 between n samples of each mesh and the surface of the other."""
        return self.of(transform, n).chamfer


def _closest(scene: Any, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Closest points of the surface and its normals there."""
    closest = scene.compute_closest_points(float32_tensor(points), nthreads=1)
    nearest, normals = (closest[name].numpy().astype(np.float64) for name in ("points", "primitive_normals"))
    return nearest, normals


def _refine(pairs: _Correspondences, start: Similarity, mode: Align, n: int) -> tuple[Similarity, float]:
    """The transform of the lowest criterion on the way of ICP from a start, refined by steps that only lower it.

    ICP passes through worse transforms where a thin part changes sides, so its steps are not judged one by one.
    """
    transform, matches = start, pairs.of(start, n)
    best, lowest = transform, matches
    for _ in range(_ICP_STEPS):
        transform = _step(matches, _FREE[mode], 1e-3).after(transform)
        matches = pairs.of(transform, n)
        if matches.chamfer < lowest.chamfer:
            best, lowest = transform, matches
        if matches.chamfer < _EXACT:
            break
    return _descend(pairs, best, lowest, mode, n)


def _descend(
    pairs: _Correspondences, transform: Similarity, matches: _Matches, mode: Align, n: int
) -> tuple[Similarity, float]:
    """Levenberg-Marquardt steps on the point-to-plane distances, weighted towards their L1 norm; never uphill."""
    cost, damping, stalled = matches.chamfer, 1e-3, 0
    for _ in range(_DESCENT_STEPS):
        if stalled == 4 or cost < _EXACT:
            break
        trial = _step(matches, _FREE[mode], damping).after(transform)
        trial_matches = pairs.of(trial, n)
        trial_cost = trial_matches.chamfer
        if trial_cost < cost:
            stalled = stalled + 1 if trial_cost > 0.999 * cost else 0
            transform, matches, cost, damping = trial, trial_matches, trial_cost, damping / 5.0
        else:
            stalled, damping = stalled + 1, damping * 10.0
    return transform, cost


def _step(matches: _Matches, free: list[int], damping: float) -> Similarity:
    """The small similarity that reduces the distances along the normals."""
    from scipy.spatial.transform import Rotation

    moved, target, normals = matches
    residual = np.einsum("nk,nk->n", normals, moved - target)
    distances = matches.distances
    weight = 1.0 / (distances + distances.mean() + 1e-9)
    along = np.einsum("nk,nk->n", normals, moved)
    jacobian = np.column_stack([np.cross(moved, normals), normals, along])[:, free]
    normal_matrix = jacobian.T @ (weight[:, None] * jacobian)
    scale = np.trace(normal_matrix) / len(free)
    damped = normal_matrix + np.diag(damping * np.diag(normal_matrix) + 1e-9 * scale)
    step = np.zeros(7)
    step[free] = -np.linalg.solve(damped, jacobian.T @ (weight * residual))
    step = np.clip(step, -0.5, 0.5)
    return Similarity(math.exp(step[6]), Rotation.from_rotvec(step[:3]).as_matrix(), step[3:6])


def _starts(
    own: Mesh, ground_truth: Mesh, to_frame: Similarity, mode: Align, rng: np.random.Generator
) -> list[Similarity]:
    """Rotations by size and centre: those of the surface's moments, and for `scale` also those of the bounding box."""
    (centre, second), (target_centre, target_second) = surface_moments(own), surface_moments(ground_truth)
    scale = to_frame.scale if mode == "icp" else math.sqrt(np.trace(target_second) / np.trace(second))
    rotations = _rotations(second, target_second, mode, rng)
    starts = [Similarity(scale, turn, target_centre - scale * turn @ centre) for turn in rotations]
    if mode == "scale":
        low, high = ground_truth.bounds
        starts.append(Similarity(float((high - low).max()), np.eye(3), (low + high) / 2.0))
    return starts


def _rotations(
    second: NDArray[np.float64], target_second: NDArray[np.float64], mode: Align, rng: np.random.Generator
) -> list[NDArray[np.float64]]:
    """Rotations to start from: those between the principal axes of the second moments, and an even cover."""
    from scipy.spatial.transform import Rotation

    if mode == "scale":
        return [np.eye(3)]
    if mode == "yaw":
        between = _heading(second) - _heading(target_second)
        angles = np.concatenate(
            [between + np.arange(4) * (np.pi / 2.0), np.arange(_YAWS) * (2.0 * np.pi / _YAWS)]
        )
        return list(Rotation.from_euler("y", angles[:, None]).as_matrix())
    axes, target_axes = _axes(second), _axes(target_second)
    signs = [np.diag(s) for s in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))]
    principal = [target_axes @ sign @ axes.T for sign in signs]
    cube = Rotation.create_group("O").as_matrix()
    return [*principal, *cube, *Rotation.random(_RANDOM_ROTATIONS, rng).as_matrix()]


def surface_moments(mesh: Mesh) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centroid (3,) of the surface and its second moments (3, 3) about it."""
    area = mesh.face_areas / mesh.face_areas.sum()
    corners = mesh.triangles
    centre = area @ corners.mean(axis=1)
    corners = corners - centre
    # The mean of x xᵀ over a triangle is (Σ a aᵀ + 9 m mᵀ) / 12, m its centroid.
    middle = corners.mean(axis=1)
    second = np.einsum("f,fck,fcl->kl", area, corners, corners)
    return centre, (second + 9.0 * np.einsum("f,fk,fl->kl", area, middle, middle)) / 12.0


def _axes(second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Principal axes as a proper rotation (3, 3)."""
    axes = np.linalg.eigh(second)[1]
    axes[:, 0] *= np.sign(np.linalg.det(axes))
    return np.asarray(axes)


def _heading(second: NDArray[np.float64]) -> float:
    """Angle from x towards z of the longer principal axis in the horizontal plane."""
    return 0.5 * math.atan2(2.0 * second[0, 2], second[0, 0] - second[2, 2])
