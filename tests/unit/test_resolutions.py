"""The benchmark of closing at several resolutions: it continues from recorded rows and reports them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks import resolutions
from benchmarks.resolutions import Records, Row, compare
from occnet_lib.versions import VERSIONS


def row(run: str, file: str, seconds: float, **more: object) -> Row:
    figures = dict.fromkeys(("gigabytes", "surface_error_p95", "ragged", "self_intersecting"), 0.5)
    flags = {"closed": True, "is_watertight": True, "repaired": False, "method": "flood_fill", "voxel": 0.25}
    return {
        "run": run,
        "file": file,
        "version": VERSIONS["watertight"],
        "seconds": seconds,
        **figures,
        **flags,
        "status": "ok",
        "reason": "",
        **more,
    }


def test_rows_are_kept_by_run(tmp_path: Path) -> None:
    records = Records(tmp_path, tmp_path / "rows.jsonl")
    assert records.rows("256") == {}
    for one in (row("256", "a", 1.0), row("512", "a", 2.0), row("256", "b", 3.0)):
        records.add(one)
    assert {file: one["seconds"] for file, one in records.rows("256").items()} == {"a": 1.0, "b": 3.0}
    assert Records(tmp_path, None).rows("256") == {}


def test_recorded_meshes_are_not_closed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.jsonl"
    before = tmp_path / "before"
    before.mkdir()
    rows = [row(f"64 at {before}", name, seconds) for name, seconds in (("a", 1.0), ("b", 3.0))]
    rows += [row("64", name, 1.0) for name in "ab"]
    rows += [row("128", "a", 8.0, status="warn", reason="thin"), row("128", "b", 8.0, ragged=0.0)]
    file.write_text("".join(json.dumps(one) + "\n" for one in rows))

    def closes(*_: object, **__: object) -> None:
        raise AssertionError("a recorded mesh is closed again")

    monkeypatch.setattr(subprocess, "Popen", closes)
    monkeypatch.setattr(subprocess, "run", closes)
    compare([Path("a"), Path("b")], [64, 128], str(before), Records(tmp_path, file))
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line.split(";")[2].strip() for line in lines[:3]] == ["1.00", "0.50", "4.00"]
    assert lines[2].endswith("1 ragged, 1 warn, 1 ok")
    assert lines[3].split() == ["a:", "thin"]
    records = Records(tmp_path, tmp_path / "earlier.jsonl")
    records.add(row("64", "a", 1.0, version=VERSIONS["watertight"] - 1))
    with pytest.raises(AssertionError, match="closed again"):
        compare([Path("a")], [64], None, records)
    with pytest.raises(AssertionError, match="closed again"):
        compare([Path("a"), Path("c")], [64], None, Records(tmp_path, file))


def test_rows_of_another_revision_are_those_of_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout

    git("init", "--initial-branch=trunk")
    git("commit", "--allow-empty", "-m", "one")
    monkeypatch.setattr(resolutions, "PROJECT", tmp_path)
    first = resolutions._commit("trunk")
    assert git("rev-parse", "trunk").startswith(first)
    git("commit", "--allow-empty", "-m", "two")
    assert resolutions._commit("trunk") != first
    assert resolutions._commit("trunk~1") == resolutions._commit(first) == first
    assert resolutions._commit(str(tmp_path)) == str(tmp_path)
    with pytest.raises(SystemExit, match="--against nowhere: neither a folder nor a revision"):
        resolutions._commit("nowhere")
