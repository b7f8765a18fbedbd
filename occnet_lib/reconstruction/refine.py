"""Moving a mesh's vertices towards the field's surface (Mescheder et al. 2019, section 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from occnet_lib.records import Mesh

if TYPE_CHECKING:
    from torch import Tensor

    TorchField = Callable[[Tensor], Tensor]
"""Points (N, 3) float32 of the unit frame to logits (N,), differentiable in the points."""

_DECAY = 0.99  # of RMSprop's mean square, as PyTorch has it


@dataclass(frozen=True)
class Refined:
    """A refined mesh.

    Attributes:
        mesh: the faces of the mesh given, with moved vertices; the mesh given where `kept` is False.
        loss_before, loss_after: the loss on the same fixed points before and after.
        kept: whether the loss fell.
        held: how often a vertex was held back in a step that would have turned one of its faces over.
    """

    mesh: Mesh
    loss_before: float
    loss_after: float
    kept: bool
    held: int


class _Loss(NamedTuple):
    value: float
    at_points: Tensor  # derivative by the face points, (F, 3)
    at_normals: Tensor  # derivative by the unit face normals, (F, 3)


def refine(
    field: TorchField,
    mesh: Mesh,
    threshold: float,
    *,
    steps: int = 12,
    rate: float = 0.13,
    normal_weight: float = 0.01,
    rng: np.random.Generator,
    device: str = "cpu",
) -> Refined:
    """Minimise mean (f(p) - τ)² + λ mean ‖n + ∇f/‖∇f‖‖² over the vertices.

    f is the probability of occupancy, p one random point a face and step with barycentric weights
    drawn from Dirichlet(½, ½, ½), n the face's unit normal. Mescheder et al. differentiate through
    ∇f/‖∇f‖ too. For a network of linear layers and ReLU that direction is constant around almost every
    point, so its derivative is zero and is left out here: one forward and one backward pass a step instead
    of another one through both.

    Steps are RMSprop's (Tieleman and Hinton 2012, with Adam's correction of the first ones) with one scale a
    vertex, in units of the shortest edge there: a step that repairs slivers of one mesh would crumple another.
    The rate falls to nothing, which takes the noise of the drawn points out. It ends where ONet's 30 steps at
    a constant rate do (benchmarks/refine.py).

    The result is never worse than the mesh given: no step turns a face over (its normal by more than a right
    angle), and where the loss on fixed points did not fall, the mesh given is returned.

    Args:
        field: the logits; its parameters get no gradient.
        mesh: closed, unit frame.
        threshold: occupancy probability τ of the surface, in (0, 1).
        steps: number of steps.
        rate: mean step, as a share of the shortest edge at a vertex; it falls linearly from twice that to 0.
        normal_weight: λ.
        rng: where the barycentric weights come from.
        device: torch device of the field.
    """
    import torch

    if steps == 0 or len(mesh.faces) == 0:
        return Refined(mesh, float("nan"), float("nan"), False, 0)
    start = torch.as_tensor(mesh.vertices, dtype=torch.float32, device=device)
    faces = torch.as_tensor(mesh.faces, dtype=torch.int64, device=device)

    def weights() -> Tensor:
        return torch.as_tensor(rng.dirichlet([0.5] * 3, len(faces)), dtype=torch.float32, device=device)

    fixed = weights()
    before = _loss(field, start, faces, fixed, threshold, normal_weight).value
    reach = rate * _shortest_edges(start, faces)
    vertices, square, held = start, torch.zeros_like(reach), 0
    for step in range(steps):
        drawn = weights()
        loss = _loss(field, vertices, faces, drawn, threshold, normal_weight)
        gradient = _to_vertices(loss, vertices, faces, drawn)
        square.mul_(_DECAY).add_(gradient.square().sum(1), alpha=1.0 - _DECAY)
        size = (square / (1.0 - _DECAY ** (step + 1))).sqrt().clamp_min(1e-12)
        move = gradient * (-2.0 * (1.0 - step / steps) * reach / size)[:, None]
        vertices, count = _moved(vertices, move, faces)
        held += count
    after = _loss(field, vertices, faces, fixed, threshold, normal_weight).value
    if not after < before:
        return Refined(mesh, before, before, False, 0)
    moved = vertices.cpu().numpy().astype(np.float64)
    return Refined(Mesh(moved, mesh.faces, mesh.colors), before, after, True, held)


def value_and_gradient(field: TorchField, points: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (N,) and their derivative (N, 3) by the points; nothing else is differentiated."""
    import torch

    points = points.detach().requires_grad_(True)
    with torch.enable_grad():
        logits = field(points)
        (gradient,) = torch.autograd.grad(logits.sum(), points)
    return logits.detach(), gradient


