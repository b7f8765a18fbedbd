"""Intersecting faces against a slow reference, and the corrections of closed meshes."""

from __future__ import annotations

import numpy as np
import pytest

from occnet_lib.geometry import intersections
from occnet_lib.geometry import untangle as untangling
from occnet_lib.geometry.intersections import intersecting_pairs, self_intersecting
from occnet_lib.geometry.repair import (
    MERGE_DISTANCE,
    check_watertight,
    coincident_labels,
    make_manifold,
    merge_vertices,
)
from occnet_lib.geometry.untangle import separate_vertices, untangle
from occnet_lib.types import Mesh
from tests.support.geometry_solids import box_mesh, chair, join, rotation, sphere

VOXEL = 0.02


def crossing(s: np.ndarray, t: np.ndarray) -> bool:
    """Whether an edge of one triangle passes through the other, by solving for the point."""
    for a, b in ((s, t), (t, s)):
        for k in range(3):
            p, q = a[k], a[(k + 1) % 3]
            matrix = np.stack([b[1] - b[0], b[2] - b[0], p - q], axis=1)
            if abs(np.linalg.det(matrix)) < 1e-12:
                continue
            u, v, w = np.linalg.solve(matrix, p - b[0])
            if u > 0 and v > 0 and u + v < 1 and 0 < w < 1:
                return True
    return False


@pytest.mark.parametrize("scale", [0.05, 0.3, 1.0])
def test_pairs_of_random_triangles_agree_with_a_slow_reference(scale: float) -> None:
    rng = np.random.default_rng(int(100 * scale))
    corners = rng.uniform(size=(90, 1, 3)) + scale * rng.normal(size=(90, 3, 3))
    corners[::9] = corners[::9, :1] + 10 * (corners[::9] - corners[::9, :1])  # some large ones
    mesh = Mesh(corners.reshape(-1, 3), np.arange(270, dtype=np.int32).reshape(-1, 3))
    expected = [(i, j) for i in range(90) for j in range(i + 1, 90) if crossing(corners[i], corners[j])]
    assert intersecting_pairs(mesh).tolist() == [list(pair) for pair in expected]
    assert len(expected) > 5
    assert self_intersecting(mesh).sum() == len(np.unique(expected))


