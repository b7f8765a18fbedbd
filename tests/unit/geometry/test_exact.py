"""Inputs that bound a solid already are kept; everything else is rebuilt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from occnet_lib.config import WatertightConfig as Config
from occnet_lib.geometry.exact import exact_solid
from occnet_lib.geometry.intersections import self_intersecting
from occnet_lib.geometry.normalise import unit_cube
from occnet_lib.geometry.occupancy import contains
from occnet_lib.geometry.repair import check_watertight
from occnet_lib.stages import watertight
from occnet_lib.types import Mesh
from tests.support.geometry_solids import (
    Solid,
    bored_block,
    box_mesh,
    boxes,
    chair,
    cup,
    join,
    pot,
    rotation,
    shapenet_like,
    sphere,
    torus,
)

COARSE = Config(resolution=64)


def close(mesh: Mesh) -> watertight.Watertight:
    return watertight.run(mesh, COARSE, np.random.default_rng(0))


def inward(mesh: Mesh) -> Mesh:
    return Mesh(mesh.vertices, mesh.faces[:, ::-1])


def disagreement(solid: Solid, result: watertight.Watertight) -> float:
    points = np.random.default_rng(0).uniform(-0.55, 0.55, (200_000, 3))
    return float((solid.inside(points * result.scale + result.loc) != contains(result.mesh, points)).mean())


@pytest.mark.parametrize(
    "solid", [cup(), bored_block(), torus(), Solid(box_mesh((0, 0, 0), (1, 1e-4, 1)), lambda p: p[:, 0] > 9)]
)
def test_a_closed_body_keeps_its_faces(solid: Solid) -> None:
    mesh = Mesh(solid.mesh.vertices * 3 + 5, solid.mesh.faces)
    result = close(mesh)
    assert result.audit["method"] == "exact"
    assert result.audit["input_defect"] == ""
    assert result.audit["faces_out"] == len(mesh.faces)
    unit = unit_cube(mesh)[0]
    kept = {tuple(np.sort(t.ravel())) for t in result.mesh.triangles}
    assert kept == {tuple(np.sort(t.ravel())) for t in unit.triangles.astype(np.float32).astype(np.float64)}
    points = np.random.default_rng(0).uniform(-0.55, 0.55, (50_000, 3))
    assert np.array_equal(contains(result.mesh, points), contains(unit, points))


@pytest.mark.parametrize(
    ("solid", "bodies"), [(chair(), 6), (chair().rotated(rotation(1)), 6), (pot()[0].rotated(rotation(2)), 2)]
)
def test_several_bodies_are_united(solid: Solid, bodies: int) -> None:
    result = close(solid.mesh)
    assert (result.audit["method"], result.audit["bodies"]) == ("exact", bodies)
    assert disagreement(solid, result) < 1e-4  # the pot is a polygon, not a circle
    assert check_watertight(result.mesh).closed
    assert not self_intersecting(result.mesh).any()


def test_cavities_and_bodies_within_them_are_kept() -> None:
    shells = [sphere(3, radius) for radius in (0.5, 0.4, 0.3, 0.2)]
    mesh = join([shells[0].mesh, inward(shells[1].mesh), shells[2].mesh, inward(shells[3].mesh)])
    for whole in (mesh, inward(mesh)):
        result = close(whole)
        assert result.audit["method"] == "exact"
        place = np.array([[0.45, 0, 0], [0.35, 0, 0], [0.25, 0, 0], [0.1, 0, 0]])
        assert contains(result.mesh, place).tolist() == [True, False, True, False]


def test_every_cavity_of_a_foam_is_kept() -> None:
    places = np.stack(np.meshgrid(*[np.arange(5) / 5 - 0.4] * 3), axis=-1).reshape(-1, 3)
    pores = [inward(box_mesh(place, (0.1, 0.1, 0.1))) for place in places]
    pebbles = [box_mesh(place, (0.05, 0.05, 0.05)) for place in places[::2]]
    result = close(join([*pores[:60], box_mesh((0, 0, 0), (1, 1, 1)), *pebbles, *pores[60:]]))
    assert (result.audit["method"], result.audit["bodies"]) == ("exact", 1 + len(pebbles))
    expected = 1 - len(pores) * 0.1**3 + len(pebbles) * 0.05**3
    assert result.audit["volume"] == pytest.approx(expected, rel=1e-6)


def test_a_body_wound_inward_that_touches_another_one_is_not_its_cavity() -> None:
    # The tip of a small box, turned over, is in a face of the large one.
    tip = Mesh(
        box_mesh((0, 0, 0), (0.2, 0.2, 0.2)).vertices @ rotation(5).T, box_mesh((0, 0, 0), (1, 1, 1)).faces
    )
    tip = Mesh(tip.vertices + np.array([0.5 - tip.vertices[:, 0].min(), 0, 0]), tip.faces)
    for first in range(8):  # whichever vertex is the first
        order = np.roll(np.arange(8), first)
        small = Mesh(tip.vertices[order], np.argsort(order)[tip.faces].astype(np.int32))
        mesh = join([box_mesh((0, 0, 0), (1, 1, 1)), inward(small)])
        assert exact_solid(unit_cube(mesh)[0]).defect == "parts wound inward"


def test_a_cavity_that_leaves_its_body_at_one_of_its_edge_loops_is_rebuilt() -> None:
    # Its faces end in the plane of the body's face, so that none of them passes through it.
    loops = [
        (x, y, z) for x in (0.1, 0.5, 0.8) for y, z in ((-0.1, -0.1), (0.1, -0.1), (0.1, 0.1), (-0.1, 0.1))
    ]
    faces = [(0, 2, 1), (0, 3, 2), (8, 9, 10), (8, 10, 11)]
    for loop in (0, 4):
        for a, b in ((0, 1), (1, 2), (2, 3), (3, 0)):
            faces += [(loop + a, loop + b, loop + b + 4), (loop + a, loop + b + 4, loop + a + 4)]
    tube = Mesh(np.array(loops), np.array(faces, dtype=np.int32))
    assert check_watertight(tube).closed
    solid = exact_solid(unit_cube(join([box_mesh((0, 0, 0), (1, 1, 1)), inward(tube)]))[0])
    assert solid.defect == "parts wound inward"


def test_a_body_within_another_one_is_swallowed() -> None:
    result = close(join([sphere(3, 0.5).mesh, box_mesh((0, 0, 0), (0.2, 0.2, 0.2))]))
    assert result.audit["method"] == "exact"
    assert check_watertight(result.mesh).euler == 2
    assert contains(result.mesh, np.zeros((1, 3))).all()


def test_bodies_that_touch_stay_closed_for_every_reader() -> None:
    import trimesh

    for offset in ((1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 0.5, 0)):  # a face, an edge, a corner, half a face
        result = close(join([box_mesh((0, 0, 0), (1, 1, 1)), box_mesh(offset, (1, 1, 1))]))
        assert result.audit["method"] == "exact"
        assert trimesh.Trimesh(result.mesh.vertices, result.mesh.faces).is_watertight
        assert result.audit["volume"] * result.scale**3 == pytest.approx(2.0, rel=1e-3)


def pierced() -> Mesh:
    """A sphere with one vertex pushed out through the other side."""
    ball = sphere(3).mesh
    vertices = ball.vertices.copy()
    vertices[0] *= -1.5
    return Mesh(vertices, ball.faces)


@pytest.mark.parametrize(
    ("mesh", "defect"),
    [
        (Mesh(sphere(2).mesh.vertices, sphere(2).mesh.faces[1:]), "open edges"),
        (shapenet_like(sphere(2).mesh, np.random.default_rng(0)), "inconsistent winding"),
        (join([sphere(2).mesh, sphere(2).mesh]), "self-intersecting faces"),
        (pierced(), "self-intersecting faces"),
        (join([sphere(2).mesh, inward(box_mesh((2, 0, 0), (1, 1, 1)))]), "parts wound inward"),
        (
            join([sphere(2).mesh, inward(box_mesh((0.45, 0, 0), (0.3, 0.3, 0.3)))]),
            "cavities that reach through a surface",
        ),
        (
            join([sphere(2).mesh, inward(sphere(2, 0.4).mesh), inward(sphere(2, 0.2).mesh)]),
            "cavities within cavities",
        ),
        (
            join(
                [
                    sphere(2).mesh,
                    *(inward(box_mesh((x, 0.3 * x, 0), (0.3, 0.3, 0.3))) for x in (-0.1, 0.1)),
                    box_mesh((2, 0, 0), (1, 1, 1)),
                ]
            ),
            "cavities that cross",
        ),
        (join([sphere(2).mesh, box_mesh((2, 0, 0), (1, 0, 1))]), "edges of more than two faces"),
    ],
)
def test_what_does_not_bound_a_solid_is_rebuilt(mesh: Mesh, defect: str) -> None:
    solid = exact_solid(unit_cube(mesh)[0])
    assert solid.mesh is None
    assert solid.defect == defect
    result = close(mesh)
    assert result.audit["method"] == "flood_fill"
    assert result.audit["input_defect"] == defect
    assert check_watertight(result.mesh).closed


def test_a_flipped_face_is_inconsistent() -> None:
    ball = sphere(2).mesh
    faces = ball.faces.copy()
    faces[3] = faces[3][::-1]
    assert exact_solid(Mesh(ball.vertices, faces)).defect == "inconsistent winding"


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".stl", ".glb"])
def test_files_are_watertight_for_a_reader_that_merges_vertices(tmp_path: Path, suffix: str) -> None:
    import trimesh

    from occnet_lib.cli import main
    from occnet_lib.storage.meshes.write import save_mesh

    config = tmp_path / "config.yaml"
    config.write_text("watertight: {resolution: 64}\n")
    # Two boxes that touch at an edge, as a body and as a soup, off the origin.
    solid = boxes([((3, 3, 3), (1, 1, 1)), ((4, 4, 3), (1, 1, 1))])
    for name, mesh in (("body", solid.mesh), ("soup", shapenet_like(solid.mesh, np.random.default_rng(0)))):
        save_mesh(mesh, tmp_path / f"{name}.obj")
        out = tmp_path / f"{name}-closed{suffix}"
        assert (
            main(["watertight", str(tmp_path / f"{name}.obj"), "--config", str(config), "-o", str(out)]) == 0
        )
        loaded = trimesh.load(out)
        parts = loaded.geometry.values() if isinstance(loaded, trimesh.Scene) else [loaded]
        assert all(part.is_watertight for part in parts)
        assert sum(part.volume for part in parts) == pytest.approx(2.0, rel=0.01)
