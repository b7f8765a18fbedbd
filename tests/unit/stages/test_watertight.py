"""Stage watertight: exact solids come out as they are, soups come out closed."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from occnet_lib.config import WatertightConfig as Config
from occnet_lib.errors import MeshError
from occnet_lib.geometry import untangle
from occnet_lib.geometry.normalise import unit_cube
from occnet_lib.geometry.occupancy import contains, surface_distance
from occnet_lib.geometry.repair import check_watertight
from occnet_lib.seeds import rng as seeded
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
    rods,
    rotation,
    shapenet_like,
    sphere,
    torus,
)

COARSE = Config(method="flood_fill", resolution=96, views=60, image_size=192, max_faces=8000)
FULL = Config(method="flood_fill")


VOXEL = 1 / (96 - 2 - 2 * watertight.MARGIN)  # of COARSE, unit frame


def close(mesh: Mesh, config: Config = COARSE, seed: int = 0) -> watertight.Watertight:
    return watertight.run(mesh, config, np.random.default_rng(seed))


def overlap(solid: Solid, result: watertight.Watertight, samples: int = 100_000) -> float:
    """IoU of the result with the closed form, over points in the padded cube."""
    points = np.random.default_rng(0).uniform(-0.55, 0.55, (samples, 3))
    truth = solid.inside(points * result.scale + result.loc)
    got = contains(result.mesh, points)
    assert truth.sum() > 50
    return float((truth & got).sum() / (truth | got).sum())


def turned_rods(voxels: float, turn: np.ndarray) -> Solid:
    """Rods of a width in voxels of the full resolution; turned, their bounding box is larger, and so are voxels."""
    step = 1 / (Config().resolution - 2 - 2 * watertight.MARGIN)
    edge = np.ptp(rods(voxels * step).mesh.vertices @ turn.T, axis=0).max()
    return rods(voxels * step * edge).rotated(turn)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "solid", "least"),
    [
        ("sphere", sphere(5), 0.999),
        ("chair", chair(), 0.999),
        ("turned chair", chair().rotated(rotation(1)), 0.999),
        ("bored block", bored_block(), 0.999),
        ("turned bored block", bored_block().rotated(rotation(2)), 0.999),
        ("torus", torus(sections=160), 0.99),
        ("cup", cup(), 0.99),
        ("rods of two voxels", rods(2.0 / 244), 0.985),
        ("turned rods of two voxels", turned_rods(2.0, rotation(1)), 0.985),
    ],
)
def test_exact_solids_at_full_resolution(name: str, solid: Solid, least: float) -> None:
    result = close(shapenet_like(solid.mesh, np.random.default_rng(0)), FULL)
    assert overlap(solid, result, 400_000 if "rods" in name else 100_000) >= least
    assert result.audit["surface_error_mean"] <= 6e-4
    assert result.audit["input_error_mean"] <= 6e-4
    assert result.audit["edge_ratio"] == pytest.approx(1.0, abs=2.1e-3)
    assert check_watertight(result.mesh).closed
    assert len(result.mesh.faces) < 1.6 * FULL.face_limit


def subdivided(mesh: Mesh) -> Mesh:
    """Every face in four."""
    a, b, c = np.moveaxis(mesh.triangles, 1, 0)
    d, e, f = (a + b) / 2, (b + c) / 2, (c + a) / 2
    parts = [np.stack(corners, axis=1) for corners in ((a, d, f), (d, b, e), (f, e, c), (d, e, f))]
    corners = np.concatenate(parts).reshape(-1, 3)
    return Mesh(corners, np.arange(len(corners), dtype=np.int32).reshape(-1, 3))


# Of a wall of five voxels many points are near a surface, which simplification moves by some hundredths of a voxel.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("solid", "resolution", "apart"),
    [
        (sphere(level=5), 128, 1e-3),
        (chair(), 128, 1e-3),
        (bored_block(), 128, 1e-3),
        (torus(sections=160), 128, 1e-3),
        (cup(), 256, 3e-3),
    ],
    ids=["sphere", "chair", "bored_block", "torus", "cup"],
)
def test_views_tessellation_and_order_of_faces_do_not_matter(
    solid: Solid, resolution: int, apart: float
) -> None:
    solid = solid.rotated(rotation(1))
    points = np.random.default_rng(0).uniform(-0.55, 0.55, (400_000, 3))
    config = FULL.model_copy(update={"resolution": resolution})
    result = close(solid.mesh, config)
    first, exact = contains(result.mesh, points), overlap(solid, result)
    mixed = shapenet_like(solid.mesh, np.random.default_rng(1))
    for other, seed in ((solid.mesh, 1), (subdivided(solid.mesh), 0), (mixed, 0)):
        result = close(other, config, seed)
        again = contains(result.mesh, points)
        assert (first & again).sum() / (first | again).sum() >= 1.0 - apart
        assert overlap(solid, result) == pytest.approx(exact, abs=1e-3)


@pytest.mark.parametrize("method", ["carving", "flood_fill"])
@pytest.mark.parametrize("make", [chair, bored_block, torus])
def test_exact_solids_at_low_resolution(method: str, make) -> None:  # type: ignore[no-untyped-def]
    solid = make().rotated(rotation(5))
    result = close(solid.mesh, COARSE.model_copy(update={"method": method}))
    assert overlap(solid, result) > 0.985
    assert check_watertight(result.mesh).closed
    assert not result.audit["repaired"]


def test_tsdf_thickens_by_its_offset() -> None:
    solid = sphere(4)
    result = close(solid.mesh, COARSE.model_copy(update={"method": "tsdf"}))
    assert check_watertight(result.mesh).closed
    grown = np.linalg.norm(result.mesh.vertices, axis=1).mean() - 0.5
    assert 0.4 * VOXEL < grown < 1.5 * VOXEL  # offset 1.5, less the erosion of steep views


def test_edges_and_corners_are_sharp() -> None:
    box = boxes([((0, 0, 0), (1.0, 0.6, 0.4))]).rotated(rotation(8))
    result = close(box.mesh, COARSE.model_copy(update={"max_faces": 10**6}))
    unit = unit_cube(box.mesh)[0]
    apart = surface_distance(unit, result.mesh.vertices)
    assert np.quantile(apart, 0.99) < 1e-6
    assert apart.max() < 0.1 * VOXEL
    # Plain marching cubes cuts all edges off and loses several times as much.
    assert result.audit["volume"] == pytest.approx(0.24 / result.scale**3, rel=6e-4)
    # An edge is met everywhere; a corner only where the cell that holds it sees all three faces.
    for a, b in ((0, 1), (0, 2), (0, 4), (7, 6), (7, 5), (7, 3)):
        fraction = np.linspace(0.05, 0.95, 50)[:, None]
        on_edge = unit.vertices[a] * fraction + unit.vertices[b] * (1 - fraction)
        assert surface_distance(result.mesh, on_edge).max() < 0.01 * VOXEL


def test_frame_and_audit_are_those_of_the_input() -> None:
    solid = chair()
    moved = Mesh(solid.mesh.vertices * 7 + [3, -2, 100], solid.mesh.faces)
    result = close(moved)
    assert result.scale == pytest.approx(7.0)
    np.testing.assert_allclose(result.loc, [3, -2, 100])
    assert result.audit["faces_in"] == len(moved.faces)
    assert result.audit["faces_out"] == len(result.mesh.faces) <= COARSE.max_faces + 50
    assert result.audit["faces_ratio"] == len(result.mesh.faces) / COARSE.max_faces
    assert result.audit["closed"] is True
    assert result.audit["components_removed"] == 0
    assert result.audit["hidden_share"] > 0  # the legs run into the seat
    for value in result.audit.values():
        assert isinstance(value, bool | int | float | str)
    stored = result.mesh.vertices.astype(np.float32).astype(np.float64)
    np.testing.assert_array_equal(stored, result.mesh.vertices)


def test_same_seed_same_mesh_other_seed_other_views() -> None:
    mesh = chair().rotated(rotation(2)).mesh
    one, two, other = close(mesh, seed=3), close(mesh, seed=3), close(mesh, seed=4)
    assert np.array_equal(one.mesh.vertices, two.mesh.vertices)
    assert np.array_equal(one.mesh.faces, two.mesh.faces)
    assert one.audit == two.audit
    assert overlap(chair().rotated(rotation(2)), other) > 0.985


def test_doubled_turned_shuffled_faces_change_nothing_that_matters() -> None:
    solid = chair().rotated(rotation(6))
    result = close(shapenet_like(solid.mesh, np.random.default_rng(1)))
    assert check_watertight(result.mesh).closed
    assert overlap(solid, result) > 0.985


def test_a_sheet_gets_its_thickness_and_keeps_its_extent() -> None:
    square = Mesh(
        np.array([[-1, 0, -1], [1, 0, -1], [1, 0, 1], [-1, 0, 1.0]]),
        np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32),
    )
    for turn in (np.eye(3), rotation(3)):
        result = close(Mesh(square.vertices @ turn.T, square.faces))
        side = 2 / result.scale
        thickness = result.audit["volume"] / side**2
        assert thickness == pytest.approx(COARSE.sheet_thickness * VOXEL, rel=0.1)
        assert check_watertight(result.mesh).euler == 2
        assert result.audit["edge_ratio"] < 1 + 2.2 * VOXEL


def test_a_sheet_on_a_solid_stays_joined_to_it() -> None:
    wing = Mesh(
        np.array([[0.1, 0.013, -0.2], [0.9, 0.013, -0.2], [0.9, 0.013, 0.2], [0.1, 0.013, 0.2]]),
        np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32),
    )
    body = box_mesh((0, 0, 0), (0.3, 0.3, 0.8))
    from occnet_lib.geometry.components import label_faces

    for seed in range(4):
        both = join([body, wing])
        turned = Mesh(both.vertices @ rotation(seed).T, both.faces)
        result = close(turned)
        assert label_faces(result.mesh)[0] == 1
        assert check_watertight(result.mesh).closed


def test_plates_thinner_than_a_voxel_do_not_vanish() -> None:
    for fraction in (0.2, 0.7, 1.2):
        plate = box_mesh((0, 0, 0), (1, fraction * VOXEL, 0.7))
        turn = rotation(11)
        result = close(Mesh(plate.vertices @ turn.T, plate.faces))
        thickness = result.audit["volume"] * result.scale**3 / 0.7
        assert thickness == pytest.approx(COARSE.sheet_thickness * VOXEL * result.scale, rel=0.15)
        assert check_watertight(result.mesh).euler == 2


def test_an_unseen_cavity_is_solid() -> None:
    hollow = join([box_mesh((0, 0, 0), (1, 1, 1)), box_mesh((0, 0, 0), (0.6, 0.6, 0.6))])
    for method in ("carving", "flood_fill", "tsdf"):
        result = close(hollow, COARSE.model_copy(update={"method": method}))
        assert contains(result.mesh, np.zeros((1, 3))).all()
        assert result.audit["volume"] > 0.99


def test_specks_are_removed_and_counted() -> None:
    speck = box_mesh((0, 0.3, 0), (0.03, 0.03, 0.03))
    body = box_mesh((0, -0.2, 0), (1, 0.4, 0.6))
    config = COARSE.model_copy(update={"min_component": 1e-3})
    result = close(join([speck, body]), config)
    assert result.audit["components_removed"] == 1
    assert result.mesh.vertices[:, 1].max() < 0.3
    assert close(join([speck, body])).audit["components_removed"] == 0


@pytest.mark.parametrize(
    ("vertices", "faces", "words"),
    [
        (np.zeros((0, 3)), np.zeros((0, 3)), "no faces"),
        (np.zeros((3, 3)), [[0, 1, 2]], "no extent"),
        ([[0, 0, 0], [1, 1, 1], [2, 2, 2]], [[0, 1, 2]], "area"),
        ([[0, 0, 0], [1, np.nan, 1], [2, 2, 0]], [[0, 1, 2]], "not finite"),
    ],
)
def test_what_cannot_be_closed_is_one_line(vertices: object, faces: object, words: str) -> None:
    mesh = Mesh(np.asarray(vertices, dtype=np.float64), np.asarray(faces, dtype=np.int32))
    with pytest.raises(MeshError, match=words):
        close(mesh)


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 10**6), st.integers(1, 12), st.booleans())
def test_any_soup_of_triangles_comes_out_closed(seed: int, count: int, flat: bool) -> None:
    rng = np.random.default_rng(seed)
    vertices = rng.normal(size=(3 * count, 3)) * rng.choice([0.05, 1.0], size=(3 * count, 1))
    if flat:
        vertices[:, 1] = 0.0
    faces = np.arange(3 * count, dtype=np.int32).reshape(-1, 3)
    config = Config(method="flood_fill", resolution=48, max_faces=3000, min_component=0.0)
    result = close(Mesh(vertices, faces), config, seed)
    assert check_watertight(result.mesh).closed
    # Every triangle of more than a sliver is covered.
    error = surface_distance(
        result.mesh, (vertices.reshape(-1, 3, 3).mean(axis=1) - result.loc) / result.scale
    )
    inside = contains(result.mesh, (vertices.reshape(-1, 3, 3).mean(axis=1) - result.loc) / result.scale)
    assert (inside | (error < 2 / 48)).all()


@pytest.mark.real
@pytest.mark.slow
def test_all_real_meshes_come_out_closed(real_data: Path) -> None:
    import trimesh

    config = Config(method="flood_fill", resolution=128, max_faces=10_000)
    with (real_data / "dev" / "manifest.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) >= 60
    tangled = 0
    for row in rows:
        loaded = trimesh.load(real_data / "dev" / row["file"], force="mesh", process=False)
        mesh = Mesh(np.asarray(loaded.vertices, float), np.asarray(loaded.faces, np.int32))
        mesh = shapenet_like(mesh, np.random.default_rng(0))
        result = watertight.run(mesh, config, seeded(0, "watertight", row["id"]))
        sound = check_watertight(result.mesh)
        assert sound.closed, row["id"]
        assert sound.euler % 2 == 0, row["id"]
        assert not result.audit["repaired"], row["id"]
        assert result.audit["ragged"] == 0.0, row["id"]
        tangled += result.audit["self_intersecting"] > 0
        # Readers merge equal vertices by default.
        assert trimesh.Trimesh(result.mesh.vertices, result.mesh.faces).is_watertight, row["id"]
        assert result.audit["surface_error_mean"] < 1.5 / 128, row["id"]
        assert 0.98 < result.audit["edge_ratio"] < 1.02, row["id"]
    assert tangled <= len(rows) // 20


@pytest.mark.parametrize(
    ("tangled", "kept"), [([0], 0), ([5, 0], 1), ([5, 3, 4], 1)], ids=["at once", "second attempt", "fewest"]
)
def test_intersections_that_stay_are_avoided_by_another_simplification(
    tangled: list[int], kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    results: list[Mesh] = []

    def untangle_(mesh: Mesh, voxel: float) -> tuple[Mesh, int]:
        results.append(mesh)
        return mesh, tangled[len(results) - 1]

    monkeypatch.setattr(untangle, "untangle", untangle_)
    result = close(shapenet_like(torus().rotated(rotation(1)).mesh, np.random.default_rng(0)))
    assert len(results) == len(tangled)
    assert len({mesh.vertices.tobytes() for mesh in results}) == len(tangled)
    assert result.mesh.vertices.tobytes() == results[kept].vertices.tobytes()
    assert result.audit["self_intersecting"] == tangled[kept]
    assert check_watertight(result.mesh).closed


def test_a_small_surface_is_simplified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Mesh] = []
    monkeypatch.setattr(untangle, "untangle", lambda mesh, voxel: (calls.append(mesh) or mesh, 2))
    coarse = COARSE.model_copy(update={"resolution": 24})
    assert (
        close(shapenet_like(torus().mesh, np.random.default_rng(0)), coarse).audit["self_intersecting"] == 2
    )
    assert len(calls) == 1
