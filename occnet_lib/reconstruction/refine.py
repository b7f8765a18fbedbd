"""Refinement: move vertices towards the field's surface (Mescheder et al. 2019, section 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from occnet_lib.types import Mesh

if TYPE_CHECKING:
    from torch import Tensor

    FieldWithGradient = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Points (N, 3) float32 of the unit frame to logits (N,) and their gradient (N, 3).

For points that require a gradient the gradient itself is differentiable, unless it is piecewise constant.
"""

EXACT_STEPS_FRACTION = 0.25  # the last fraction of the steps uses the exact field
OVER_RELAXATION = 1.5  # factor of Newton's step; the step limit shrinks it in the end
R2_SEQUENCE = np.array([0.7548776662466927, 0.5698402909980532])
"""(1/g, 1/g²) with g³ = g + 1: the R2 low-discrepancy sequence (Roberts 2018)."""


@dataclass(frozen=True)
class Refined:
    """A refined mesh.

    Attributes:
        mesh: the input's faces with moved vertices; the input mesh if `improved` is False.
        loss_before, loss_after: the loss on the same fixed points before and after.
        improved: whether the loss decreased.
        rejected_moves: how often a vertex was kept in place by a step that would have turned one of its faces over.
    """

    mesh: Mesh
    loss_before: float
    loss_after: float
    improved: bool
    rejected_moves: int


class _Loss(NamedTuple):
    value: float
    grad_points: Tensor  # gradient with respect to the face points, (F, 3)
    grad_normals: Tensor  # gradient with respect to the unit face normals, (F, 3)
    curvature: Tensor  # Gauss-Newton second derivative of the first term along the field's gradient, (F,)


def refine(
    field: FieldWithGradient,
    mesh: Mesh,
    threshold: float,
    *,
    low_precision: FieldWithGradient | None = None,
    steps: int = 24,
    rate: float = 0.25,
    normal_weight: float = 0.01,
    rng: np.random.Generator,
    device: str = "cpu",
) -> Refined:
    """Minimise mean (f(p) - τ)² + λ mean ‖n + ∇f/‖∇f‖‖² over the vertices (Mescheder et al. 2019, 3.3).

    f is the probability of occupancy, p one point per face and step with barycentric weights
    distributed as Dirichlet(½, ½, ½), n the face's unit normal. A face's points of successive steps follow a low-discrepancy
    sequence, which samples the face more evenly than random points.

    A vertex moves against its gradient divided by the Gauss-Newton curvature, which needs no learning rate that depends on
    the network. A step is at most a fraction of the shortest edge at the vertex, which prevents crumpled meshes, and this
    limit decreases linearly to 0. All but the last quarter of the steps may use a low-precision approximation of the field.
    On a fitted network the final loss is below that of ONet's 30 steps (benchmarks/refine.py).

    The result is never worse than the input: no step flips a face (turns its normal by more than a right angle), and if the
    loss on fixed points does not decrease, the input mesh is returned.

    Args:
        field: logits and their gradient (`networks.folded.TorchField.with_gradient`).
        mesh: closed, unit frame.
        threshold: occupancy probability τ of the surface, in (0, 1).
        low_precision: an approximation of `field` for the first steps.
        steps: number of steps.
        rate: longest step as a fraction of the shortest edge at a vertex; it decreases linearly to 0.
        normal_weight: λ.
        rng: draws the barycentric weights.
        device: torch device of the field.
    """
    import torch

    from occnet_lib.networks.arrays import tensor_of

    if steps == 0 or len(mesh.faces) == 0:
        return Refined(mesh, float("nan"), float("nan"), False, 0)
    start = tensor_of(mesh.vertices, device, torch.float32)
    faces = tensor_of(mesh.faces, device, torch.int64)
    fixed = tensor_of(rng.dirichlet([0.5] * 3, len(faces)), device, torch.float32)
    before = _loss(field, start, faces, fixed, threshold, normal_weight).value
    first, reach = rng.random((len(faces), 2)), rate * _shortest_edges(start, faces)
    vertices, rejected_moves = start, 0
    for step in range(steps):
        weights = _weights((first + step * R2_SEQUENCE) % 1.0).to(device)
        coarse = low_precision is not None and step < int((1.0 - EXACT_STEPS_FRACTION) * steps)
        loss = _loss(
            low_precision if coarse and low_precision else field,
            vertices,
            faces,
            weights,
            threshold,
            normal_weight,
        )
        curvature = _curvature(loss, vertices, faces, weights, normal_weight).clamp_min(1e-20)
        move = _to_vertices(loss, vertices, faces, weights) * (-OVER_RELAXATION / curvature)[:, None]
        short = (reach / move.norm(dim=1).clamp_min(1e-12)).clamp_max(1.0)
        vertices, count = apply_moves(vertices, move * (short * (1.0 - step / steps))[:, None], faces)
        rejected_moves += count
    after = _loss(field, vertices, faces, fixed, threshold, normal_weight).value
    if not after < before:
        return Refined(mesh, before, before, False, 0)
    moved = vertices.cpu().numpy().astype(np.float64)
    return Refined(Mesh(moved, mesh.faces, mesh.colors), before, after, True, rejected_moves)


