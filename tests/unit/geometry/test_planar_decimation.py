"""Half-edges, and decimation of planar regions."""

from __future__ import annotations

import numpy as np
import pytest

from occnet_lib.geometry.grid import grid_around, isosurface
from occnet_lib.geometry.half_edges import after, before, half_edges
from occnet_lib.geometry.occupancy import surface_distance
from occnet_lib.geometry.planar_decimation import decimate_planar
from occnet_lib.geometry.repair import check_watertight, merge_vertices
from occnet_lib.types import Mesh
from tests.support.geometry_solids import bored_block, box_mesh, sphere, torus


def stacked(*meshes: Mesh) -> Mesh:
    """One mesh of several, without a change of their vertices."""
    shift = np.cumsum([0, *(len(m.vertices) for m in meshes[:-1])])
    faces = [m.faces + s for m, s in zip(meshes, shift, strict=True)]
    return Mesh(np.concatenate([m.vertices for m in meshes]), np.concatenate(faces).astype(np.int32))


def box(low: tuple[float, float, float], high: tuple[float, float, float]) -> Mesh:
    """The box between two corners."""
    centre, size = (np.asarray(low) + high) / 2.0, np.asarray(high) - np.asarray(low)
    return box_mesh(centre, size)


def fine_box(low: tuple[float, float, float], high: tuple[float, float, float], splits: int) -> Mesh:
    """A box each of whose faces is divided into four, so many times."""
    import trimesh

    coarse = box(low, high)
    made = trimesh.Trimesh(coarse.vertices, coarse.faces)
    for _ in range(splits):
        made = made.subdivide()
    return merge_vertices(Mesh(np.asarray(made.vertices), np.asarray(made.faces, dtype=np.int32)))


@pytest.mark.parametrize("mesh", [sphere(2).mesh, torus().mesh, box_mesh((0, 0, 0), (1, 2, 3))])
def test_opposites_are_the_same_edge_in_the_other_direction(mesh: Mesh) -> None:
    edges = half_edges(mesh.faces, len(mesh.vertices))
    assert edges.manifold
    corners, h = mesh.faces.ravel(), np.arange(3 * len(mesh.faces))
    following = h - h % 3 + (h + 1) % 3
    assert (edges.opposite[edges.opposite] == h).all()
    assert (corners[edges.opposite] == corners[following]).all()
    assert (corners[following[edges.opposite]] == corners).all()
    assert [after(n) for n in h[:6]] == list(following[:6])
    assert [before(n) for n in following[:6]] == list(h[:6])
    assert (corners[edges.leaving] == np.arange(len(mesh.vertices))).all()
    assert edges.degree.sum() == 3 * len(mesh.faces)


def test_open_edges_doubled_faces_and_pinched_vertices_are_not_manifold() -> None:
    ball = sphere(1).mesh
    one_less = half_edges(ball.faces[1:], len(ball.vertices))
    assert one_less.unpaired == 3
    assert np.array_equal(np.flatnonzero(one_less.pinched), np.sort(ball.faces[0]))
    flipped = ball.flipped(np.arange(len(ball.faces)) == 0)
    assert half_edges(flipped.faces, len(ball.vertices)).unpaired == 6
    leaf = half_edges(np.array([[0, 1, 2], [2, 1, 0]], dtype=np.int32), 4)
    assert leaf.unpaired == 0
    assert not leaf.manifold
    assert leaf.leaving[3] == -1
    one, two = box((0, 0, 0), (1, 1, 1)), box((1, 1, 1), (2, 2, 2))
    corner = merge_vertices(stacked(one, two))
    edges = half_edges(corner.faces, len(corner.vertices))
    assert edges.unpaired == 0
    assert edges.pinched.sum() == 1
    beam = merge_vertices(stacked(one, box((1, 1, 0), (2, 2, 1))))  # an edge of four faces
    assert half_edges(beam.faces, len(beam.vertices)).unpaired == 4


def test_a_divided_box_keeps_its_edges_and_little_else() -> None:
    fine = fine_box((0, 0, 0), (1, 0.5, 0.25), 5)
    simple = decimate_planar(fine, 1e-6)
    assert len(simple.faces) < 0.15 * len(fine.faces)
    check = check_watertight(simple)
    assert check.closed
    assert check.euler == 2
    assert check.volume == pytest.approx(0.125, abs=1e-12)
    assert {tuple(v) for v in simple.vertices} <= {tuple(v) for v in fine.vertices}
    surface = np.isclose(simple.vertices, 0) | np.isclose(simple.vertices, (1, 0.5, 0.25))
    assert surface.any(axis=1).all()


@pytest.mark.parametrize("tolerance", [1e-3, 4e-3])
def test_curved_surfaces_move_by_less_than_the_tolerance(tolerance: float) -> None:
    ball = sphere(5).mesh
    simple = decimate_planar(ball, tolerance)
    check = check_watertight(simple)
    assert check.closed
    assert check.euler == 2
    assert len(simple.faces) < len(ball.faces)
    assert surface_distance(simple, ball.vertices).max() <= tolerance
    assert len(decimate_planar(ball, 1e-9).faces) == len(ball.faces)


def test_an_isosurface_with_a_bore_keeps_its_topology() -> None:
    block = bored_block()
    grid = grid_around(block.mesh.vertices.min(0), block.mesh.vertices.max(0), 48, 3)
    axes = [grid.origin[a] + grid.step * np.arange(grid.shape[a]) for a in range(3)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    distance = surface_distance(block.mesh, points) * np.where(block.inside(points), -1, 1)
    dense = isosurface(distance.reshape(grid.shape).astype(np.float32), grid, unit=grid.step)
    simple = decimate_planar(dense, 0.01 * grid.step)
    before_, after_ = check_watertight(dense), check_watertight(simple)
    assert len(simple.faces) < 0.5 * len(dense.faces)
    assert after_.closed
    assert after_.euler == before_.euler
    assert surface_distance(simple, dense.vertices).max() < 0.02 * grid.step


def test_borders_and_places_that_are_not_manifold_stay() -> None:
    fine = fine_box((0, 0, 0), (1, 1, 1), 4)
    sheet = Mesh(fine.vertices, fine.faces[(fine.vertices[fine.faces, 2] < 0.5).all(axis=1)])  # open
    simple = decimate_planar(sheet, 1e-6)
    assert check_watertight(simple).boundary_edges == check_watertight(sheet).boundary_edges
    assert len(simple.faces) < 0.5 * len(sheet.faces)
    pair = merge_vertices(stacked(fine_box((0, 0, 0), (1, 1, 1), 3), fine_box((1, 1, 0), (2, 2, 1), 3)))
    simple = decimate_planar(pair, 1e-6)
    assert check_watertight(simple).nonmanifold_edges == check_watertight(pair).nonmanifold_edges == 8
    assert simple.volume == pytest.approx(2.0, abs=1e-12)


def test_a_tetrahedron_stays() -> None:
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1e-9]])
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], dtype=np.int32)
    assert len(decimate_planar(Mesh(vertices, faces), 1.0).faces) == 4
    empty = Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int32))
    assert len(decimate_planar(empty, 1.0).faces) == 0
