"""The workflow in another one (`module occnet: …`), with `-d` in another directory, and in an environment without it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from occnet_lib.storage import packs
from occnet_lib.storage.meshes import save_mesh
from occnet_lib.storage.tables import read_rows
from tests.support import geometry_solids as solids
from tests.support.snakemake_server import snakemake

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

COARSE = {
    "results": "out/occnet",
    "dataset": {"root": "meshes", "shard_size": 16, "split": {"val": 0.0, "test": 0.0}},
    "preprocess": {"max_failed": 0.9},
    "watertight": {"resolution": 64, "views": 12, "image_size": 64},
    "points": {"uniform": 64, "surface": 64, "voxels": 8},
    "views": {"count": 1, "image_size": 16},
}
PARENT = """
configfile: "config.yaml"

module occnet:
    snakefile: SNAKEFILE
    config: config["occnet"]

use rule * from occnet as occnet_*

rule count:
    default_target: True
    input: "out/occnet/pack/train-000.h5", "out/occnet/preprocess/accepted.json"
    output: "count.txt"
    shell: "test {config[shape]} = mine && echo {input} > {output}"
"""
PACK = "out/occnet/pack/train-000.h5"


def run(folder: Path, *words: str, path: Path, code: int = 0) -> str:
    """Run snakemake in a folder, with the package on `path` as if it were installed."""
    status, text = snakemake(["--cores", "2", *words], folder, {**os.environ, "PYTHONPATH": str(path)})
    assert status == code, text[-6000:]
    return text


@pytest.fixture(params=["made", "real"])
def meshes(request, tmp_path) -> Path:
    """Two shapes that the code did not make, or two real meshes."""
    folder = tmp_path / "elsewhere" / "meshes" / "things"
    folder.mkdir(parents=True)
    if request.param == "made":
        save_mesh(solids.box_mesh((0, 0, 0), (1, 0.5, 0.25)), folder / "a.stl")
        save_mesh(solids.sphere(3).mesh, folder / "b.obj")
    else:
        dev = request.getfixturevalue("real_data") / "dev"
        files = sorted(
            (file for file in dev.rglob("*.*") if file.suffix in (".off", ".glb")),
            key=lambda file: file.stat().st_size,
        )
        for name, file in zip("ab", files, strict=False):
            shutil.copy(file, folder / f"{name}{file.suffix}")
    return folder


def test_the_workflow_is_a_module_of_another(meshes, project):
    folder = meshes.parents[1]
    (folder / "Snakefile").write_text(PARENT.replace("SNAKEFILE", repr(str(project / "workflow/Snakefile"))))
    (folder / "config.yaml").write_text(yaml.safe_dump({"shape": "mine", "occnet": COARSE}))
    run(folder, path=project)
    assert (folder / "count.txt").read_text().split()[0] == PACK
    packs.verify(folder / PACK)
    assert len(packs.Shard(folder / PACK)) == 2
    assert json.loads((folder / "out/occnet/config.json").read_text())["dataset"]["root"] == "meshes"
    triggers = ("--rerun-triggers", "mtime", "params", "software-env", "code")
    assert "Nothing to be done" in run(folder, "-n", *triggers, path=project)
    # Another title of the report is written down and reruns nothing before the report, also where the file was lost.
    resolved = folder / "out/occnet/config.json"
    for title in ("other", "third"):
        changed = COARSE | {"report": {"title": title}}
        (folder / "config.yaml").write_text(yaml.safe_dump({"shape": "mine", "occnet": changed}))
        if title == "other":
            before = resolved.read_text()
            for command in (("--summary",), ("-n", *triggers)):
                run(folder, *command, path=project)
                assert resolved.read_text() == before, "a command that runs nothing changes nothing"
        text = run(folder, *triggers, path=project)
        assert not {"occnet_preprocess_shard", "occnet_catalogue", "occnet_config"} & set(text.split())
        assert json.loads(resolved.read_text())["report"]["title"] == title
        resolved.unlink()
        (folder / "count.txt").unlink()  # so that there is something to do
    # A dataset that is not available: nothing that exists is removed, and what needs no meshes is made.
    (folder / "meshes").rename(folder / "unmounted")
    changed = COARSE | {"points": COARSE["points"] | {"uniform": 80}}
    (folder / "config.yaml").write_text(yaml.safe_dump({"shape": "mine", "occnet": changed}))
    text = run(folder, *triggers, path=project, code=1)
    assert "meshes is not available, and this run needs its meshes (1 × occnet_preprocess_shard)" in text
    assert "Traceback" not in text
    assert (folder / "out/occnet/preprocess/shards/train-000.csv").exists()
    (folder / "config.yaml").write_text(yaml.safe_dump({"shape": "mine", "occnet": COARSE}))
    run(folder, *triggers, path=project)
    assert (folder / "count.txt").exists()


def test_the_workflow_runs_in_another_directory(meshes, project, tmp_path):
    folder = meshes.parents[1]
    (folder / "coarse.yaml").write_text(yaml.safe_dump(COARSE))
    here = tmp_path / "here"
    here.mkdir()
    where = ("-s", str(project / "workflow/Snakefile"), "-d", str(folder))
    arguments = (*where, "--configfile", str(folder / "coarse.yaml"), "--", "preprocess")
    run(here, *arguments, path=project)
    assert list(here.iterdir()) == []
    statuses = [row["status"] for row in read_rows(folder / "out/occnet/preprocess/shapes.csv")]
    assert len(statuses) == 2
    assert set(statuses) <= {"ok", "warn"}
    packs.verify(folder / PACK)
    # A configuration that Snakemake has no record of is replaced, not used.
    shutil.rmtree(folder / ".snakemake")
    for path in (folder / PACK, folder / "out/occnet/preprocess/shards/train-000.csv"):
        path.unlink()
    changed = yaml.safe_dump(COARSE | {"points": COARSE["points"] | {"uniform": 80}})
    (folder / "coarse.yaml").write_text(changed)
    run(here, *arguments, path=project)
    assert packs.Shard(folder / PACK).points_per_shape == 80


# An environment in which nothing is installed that was not taken from an index.
WITHOUT = """
import sys
from pathlib import Path

sys.path[:] = [path for path in sys.path if not (Path(path) / "occnet_lib").is_dir()]
sys.meta_path[:] = [finder for finder in sys.meta_path if "Editable" not in getattr(finder, "__name__", "")]
"""


def test_a_missing_package_is_one_clear_line(tmp_path, project):
    (tmp_path / "hide").mkdir()
    (tmp_path / "hide/sitecustomize.py").write_text(WITHOUT)
    command = [sys.executable, "-m", "snakemake", "-s", str(project / "workflow/Snakefile"), "-n"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "hide")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    text = done.stdout + done.stderr
    lines = [line for line in text.splitlines() if "pip install -e" in line]
    assert len(lines) == 1, text
    assert f"pip install -e {project}" in lines[0]
    assert "Traceback" not in text
