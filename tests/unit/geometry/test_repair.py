"""Watertightness, parting, simplification, specks, forced repair, isosurfaces."""

from __future__ import annotations

import numpy as np
import pytest

from occnet_lib.geometry.components import label_faces
from occnet_lib.geometry.repair import check_watertight, make_manifold, repair
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