def _weights(uniform: NDArray[np.float64]) -> Tensor:
    """Uniform numbers (F, 2) in [0, 1) to barycentric weights (F, 3) float32 distributed as Dirichlet(½, ½, ½).

    These are the squares of a random direction's coordinates.
    """
    import torch

    z, angle = uniform[:, 0], np.pi / 2 * uniform[:, 1]
    rest = 1.0 - z**2
    weights = np.stack([z**2, rest * np.cos(angle) ** 2, rest * np.sin(angle) ** 2], axis=1)
    return torch.from_numpy(weights.astype(np.float32))


def _cross(vertices: Tensor, faces: Tensor) -> Tensor:
    """(F, 3) face normals, as long as twice the face's area."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return (b - a).cross(c - a, dim=1)


def _loss(
    field: FieldWithGradient,
    vertices: Tensor,
    faces: Tensor,
    weights: Tensor,
    threshold: float,
    normal_weight: float,
) -> _Loss:
    """The loss at one point per face with barycentric weights (F, 3)."""
    import torch

    points = (vertices[faces] * weights[:, :, None]).sum(1).requires_grad_(True)
    normals = torch.nn.functional.normalize(_cross(vertices, faces), dim=1)
    with torch.enable_grad():
        logits, gradient = field(points)
        tilt = normals + torch.nn.functional.normalize(gradient, dim=1)
        bend = normal_weight * tilt.square().sum(1).mean()
    grad_points = torch.zeros_like(points)
    if bend.requires_grad:
        (grad_points,) = torch.autograd.grad(bend, points, materialize_grads=True)
    gradient, tilt = gradient.detach(), tilt.detach()
    value = torch.sigmoid(logits.detach())
    gap, sigmoid_grad = value - threshold, value * (1.0 - value)
    grad_points += gradient * (2.0 / len(faces) * gap * sigmoid_grad)[:, None]
    return _Loss(
        value=float(gap.square().mean() + bend.detach()),
        grad_points=grad_points,
        grad_normals=tilt * (2.0 * normal_weight / len(faces)),
        curvature=2.0 / len(faces) * sigmoid_grad.square() * gradient.square().sum(1),
    )


def _to_vertices(loss: _Loss, vertices: Tensor, faces: Tensor, weights: Tensor) -> Tensor:
    """(V, 3) gradient with respect to the vertices, through the face points and the face normals."""
    import torch

    a, b, c = (vertices[faces[:, k]] for k in range(3))
    cross = _cross(vertices, faces)
    length = cross.norm(dim=1, keepdim=True).clamp_min(1e-12)
    normal = cross / length
    # d(n)/d(cross) = (1 - n nᵀ) / |cross|; d(cross)/d(corner) is the opposite edge's cross product.
    turn = (loss.grad_normals - normal * (normal * loss.grad_normals).sum(1, keepdim=True)) / length
    corners = torch.stack(
        [(b - c).cross(turn, dim=1), (c - a).cross(turn, dim=1), (a - b).cross(turn, dim=1)], dim=1
    )
    corners += weights[:, :, None] * loss.grad_points[:, None, :]
    return torch.zeros_like(vertices).index_add_(0, faces.reshape(-1), corners.reshape(-1, 3))


def _curvature(loss: _Loss, vertices: Tensor, faces: Tensor, weights: Tensor, normal_weight: float) -> Tensor:
    """(V,) Gauss-Newton approximation of the second derivative for moves of the vertices along their normals.

    A vertex moves its faces' points by their weights and rotates a face by its distance over the face's height.
    """
    import torch

    a, b, c = (vertices[faces[:, k]] for k in range(3))
    edges = torch.stack([(b - c).square().sum(1), (c - a).square().sum(1), (a - b).square().sum(1)], dim=1)
    areas = _cross(vertices, faces).square().sum(1).clamp_min(1e-20)
    turns = 2.0 * normal_weight / len(faces) * edges / areas[:, None]
    per_corner = weights.square() * loss.curvature[:, None] + turns
    return torch.zeros_like(vertices[:, 0]).index_add_(0, faces.reshape(-1), per_corner.reshape(-1))


def _shortest_edges(vertices: Tensor, faces: Tensor) -> Tensor:
    """(V,) length of the shortest edge of the faces at each vertex, 0 at vertices of no face."""
    import torch

    a, b, c = (vertices[faces[:, k]] for k in range(3))
    shortest = torch.stack([(b - a).norm(dim=1), (c - b).norm(dim=1), (a - c).norm(dim=1)]).amin(0)
    per_corner = shortest.repeat_interleave(3)
    return torch.zeros_like(vertices[:, 0]).scatter_reduce(
        0, faces.reshape(-1), per_corner, "amin", include_self=False
    )


def apply_moves(
    vertices: Tensor, move: Tensor, faces: Tensor, reference: Tensor | None = None
) -> tuple[Tensor, int]:
    """Vertices (V, 3) after a step, without moves that would turn a face (F, 3) over, and their number.

    Args:
        reference: (F, 3) vectors that the faces' normals must not oppose either.
    """
    import torch

    before = _cross(vertices, faces)
    rejected_moves = torch.zeros(len(vertices), dtype=torch.bool, device=vertices.device)
    while True:
        after = torch.where(rejected_moves[:, None], vertices, vertices + move)
        normals = _cross(after, faces)
        turned = (before * normals).sum(1) < 0
        if reference is not None:
            turned |= (reference * normals).sum(1) < 0
        turned &= ~rejected_moves[faces].all(1)
        if not turned.any():
            return after, int(rejected_moves.sum())
        rejected_moves[faces[turned].reshape(-1)] = True
