"""Damaged mesh files of every format through the pipeline (`benchmarks/fuzz.py`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import fuzz
from benchmarks.fuzz_seeds import seeds
from occnet_lib.storage.meshes import load_mesh


@pytest.mark.parametrize("kind", seeds())
def test_the_files_that_are_damaged_are_valid(tmp_path: Path, kind: str) -> None:
    files = seeds()[kind]
    if kind == "step":
        pytest.importorskip("cascadio")
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    mesh = load_mesh(tmp_path / next(iter(files)))
    assert len(mesh.faces) >= 8
    assert mesh.unread == ()


@pytest.mark.parametrize("count", [40, pytest.param(3000, marks=[pytest.mark.long, pytest.mark.slow])])
def test_damaged_files_end_as_shapes_or_as_one_line(
    tmp_path: Path, request: pytest.FixtureRequest, count: int
) -> None:
    if count > 40 and request.config.getoption("-m") != "long":
        pytest.skip("takes minutes; runs with -m long")
    results = fuzz.fuzz(tmp_path, range(count), seed=7)
    assert len(results) == count
    assert [(r.number, r.kind, r.row["reason"]) for r in results if r.bad] == []
    outcomes = {result.outcome for result in results}
    assert {"read", "refused in load"} <= outcomes  # the changes are neither too weak nor too strong
