"""Refinement: its derivatives against autograd and differences, its effect on analytic fields, its promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from occnet_lib.reconstruction import refine as module
from occnet_lib.reconstruction.extract import surface, threshold_logit
from occnet_lib.reconstruction.mise import mise
from occnet_lib.reconstruction.refine import refine
from occnet_lib.types import Mesh
from tests.support.torch_fields import sloped

RADII = (0.4, 0.25, 0.32)


def ellipsoid(points: torch.Tensor) -> torch.Tensor:
    """Logit 0 on the ellipsoid, about twelve times the distance nearby."""
    scaled = points / torch.tensor(RADII, dtype=points.dtype)
    return 4 * (1 - scaled.square().sum(1))


def coarse_mesh(cells: int = 24, level: float = 0.0) -> Mesh:
    return surface(mise(lambda p: ellipsoid(torch.from_numpy(p)).numpy(), cells, 0, level).logits, level)


def shaken(mesh: Mesh, size: float) -> Mesh:
    noise = np.random.default_rng(3).normal(0, size, mesh.vertices.shape)
    return Mesh(mesh.vertices + noise, mesh.faces)


def miss(mesh: Mesh, tau: float) -> float:
    value = torch.sigmoid(ellipsoid(torch.from_numpy(mesh.vertices)))
    return float((value - tau).abs().mean())


def test_derivative_is_autograds():
    generator = torch.Generator().manual_seed(0)
    vertices = torch.randn(30, 3, dtype=torch.float64, generator=generator)
    faces = torch.stack([torch.randperm(30, generator=generator)[:3] for _ in range(40)])
    weights = torch.rand(40, 3, dtype=torch.float64, generator=generator)
    weights /= weights.sum(1, keepdim=True)
    loss = module._loss(sloped(ellipsoid), vertices, faces, weights, 0.2, 0.5)
    leaf = vertices.clone().requires_grad_(True)
    points = (leaf[faces] * weights[:, :, None]).sum(1)
    outward = torch.nn.functional.normalize(2 * points / torch.tensor(RADII) ** 2, dim=1)
    normals = torch.nn.functional.normalize(module._cross(leaf, faces), dim=1)
    total = (torch.sigmoid(ellipsoid(points)) - 0.2).square().mean()
    total = total + 0.5 * (normals - outward).square().sum(1).mean()
    total.backward()
    assert loss.value == pytest.approx(total.item(), rel=1e-6)
    gradient = module._to_vertices(loss, vertices, faces, weights)
    assert torch.allclose(gradient, leaf.grad, atol=1e-7)


def test_curvature_is_that_of_moves_along_the_normals():
    """On a flat mesh of a field that falls across it, where Gauss and Newton's approximation is exact."""
    vertices = torch.tensor(
        [[0, 0, 0], [1, 0, 0], [0, 2, 0], [-1, 0.5, 0], [0.5, -1, 0]], dtype=torch.float64
    )
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [0, 4, 1]])
    weights = torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.1, 0.3], [0.3, 0.3, 0.4]], dtype=torch.float64)
    field = sloped(lambda points: -3 * points[:, 2])

    def loss_at(heights: torch.Tensor) -> float:
        moved = vertices.clone()
        moved[:, 2] = heights
        return module._loss(field, moved, faces, weights, 0.5, 0.1).value

    loss = module._loss(field, vertices, faces, weights, 0.5, 0.1)
    curvature = module._curvature(loss, vertices, faces, weights, 0.1)
    for k in range(5):
        step = torch.zeros(5, dtype=torch.float64)
        step[k] = 1e-3
        second = (loss_at(step) - 2 * loss.value + loss_at(-step)) / 1e-6
        assert curvature[k].item() == pytest.approx(second, rel=1e-4)


def test_weights_are_those_of_onet_and_more_even():
    drawn = np.random.default_rng(0).dirichlet([0.5] * 3, 200_000)
    spread = module._weights(np.random.default_rng(1).random((200_000, 2))).numpy()
    assert np.allclose(spread.sum(1), 1, atol=1e-6)
    for power in (1, 2, 3):
        assert np.allclose((spread**power).mean(0), (drawn**power).mean(0), atol=3e-3)
    assert np.allclose(np.corrcoef(spread.T), np.corrcoef(drawn.T), atol=0.02)
    first = np.random.default_rng(2).random((500, 2))
    of_faces = np.mean(
        [module._weights((first + k * module.R2_SEQUENCE) % 1).numpy() for k in range(24)], axis=0
    )
    random = np.sqrt(drawn.var() / 24)
    assert np.sqrt(np.mean((of_faces - 1 / 3) ** 2)) < 0.65 * random


@pytest.mark.parametrize("tau", [0.2, 0.5])
def test_loss_falls_and_vertices_approach_the_surface(tau):
    mesh = shaken(coarse_mesh(level=threshold_logit(tau)), 0.003)
    result = refine(sloped(ellipsoid), mesh, tau, steps=30, rng=np.random.default_rng(0))
    assert result.improved
    assert result.loss_after < 0.7 * result.loss_before
    assert miss(result.mesh, tau) < 0.7 * miss(mesh, tau)
    assert np.array_equal(result.mesh.faces, mesh.faces)


