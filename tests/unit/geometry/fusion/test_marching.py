"""Marching cubes in bricks: closed and manifold whatever the field, and in the right place."""

from __future__ import annotations

import numpy as np
import pytest

from occnet_lib.errors import MeshError
from occnet_lib.geometry.fusion.bricks import Bricks, brick_counts, store
from occnet_lib.geometry.fusion.marching import surface
from occnet_lib.geometry.repair import check_watertight


def everywhere(shape: tuple[int, int, int]) -> Bricks:
    return store(shape, np.ones(brick_counts(shape), dtype=bool))


def ball(shape: tuple[int, int, int], middle: np.ndarray, radius: float) -> np.ndarray:
    index = np.stack(np.indices(shape), axis=-1)
    return (np.linalg.norm(index - middle, axis=-1) - radius).astype(np.float32)


def test_values_survive_the_way_into_bricks_and_back() -> None:
    values = np.random.default_rng(0).normal(size=(19, 8, 26))
    bricks = everywhere(values.shape)
    stored = bricks.from_dense(values)
    assert np.array_equal(bricks.to_dense(stored, 0.0), values)
    some = np.random.default_rng(1).choice(len(stored), 200)
    place = bricks.positions(some)
    within = (place < values.shape).all(axis=1)
    assert np.array_equal(values[tuple(place[within].T)], stored[some[within]])


def test_surface_of_a_ball() -> None:
    middle = np.array([20.3, 17.7, 22.1])
    field = ball((41, 37, 45), middle, 12.0)
    bricks = everywhere(field.shape)
    result = surface(bricks.from_dense(field), bricks, np.ones(bricks.slot.shape, dtype=bool))
    check = check_watertight(result.mesh)
    assert check.closed
    assert check.euler == 2
    assert check.volume == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.01)
    away = np.linalg.norm(result.mesh.vertices - middle, axis=1)
    assert np.abs(away - 12.0).max() < 0.02
    # Each vertex lies on its grid edge, each face in its cell.
    along = result.mesh.vertices - bricks.positions(result.owner)
    rows = np.arange(len(along))
    assert ((along[rows, result.axis] > 0) & (along[rows, result.axis] < 1)).all()
    along[rows, result.axis] = 0.0
    assert not along.any()
    low = bricks.positions(result.cell)[:, None]
    assert ((result.mesh.triangles >= low) & (result.mesh.triangles <= low + 1)).all()


@pytest.mark.parametrize("seed", range(3))
def test_any_field_has_a_closed_manifold_surface(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(size=(21, 20, 19)).astype(np.float32)
    noise[noise > 1.0] = 0.0  # on a sample
    field = np.pad(noise, 2, constant_values=1.0)
    bricks = everywhere(field.shape)
    result = surface(bricks.from_dense(field), bricks, np.ones(bricks.slot.shape, dtype=bool))
    check = check_watertight(result.mesh)
    assert check.closed
    assert len(result.mesh.faces) > 10_000


@pytest.mark.parametrize("seed", range(6))
def test_oblique_sheets_have_no_holes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    normal = np.array([1.0, 1.0, 0.1 * seed]) + 0.1 * rng.normal(size=3)
    normal /= np.linalg.norm(normal)
    index = np.stack(np.indices((32, 32, 32)), axis=-1) - 15.5
    sheet = np.abs(index @ normal - rng.random()) - 1.35 / 2
    field = np.maximum(sheet, np.linalg.norm(index, axis=-1) - 13.0).astype(np.float32)
    bricks = everywhere(field.shape)
    mesh = surface(bricks.from_dense(field), bricks, np.ones(bricks.slot.shape, dtype=bool)).mesh
    check = check_watertight(mesh)
    assert check.closed
    assert check.euler == 2
    volume = np.pi * 13.0**2 * 1.35
    assert check.volume == pytest.approx(volume, rel=0.08)


def test_bricks_that_are_not_stored_have_the_sign_given() -> None:
    field = ball((64, 64, 64), np.array([30.2, 31.4, 33.3]), 25.0)
    whole = everywhere(field.shape)
    blocks = whole.from_dense(field).reshape(-1, 512)
    chosen = (np.abs(blocks).min(axis=1) < 2.0)[whole.slot]
    some = store(field.shape, chosen)
    assert 0.1 < chosen.mean() < 0.9
    outside = (blocks.mean(axis=1) > 0)[whole.slot]
    one = surface(whole.from_dense(field), whole, outside).mesh
    two = surface(some.from_dense(field), some, outside).mesh
    assert np.array_equal(one.vertices, two.vertices)
    assert np.array_equal(one.faces, two.faces)


def test_a_field_without_an_inside_is_an_error() -> None:
    bricks = everywhere((9, 9, 9))
    with pytest.raises(MeshError, match="no inside"):
        surface(np.ones(bricks.samples, np.float32), bricks, np.ones(bricks.slot.shape, dtype=bool))
