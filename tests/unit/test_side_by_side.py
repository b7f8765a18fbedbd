"""The benchmark of closed meshes beside alternatives: rows that are kept, limits, and the double shell."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import hard_shapes, side_by_side, watertight_alternatives
from benchmarks.watertight_alternatives import Method, double_shell
from benchmarks.watertight_shapes import written
from occnet_lib.storage.locks import run_lock
from occnet_lib.types import Mesh
from tests.support import geometry_solids as solids

FIGURES = {"seconds": 2.0, "memory": 100.0, "faces": 12, "closed": True, "to_input": 0.1, "from_input": 0.2}


@pytest.fixture
def shapes(tmp_path):
    open_box = solids.box_mesh((0, 0, 0), (1, 1, 1))
    open_box = Mesh(open_box.vertices, open_box.faces[2:])
    chair = solids.chair()
    return [
        written("open box", open_box, None, tmp_path),
        written("box", solids.box_mesh((2, 0, 0), (1, 2, 1)), None, tmp_path),
        written("solid: chair", chair.mesh, chair.inside, tmp_path),
    ]


def test_shapes_have_the_exact_inside_where_there_is_one(shapes):
    assert [(shape.solid, shape.real) for shape in shapes] == [(False, True), (True, True), (True, False)]
    with np.load(shapes[1].file) as box:  # 0.5 × 1 × 0.5 of a box of 0.6 × 1.1 × 0.6
        assert box["inside"].mean() == pytest.approx(0.25 / (0.6 * 1.1 * 0.6), abs=0.01)
        on_box = np.abs(box["seen"]) - (0.25, 0.5, 0.25)
        assert np.abs(on_box.max(axis=1)).max() < 1e-5
    with np.load(shapes[2].file) as chair:
        assert 0.03 < chair["inside"].mean() < 0.3


def test_rows_are_kept_one_by_one_and_not_measured_again(tmp_path, shapes, monkeypatch):
    calls = []

    def attempts(method, todo, meshes, limit):
        for shape in todo:
            calls.append((method, shape.name))
            if len(calls) == 3:
                raise KeyboardInterrupt
            yield side_by_side._row(method, shape, limit) | FIGURES

    monkeypatch.setattr(side_by_side, "attempts", attempts)
    plan = {"occnet": shapes, "double shell": shapes[:1]}
    with pytest.raises(KeyboardInterrupt):
        side_by_side.measure_all(plan, tmp_path, 10.0)
    rows = side_by_side.measure_all(plan, tmp_path, 10.0)
    assert calls[2:] == [("occnet", "solid: chair")] * 2 + [("double shell", "open box")]
    assert [(row["method"], row["shape"]) for row in rows] == [
        *(("occnet", shape.name) for shape in shapes),
        ("double shell", "open box"),
    ]
    assert side_by_side.measure_all(plan, tmp_path, 10.0) == rows
    assert len(calls) == 5
    monkeypatch.setattr(side_by_side, "version_of", lambda method: "next")
    side_by_side.measure_all({"occnet": shapes[:1]}, tmp_path, 10.0)
    assert len(calls) == 6
    with run_lock(tmp_path), pytest.raises(SystemExit, match="in use by another run"):
        side_by_side.measure_all(plan, tmp_path, 10.0)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_results_refusals_crashes_and_endless_loops_are_rows(tmp_path, shapes, monkeypatch, capfd):
    def close(mesh):
        if mesh.vertices.max() == 0.5 and len(mesh.faces) == 10:  # the open box
            while True:
                pass
        if len(mesh.faces) > 12:
            raise ValueError("refused: chairs")
        return mesh

    monkeypatch.setitem(watertight_alternatives.METHODS, "test", Method("a test", None, close))
    monkeypatch.setattr(
        watertight_alternatives, "unit_cube", lambda mesh: (Mesh(2 * mesh.vertices, mesh.faces),)
    )
    jobs = [(shape.file, tmp_path / shape.file.stem) for shape in shapes]
    watertight_alternatives.serve("test", 0.1, jobs)
    codes = [json.loads(line)["code"] for line in capfd.readouterr().out.splitlines()]
    loop, good, refused = [
        side_by_side._outcome(code, out, 0.1) for code, (_, out) in zip(codes, jobs, strict=True)
    ]
    assert loop == {"reason": "no result within 0.1 CPU s"}
    assert refused == {"reason": "ValueError: refused: chairs"}
    assert good["closed"]
    assert good["iou"] == 1.0
    assert max(good["to_input"], good["from_input"]) < 1e-6
    assert side_by_side.reason_of(-11, "", 1.0) == "crashed (SIGSEGV)"
    assert side_by_side.reason_of(None, "", 1.0) == "no result within 620 s (wall clock)"


def test_tables_count_what_gave_no_result(shapes):
    rows = [side_by_side._row("occnet", shape, 10.0) | FIGURES for shape in shapes]
    rows[1] |= {"iou": 0.5, "seconds": 5.0}
    rows[2] |= {"iou": 0.9, "closed": False}
    rows += [
        side_by_side._row("double shell", shape, 10.0) | {"reason": "crashed (SIGSEGV)"} for shape in shapes
    ]
    text = side_by_side.report(rows, ["occnet", "double shell"], shapes)
    row = "| 3 | 0 | 2.00 (3.00) | 100 | 2 of 3 | 0.100000 | 0.200000 | 0.7000, 0.5000 (2) |"
    assert row in text
    assert "| 1 | 0 | 2.00 (2.00) | 100 | 1 of 1 | 0.100000 | 0.200000 |  |" in text  # bounds no solid
    assert "no result, double shell: 3 × crashed (SIGSEGV)" in text


def test_the_sparse_double_shell_is_that_of_all_samples():
    mesh = solids.chair().mesh
    sparse, dense = double_shell(mesh, 48), double_shell(mesh, 48, block=1)
    assert np.array_equal(sparse.vertices, dense.vertices)
    assert np.array_equal(sparse.faces, dense.faces)


def test_the_section_of_a_box_is_its_silhouette_on_the_plane():
    box = solids.box_mesh((0, 0, 0), (0.5, 0.5, 0.5))
    camera_mat = np.array([[400.0, 0, 100], [0, 400.0, 100], [0, 0, 1]])
    world_mat = np.concatenate([np.diag([1.0, -1.0, -1.0]), [[0.0], [0.0], [2.0]]], axis=1)
    covered = hard_shapes.section(box, camera_mat, world_mat, np.array([0.0, 0.0, -1.0]), np.zeros(3))
    assert covered.sum() == pytest.approx(100.0**2, rel=0.01)  # 0.5 · 400 / 2 pixels
    assert covered[60:140, 60:140].min() == 1.0
