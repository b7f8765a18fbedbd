"""What a user sees and asks for: targets, progress, Snakemake's own report, shape files dropped once packed."""

from __future__ import annotations

import json
import os
import re
import sys
import zipfile

import pytest
import yaml
import yte

from tests.support.checkout import contents, make_checkout, write_meshes
from tests.support.snakemake_server import snakemake

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

TARGETS = [
    "all",
    "preprocess",
    "train",
    "reconstruct",
    "evaluate",
    "analyse",
    "report",
    "clean",
    "rerun",
    "demo",
]


def test_every_target_is_listed_with_one_line(finished):
    text = finished.snakemake("--list-target-rules")
    listed = dict(re.findall(r"^([a-z_]+) \((.+)\)$", text, re.MULTILINE))
    assert set(TARGETS) <= set(listed), text
    assert len(re.findall(r"^[a-z_]+$", text, re.MULTILINE)) == 0, "a target without a line"


def test_the_slurm_profile_sends_every_rule_that_asks_for_a_gpu_to_the_partition_of_gpus(project):
    asking = set()
    for path in (project / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            if re.search(r"^ +gpu=", rule, re.MULTILINE):
                asking.add(rule.split(":")[0])
    profile = yaml.safe_load((project / "workflow/profiles/slurm/config.yaml").read_text())
    assert "train_model" in asking
    assert {rule: {"slurm_partition": "gpu"} for rule in asking} == profile["set-resources"]


@pytest.mark.parametrize(
    ("words", "cores"),
    [
        (["report"], "all"),
        (["-n", "preprocess", "--config", "seed=1"], "all"),
        (["-j", "4", "report"], None),
        (["--jobs=4", "report"], None),
        (["--profile", "slurm", "train"], None),
        (["--executor=slurm", "train"], None),
    ],
)
def test_all_cores_are_taken_where_nothing_else_is_said(project, monkeypatch, words, cores):
    monkeypatch.delenv("SNAKEMAKE_PROFILE", raising=False)
    monkeypatch.setattr(sys, "argv", ["snakemake", *words])
    with (project / "workflow/profiles/default/config.yaml").open() as file:
        profile = yte.process_yaml(file, require_use_yte=True)
    assert profile.get("cores") == cores
    assert profile["scheduler"] == "greedy"


def test_a_training_on_several_nodes_is_started_by_slurm(finished):
    config = finished.path / "tiny.yaml"
    before = config.read_text()
    content = yaml.safe_load(before)
    content["train"]["hardware"] |= {"nodes": 2, "devices": 2}
    config.write_text(yaml.safe_dump(content))
    try:
        text = finished.snakemake("-n", "-p", "train")
    finally:
        config.write_text(before)
    started = text.count("srun --kill-on-bad-exit=1 --ntasks=4 --ntasks-per-node=2 ")
    assert started == 2, text[-6000:]  # a model each


def test_a_network_that_is_neither_a_model_nor_a_file_is_refused(project, tmp_path):
    def dry_run(**models):
        words = [
            "-s",
            str(project / "workflow/Snakefile"),
            "-n",
            "train",
            "--config",
            "demo={shapes_per_category: 2}",
        ]
        words += [f"models={json.dumps(models)}"]
        return snakemake(words, tmp_path, {**os.environ, "PYTHONPATH": str(project)})

    # A finished training stays: its network to start from may be gone.
    for kept, expected in ((False, 1), (True, 0)):
        if kept:
            (tmp_path / "results/train/b").mkdir(parents=True)
            (tmp_path / "results/train/b/best.ckpt").touch()
        code, text = dry_run(a={}, b={"start": "aa"})
        assert code == expected, text
        assert "`models.b` needs aa, which is neither a model of this configuration nor a file" in text
        assert ("b stays as it was trained before" in text) == kept


def test_a_finished_training_outlives_a_change_of_settings_and_a_failure(finished):
    target, folder = "results/train/again/best.ckpt", finished.results / "train" / "again"
    files = ("best.ckpt", "last.ckpt", "metrics.csv", "options.json")
    config = finished.path / "tiny.yaml"
    before = config.read_text()

    def train(check=True, **changed):
        content = yaml.safe_load(before)
        content["models"]["again"] = content["models"]["tiny"]
        content["train"]["optimizer"] |= changed
        config.write_text(yaml.safe_dump(content))
        return finished.snakemake(target, check=check)

    try:
        train()
        first = {name: (folder / name).read_bytes() for name in files}
        assert "loss became" in train(learning_rate=1e30, check=False)
        assert {name: (folder / "kept-001" / name).read_bytes() for name in files} == first
        assert (folder / "best.ckpt").read_bytes() == first["best.ckpt"]
        train(learning_rate=2e-3)
    finally:
        config.write_text(before)
    assert (folder / "best.ckpt").read_bytes() != first["best.ckpt"]
    assert {name: (folder / "kept-001" / name).read_bytes() for name in files} == first
    assert (
        json.loads((folder / "options.json").read_text())["config"]["train"]["optimizer"]["learning_rate"]
        == 2e-3
    )


def test_snakemakes_own_report(finished, tmp_path):
    finished.snakemake(f"--report={tmp_path / 'out.zip'}")
    with zipfile.ZipFile(tmp_path / "out.zip") as report:
        names = {name.rsplit("/", 1)[-1] for name in report.namelist()}
    assert {"report.html", "shapes.csv", "models.csv", "classes.csv", "differences.csv"} <= names


def test_packed_shape_files_can_be_dropped_and_one_made_again(finished, tmp_path, project):
    other = make_checkout(tmp_path / "dropped", project, preprocess={"keep_shapes": False})
    write_meshes(other.path / "meshes")
    text = other.snakemake("preprocess")
    assert "12 ok, 0 warn, 1 failed" in text
    assert "results/preprocess/shapes.csv" in text
    assert "Finished jobid" not in text
    shapes = other.results / "preprocess/shapes"
    assert [path.stem for path in shapes.glob("*/*.h5")] == ["broken"]
    packs = {name: content for name, content in contents(finished).items() if name.startswith("pack/")}
    assert {name: content for name, content in contents(other).items() if name.startswith("pack/")} == packs
    assert other.jobs("preprocess") == {}

    other.snakemake("results/preprocess/shapes/lamp/lamp_0001.h5")
    one = contents(other)["preprocess/shapes/lamp/lamp_0001.h5"]
    assert one == contents(finished)["preprocess/shapes/lamp/lamp_0001.h5"]
    assert other.jobs("preprocess")["preprocess_shard"] == 1
    other.snakemake("preprocess")
    assert {name: content for name, content in contents(other).items() if name.startswith("pack/")} == packs
    assert [path.stem for path in shapes.glob("*/*.h5")] == ["broken"]
