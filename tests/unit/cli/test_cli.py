"""The command line: every stage is there, faults are one line, bugs are in the log."""

import argparse
import json
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pytest

from occnet_lib import cli
from occnet_lib.cli import preprocess, shapes
from occnet_lib.cli.arguments import add_arguments
from occnet_lib.cli.main import JOBS, VERBS
from occnet_lib.config import Config, digest
from occnet_lib.errors import OccnetError
from occnet_lib.storage.dataset.catalogue import write_table
from occnet_lib.storage.tables import write_rows
from occnet_lib.types import ShapeKey

STAGES = ("watertight", "points", "views", "pack", "train", "reconstruct", "evaluate", "analyse", "report")


pytestmark = pytest.mark.usefixtures("keep_logging")


def test_help_lists_every_stage(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for stage in STAGES:
        assert f"\n    {stage}" in text


def test_a_shape_is_named_by_what_snakemake_makes_of_its_id(tmp_path):
    table = tmp_path / "shapes.csv"
    ids = ("00000012", "1e5", "123_456", "chair", "7", "007")
    write_table(table, [ShapeKey("abc", id, f"{id}.obj", "train", "train-000") for id in ids])
    for name, id in [
        ("12", "00000012"),
        ("00000012", "00000012"),
        ("100000.0", "1e5"),
        ("123456", "123_456"),
    ]:
        assert [key.id for key in preprocess._named(table, name)] == [id]
    assert [key.id for key in preprocess._named(table, "abc/7")] == ["7"]
    assert [key.id for key in preprocess._named(table, "chair")] == ["chair"]
    with pytest.raises(OccnetError, match=r"several shapes \(write one of shape=abc/7, shape=abc/007\)"):
        preprocess._named(table, "7")
    with pytest.raises(OccnetError, match=r"no shape 'chiar'.*did you mean"):
        preprocess._named(table, "chiar")


def test_the_home_folder_in_a_path(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "meshes/chair").mkdir(parents=True)
    (tmp_path / "meshes/chair/a.obj").write_text("x")
    assert cli.main(["catalogue", "~/meshes", "--out=~/c.csv"]) == 0
    assert (tmp_path / "c.csv").exists()


@pytest.mark.parametrize("name", VERBS)
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main([name, "--help"])
    assert caught.value.code == 0
    assert "usage: occnet" in capsys.readouterr().out


TETRAHEDRON = "v 5 0 0\nv 7 0 0\nv 5 2 0\nv 5 0 2\nf 1 3 2\nf 1 2 4\nf 2 3 4\nf 1 4 3\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["watertight", "none.obj", "-o", "out.ply"], ["none.obj"]),
        (["catalogue", "none", "-o", "out.csv"], ["none", "no such folder"]),
        (["train", "none", "-o", "out"], ["none", "train-*.h5"]),
        (["train", "none", "--model", "tiny", "-o", "out"], ["'tiny'", "onet"]),
        (["reconstruct", "none.png", "--checkpoint", "none.ckpt", "-o", "out.ply"], ["none.ckpt"]),
        (["report", "none", "-o", "out.html"], ["none", "config.json"]),
        (["report", "old", "-o", "out.html"], ["old/config.json", "simplify.faces", "--config"]),
        (["pack", ".", "-o", "out.h5"], ["holds no <category>/<id>.h5"]),
        (["analyse", ".", "-o", "out"], ["holds no pack shards"]),
        (["views", "solid.obj", "-o", "wrong.yaml"], ["wrong.yaml", "file exists"]),
        (
            ["views", "solid.obj", "-o", "out", "--config", "depth.yaml", "--protocol", "everyday"],
            ["`views`", "depth is stored up to 4", "everyday.lens below 54"],
        ),
        (["evaluate", "solid.obj", "open.obj"], ["open.obj", "is not closed", "occnet watertight"]),
        (["config", "--log", "wrong.yaml/out.log"], ["wrong.yaml/out.log: "]),
        (["config", "--log", "/proc/none/out.log"], ["/proc/none/out.log: no such file"]),
        (["config", "--config", "image.png"], ["image.png", "expected YAML"]),
        (["config", "--config", "wrong.yaml"], ["wrong.yaml: ", "`sed`", "did you mean `seed`"]),
    ],
)
def test_a_fault_is_one_line_on_standard_error(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.yaml").write_text("sed: 1\n")
    (tmp_path / "image.png").write_bytes(b"\x89PNG\r\n")
    (tmp_path / "depth.yaml").write_text("views: {extra: [depth]}\n")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.json").write_text('{"reconstruct": {"max_faces": 0}}')
    (tmp_path / "solid.obj").write_text(TETRAHEDRON)
    (tmp_path / "open.obj").write_text(TETRAHEDRON.replace("f 1 4 3\n", ""))
    assert cli.main(arguments) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("occnet: ")
    assert "\n" not in error
    for word in words:
        assert word in error


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["train", "packs", "-o", "out", "--threads", "-1"], "expected a whole number from 1, got '-1'"),
        (["prepare", "a.obj", "-o", "a.npz", "--edge", "0"], "expected a number above 0, got '0'"),
        (
            ["export", "a.h5", "-o", "out", "--format", "dora", "--edge", "nan"],
            "expected a number above 0, got 'nan'",
        ),
    ],
)
def test_a_number_that_makes_no_sense_is_a_wrong_command_line(arguments, text, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert text in capsys.readouterr().err


def test_config_prints_what_it_resolved(tmp_path, capsys):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("seed: 7\n")
    assert cli.main(["config", "--config", str(overlay)]) == 0
    assert "seed: 7" in capsys.readouterr().out


def test_config_writes_nothing_outside_a_checkout(tmp_path, monkeypatch, capsys):
    files = [tmp_path / "config.yaml", tmp_path / "docs" / "configuration.md"]
    monkeypatch.setattr("occnet_lib.config.generated", lambda: dict.fromkeys(files, "text"))
    assert cli.main(["config", "--write"]) == 1
    assert "--write is for a checkout" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_bug_is_in_the_log_with_its_traceback(tmp_path, monkeypatch, capsys):
    def broken(config: Config, *, out: Annotated[Path, ""]) -> str:
        """Raise."""
        raise ZeroDivisionError("division by zero")

    monkeypatch.setitem(JOBS, "broken", broken)
    config, log = tmp_path / "config.json", tmp_path / "logs" / "table.log"
    config.write_text(Config().model_dump_json())
    arguments = ["job", "broken", "--config", str(config), "--log", str(log), "--out", str(tmp_path / "out")]
    assert cli.main(arguments) == 1
    assert "ZeroDivisionError: division by zero" in capsys.readouterr().err
    text = log.read_text()
    assert "Traceback" in text
    assert "in broken" in text


def job(folder, name, *arguments, **overlay):
    config = folder / "config.json"
    config.write_text(Config.model_validate({"results": str(folder), **overlay}).model_dump_json())
    return cli.main(["job", name, "--config", str(config), *map(str, arguments)])


@pytest.mark.parametrize(("failed", "limit", "code"), [(0, 0.0, 0), (1, 0.1, 0), (2, 0.1, 1), (10, 1.0, 1)])
def test_too_many_failed_shapes_stop_before_training(failed, limit, code, tmp_path, capsys):
    table, out = tmp_path / "shapes.csv", tmp_path / "accepted.json"
    statuses = ["failed"] * failed + ["ok"] * (10 - failed)
    write_rows(
        table, [{"status": status, "reason": "no faces" if status == "failed" else ""} for status in statuses]
    )
    assert job(tmp_path, "check_failures", table, "--out", out, preprocess={"max_failed": limit}) == code
    assert out.exists() == (code == 0)
    if code:
        assert f"{failed} × no faces" in capsys.readouterr().err
    else:
        assert json.loads(out.read_text())["failed"] == failed


def test_the_tables_of_all_shards_are_joined(tmp_path):
    keys = [ShapeKey("chair", f"c{i}", f"chair/c{i}.obj", "train", f"train-{i % 2:03d}") for i in range(5)]
    write_table(tmp_path / "catalogue" / "shapes.csv", keys)
    for shard in ("train-000", "train-001"):
        rows = [
            {"category": key.category, "id": key.id, "status": "ok", "reason": ""}
            for key in keys
            if key.shard == shard
        ]
        write_rows(tmp_path / "preprocess" / "shards" / f"{shard}.csv", rows)
    arguments = (tmp_path / "preprocess" / "shards", "--table", tmp_path / "catalogue" / "shapes.csv")
    assert job(tmp_path, "preprocess_table", *arguments, "--out", tmp_path / "preprocess" / "shapes.csv") == 0
    lines = (tmp_path / "preprocess" / "shapes.csv").read_text().splitlines()
    assert lines[0] == "category,id,status,reason"
    assert sorted(line.split(",")[1] for line in lines[1:]) == [f"c{i}" for i in range(5)]


def test_rerun_names_the_nearest_shape(tmp_path, capsys):
    table = tmp_path / "catalogue" / "shapes.csv"
    write_table(table, [ShapeKey("chair", "chair_0001", "chair/chair_0001.obj", "train", "train-000")])
    arguments = ("--table", table, "--shapes", tmp_path / "shapes", "--shape")
    assert job(tmp_path, "rerun", *arguments, "chair_001") == 1
    assert "did you mean" in capsys.readouterr().err
    assert job(tmp_path, "rerun", *arguments, "") == 1
    assert "--config shape=" in capsys.readouterr().err


def test_points_refuses_an_open_mesh(tmp_path, capsys):
    path = tmp_path / "open.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\n")
    assert cli.main(["points", str(path), "-o", str(tmp_path / "out.npz")]) == 1
    assert "occnet watertight" in capsys.readouterr().err