def _cross(vertices: Tensor, faces: Tensor) -> Tensor:
    """(F, 3) face normals, as long as twice the face's area."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return (b - a).cross(c - a, dim=1)


def _loss(
    field: TorchField,
    vertices: Tensor,
    faces: Tensor,
    weights: Tensor,
    threshold: float,
    normal_weight: float,
) -> _Loss:
    """The loss at one point a face with barycentric weights (F, 3)."""
    import torch

    points = (vertices[faces] * weights[:, :, None]).sum(1)
    logits, gradient = value_and_gradient(field, points)
    value = torch.sigmoid(logits)
    gap = value - threshold
    outward = torch.nn.functional.normalize(-gradient, dim=1)
    tilt = torch.nn.functional.normalize(_cross(vertices, faces), dim=1) - outward
    total = gap.square().mean() + normal_weight * tilt.square().sum(1).mean()
    slope = value * (1.0 - value)
    at_points = gradient * (2.0 * gap * slope / len(faces))[:, None]
    return _Loss(float(total), at_points, tilt * (2.0 * normal_weight / len(faces)))


def _to_vertices(loss: _Loss, vertices: Tensor, faces: Tensor, weights: Tensor) -> Tensor:
    """(V, 3) derivative by the vertices, through the face points and the face normals."""
    import torch

    a, b, c = (vertices[faces[:, k]] for k in range(3))
    cross = (b - a).cross(c - a, dim=1)
    length = cross.norm(dim=1, keepdim=True).clamp_min(1e-12)
    normal = cross / length
    # d(n)/d(cross) = (1 - n nᵀ) / |cross|; d(cross)/d(corner) is the opposite edge's cross product.
    turn = (loss.at_normals - normal * (normal * loss.at_normals).sum(1, keepdim=True)) / length
    corners = torch.stack(
        [(b - c).cross(turn, dim=1), (c - a).cross(turn, dim=1), (a - b).cross(turn, dim=1)], dim=1
    )
    corners += weights[:, :, None] * loss.at_points[:, None, :]
    return torch.zeros_like(vertices).index_add_(0, faces.reshape(-1), corners.reshape(-1, 3))


def _shortest_edges(vertices: Tensor, faces: Tensor) -> Tensor:
    """(V,) length of the shortest edge of the faces at each vertex, 0 at vertices of no face."""
    import torch

    a, b, c = (vertices[faces[:, k]] for k in range(3))
    shortest = torch.stack([(b - a).norm(dim=1), (c - b).norm(dim=1), (a - c).norm(dim=1)]).amin(0)
    at_corners = shortest.repeat_interleave(3)
    return torch.zeros_like(vertices[:, 0]).scatter_reduce(
        0, faces.reshape(-1), at_corners, "amin", include_self=False
    )


def _moved(vertices: Tensor, move: Tensor, faces: Tensor) -> tuple[Tensor, int]:
    """Vertices after a step, those held back whose move would turn a face over, and how many these are."""
    import torch

    before = _cross(vertices, faces)
    held = torch.zeros(len(vertices), dtype=torch.bool, device=vertices.device)
    while True:
        after = torch.where(held[:, None], vertices, vertices + move)
        turned = (before * _cross(after, faces)).sum(1) < 0
        if not turned.any():
            return after, int(held.sum())
        held[faces[turned].reshape(-1)] = True