def test_same_generator_same_mesh():
    mesh = shaken(coarse_mesh(), 0.003)
    a, b = (refine(sloped(ellipsoid), mesh, 0.5, steps=5, rng=np.random.default_rng(1)) for _ in range(2))
    assert np.array_equal(a.mesh.vertices, b.mesh.vertices)
    assert a.loss_after == b.loss_after


def test_never_worse_than_before():
    mesh = refine(sloped(ellipsoid), coarse_mesh(), 0.5, steps=60, rng=np.random.default_rng(0)).mesh
    result = refine(sloped(ellipsoid), mesh, 0.5, steps=3, rate=3.0, rng=np.random.default_rng(0))
    assert not result.improved
    assert result.loss_after == result.loss_before
    assert result.mesh is mesh


def test_approximate_steps_end_where_exact_ones_do():
    """The last steps repair what an approximation did that is off by as much as the refined mesh everywhere."""
    mesh = shaken(coarse_mesh(), 0.002)
    queried = []

    def approximate(points):
        queried.append(len(points))
        return sloped(lambda p: ellipsoid(p) + 0.03)(points)

    generators = (np.random.default_rng(0) for _ in range(2))
    exact, mixed = (
        refine(sloped(ellipsoid), mesh, 0.5, steps=24, low_precision=how, rng=rng)
        for how, rng in zip((None, approximate), generators, strict=True)
    )
    assert queried == [len(mesh.faces)] * 18
    assert mixed.loss_before == exact.loss_before
    assert mixed.improved
    assert mixed.loss_after < 1.5 * exact.loss_after


def test_a_wrong_approximation_makes_nothing_worse():
    mesh = refine(sloped(ellipsoid), coarse_mesh(), 0.5, steps=60, rng=np.random.default_rng(0)).mesh
    wrong = sloped(lambda p: -ellipsoid(p))
    result = refine(
        sloped(ellipsoid), mesh, 0.5, steps=3, rate=3.0, low_precision=wrong, rng=np.random.default_rng(0)
    )
    assert result.mesh is mesh
    assert not result.improved


def test_a_step_turns_no_face_over_and_holds_only_who_would():
    mesh = coarse_mesh(16)
    vertices = torch.from_numpy(mesh.vertices)
    faces = torch.from_numpy(mesh.faces).long()
    move = 0.01 * torch.randn(
        vertices.shape, dtype=vertices.dtype, generator=torch.Generator().manual_seed(0)
    )
    before = module._cross(vertices, faces)
    assert ((before * module._cross(vertices + move, faces)).sum(1) < 0).any()
    after, held = module.apply_moves(vertices, move, faces)
    assert ((before * module._cross(after, faces)).sum(1) >= 0).all()
    still = (after == vertices).all(1)
    assert 0 < held == int(still.sum()) < 0.6 * len(vertices)
    assert torch.equal(after[~still], (vertices + move)[~still])
    gentle, none_held = module.apply_moves(vertices, 1e-5 * move, faces)
    assert none_held == 0
    assert torch.equal(gentle, vertices + 1e-5 * move)


def test_shortest_edges():
    vertices = torch.tensor([[0.0, 0, 0], [3, 0, 0], [0, 4, 0], [0, 0, 1], [9, 9, 9]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    assert module._shortest_edges(vertices, faces).tolist() == [1.0, 3.0, 1.0, 1.0, 0.0]


def test_parameters_of_the_field_get_no_gradient():
    network = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Softplus(), torch.nn.Linear(8, 1))
    mesh = coarse_mesh(12)
    for field in (network, network[0]):  # of the second the derivative is the same everywhere
        refine(sloped(lambda p, f=field: f(p)[:, 0]), mesh, 0.5, steps=2, rng=np.random.default_rng(0))
    assert all(p.grad is None for p in network.parameters())


def test_nothing_to_do():
    mesh = coarse_mesh(12)
    assert refine(sloped(ellipsoid), mesh, 0.5, steps=0, rng=np.random.default_rng(0)).mesh is mesh
    empty = Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int32))
    assert not refine(sloped(ellipsoid), empty, 0.5, rng=np.random.default_rng(0)).improved


def test_a_field_that_is_flat_and_a_face_without_area_do_no_harm():
    mesh = coarse_mesh(12)
    flat = refine(sloped(lambda p: p.sum(1) * 0), mesh, 0.5, steps=2, rng=np.random.default_rng(0))
    assert np.isfinite(flat.mesh.vertices).all()
    faces = np.concatenate([mesh.faces, [[0, 0, 1]]]).astype(np.int32)
    thin = refine(sloped(ellipsoid), Mesh(mesh.vertices, faces), 0.5, steps=2, rng=np.random.default_rng(0))
    assert np.isfinite(thin.mesh.vertices).all()
