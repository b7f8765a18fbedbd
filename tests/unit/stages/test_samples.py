"""Samples for implicit 3D models: distances and edges against closed forms, files against their loaders' rules."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from occnet_lib import cli
from occnet_lib.config import Config, SamplesConfig
from occnet_lib.errors import DataError
from occnet_lib.geometry.occupancy import contains, signed_distance
from occnet_lib.geometry.sharp_edges import curvature_weights, edges_between_faces, sharp_edges
from occnet_lib.interop.vecset import export_samples
from occnet_lib.stages import process_shape, watertight
from occnet_lib.stages import samples as stage
from occnet_lib.stages.pack import pack
from occnet_lib.storage import shape_file
from occnet_lib.storage.meshes import save_mesh
from occnet_lib.storage.packs import PackedShape, Shard, write_shard
from occnet_lib.types import Mesh, PointSet, Watertight
from tests.support.geometry_solids import box_mesh, cup, rotation
from tests.support.small_shapes import config as small_config
from tests.support.small_shapes import key
from tests.support.storage_shapes import OCTAHEDRON, records

ALL = {"uniform": 300, "near": 400, "surface": 200, "curved": 150, "sharp": 100, "sharp_near": 120}


def solid(mesh: trimesh.Trimesh) -> Mesh:
    return Mesh(np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int32))


def closed(mesh: Mesh) -> Watertight:
    return Watertight(mesh, np.zeros(3), 1.0)


BOX = box_mesh((0, 0, 0), (1.0, 0.6, 0.4))
SPHERE = solid(trimesh.creation.icosphere(5, radius=0.5))


def box_distance(points: NDArray[np.float64], edges: tuple[float, float, float]) -> NDArray[np.float64]:
    """Signed distance to an axis-aligned box at 0 (Quilez, "Distance functions")."""
    q = np.abs(points) - np.asarray(edges) / 2
    return np.asarray(np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(axis=1), 0))


def winding_numbers(mesh: Mesh, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Generalised winding number by solid angles (Van Oosterom and Strackee 1983): slow and exact."""
    a, b, c = (mesh.vertices[mesh.faces[:, k]][None] - points[:, None] for k in range(3))
    la, lb, lc = (np.linalg.norm(v, axis=2) for v in (a, b, c))
    top = np.einsum("pfk,pfk->pf", a, np.cross(b, c))
    dots = [np.einsum("pfk,pfk->pf", u, v) for u, v in ((a, b), (b, c), (c, a))]
    bottom = la * lb * lc + dots[0] * lc + dots[1] * la + dots[2] * lb
    return np.asarray(2 * np.arctan2(top, bottom).sum(axis=1) / (4 * np.pi))


def test_signed_distance_of_a_box_and_a_sphere_is_that_of_the_closed_form() -> None:
    points = np.random.default_rng(0).uniform(-0.6, 0.6, (2000, 3))
    np.testing.assert_allclose(signed_distance(BOX, points), box_distance(points, (1.0, 0.6, 0.4)), atol=1e-6)
    radius = np.linalg.norm(points, axis=1) - 0.5
    np.testing.assert_allclose(signed_distance(SPHERE, points), radius, atol=4e-4)  # facets of the sphere


def test_signs_are_those_of_the_winding_number() -> None:
    mesh = cup().mesh
    points = np.random.default_rng(1).uniform(-0.6, 0.6, (500, 3))
    inside = winding_numbers(mesh, points) > 0.5
    np.testing.assert_array_equal(signed_distance(mesh, points) < 0, inside)