@pytest.mark.parametrize(("shift", "warned"), [(0, False), (3, True)])
def test_meshes_in_different_frames_are_warned_about(shift, warned, tmp_path, capsys):
    (tmp_path / "true.obj").write_text(TETRAHEDRON)
    (tmp_path / "moved.obj").write_text(
        TETRAHEDRON.replace("v 5", f"v {5 + shift}").replace("v 7", f"v {7 + shift}")
    )
    (tmp_path / "small.yaml").write_text("points: {uniform: 800}\nevaluate: {surface: 500}\n")
    files = [str(tmp_path / name) for name in ("moved.obj", "true.obj")]
    assert cli.main(["evaluate", *files, "--config", str(tmp_path / "small.yaml")]) == 0
    assert ("seem to be in different frames" in capsys.readouterr().err) == warned


@pytest.mark.slow
def test_the_preprocessing_stages_work_on_files(tmp_path, capsys):
    """A tetrahedron: watertight -> points -> views, each alone."""
    raw, closed, samples = tmp_path / "raw.obj", tmp_path / "closed.ply", tmp_path / "points.npz"
    raw.write_text(TETRAHEDRON)
    small = tmp_path / "small.yaml"
    small.write_text(
        "watertight: {resolution: 64, views: 30, image_size: 160}\npoints: {uniform: 4000, surface: 1000}\n"
        "views: {count: 3, image_size: 32}\n"
    )
    assert cli.main(["watertight", str(raw), "-o", str(closed), "--config", str(small)]) == 0
    assert cli.main(["points", str(closed), "-o", str(samples), "--config", str(small)]) == 0
    assert cli.main(["views", str(raw), "-o", str(tmp_path / "views"), "--config", str(small)]) == 0
    photos = ["--protocol", "everyday", "-o", str(tmp_path / "photos")]
    assert cli.main(["views", str(raw), *photos, "--config", str(small)]) == 0
    lenses = np.load(tmp_path / "photos" / "cameras.npz")["camera_mat"][:, 0, 0]
    assert len(set(lenses)) == 3
    arrays = np.load(samples)
    coarse = 2 * 2.0 / 64  # two voxels, in the units of the file
    np.testing.assert_allclose(arrays["loc"], [6.0, 1.0, 1.0], atol=coarse)
    np.testing.assert_allclose(arrays["scale"], 2.0, atol=coarse)
    # A corner of the cube of volume 1/6, among points in a cube of edge 1.1.
    assert arrays["occupancies"].mean() == pytest.approx(1 / 6 / 1.1**3, abs=0.02)
    assert sorted(path.name for path in (tmp_path / "views").iterdir()) == [
        "00.png",
        "01.png",
        "02.png",
        "cameras.npz",
    ]
    (tmp_path / "views" / "front.png").touch()
    fewer = ["--config", str(small), "--config", str(tmp_path / "fewer.yaml")]
    (tmp_path / "fewer.yaml").write_text("views: {count: 1}")
    capsys.readouterr()
    assert cli.main(["views", str(raw), "-o", str(tmp_path / "views"), *fewer]) == 0
    assert "1 other images are in this folder (front.png)" in capsys.readouterr().err
    names = sorted(path.name for path in (tmp_path / "views").iterdir())
    assert names == ["00.png", "cameras.npz", "front.png"], "earlier views do not stay beside new ones"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text", None])
