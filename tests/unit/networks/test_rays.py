"""Rays of cameras, their ends in the cube, and losses along them against loops in double precision."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from occnet_lib.geometry.cameras import (
    camera_centres,
    image_projection,
    intrinsics,
    look_at_origin,
    project,
)
from occnet_lib.networks.rays import along, divergence, free_loss, hit_loss, rays_of, within_cube

NAN = float("nan")


def camera(distance: float = 2.0) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """A camera of the view frame, in which the shape is displaced and scaled."""
    place = look_at_origin(camera_centres([40.0], [25.0], [distance]))[0]
    return intrinsics(64, 149.0), place, np.array([0.03, -0.02, 0.05]), 0.7


def test_points_along_a_ray_project_to_its_pixel():
    projection = torch.from_numpy(image_projection(*camera(), 64, 64)).float()
    places = torch.rand(50, 2)
    origins, directions = rays_of(projection, places)
    points = along(origins, directions, within_cube(origins, directions, 1.1), 7, torch.rand(50, 7))
    for place, row in zip(places.numpy(), points.numpy(), strict=True):
        if row.any():
            pixels, depths = project(row, *camera())
            assert np.allclose(pixels / 64, place, atol=1e-4)
            assert (np.diff(depths) > 0).all()
            assert (np.abs(row) <= 0.55 + 1e-5).all()


def test_the_ends_are_those_of_a_fine_walk_along_the_ray():
    origins = (
        torch.randn(200, 3) * torch.tensor([2.0, 0.3]).repeat(100)[:, None]
    )  # half of them inside, or near
    directions = torch.randn(200, 3)
    entry, leave = within_cube(origins, directions, 1.0)
    steps = torch.linspace(0, 20, 20_001)
    walked = origins[:, None] + steps[:, None] * directions[:, None]
    inside = (walked.abs() <= 0.5).all(-1)
    for start, end, row in zip(entry, leave, inside, strict=True):
        if row.any():
            assert abs(start - steps[row][0]) < 2e-3
            assert abs(end - steps[row][-1]) < 2e-3
        else:
            assert end - start < 2e-3


def test_rays_beside_the_cube_behind_the_camera_or_of_no_pixel_have_no_length():
    origins = torch.tensor([[0.0, 0.0, -2.0]] * 4 + [[0.0, 0.0, 0.1]])
    directions = torch.tensor([[1.0, 0, 0.1], [0, 0, -1.0], [NAN, 0, 1], [0, 0, 1.0], [0, 0, 1.0]])
    entry, leave = within_cube(origins, directions, 1.0)
    assert entry.tolist() == [0, 0, 0, 1.5, 0]
    assert torch.allclose(leave, torch.tensor([0, 0, 0, 2.5, 0.4]))
    points = along(origins, directions, (entry, leave), 2, 0.5)
    assert not points[:3].any()
    assert torch.allclose(
        points[4], torch.tensor([[0.0, 0.0, 0.2], [0.0, 0.0, 0.4]]) - torch.tensor([0, 0, 0.0])
    )


@pytest.mark.parametrize("level", [-80.0, -20.0, -15.0, -8.0, -2.0, 0.0, 5.0, 40.0])
def test_the_loss_of_a_hit_is_that_of_the_product_in_double_precision(level):
    x = (level + torch.randn(20, 6, dtype=torch.float64)).requires_grad_()
    expected = -torch.log(-torch.expm1(-torch.nn.functional.softplus(x).sum(-1)))
    single = x.detach().float().requires_grad_()
    loss = hit_loss(single)
    torch.testing.assert_close(loss.double(), expected, rtol=2e-5, atol=1e-6)
    (gradient,) = torch.autograd.grad(loss.sum(), single)
    (wanted,) = torch.autograd.grad(expected.sum(), x)
    torch.testing.assert_close(gradient.double(), wanted, rtol=1e-3, atol=1e-6)


def test_the_loss_of_a_hit_in_closed_form():
    one = torch.tensor([[0.3], [-2.0]])
    torch.testing.assert_close(
        hit_loss(one), torch.nn.functional.softplus(-one[:, 0])
    )  # a single sample: BCE to 1
    p = torch.full((1, 16), 0.05)
    assert hit_loss(p.logit()).item() == pytest.approx(-math.log(1 - 0.95**16), rel=1e-5)
    extreme = torch.tensor([[-500.0, -500.0], [500.0, -500.0], [-200.0, -300.0]], requires_grad=True)
    loss = hit_loss(extreme)
    assert loss.isfinite().all()
    assert loss[1] == 0
    (gradient,) = torch.autograd.grad(loss.sum(), extreme)
    torch.testing.assert_close(
        gradient, torch.tensor([[-0.5, -0.5], [0.0, 0.0], [-1.0, 0.0]]), rtol=1e-4, atol=1e-6
    )


def test_losses_of_free_points_and_of_two_fields():
    x, y = torch.randn(30, dtype=torch.float64) * 3, torch.randn(30, dtype=torch.float64) * 3
    p, q = x.sigmoid(), y.sigmoid()
    torch.testing.assert_close(free_loss(x).double(), -(1 - p).log(), rtol=1e-5, atol=1e-6)
    both = sum(a * (a / b).log() + (1 - a) * ((1 - a) / (1 - b)).log() for a, b in ((p, q), (q, p)))
    torch.testing.assert_close(divergence(x, y).double(), both, rtol=1e-4, atol=1e-6)
    assert divergence(x, x).abs().max() == 0
