"""Watertightness, parting, simplification, specks, forced repair, isosurfaces."""

from __future__ import annotations

import numpy as np
import pytest

from occnet_lib.errors import MeshError
from occnet_lib.geometry.components import label_faces, remove_small_components
from occnet_lib.geometry.grid import Grid, grid_around
from occnet_lib.geometry.isosurface import isosurface
from occnet_lib.geometry.occupancy import contains, surface_distance
from occnet_lib.geometry.repair import check_watertight, make_manifold, repair
from occnet_lib.geometry.sampling import sample_surface
from occnet_lib.geometry.simplify import simplify, simplify_within
from occnet_lib.types import Mesh
from tests.support.geometry_solids import bored_block, box_mesh, join, sphere, torus


def welded(mesh: Mesh) -> Mesh:
    """Vertices at one place made one."""
    vertices, number = np.unique(mesh.vertices.round(9), axis=0, return_inverse=True)
    return Mesh(vertices, number.reshape(-1)[mesh.faces].astype(np.int32))


def test_check_watertight_of_closed_solids() -> None:
    for mesh, euler, volume in (
        (box_mesh((3, 0, 0), (1, 2, 3)), 2, 6.0),
        (sphere(4).mesh, 2, 4 / 3 * np.pi * 0.125),
        (torus().mesh, 0, 2 * np.pi**2 * 0.375 * 0.125**2),
        (bored_block().mesh, 0, 0.4 * (0.6 - np.pi * 0.04)),
    ):
        sound = check_watertight(mesh)
        assert sound.closed
        assert (sound.boundary_edges, sound.nonmanifold_edges, sound.flipped_edges) == (0, 0, 0)
        assert sound.euler == euler
        assert sound.volume == pytest.approx(volume, rel=5e-3)


def test_check_watertight_finds_every_fault() -> None:
    box = box_mesh((0, 0, 0), (1, 1, 1))
    assert check_watertight(Mesh(box.vertices, box.faces[1:])).boundary_edges == 3
    inward = check_watertight(Mesh(box.vertices, box.faces[:, ::-1]))
    assert inward.flipped_edges == 0
    assert inward.volume == pytest.approx(-1.0)
    assert not inward.closed
    turned = box.faces.copy()
    turned[0] = turned[0, ::-1]
    assert check_watertight(Mesh(box.vertices, turned)).flipped_edges == 3
    two = welded(join([box, box_mesh((1, 1, 0), (1, 1, 1))]))
    assert check_watertight(two).nonmanifold_edges == 1
    assert not check_watertight(two).closed
    assert check_watertight(Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int32))).boundary_edges == 0


def test_boxes_that_touch_along_an_edge_are_parted() -> None:
    two = welded(join([box_mesh((0, 0, 0), (1, 1, 1)), box_mesh((1, 1, 0), (1, 1, 1))]))
    parted = make_manifold(two)
    assert check_watertight(parted).closed
    assert label_faces(parted)[0] == 2  # the wedges of inside stay whole
    assert len(parted.vertices) == 16
    assert parted.volume == pytest.approx(2.0)
    np.testing.assert_array_equal(
        np.sort(parted.triangles.reshape(-1, 9), axis=0), np.sort(two.triangles.reshape(-1, 9), axis=0)
    )


def test_boxes_that_touch_at_a_corner_are_parted() -> None:
    two = welded(join([box_mesh((0, 0, 0), (1, 1, 1)), box_mesh((1, 1, 1), (1, 1, 1))]))
    assert check_watertight(two).euler == 3
    assert check_watertight(make_manifold(two)).euler == 4


def test_fins_are_removed() -> None:
    box = box_mesh((0, 0, 0), (1, 1, 1))
    vertices = np.concatenate([box.vertices, [[2.0, 0, 0]]])
    fin = np.array([[4, 6, 8], [6, 4, 8], [3, 3, 8], [8, 3, 8]], dtype=np.int32)
    finned = Mesh(vertices, np.concatenate([box.faces, fin]))
    assert check_watertight(finned).nonmanifold_edges > 0
    plain = make_manifold(finned)
    assert check_watertight(plain).closed
    assert len(plain.faces) == 12
    assert len(plain.vertices) == 8