def test_sets_have_their_sizes_types_and_meanings() -> None:
    config = SamplesConfig(**ALL, precision="float16", near_sigma=(0.01, 0.05), padding=0.2)
    drawn = stage.run(closed(BOX), config, np.random.default_rng(0))
    assert {name: len(values.points) for name, values in drawn.sets.items()} == ALL
    for name, values in drawn.sets.items():
        on_surface = name in ("surface", "curved", "sharp")
        assert (values.normals is not None, values.distance is None) == (on_surface, on_surface), name
        points = values.points.astype(np.float64)
        exact = box_distance(points, (1.0, 0.6, 0.4))
        if values.distance is not None:
            assert values.distance.dtype == np.float16
            # Distances are those of the points as they were rounded.
            np.testing.assert_allclose(values.distance.astype(float), exact, atol=5e-4)
            apart = np.abs(exact) > 1e-6  # smaller ones are 0 in float16
            inside = contains(BOX, values.points)
            np.testing.assert_array_equal((values.distance < 0)[apart], inside[apart])
        else:
            np.testing.assert_allclose(exact, 0, atol=5e-4)
            np.testing.assert_allclose(np.linalg.norm(values.normals.astype(float), axis=1), 1, atol=2e-3)
    assert np.abs(drawn.sets["uniform"].points).max() > 0.55
    assert drawn.audit["sharp_length"] == pytest.approx(4 * (1 + 0.6 + 0.4))


def test_a_set_more_changes_no_other_and_the_seed_decides() -> None:
    def run(seed: int, **counts: int) -> dict[str, PointSet]:
        return stage.run(closed(BOX), SamplesConfig(**counts), np.random.default_rng(seed)).sets

    alone = run(0, surface=50)["surface"]
    np.testing.assert_array_equal(alone.points, run(0, **{**ALL, "surface": 50})["surface"].points)
    assert not np.array_equal(run(1, surface=50)["surface"].points, alone.points)


def test_truncation_bounds_distances() -> None:
    config = SamplesConfig(uniform=500, truncation=0.05)
    distance = stage.run(closed(BOX), config, np.random.default_rng(0)).sets["uniform"].distance
    assert distance is not None
    assert distance.min() == np.float32(-0.05)
    assert distance.max() == np.float32(0.05)


@pytest.mark.parametrize("turn", [False, True])
def test_sharp_edges_of_fused_meshes_have_the_length_of_the_solid_s(turn: bool) -> None:
    mesh = trimesh.creation.cylinder(radius=0.3, height=1.0, sections=96)
    if turn:
        matrix = np.eye(4)
        matrix[:3, :3] = rotation(3)
        mesh.apply_transform(matrix)
    source = solid(mesh)
    config = Config.model_validate({"watertight": {"resolution": 128}}).watertight
    made = watertight.run(source, config, np.random.default_rng(0))
    edges = sharp_edges(made.mesh, 15, 0.008)
    want = 2 * 2 * np.pi * 0.3 / made.scale
    assert edges.length.sum() == pytest.approx(want, rel=0.05)
    # Points on them lie on the two rims.
    drawn = stage.run(made, SamplesConfig(sharp=500, sharp_scale=0.008), np.random.default_rng(0)).sets[
        "sharp"
    ]
    points = drawn.points.astype(np.float64) * made.scale + made.loc
    if turn:
        points = points @ rotation(3)
    rim = np.hypot(np.hypot(points[:, 0], points[:, 1]) - 0.3, np.abs(points[:, 2]) - 0.5)
    assert np.quantile(rim, 0.95) < 0.01


def test_a_smooth_mesh_has_no_sharp_edges_and_that_is_no_error() -> None:
    drawn = stage.run(closed(SPHERE), SamplesConfig(sharp=100, sharp_near=50), np.random.default_rng(0))
    assert drawn.audit["sharp_length"] == 0
    np.testing.assert_allclose(np.linalg.norm(drawn.sets["sharp"].points, axis=1), 0.5, atol=1e-3)


