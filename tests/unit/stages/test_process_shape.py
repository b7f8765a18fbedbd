"""One shape through its stages: what is kept, made again, failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from occnet_lib.errors import DataError, DependencyError
from occnet_lib.stages import plan, points, watertight
from occnet_lib.stages.process_shape import process, record_failure
from occnet_lib.storage import shape_file
from tests.support.small_shapes import assert_same, config, everything, key


def test_a_shape_goes_through(root: Path, tmp_path: Path) -> None:
    out, reported = tmp_path / "a.h5", []
    row = process(key("a"), config(), root, out, on_stage=reported.append)
    assert reported == ["load", "watertight", "points", "views"]
    assert (row["status"], row["reason"], row["stage"], row["path"]) == ("ok", "", "", str(out))
    assert row["views_inside"] > 0.98
    assert row["seconds"] == pytest.approx(sum(row[f"seconds_{stage}"] for stage in reported), abs=0.01)
    made = everything(out)
    truth = np.abs(made["points"].astype(float)).sum(axis=1) < 0.5
    near = np.abs(np.abs(made["points"].astype(float)).sum(axis=1) - 0.5) < 0.06
    np.testing.assert_array_equal(made["occupancies"][~near], truth[~near])


def test_nothing_is_done_twice(root: Path, tmp_path: Path, calls: list[str]) -> None:
    out = tmp_path / "a.h5"
    first = process(key("a"), config(), root, out)
    stamp, made = out.stat().st_mtime_ns, everything(out)
    assert process(key("a"), config(), root, out) == first
    assert calls == ["watertight", "points", "views"]
    assert out.stat().st_mtime_ns == stamp

    for changes, again in (
        ({"views": {"count": 3}}, ["views"]),
        ({"points": {"surface": 200}, "views": {"count": 3}}, ["points", "views"]),
        ({"watertight": {"views": 25}}, ["watertight", "points", "views"]),
        ({"dataset": {"up": "z"}}, ["watertight", "points", "views"]),
        ({}, ["watertight", "points", "views"]),
    ):
        calls.clear()
        process(key("a"), config(**changes), root, out)
        assert calls == again, changes
    assert_same(everything(out), made)

    calls.clear()
    process(key("a"), config(), root, out, force=True)
    assert calls == ["watertight", "points", "views"]
    assert_same(everything(out), made)


def test_kept_stages_lead_to_the_same_as_new_ones(root: Path, tmp_path: Path) -> None:
    process(key("a"), config(views={"count": 3}), root, tmp_path / "a.h5")
    process(key("a"), config(points={"surface": 200}), root, tmp_path / "a.h5")
    process(key("a"), config(points={"surface": 200}), root, tmp_path / "b.h5")
    assert_same(everything(tmp_path / "a.h5"), everything(tmp_path / "b.h5"))


def test_versions_names_and_sources_count(
    root: Path, tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.h5"
    process(key("a"), config(), root, out)
    calls.clear()
    monkeypatch.setattr(plan, "VERSIONS", {**plan.VERSIONS, "points": -1})
    process(key("a"), config(), root, out)
    assert calls == ["points", "views"]
    calls.clear()
    (root / "solid" / "a.obj").write_text((root / "solid" / "b.obj").read_text())
    process(key("a"), config(), root, out)
    assert calls == ["watertight", "points", "views"]
    # The same mesh under another name has other random numbers.
    process(key("b"), config(), root, tmp_path / "b.h5")
    assert not np.array_equal(everything(out)["points"], everything(tmp_path / "b.h5")["points"])


def test_failures_are_files_and_not_tried_again(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "e.h5"
    row = process(key("empty"), config(), root, out)
    assert (row["status"], row["stage"], row["reason"]) == ("failed", "load", "the file is empty")
    record = shape_file.read_status(out)
    assert (record.status, record.reason, record.stages) == ("failed", "the file is empty", {})
    assert "solid/empty: failed in load: the file is empty" in caplog.text
    caplog.clear()
    assert process(key("empty"), config(), root, out) == row
    assert not caplog.records
    process(key("empty"), config(), root, out, force=True)
    assert caplog.records
    (root / "solid" / "empty.obj").write_text((root / "solid" / "a.obj").read_text())
    assert process(key("empty"), config(), root, out)["status"] == "ok"


def test_absent_file_is_a_failed_shape(root: Path, tmp_path: Path) -> None:
    row = process(key("absent"), config(), root, tmp_path / "x.h5")
    assert (row["status"], row["reason"]) == ("failed", "no such file")


def test_unexpected_error_keeps_what_had_succeeded(
    root: Path,
    tmp_path: Path,
    calls: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*args: Any) -> None:
        raise ValueError("odd\nthing")

    out = tmp_path / "a.h5"
    good = points.run
    monkeypatch.setattr(points, "run", broken)
    row = process(key("a"), config(), root, out)
    assert (row["status"], row["stage"], row["reason"]) == ("failed", "points", "ValueError: odd thing")
    assert "Traceback" in caplog.text
    assert list(shape_file.read_status(out).stages) == ["watertight"]
    # With the fault repaired, what had succeeded is kept.
    monkeypatch.setattr(points, "run", good)
    calls.clear()
    versions = plan.VERSIONS
    monkeypatch.setattr(plan, "VERSIONS", {**versions, "points": versions["points"] + 1})
    assert process(key("a"), config(), root, out)["status"] == "ok"
    assert calls == ["points", "views"]


def test_limits_of_the_audit_make_warn_and_failed(
    root: Path, tmp_path: Path, calls: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "a.h5"
    made = process(key("a"), config(), root, out)
    assert made["status"] == "ok"
    volume = made["watertight_volume"]
    arrays = everything(out)
    calls.clear()
    for limits, status, limit in (((1.0, 0.01), "warn", "1"), ((2.0, 0.9), "failed", "0.9")):
        strict = config(audit={"least_volume": limits})
        row = process(key("a"), strict, root, out)
        reason = f"volume {volume:.3g}, below audit.least_volume {limit}"
        assert (row["status"], row["reason"]) == (status, reason)
        assert row["stage"] == ("audit" if status == "failed" else "")
        record = shape_file.read_status(out)
        assert (record.status, record.reason, record.stage) == (status, reason, row["stage"])
        assert f"solid/a: {status}: {reason}" in caplog.text
        caplog.clear()
        stamp = out.stat().st_mtime_ns
        assert process(key("a"), strict, root, out) == row
        assert out.stat().st_mtime_ns == stamp
        assert not caplog.records
    # Nothing is made again for other limits, and a failed shape may be used again.
    assert process(key("a"), config(), root, out) == made
    assert calls == []
    assert_same(everything(out), arrays)


@pytest.mark.parametrize("error", [DependencyError("no library"), DataError("disk full"), ImportError("x")])
def test_faults_of_the_environment_are_not_the_shape_s(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(*args: Any) -> None:
        raise error

    monkeypatch.setattr(watertight, "run", broken)
    with pytest.raises((DependencyError, DataError)):
        process(key("a"), config(), root, tmp_path / "a.h5")
    assert not (tmp_path / "a.h5").exists()


@pytest.mark.parametrize("gone", ["no folder", "an empty one"])
def test_a_dataset_that_is_gone_fails_no_shape(root: Path, tmp_path: Path, gone: str) -> None:
    """As on a disk that is unmounted during a run."""
    out = tmp_path / "a.h5"
    process(key("a"), config(), root, out)
    before = out.read_bytes()
    root.rename(tmp_path / "elsewhere")
    if gone == "an empty one":
        root.mkdir()
    with pytest.raises(DataError, match="not available"):
        process(key("a"), config(), root, out, force=True)
    with pytest.raises(DataError, match="not available"):
        record_failure(key("a"), config(), root, out, "load", "killed")
    assert out.read_bytes() == before


@pytest.mark.parametrize("damage", ["truncated", "group"])
def test_corrupt_shape_file_is_made_again(root: Path, tmp_path: Path, damage: str) -> None:
    import h5py

    out = tmp_path / "a.h5"
    process(key("a"), config(), root, out)
    made = everything(out)
    if damage == "truncated":
        out.write_bytes(out.read_bytes()[:1000])
    else:
        with h5py.File(out, "r+") as file:
            del file["points/points"]
            file["views"].attrs["digest"] = "old"
    assert process(key("a"), config(), root, out)["status"] == "ok"
    assert_same(everything(out), made)