def test_double_edges_are_parted() -> None:
    # A ring of four boxes around a line, each touching the next along an edge of the line's direction, closed to
    # one piece far away: the two vertices of the line have one fan each although four faces meet between them.
    blocks = [(0, 0, 0), (1, 1, 0), (1, 0, 1), (0, 0, 1), (0, 1, 1), (0, 0, -1), (1, 1, 1)]
    solid = np.zeros((4, 4, 5), dtype=bool)
    for x, y, z in blocks:
        solid[1 + x, 1 + y, 2 + z] = True
    quads = voxel_faces(solid)
    mesh = welded(quads)
    assert check_watertight(mesh).nonmanifold_edges > 0
    parted = make_manifold(mesh)
    assert check_watertight(parted).closed
    assert parted.volume == pytest.approx(len(blocks))


def voxel_faces(solid: np.ndarray) -> Mesh:
    """The boundary of voxels, two triangles a face."""
    unit = box_mesh((0.5, 0.5, 0.5), (1, 1, 1))
    outward = [(-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1)]
    parts = []
    for cell in np.argwhere(solid):
        for side, step in enumerate(outward):
            if not solid[tuple(cell + step)]:
                parts.append(Mesh(unit.vertices + cell, unit.faces[2 * side : 2 * side + 2]))
    return join(parts)


@pytest.mark.parametrize("seed", range(8))
def test_random_voxels_become_closed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    solid = np.zeros((7, 7, 7), dtype=bool)
    solid[1:-1, 1:-1, 1:-1] = rng.random((5, 5, 5)) < 0.45
    mesh = welded(voxel_faces(solid))
    assert check_watertight(mesh).nonmanifold_edges > 0
    parted = make_manifold(mesh)
    sound = check_watertight(parted)
    assert sound.closed
    assert sound.euler % 2 == 0
    assert sound.volume == pytest.approx(solid.sum())


def test_simplified_planes_stay_exact_and_closed() -> None:
    block = bored_block()
    grid = grid_around(block.mesh.vertices.min(0), block.mesh.vertices.max(0), 64, 3)
    axes = [grid.origin[a] + grid.step * np.arange(grid.shape[a]) for a in range(3)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    distance = surface_distance(block.mesh, points) * np.where(block.inside(points), -1, 1)
    dense = isosurface(distance.reshape(grid.shape).astype(np.float32), grid, unit=grid.step)
    simple = simplify(dense, 2000)
    assert len(dense.faces) > 15_000
    assert 1900 <= len(simple.faces) <= 2000
    assert check_watertight(simple).closed
    samples = sample_surface(dense, 5000, np.random.default_rng(0))[0]
    assert surface_distance(simple, samples).mean() < 0.01 * grid.step


@pytest.mark.parametrize("error", [3e-4, 3e-3, 0.03])
def test_simplified_within_an_error_is_closed_and_nowhere_further_off(error: float) -> None:
    for mesh in (sphere(5).mesh, bored_block().mesh):
        simple = simplify_within(mesh, error)
        assert check_watertight(simple).closed
        rng = np.random.default_rng(0)
        for of, to in ((simple, mesh), (mesh, simple)):
            samples = np.concatenate([sample_surface(of, 20_000, rng)[0], of.vertices])
            assert surface_distance(to, samples).max() < error


def test_simplified_within_an_error_an_open_mesh_keeps_its_border() -> None:
    ball = sphere(4).mesh
    half = Mesh(ball.vertices, ball.faces[(ball.vertices[ball.faces, 2] >= 0).all(1)])
    simple = simplify_within(half, 0.01)
    assert len(simple.faces) < 0.5 * len(half.faces)
    samples = sample_surface(half, 20_000, np.random.default_rng(0))[0]
    assert surface_distance(simple, samples).max() < 0.01


def test_a_larger_error_leaves_fewer_faces() -> None:
    ball = sphere(5).mesh
    counts = [len(simplify_within(ball, error).faces) for error in (1e-6, 1e-4, 1e-3, 1e-2)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == len(ball.faces)
    assert 100 < counts[-1] < 0.1 * len(ball.faces)
    empty = Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int32))
    assert simplify_within(empty, 0.1) is empty


def test_simplify_leaves_small_meshes_alone() -> None:
    ball = sphere(2).mesh
    assert simplify(ball, len(ball.faces)) is ball


def turned_inside_out(mesh: Mesh) -> Mesh:
    return Mesh(mesh.vertices, mesh.faces[:, ::-1])