def test_every_edge_of_a_closed_mesh_is_between_two_faces() -> None:
    edges = edges_between_faces(SPHERE)
    assert len(edges.ends) == len(SPHERE.faces) * 3 // 2
    normals = SPHERE.vertices[SPHERE.faces].mean(axis=1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    assert edges.angle.max() < 0.1


def test_curvature_is_uniform_on_a_sphere_and_along_the_edges_of_a_box() -> None:
    weights = curvature_weights(SPHERE)
    # The integral of mean curvature over a sphere of radius r is 4 pi r.
    assert weights.sum() == pytest.approx(4 * np.pi * 0.5, rel=0.01)
    # pi / 2 times half of the length of all edges of a box.
    assert curvature_weights(BOX).sum() == pytest.approx(np.pi / 4 * 4 * (1 + 0.6 + 0.4))


def test_farthest_points_are_spread_and_in_order() -> None:
    pytest.importorskip("fpsample")

    def smallest_gap(points: NDArray[np.floating]) -> float:
        distance = np.linalg.norm(points[:, None].astype(float) - points[None], axis=2)
        return float(distance[~np.eye(len(points), dtype=bool)].min())

    spread = stage.run(closed(BOX), SamplesConfig(surface=200, farthest=8), np.random.default_rng(0)).sets[
        "surface"
    ]
    random = stage.run(closed(BOX), SamplesConfig(surface=200), np.random.default_rng(0)).sets["surface"]
    assert smallest_gap(spread.points) > 5 * smallest_gap(random.points)
    assert smallest_gap(spread.points[:20]) > 2 * smallest_gap(spread.points)


@pytest.mark.parametrize(
    "wrong", [{"sharp_angle": 0}, {"near_sigma": []}, {"uniform": -1}, {"precision": "f8"}]
)
def test_wrong_values_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SamplesConfig(**wrong)


def test_the_pipeline_makes_packs_and_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "raw"
    save_mesh(OCTAHEDRON, root / "solid" / "a.obj")
    out = tmp_path / "shapes" / "solid" / "a.h5"
    wanted = small_config(samples=ALL)
    assert process_shape.process(key("a"), small_config(), root, out)["status"] == "ok"
    before = shape_file.read_status(out)
    ran: list[str] = []
    monkeypatch.setattr(watertight, "run", None)  # what is there already is not made again
    row = process_shape.process(key("a"), wanted, root, out, on_stage=ran.append)
    assert (row["status"], ran) == ("ok", ["load", "samples"])
    # The octahedron's twelve edges, longest edge of its box 1.
    assert row["samples_sharp_length"] == pytest.approx(12 * np.sqrt(0.5), rel=0.1)
    after = shape_file.read_status(out)
    assert {name: after.stages[name].digest for name in before.stages} == {
        name: entry.digest for name, entry in before.stages.items()
    }
    pack("train-000", [key("a")], tmp_path / "shapes", tmp_path / "train-000.h5")
    packed = Shard(tmp_path / "train-000.h5").samples(0).sets
    made = shape_file.read_samples(out).sets
    assert packed.keys() == made.keys() == ALL.keys()
    for name, values in made.items():
        np.testing.assert_array_equal(packed[name].points, values.points)
    assert process_shape.process(key("a"), wanted, root, out)["status"] == "ok"
    assert len(ran) == 2
    # Without the section again, they go.
    process_shape.process(key("a"), small_config(), root, out)
    assert "samples" not in shape_file.read_status(out).stages
    pack("train-000", [key("a")], tmp_path / "shapes", tmp_path / "train-000.h5")
    assert Shard(tmp_path / "train-000.h5").samples(0).sets == {}


@pytest.fixture
def packs(tmp_path: Path) -> list[Path]:
    """A shard of each split, of two shapes with samples and masks each."""
    files = []
    for number, split in enumerate(("train", "val", "test")):
        shapes = []
        for seed in (2 * number, 2 * number + 1):
            name, mesh, points, views = records(seed, near=80, views=16)
            box = closed(BOX)
            drawn = stage.run(box, SamplesConfig(**ALL), np.random.default_rng(seed))
            shapes.append(PackedShape.of(name, mesh, points, views, drawn))
        files.append(tmp_path / f"{split}-000.h5")
        write_shard(files[-1], shapes, f"{split}-000", split)
    return files


def test_vecset_files_are_read_by_its_rules(packs: list[Path], tmp_path: Path) -> None:
    """1zb/3DShape2VecSet, util/shapenet.py, ShapeNet.__init__ and __getitem__."""
    out = tmp_path / "out"
    assert export_samples(packs, out, "vecset") == 6
    folder = out / "ShapeNetV2_point" / "chair"
    models = (folder / "train.lst").read_text().split("\n")
    assert models == ["shape0", "shape1"]
    with np.load(folder / "shape0.npz") as data:
        labels, points = data["vol_label"], data["vol_points"]
        near_points, near_labels = data["near_points"], data["near_label"]
    with open(folder / "shape0.npy", "rb") as file:
        scale = np.load(file).item()
    with np.load(out / "ShapeNetV2_watertight" / "chair" / "4_pointcloud" / "shape0.npz") as data:
        surface = data["points"].astype(np.float32) * scale
    assert (len(points), len(near_points), len(surface)) == (300, 400, 200)
    for where, inside in ((points, labels), (near_points, near_labels)):
        np.testing.assert_array_equal(inside, box_distance(where / 2, (1.0, 0.6, 0.4)) < 0)
    np.testing.assert_allclose(box_distance(surface / 2, (1.0, 0.6, 0.4)), 0, atol=1e-6)
    assert np.abs(surface).max() == pytest.approx(1.0)


def test_vecsetx_files_are_read_by_its_rules(packs: list[Path], tmp_path: Path) -> None:
    """1zb/VecSetX, vecset/utils/objaverse.py, Objaverse.__init__ and __getitem__."""
    out = tmp_path / "out"
    export_samples(packs, out, "vecsetx", up="z")
    with open(out / "objaverse_train.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["chair", "shape0", "0"]
    with np.load(out / rows[0][0] / f"{rows[0][1]}.npz") as data:
        points, sdf, surface = data["vol_points"], data["vol_sdf"], data["surface_points"]
    # z is up: the file's (x, y, z) is (x, -z, y) of the unit frame, with an edge of 2.
    np.testing.assert_allclose(sdf, 2 * box_distance(points / 2, (1.0, 0.4, 0.6)), atol=1e-5)
    np.testing.assert_allclose(box_distance(surface / 2, (1.0, 0.4, 0.6)), 0, atol=1e-6)
    assert json.loads((out / "frame.json").read_text())["up"] == "z"


def test_dora_files_are_read_by_its_rules(
    packs: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Seed3D/Dora, sharp_edge_sampling/sharp_sample.py (writer) and its data module's _load_shape."""
    out = tmp_path / "out"
    export_samples(packs, out, "dora")
    assert "expects 400000 points of samples.near, got 400" in caplog.text
    data = np.load(json.loads((out / "val.json").read_text())[0])
    coarse, sharp = data["fps_coarse_surface"][:, 0, :], data["fps_sharp_surface"][:, 0, :]
    assert (coarse.shape, sharp.shape) == ((200, 6), (100, 6))
    assert {data[name].dtype for name in ("rand_points", "sharp_near_surface")} == {np.dtype(np.float32)}
    points, sdf = data["rand_points"][:, :3], data["rand_points"][:, 3]
    np.testing.assert_allclose(sdf, -2 * box_distance(points / 2, (1.0, 0.6, 0.4)), atol=1e-5)
    near, spread = np.abs(sdf[:400]), np.abs(sdf[400:])
    assert np.median(near) < np.median(spread)


def test_hunyuan_files_are_read_by_its_rules(packs: list[Path], tmp_path: Path) -> None:
    """Tencent-Hunyuan/Hunyuan3D-2.1, hy3dshape/data/dit_asl.py, decode and load_render."""
    out = tmp_path / "out"
    export_samples(packs, out, "hunyuan")
    item = json.loads((out / "train.json").read_text())[0]
    uid = item.split("/")[-1]
    surface = np.load(f"{item}/geo_data/{uid}_surface.npz")
    sdf = np.load(f"{item}/geo_data/{uid}_sdf.npz")
    assert {name: surface[name].shape for name in ("random_surface", "sharp_surface")} == {
        "random_surface": (200, 6),
        "sharp_surface": (100, 6),
    }
    for name in ("vol", "random_near", "sharp_near"):
        points, label = sdf[f"{name}_points"], sdf[f"{name}_label"]
        assert points.dtype == label.dtype == np.float16
        exact = -2 / 1.01 * box_distance(points.astype(float) * 1.01 / 2, (1.0, 0.6, 0.4))
        np.testing.assert_allclose(label.astype(float), exact, atol=2e-3)
    image = np.asarray(Image.open(f"{item}/render_cond/000.png"))
    assert image.shape == (9, 9, 4)
    shard = Shard(packs[0])
    opacity = shard.mask(0, 0)[..., None]
    over_white = image[..., :3] * opacity + 255 * (1 - opacity)
    solid_pixels = opacity[..., 0] == 1
    np.testing.assert_allclose(over_white[solid_pixels], shard.image(0, 0)[solid_pixels], atol=1)
    np.testing.assert_array_equal(image[..., 3], np.round(255 * opacity[..., 0]))


def test_ultrashape_files_are_read_by_its_rules(
    packs: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """UltraShape-1.0, ultrashape/data/objaverse_dit.py, _load_shape and _load_image."""
    out = tmp_path / "out"
    export_samples(packs, out, "ultrashape")
    assert "expects 300000 points of samples.surface" in caplog.text
    uid = json.loads((out / "train.json").read_text())[0]
    data = np.load(out / "samples" / f"{uid}.npz")
    surface = (np.asarray(data["clean_surface_points"]) - 0.5) * 2
    np.testing.assert_allclose(box_distance(surface * 1.02 / 2, (1.0, 0.6, 0.4)), 0, atol=1e-6)
    assert data["clean_surface_normals"].shape == (350, 3)
    base = json.loads((out / "render.json").read_text())[uid]
    assert np.asarray(Image.open(f"{base}/015.png")).shape[2] == 4


def test_what_a_format_needs_is_named(tmp_path: Path) -> None:
    name, mesh, points, views = records(0)
    write_shard(tmp_path / "p.h5", [PackedShape.of(name, mesh, points, views)], "train-000", "train")
    with pytest.raises(DataError, match=r"has no samples.uniform.*workflow/vecset.yaml"):
        export_samples([tmp_path / "p.h5"], tmp_path / "out", "vecset")


def test_a_shape_in_two_shards_and_a_used_folder_are_refused(packs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is in another shard"):
        export_samples([packs[0], packs[0]], tmp_path / "out", "vecset")
    export_samples(packs, tmp_path / "used", "vecset")
    with pytest.raises(DataError, match="contains a dataset already"):
        export_samples(packs, tmp_path / "used", "dora")


def test_one_mesh_is_prepared_by_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_mesh(Mesh(BOX.vertices * 3 + 1, BOX.faces), tmp_path / "box.ply")
    arguments = ["prepare", str(tmp_path / "box.ply"), "-o", str(tmp_path / "box.npz")]
    assert cli.main(arguments) == 1
    assert "workflow/vecset.yaml" in capsys.readouterr().err
    (tmp_path / "c.yaml").write_text("samples: {uniform: 100, sharp: 50}\nwatertight: {resolution: 64}\n")
    assert cli.main([*arguments, "--config", str(tmp_path / "c.yaml"), "--edge", "2", "--up", "z"]) == 0
    with np.load(tmp_path / "box.npz") as data:
        arrays = dict(data)
    exact = 2 * box_distance(arrays["uniform_points"] / 2, (1.0, 0.4, 0.6))
    np.testing.assert_allclose(arrays["uniform_distance"], exact, atol=0.02)
    assert arrays["sharp_normals"].shape == (50, 3)
    np.testing.assert_allclose(arrays["source_loc"], 1, atol=1e-6)
    assert (arrays["source_scale"], arrays["edge"], str(arrays["up"])) == (pytest.approx(3), 2, "z")
    np.testing.assert_allclose(np.ptp(arrays["vertices"], axis=0), [2, 0.8, 1.2], atol=0.04)