def test_another_file_in_the_place_of_earlier_cameras_changes_nothing(tmp_path, content):
    if content is None:
        np.save(tmp_path / "array.npy", np.zeros(3))
        content = (tmp_path / "array.npy").read_bytes()
    (tmp_path / "cameras.npz").write_bytes(content)
    (tmp_path / "05.png").touch()
    shapes._remove_earlier_views(tmp_path, 2)
    assert (tmp_path / "05.png").is_file()


def test_a_job_refuses_the_configuration_of_another_run(tmp_path, capsys):
    config, table = tmp_path / "config.json", tmp_path / "shapes.csv"
    config.write_text(Config().model_dump_json())
    write_rows(table, [{"status": "ok", "reason": ""}])
    verb = ["check_failures", "--config", str(config), str(table), "--out", str(tmp_path / "out.json")]
    assert cli.main(["job", "--digest", digest(config.read_text()), *verb]) == 0
    config.write_text(Config(seed=1).model_dump_json())
    assert cli.main(["job", "--digest", digest(Config().model_dump_json()), *verb]) == 1
    assert "is not the configuration of this run (start again" in capsys.readouterr().err
    config.unlink()
    assert cli.main(["job", "--digest", digest(Config().model_dump_json()), *verb]) == 1
    assert "is not the configuration of this run (start again" in capsys.readouterr().err


def test_arguments_come_from_the_signature():
    def verb(
        file: Annotated[Path, "a file"],
        config: Config,
        *,
        many: Annotated[list[int] | None, "numbers"] = None,
        kind: Annotated[Literal["a", "b"], "a kind"] = "a",
        dry: Annotated[bool, "a switch"] = False,
        out: Annotated[Path, "a result", "-o", "--out", "FILE"],
    ) -> str:
        return ""

    parser = argparse.ArgumentParser()
    add_arguments(parser, verb)
    args = vars(parser.parse_args(["x", "-o", "y"]))
    assert args == {"file": Path("x"), "many": None, "kind": "a", "dry": False, "out": Path("y")}
    args = vars(parser.parse_args(["x", "--many", "1", "--many", "2", "--kind", "b", "--dry", "--out=y"]))
    assert args == {"file": Path("x"), "many": [1, 2], "kind": "b", "dry": True, "out": Path("y")}
    assert "FILE" in parser.format_help()
    for wrong in ([], ["x"], ["x", "-o", "y", "--kind", "c"]):
        with pytest.raises(SystemExit):
            parser.parse_args(wrong)