def test_cells_do_not_fill_memory_where_faces_are_tiny_and_far_apart() -> None:
    grains = [box_mesh((x, y, z), (0.001, 0.001, 0.001)) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    pair = [box_mesh((0, 0, 0), (0.0014, 0.0007, 0.0007)), *grains]
    mesh = join(pair)
    triangles = mesh.triangles
    _, last = intersections._cells(triangles.min(axis=1), triangles.max(axis=1))
    assert (last.max(axis=0) + 1).prod() <= 64 * len(mesh.faces) + 1_000_000
    near = intersecting_pairs(join(pair[:2]))
    assert len(near) > 4
    assert np.array_equal(intersecting_pairs(mesh), near)


@pytest.mark.parametrize(
    ("second", "meet"),
    [
        ([[0, 0, 0], [1, 0, 0], [0, -1, 0]], False),  # an edge in common
        ([[0, 0, 0], [1, 0, 0], [0.3, 0.3, 0]], True),  # folded onto the first
        ([[0, 0, 0], [1, 0, 0], [0, 0, 1]], False),  # upright on an edge
        ([[0, 0, 0], [-1, 0, 0], [0, -1, 0]], False),  # a corner in common
        ([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, -0.5]], True),  # a corner in common, through the face
        ([[0, 0, 0], [0.5, 0.2, 0], [0.2, 0.5, 0]], True),  # a corner in common, in its plane
        ([[0.2, 0.2, 0], [0.2, 0.2, 1], [0.3, 0.3, 1]], False),  # touches with its tip
        ([[0.2, 0.2, -0.1], [0.2, 0.2, 1], [0.3, 0.3, 1]], True),
        ([[0.1, 0.1, 0], [0.3, 0.1, 0], [0.1, 0.3, 0]], True),  # within the first
        ([[0.1, 0.1, 0.01], [0.3, 0.1, 0.01], [0.1, 0.3, 0.01]], False),  # above it
        ([[0.5, -1, 0], [0.5, 0, 0], [1, -1, 0]], False),  # touches an edge with a corner, in the plane
        ([[0, 0, 0], [0, 1, 0], [1, 0, 0]], True),  # the same, turned
    ],
)
def test_pairs_that_touch(second: list[list[float]], meet: bool) -> None:
    first = [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    for turn in (np.eye(3), rotation(1)):
        both = np.array([*first, *second], dtype=np.float64)
        vertices, inverse = np.unique(both, axis=0, return_inverse=True)
        mesh = Mesh(vertices @ turn.T, inverse.reshape(2, 3).astype(np.int32))
        assert len(intersecting_pairs(mesh)) == meet


def test_solids_do_not_intersect_themselves_and_parts_do() -> None:
    assert not self_intersecting(sphere(4).mesh).any()
    assert not self_intersecting(box_mesh((0, 0, 0), (1, 2, 3))).any()
    assert self_intersecting(chair().mesh).sum() >= 10  # legs that run into the seat
    assert not self_intersecting(Mesh(np.zeros((3, 3)), np.zeros((0, 3), dtype=np.int32))).any()


def test_parts_that_touch_stay_closed_when_equal_vertices_are_merged() -> None:
    import trimesh

    # Two cubes on one edge, and a third one on a corner.
    touching = join([box_mesh(c, (1, 1, 1)) for c in ((0, 0, 0), (1, 1, 0), (-1, 1, -1))])
    mesh = make_manifold(merge_vertices(touching))
    assert check_watertight(mesh).closed
    assert not check_watertight(merge_vertices(mesh)).closed
    parted = separate_vertices(mesh, VOXEL)
    assert check_watertight(merge_vertices(parted)).closed
    assert trimesh.Trimesh(parted.vertices, parted.faces).is_watertight
    assert not self_intersecting(parted).any()
    assert np.abs(parted.vertices - mesh.vertices).max() <= 0.05 * VOXEL
    assert check_watertight(parted).volume == pytest.approx(3.0, rel=1e-3)
    assert np.array_equal(parted.vertices, parted.vertices.astype(np.float32))


def test_tangled_vertices_are_smoothed_and_others_stay() -> None:
    ball = sphere(5)
    rng = np.random.default_rng(0)
    some = rng.choice(len(ball.mesh.vertices), 24, replace=False)
    vertices = ball.mesh.vertices.copy()
    vertices[some] += 4 * VOXEL * rng.normal(size=(24, 3))
    mesh = separate_vertices(Mesh(vertices, ball.mesh.faces), VOXEL)
    assert self_intersecting(mesh).sum() > 10
    fixed, left = untangle(mesh, VOXEL)
    assert left == 0
    assert not self_intersecting(fixed).any()
    assert check_watertight(fixed).closed
    moved = (fixed.vertices != mesh.vertices).any(axis=1)
    assert moved.mean() < 0.1
    assert np.abs(np.linalg.norm(fixed.vertices, axis=1) - 0.5).max() < 12 * VOXEL


def test_faces_near_moved_ones_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    ball = sphere(4).mesh
    rng = np.random.default_rng(1)
    mesh = separate_vertices(
        Mesh(ball.vertices + VOXEL * rng.normal(size=ball.vertices.shape), ball.faces), VOXEL
    )
    one, left = untangle(mesh, VOXEL)
    monkeypatch.setattr(untangling, "CELLS", 1)  # all faces are near
    other, also_left = untangle(mesh, VOXEL)
    assert left == also_left
    assert np.array_equal(one.vertices, other.vertices)


def test_vertices_that_strays_crowd_into_one_place_are_merged_in_little_memory() -> None:
    rng = np.random.default_rng(0)
    crowd = rng.normal(size=(30_000, 3)) * 0.05 * MERGE_DISTANCE
    strays = np.array([[0.5, 0, 0], [-0.5, 0, 0], [0, 0.5, 0]])
    number = coincident_labels(np.concatenate([crowd, strays]))
    assert len(np.unique(number[:-3])) == 1
    assert len(np.unique(number)) == 4


def test_what_cannot_be_untangled_is_counted() -> None:
    two = separate_vertices(
        join([box_mesh((0, 0, 0), (1, 1, 1)), box_mesh((0.5, 0.4, 0.3), (1, 1, 1))]), VOXEL
    )
    result, left = untangle(two, VOXEL)
    assert left == self_intersecting(result).sum() > 0