def test_small_pieces_are_removed() -> None:
    big, speck = box_mesh((0, 0, 0), (1, 1, 1)), box_mesh((2, 0, 0), (0.01, 0.01, 0.01))
    clean, removed, filled = remove_small_components(join([speck, big]), 1e-5)
    assert (removed, filled) == (1, 0)
    assert check_watertight(clean).volume == pytest.approx(1.0)
    assert len(clean.vertices) == 8
    same, removed, filled = remove_small_components(join([speck, big]), 1e-7)
    assert (removed, filled) == (0, 0)
    assert len(same.faces) == 24


def test_hollows_are_filled_with_what_is_in_them() -> None:
    body, beside = box_mesh((0, 0, 0), (1, 1, 1)), box_mesh((1, 0, 0), (0.3, 0.3, 0.3))
    hollow = turned_inside_out(box_mesh((0.1, 0, 0), (0.6, 0.6, 0.6)))
    within, pocket = box_mesh((0.2, 0, 0), (0.2, 0.2, 0.2)), box_mesh((0.2, 0, 0), (0.05, 0.05, 0.05))
    clean, removed, filled = remove_small_components(
        join([within, turned_inside_out(pocket), body, hollow, pocket, beside]), 1e-6
    )
    assert (removed, filled) == (0, 2)
    assert label_faces(clean)[0] == 2
    assert check_watertight(clean).volume == pytest.approx(1.0 + 0.027)
    places = np.array([[0.2, 0, 0], [0.3, 0.2, 0.2], [0.45, 0, 0], [1, 0, 0]])
    assert contains(clean, places).all()


def test_compact_keeps_the_triangles() -> None:
    box = box_mesh((0, 0, 0), (1, 1, 1))
    loose = Mesh(np.concatenate([np.full((3, 3), 9.0), box.vertices]), box.faces[:4] + 3)
    np.testing.assert_array_equal(loose.compact().triangles, loose.triangles)
    assert loose.compact().vertices.max() == 0.5


def test_repair_closes_a_hole() -> None:
    ball = sphere(3).mesh
    holed = Mesh(ball.vertices, ball.faces[5:])
    assert not check_watertight(holed).closed
    fixed = repair(holed)
    assert check_watertight(fixed).closed
    assert check_watertight(fixed).volume == pytest.approx(check_watertight(ball).volume, rel=0.01)


def test_isosurface_closes_at_the_border_and_points_outward() -> None:
    grid = Grid(np.array([-1.0, -1.0, -1.0]), 0.1, (21, 21, 21))
    axis = -1 + 0.1 * np.arange(21)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    ball = isosurface((np.sqrt(x**2 + y**2 + z**2) - 0.73).astype(np.float32), grid, unit=0.1)
    np.testing.assert_allclose(np.linalg.norm(ball.vertices, axis=1), 0.73, atol=2e-3)
    assert check_watertight(ball).closed
    cut = isosurface((x - 0.25).astype(np.float32), grid, unit=0.1)
    assert check_watertight(cut).closed
    assert cut.vertices[:, 0].max() == pytest.approx(0.25, abs=1e-6)
    assert cut.vertices[:, 1:].min() < -1.0


def test_isosurface_of_zeros_at_samples_is_manifold() -> None:
    grid = Grid(np.zeros(3), 1.0, (12, 12, 12))
    rng = np.random.default_rng(0)
    field = rng.choice([-1.0, 0.0, 1e-9, -1e-9, 1.0], size=grid.shape).astype(np.float32)
    mesh = isosurface(field, grid)
    sound = check_watertight(mesh)
    assert (sound.boundary_edges, sound.flipped_edges) == (0, 0)
    assert len(np.unique(mesh.vertices, axis=0)) == len(mesh.vertices)


def test_isosurface_of_no_inside() -> None:
    with pytest.raises(MeshError, match="no inside"):
        isosurface(np.ones((4, 4, 4), dtype=np.float32), Grid(np.zeros(3), 1.0, (4, 4, 4)))


def test_grid_holds_the_box_with_its_margin() -> None:
    low, high = np.array([0.0, 0.0, -1.0]), np.array([1.0, 0.3, 1.0])
    grid = grid_around(low, high, 65, 4)
    assert max(grid.shape) == 65
    first, last = grid.to_unit(np.zeros(3)), grid.to_unit(np.array(grid.shape) - 1)
    assert (low - first >= 4 * grid.step - 1e-12).all()
    assert (last - high >= 4 * grid.step - 1e-12).all()
    np.testing.assert_allclose(grid.to_index(grid.to_unit(np.array([3.5, 1, 2]))), [3.5, 1, 2])
