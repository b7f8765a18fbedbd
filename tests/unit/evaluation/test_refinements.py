"""Refinements side by side: shapes whose normals are known, what fails, and the differences to none."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from occnet_lib.config import Config, check
from occnet_lib.errors import DataError, MeshError
from occnet_lib.evaluation.metrics import METRICS, worst
from occnet_lib.evaluation.refinements import (
    COLUMNS,
    COMPARED,
    SUMMARY,
    evaluate_refinements,
    summarise_refinements,
)
from occnet_lib.reconstruction.face_features import true_normals
from occnet_lib.reconstruction.refinement import follow_normals
from occnet_lib.storage.meshes import load_mesh
from occnet_lib.storage.packs import PackedShape, write_shard
from occnet_lib.storage.tables import read_rows
from occnet_lib.types import Mesh, PointSamples, ShapeKey, Views, Watertight
from tests.support.geometry_solids import sphere

RADIUS = 0.4


def ball() -> Mesh:
    mesh = sphere(3).mesh
    return Mesh(mesh.vertices * (RADIUS / np.linalg.norm(mesh.vertices, axis=1).mean()), mesh.faces)


def noisy(mesh: Mesh) -> Mesh:
    rng = np.random.default_rng(0)
    return Mesh(mesh.vertices + rng.normal(0, 0.008, mesh.vertices.shape), mesh.faces)


@pytest.fixture
def shard(tmp_path):
    """Two balls, a and b, with exact points, samples and normals."""
    rng, shapes = np.random.default_rng(1), []
    for name in "ab":
        points = rng.uniform(-0.55, 0.55, (4096, 3)).astype(np.float16)
        inside = np.linalg.norm(points.astype(np.float64), axis=1) < RADIUS
        normals = rng.normal(size=(4096, 3))
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        surface = (RADIUS * normals).astype(np.float16)
        samples = PointSamples(points, inside, surface, normals.astype(np.float16), np.zeros((2, 2, 2), bool))
        views = Views(
            np.full((1, 8, 8, 3), 255, np.uint8), np.eye(3)[None], np.eye(4)[None, :3], np.zeros(3), 1.0
        )
        closed = Watertight(ball(), np.zeros(3), 1.0)
        shapes.append(PackedShape.of(ShapeKey("chair", name), closed, samples, views))
    path = tmp_path / "test-000.h5"
    write_shard(path, shapes, path.stem, "test")
    return path


def refinements(shard, i):
    """Of a noisy ball; there is no surface of b."""
    surface = shard.surface(i)

    def broken(mesh: Mesh) -> Mesh:
        raise MeshError("nothing to refine")

    arms = {
        "none": lambda mesh: mesh,
        "inside_out": lambda mesh: Mesh(mesh.vertices, mesh.faces[:, ::-1]),
        "broken": broken,
        "perfect_normals": lambda mesh: follow_normals(mesh, true_normals(mesh, *surface)[0]).mesh,
    }
    return (noisy(ball()), "", arms) if i == 0 else (Mesh.empty(), "no surface", arms)


def test_perfect_normals_gain_and_what_fails_is_a_row_with_its_reason(shard, tmp_path, caplog):
    config = check({"evaluate": {"surface": 4000}})
    measure = partial(evaluate_refinements, refinements, shard, config, "net", tmp_path / "rows.csv")
    rows = measure(tmp_path / "meshes", {"chair/a"})
    of = {(row["id"], row["refinement"]): row for row in rows}
    none, perfect, turned = (of["a", name] for name in ("none", "perfect_normals", "inside_out"))
    assert perfect["normal_consistency"] > none["normal_consistency"] + 0.03
    assert perfect["chamfer_l1"] < none["chamfer_l1"]
    assert perfect["iou"] > none["iou"]
    assert (none["flipped"], none["self_intersecting"], none["status"]) == (0, 0, "ok")
    assert turned["flipped"] == len(ball().faces)
    assert (turned["status"], "inward" in turned["reason"]) == ("warn", True)

    failures = {key: row for key, row in of.items() if row["status"] == "failed"}
    assert set(failures) == {
        ("a", "broken"),
        *(("b", name) for name in ("none", "inside_out", "broken", "perfect_normals")),
    }
    assert of["a", "broken"]["reason"] == "nothing to refine"
    assert of["b", "none"]["reason"] == "no surface"
    for row in failures.values():
        assert {name: row[name] for name in METRICS} == worst()
    assert "chair/b of net, refinement none: no surface" in caplog.text

    written = read_rows(tmp_path / "rows.csv")
    assert list(written[0]) == list(COLUMNS)
    assert len(written) == 8
    assert {
        path.relative_to(tmp_path / "meshes").as_posix() for path in (tmp_path / "meshes").rglob("*.ply")
    } == {f"{name}/chair/a.ply" for name in ("none", "inside_out", "perfect_normals")}
    kept = load_mesh(tmp_path / "meshes" / "none" / "chair" / "a.ply")
    assert kept.vertices == pytest.approx(noisy(ball()).vertices, abs=1e-6)

    named = check({"models": {"net": {}}, "evaluate": {"refinements": "net"}})
    table = {row["refinement"]: row for row in summarise_refinements(written, named)}
    assert table["perfect_normals"]["failed"] == 1, "the shape without a surface"
    assert table["perfect_normals"]["normal_consistency_difference"] == pytest.approx(
        (perfect["normal_consistency"] - none["normal_consistency"]) / 2
    ), "which counts: no refinement makes a mesh of it"
    assert (table["broken"]["failed"], table["broken"]["cpu_seconds"]) == (2, "")


def config(seeds: int = 3) -> Config:
    return check({"models": {"net": {"seeds": seeds}}, "evaluate": {"refinements": ["net"]}})


def measured(seeds: int = 3, gain: float = 0.02) -> list[dict[str, object]]:
    """Rows of two classes in which shapes and seeds differ by more than the refinements."""
    rows = []
    for seed, model in enumerate(config(seeds).refined_models):
        for category, count in {"car": 3, "chair": 5}.items():
            for i in range(count):
                for name in ("none", "smooth"):
                    value = 0.1 * i + 0.05 * seed + (gain if name == "smooth" else 0.0)
                    about = {"model": model, "refinement": name, "category": category, "id": str(i)}
                    counts = {"flipped": i, "self_intersecting": 0, "cpu_seconds": 50.0 if i == 0 else 0.1}
                    rows.append(about | {"status": "ok"} | dict.fromkeys(METRICS, value) | counts)
    return rows


def test_differences_are_paired_over_shapes_and_seeds():
    none, smooth = summarise_refinements(measured(), config())
    assert set(none) == set(SUMMARY)
    assert (smooth["shapes"], smooth["seeds"], smooth["failed"]) == (8, 3, 0)
    for name in COMPARED:
        assert [none[f"{name}_difference{end}"] for end in ("", "_low", "_high")] == [0.0, 0.0, 0.0]
        ends = [smooth[f"{name}_difference{end}"] for end in ("", "_low", "_high")]
        assert ends == pytest.approx([0.02] * 3), "the same in all of them, so that nothing is left to chance"
        assert none[name] == pytest.approx((0.1 + 0.2) / 2 + 0.05), "classes weigh alike"
        assert smooth[name] == pytest.approx(none[name] + 0.02)
    assert smooth["flipped"] == pytest.approx((3 * 1 + 5 * 2) / 8)
    assert smooth["cpu_seconds"] == 0.1, "of most meshes, not of the first one"


def test_what_was_not_measured_is_an_error():
    rows = [row for row in measured() if row["model"] != "net-seed2"]
    with pytest.raises(DataError, match=r"no mesh of net-seed2 was measured with refinement none"):
        summarise_refinements(rows, config())
    rows = [row for row in measured() if (row["model"], row["refinement"]) != ("net-seed2", "smooth")]
    with pytest.raises(DataError, match=r"no mesh of net-seed2 was measured with refinement smooth"):
        summarise_refinements(rows, config())
    with pytest.raises(DataError, match="not a row of refinements"):
        summarise_refinements([{"model": "net"}], config())
    with pytest.raises(DataError, match="not a row of refinements"):
        summarise_refinements([row | {"iou": "high"} for row in measured()], config())
