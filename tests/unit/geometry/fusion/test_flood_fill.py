"""Cavities come out open or solid: the flood that stops at narrow gaps, alone and in the stage."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from occnet_lib.config import AuditConfig
from occnet_lib.config import WatertightConfig as Config
from occnet_lib.geometry.fusion import flood_fill, rays
from occnet_lib.geometry.fusion.bricks import SIDE
from occnet_lib.geometry.fusion.distance_band import cut_edges
from occnet_lib.geometry.fusion.flood_fill import OUTSIDE, Basins, find_basins, levels_of
from occnet_lib.geometry.grid import Grid, grid_around
from occnet_lib.geometry.normalise import unit_cube
from occnet_lib.geometry.occupancy import contains
from occnet_lib.geometry.repair import check_watertight
from occnet_lib.stages import watertight
from occnet_lib.stages.audit import judge
from occnet_lib.types import Mesh
from tests.support.geometry_solids import (
    Solid,
    box_mesh,
    cage,
    chair,
    deep_cup,
    drawers,
    join,
    niche,
    pot,
    rotation,
    shapenet_like,
    sphere,
    vase,
)

FLOOD = Config(method="flood_fill")
COARSE = Config(method="flood_fill", resolution=96, max_faces=8000)


def close(mesh: Mesh, config: Config = COARSE) -> watertight.Watertight:
    return watertight.run(mesh, config, np.random.default_rng(0))


def overlap(solid: Solid, result: watertight.Watertight) -> float:
    """IoU with the closed form, over points in the padded cube."""
    points = np.random.default_rng(0).uniform(-0.55, 0.55, (200_000, 3))
    expected = solid.inside(points * result.scale + result.loc)
    got = contains(result.mesh, points)
    return float((expected & got).sum() / (expected | got).sum())


def box_with_a_hole(edge: float) -> Mesh:
    """A cube without thickness, less a square of `edge` out of the middle of its top."""
    walls = box_mesh((0, 0, 0), (1, 1, 1))
    top = (walls.vertices[walls.faces][:, :, 1] > 0.499).all(axis=1)
    h = edge / 2
    corners = [(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-h, -h), (h, -h), (h, h), (-h, h)]
    n = len(walls.vertices)
    rim = [(n + i, n + (i + 1) % 4, n + 4 + (i + 1) % 4) for i in range(4)]
    rim += [(n + i, n + 4 + (i + 1) % 4, n + 4 + i) for i in range(4)]
    vertices = np.concatenate([walls.vertices, [(x, 0.5, z) for x, z in corners]])
    return Mesh(vertices, np.concatenate([walls.faces[~top], rim]).astype(np.int32))


def basins_of(soup: np.ndarray, grid: Grid, radius: float) -> tuple[Basins, np.ndarray]:
    """Basins none of which is seen from outside, and the label of every sample."""
    basins = find_basins(grid.to_index(soup), grid.shape, radius, 1.8, lambda places: np.zeros(len(places)))
    whole = np.kron(basins.far, np.ones((SIDE, SIDE, SIDE), dtype=np.int32))
    whole = whole[tuple(slice(n) for n in grid.shape)]
    stored = basins.bricks.to_dense(basins.label, 0)
    return basins, np.where(stored > 0, stored, whole)


def reached_along_uncut_edges(cut: np.ndarray) -> np.ndarray:
    """Which samples are joined to the first one, by a graph of all edges that no triangle cuts."""
    number = np.arange(cut.size).reshape(cut.shape)
    starts, ends = [], []
    for axis in range(3):
        low, high = np.delete(number, -1, axis=axis), np.delete(number, 0, axis=axis)
        open_ = np.delete(cut >> axis & 1, -1, axis=axis) == 0
        starts.append(low[open_])
        ends.append(high[open_])
    pair = (np.concatenate(starts), np.concatenate(ends))
    graph = coo_array((np.ones(len(pair[0]), dtype=np.int8), pair), shape=(cut.size, cut.size))
    piece = connected_components(graph, directed=False)[1]
    return (piece == piece[0]).reshape(cut.shape)


@pytest.mark.parametrize("make", [chair, cage])
def test_without_a_gap_width_the_outside_is_all_that_uncut_edges_reach(make: Callable[[], Solid]) -> None:
    solid = make().rotated(rotation(2))
    grid = grid_around(solid.mesh.vertices.min(0), solid.mesh.vertices.max(0), 48, 3)
    soup = solid.mesh.triangles[5:]  # with a hole
    basins, labels = basins_of(soup, grid, 0.0)
    expected = reached_along_uncut_edges(cut_edges(grid.to_index(soup), grid.shape))
    assert np.array_equal(labels == OUTSIDE, expected)
    assert not basins.gap.any()
    assert 0.001 < 1 - expected.mean() < 0.6


def test_a_gap_closes_at_its_narrowest_place() -> None:
    mesh = box_with_a_hole(0.1)
    grid = grid_around(np.full(3, -0.5), np.full(3, 0.5), 61, 5)
    radius = 0.06 / grid.step
    basins, labels = basins_of(mesh.triangles, grid, radius)
    (apart,) = np.flatnonzero(basins.gap)
    assert basins.gap[apart] * grid.step == pytest.approx(0.05, abs=0.9 * grid.step)
    index = np.stack(np.indices(grid.shape), axis=-1).reshape(-1, 3)
    height = grid.to_unit(index)[:, 1].reshape(grid.shape)
    # Beyond a voxel from the plane of the top, what is below it is apart and what is above it outside.
    within = (np.abs(grid.to_unit(index)) < 0.5 - grid.step).all(axis=1).reshape(grid.shape)
    assert (labels[within] == apart).all()
    assert (labels[height > 0.5 + grid.step] == OUTSIDE).all()


@pytest.mark.parametrize("radius", [0.0, 2.5])
@pytest.mark.parametrize("make", [chair, cage, drawers])
def test_levels_decide_like_one_fine_grid(
    make: Callable[[], Solid], radius: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    solid = make().rotated(rotation(2))
    grid = grid_around(solid.mesh.vertices.min(0), solid.mesh.vertices.max(0), 101, 5)
    soup = solid.mesh.triangles
    assert levels_of(grid.shape) == 0
    one, label = basins_of(soup, grid, radius)
    monkeypatch.setattr(flood_fill, "BASE", 45)
    assert levels_of(grid.shape) == 1
    two, refined = basins_of(soup, grid, radius)
    assert two.bricks.shape == one.bricks.shape
    near = two.bricks.to_dense(two.distance, np.inf) < 1.5
    wide = one.bricks.to_dense(one.distance, np.inf)
    np.testing.assert_array_equal(two.bricks.to_dense(two.distance, 9.0)[near], wide[near])
    differs = (label == OUTSIDE) != (refined == OUTSIDE)
    # Where gaps close, the coarse level decides.
    assert differs.mean() <= (0.0 if radius == 0.0 else 0.002)


def test_a_slot_that_the_coarse_level_closes_is_open_on_the_fine_one(monkeypatch: pytest.MonkeyPatch) -> None:
    gap = 1.5 / 88  # of a voxel of the coarse level three quarters
    boards = [box_mesh((0, s * (0.1 + gap) / 2, 0), (1, 0.1, 0.6)) for s in (-1, 1)]
    mesh = join(boards)
    turned = mesh.vertices @ rotation(3).T
    grid = grid_around(turned.min(0), turned.max(0), 150, 5)
    monkeypatch.setattr(flood_fill, "BASE", 70)
    assert levels_of(grid.shape) == 1
    _, label = basins_of(turned[mesh.faces], grid, 0.015 / grid.step)
    within = np.random.default_rng(0).uniform([-0.45, -0.2 * gap, -0.27], [0.45, 0.2 * gap, 0.27], (500, 3))
    index = np.rint(grid.to_index(within @ rotation(3).T)).astype(int)
    exact = np.abs(grid.to_unit(index) @ rotation(3))[:, 1] < 0.45 * gap  # still between the boards
    assert exact.sum() > 50
    assert (label[tuple(index[exact].T)] == OUTSIDE).all()


def test_the_stage_on_a_refined_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    solid = cage().rotated(rotation(4))
    mesh = shapenet_like(solid.mesh, np.random.default_rng(0))
    config = COARSE.model_copy(update={"resolution": 128})
    one = close(mesh, config)
    monkeypatch.setattr(flood_fill, "BASE", 30)  # two levels more
    two = close(mesh, config)
    for result in (one, two):
        assert check_watertight(result.mesh).closed
        assert not result.audit["repaired"]
        assert result.audit["self_intersecting"] == 0
    assert overlap(solid, two) >= overlap(solid, one) - 0.002
    assert two.audit["surface_error_max"] <= one.audit["surface_error_max"] + 0.1 * two.audit["voxel"]


@pytest.mark.parametrize("resolution", [64, 96, 160])
def test_gaps_close_alike_at_any_resolution(resolution: int) -> None:
    config = COARSE.model_copy(update={"resolution": resolution, "gap_width": 0.05})
    closed, opened = (close(box_with_a_hole(edge), config) for edge in (0.03, 0.09))
    assert closed.audit["volume"] == pytest.approx(1.0, abs=0.01)
    assert closed.audit["gaps_closed"] == 1
    assert closed.audit["widest_gap"] == pytest.approx(0.03, abs=2 / (resolution - 12))
    assert opened.audit["volume"] < 8.5 / (resolution - 12)  # six sheets
    assert opened.audit["gaps_closed"] == 0
    for result in (closed, opened):
        assert check_watertight(result.mesh).closed
        assert result.audit["ragged"] == 0.0
        assert judge({"watertight": result.audit}, AuditConfig()) == ("ok", "")


def test_a_slot_is_open_however_narrow() -> None:
    # Two boards with a gap of two voxels between them, closed at one end.
    voxel = 1 / (96 - 2 - 2 * watertight.MARGIN)
    gap = 2 * voxel
    offset = (0.1 + gap) / 2
    boards = [box_mesh((0, s * offset, 0), (1, 0.1, 0.6)) for s in (-1, 1)]
    end = box_mesh((0.45, 0, 0), (0.1, 0.2 + gap, 0.6))
    for turn in (np.eye(3), rotation(3)):
        mesh = join([*boards, end])
        result = close(Mesh(mesh.vertices @ turn.T, mesh.faces))
        within = np.random.default_rng(0).uniform(
            [-0.48, -0.2 * gap, -0.28], [0.35, 0.2 * gap, 0.28], (500, 3)
        )
        assert not contains(result.mesh, (within @ turn.T - result.loc) / result.scale).any()


def test_visible_fraction_of_a_half_space(monkeypatch: pytest.MonkeyPatch) -> None:
    floor = box_mesh((0, -0.5, 0), (1000, 1, 1000))
    turn = np.random.default_rng(0).normal(size=(4000, 3))
    scene = rays.Scene(floor.triangles)
    seen = scene.visible_fraction(np.array([[0, 0.01, 0], [0, -0.5, 0], [0, 2000, 0]]), turn)
    np.testing.assert_allclose(seen, [0.5, 0.0, 0.95], atol=0.05)
    monkeypatch.setattr(rays, "RAYS", 5000)  # one place at a time
    places = np.array([[0, 0.01, 0], [0, -0.5, 0], [0, 2000, 0]])
    assert np.array_equal(scene.visible_fraction(places, turn), seen)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "solid", "resolution", "least"),
    [
        # Walls of at least two and a half voxels.
        *((f"cup of depth {depth}", deep_cup(depth), 64 + 32 * depth, 0.99) for depth in range(1, 7)),
        ("niche of depth 1", niche(1.0), 128, 0.99),
        ("niche of depth 3", niche(3.0), 128, 0.99),
        ("niche of depth 6", niche(6.0), 256, 0.99),
        ("vase", vase(), 128, 0.99),
        ("pot with a closed lid", pot()[1], 128, 0.99),
        ("drawers behind slits", drawers(), 128, 0.99),
        ("cage of two-voxel bars", cage(), 256, 0.98),
    ],
)
def test_cavities_are_open_or_solid(name: str, solid: Solid, resolution: int, least: float) -> None:
    turned = solid.rotated(rotation(len(name)))
    config = FLOOD.model_copy(update={"resolution": resolution})
    result = close(shapenet_like(turned.mesh, np.random.default_rng(0)), config)
    assert overlap(turned, result) >= least
    assert result.audit["ragged"] == 0.0
    assert result.audit["self_intersecting"] == 0
    assert judge({"watertight": result.audit}, AuditConfig()) == ("ok", "")


def test_carving_into_a_deep_cup_is_ragged_and_fails() -> None:
    solid = deep_cup(6, wall=0.2).rotated(rotation(1))
    carved = close(solid.mesh, COARSE.model_copy(update={"method": "carving"}))
    status, reason = judge({"watertight": carved.audit}, AuditConfig())
    assert status == "failed"
    assert "far from the input, above audit.ragged 0.01" in reason
    assert overlap(solid, carved) < 0.8
    flooded = close(solid.mesh)
    assert judge({"watertight": flooded.audit}, AuditConfig()) == ("ok", "")
    assert overlap(solid, flooded) > 0.98


def test_what_nothing_joins_to_the_outside_is_solid() -> None:
    shell = join([sphere(3, 0.5).mesh, sphere(3, 0.4).mesh, box_mesh((0, 0, 0), (0.2, 0.2, 0.2))])
    result = close(shell)
    assert contains(result.mesh, np.array([[0.0, 0, 0], [0.3, 0, 0], [0.45, 0, 0]])).all()
    assert result.audit["gaps_closed"] == 0


def test_unit_frame_of_the_gap() -> None:
    mesh = box_with_a_hole(0.02)
    large = Mesh(mesh.vertices * 700 + 30, mesh.faces)
    one, two = close(mesh), close(large)
    assert two.audit["widest_gap"] == pytest.approx(one.audit["widest_gap"], rel=1e-6)
    assert unit_cube(large)[2] == pytest.approx(700)
