"""Any mesh as a solid: joined, wound outward, or the reason why it bounds none."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from occnet_lib.geometry.orientation import orient_outward
from occnet_lib.geometry.repair import check_watertight
from occnet_lib.types import Mesh

BALL = trimesh.creation.icosphere(3)
FACES = np.asarray(BALL.faces, dtype=np.int32)


def ball(radius: float = 1.0, at: float = 0.0, inward: bool = False) -> Mesh:
    return Mesh(BALL.vertices * radius + at, FACES[:, ::-1] if inward else FACES)


def together(*meshes: Mesh) -> Mesh:
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    faces = [mesh.faces + start for mesh, start in zip(meshes, starts, strict=False)]
    return Mesh(np.concatenate([mesh.vertices for mesh in meshes]), np.concatenate(faces).astype(np.int32))


def soup(mesh: Mesh) -> Mesh:
    return Mesh(mesh.triangles.reshape(-1, 3), np.arange(3 * len(mesh.faces), dtype=np.int32).reshape(-1, 3))


def test_an_outward_mesh_stays_as_it_is():
    solid = orient_outward(ball())
    assert (solid.defect, solid.flipped, solid.note) == ("", 0, "")
    assert np.array_equal(solid.mesh.faces, FACES)


@pytest.mark.parametrize("fraction", [0.3, 1.0])
def test_faces_that_point_inward_are_turned(fraction):
    turned = np.random.default_rng(0).random(len(FACES)) < fraction
    faces = np.where(turned[:, None], FACES[:, ::-1], FACES)
    solid = orient_outward(soup(Mesh(BALL.vertices + 5.0, faces)))
    assert solid.flipped == turned.sum()
    assert check_watertight(solid.mesh).closed
    assert solid.mesh.volume == pytest.approx(BALL.volume)
    assert "point inward" in solid.note


def test_a_hollow_stays_inward_and_an_inward_piece_is_turned():
    solid = orient_outward(together(ball(2.0), ball(1.0, inward=True), ball(1.0, at=9.0, inward=True)))
    assert solid.flipped == len(FACES)
    assert solid.mesh.volume == pytest.approx(8 * BALL.volume)  # 2³ - 1 + 1


def test_pieces_that_touch_along_an_edge_are_closed():
    box = trimesh.creation.box()
    one = Mesh(box.vertices, np.asarray(box.faces, np.int32))
    two = Mesh(box.vertices + np.array([1.0, 1.0, 0.0]), np.asarray(box.faces, np.int32))
    solid = orient_outward(soup(together(one, two)))
    assert solid.note == ""
    assert check_watertight(solid.mesh).closed


def test_what_bounds_no_solid_says_why():
    assert orient_outward(Mesh(BALL.vertices, FACES[1:])).note == "is not closed (3 edges of one face)"
    fin = np.concatenate([FACES, [[*FACES[0, :2], FACES[-1, 2]]]]).astype(np.int32)
    assert "of three or more" in orient_outward(Mesh(BALL.vertices, fin)).defect
    # The projective plane with six vertices.
    plane = ["012", "023", "034", "045", "051", "124", "235", "341", "452", "513"]
    faces = np.array([[int(corner) for corner in face] for face in plane], np.int32)
    corners = np.random.default_rng(0).random((6, 3))
    assert "no common outside" in orient_outward(Mesh(corners, faces)).defect
    doubled = Mesh(BALL.vertices, np.concatenate([FACES, FACES[:, ::-1]]))
    assert (
        "back to back" in orient_outward(doubled).defect
    )  # as exports for viewers that cull back faces have them
    assert "no faces" in orient_outward(Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int32))).defect
