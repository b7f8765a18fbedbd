"""The public Python functions: examples of docstrings and README run, objects and files give the same results."""

from __future__ import annotations

import doctest
import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from glob import glob
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml

import occnet_lib as occnet
from occnet_lib import cli
from occnet_lib.api import evaluation, files, models, shapes
from occnet_lib.errors import ConfigError, MeshError
from tests.unit.reconstruction.test_reconstruct import MODEL, TRAIN, ball_network

pytestmark = pytest.mark.usefixtures("keep_logging")

SMALL = {
    "watertight": {"resolution": 32, "views": 20, "image_size": 96},
    "points": {"uniform": 1000, "surface": 1000, "voxels": 8},
    "views": {"count": 2, "image_size": 64, "renderer": "raycast"},
    "evaluate": {"surface": 1000},
    "reconstruct": {
        **{"resolution0": 16, "upsampling_steps": 1, "simplify": {"faces": 500}, "refine_steps": 3},
        "accelerator": "cpu",
    },
}


def write_cube(path, edge=2.0, offset=(3.0, 4.0, 5.0)):
    import trimesh

    cube = trimesh.creation.box(extents=(edge,) * 3)
    cube.apply_translation(offset)
    cube.export(path)


@pytest.fixture
def config():
    return occnet.load_config(**SMALL)


@pytest.fixture
def folder(tmp_path, monkeypatch, config):
    """The files that the examples name, in the current folder."""
    from PIL import Image

    from occnet_lib.networks.checkpoint import network_file, save_network

    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(SMALL))
    for path in ("cube.obj", "chair.obj", "meshes/box/cube.obj"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        write_cube(tmp_path / path)
    photo = np.full((60, 60, 3), 255, np.uint8)
    photo[20:40, 15:45] = 90
    for name in ("photo", "front", "side", "left", "right"):
        Image.fromarray(photo).save(f"{name}.png")
    options = {"model": MODEL.model_dump(mode="json"), "train": TRAIN, "val_threshold": 0.35}
    for path in ("best.ckpt", "results/demo/train/resnet10-cbn/best.ckpt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        save_network(tmp_path / path, network_file(ball_network(5.0).state_dict(), options))
    return tmp_path


def example_names():
    tests = [
        test
        for module in (files, shapes, models, evaluation)
        for test in doctest.DocTestFinder().find(module)
    ]
    return [test.name.rpartition(".")[2] for test in tests if test.examples]


@pytest.mark.parametrize("name", example_names())
def test_the_examples_of_docstrings_run(name, folder, config):
    if name == "open_pack":
        (folder / "packs").mkdir()
        closed = occnet.watertight("cube.obj", config)
        shape = closed, occnet.sample_points(closed, config), occnet.render_views("cube.obj", config)
        occnet.write_pack("packs/train-000.h5", {"box/cube": shape})
    values = {"occnet": occnet, "config": config}
    (test,) = doctest.DocTestFinder().find(getattr(occnet, name), name, globs=values)
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)


def test_every_public_function_has_an_example():
    functions = {name for name in occnet.__all__ if not name[0].isupper()}
    assert functions == set(example_names())


def test_readme_snippets_run(project, folder, config):
    occnet.save_mesh(occnet.watertight("chair.obj", config), "predicted.ply")
    snippets = re.findall(r"^```python\n(.*?)^```", (project / "README.md").read_text(), re.S | re.M)
    assert snippets
    for snippet in snippets:
        exec(compile(snippet, "README.md", "exec"), {})
    assert occnet.load_mesh("mesh.glb").faces.shape[1] == 3


def test_readme_commands_run(project, folder, capsys):
    """Every `occnet` command of README, line by line, on files of the names it uses."""
    occnet.save_mesh(occnet.load_mesh("chair.obj"), "raw.stl")
    (folder / "z.yaml").write_text(yaml.safe_dump(SMALL | {"dataset": {"up": "z"}}))
    page = (project / "README.md").read_text()
    text = "\n".join(re.findall(r"^```\n(.*?)^```", page, re.S | re.M))
    commands = [line for line in text.splitlines() if line.startswith("occnet ")]
    assert {line.split()[1] for line in commands} >= {"watertight", "points", "views", "reconstruct"}
    for line in commands:
        words = shlex.split(line, comments=True)[1:]
        expanded = [path for word in words for path in (sorted(glob(word)) if "*" in word else [word])]
        config = [] if "--config" in words else ["--config", "config.yaml"]
        assert cli.main([*expanded, *config]) == 0, f"{line}\n{capsys.readouterr().err}"
        for word, path in pairwise(words):
            assert word not in ("-o", "--out") or Path(path).exists(), line


def test_public_names_are_those_of_the_module():
    for name in occnet.__all__:
        assert callable(getattr(occnet, name))
        assert name in dir(occnet)
    with pytest.raises(AttributeError, match="no attribute 'watertigt'"):
        _ = occnet.watertigt


def test_the_import_loads_no_library(project):
    code = "import sys; import occnet_lib; print(sorted({'numpy', 'pydantic', 'torch', 'h5py'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=project
    )
    assert done.stdout.strip() == "[]"


def test_functions_and_commands_give_the_same(folder, config, capsys):
    """What `occnet watertight`, `points` and `evaluate` write is what the functions return, bit for bit."""
    common = ["--config", "config.yaml"]
    assert cli.main(["watertight", "cube.obj", *common, "--frame", "unit", "-o", "closed.ply"]) == 0
    closed = occnet.watertight("cube.obj", config)
    occnet.save_mesh(closed, "same.ply", frame="unit")
    assert (folder / "same.ply").read_bytes() == (folder / "closed.ply").read_bytes()

    assert cli.main(["points", "closed.ply", *common, "-o", "points.npz"]) == 0
    samples = occnet.sample_points("closed.ply", config)
    with np.load("points.npz") as arrays:
        for name in ("points", "occupancies", "surface", "normals", "voxels"):
            assert np.array_equal(arrays[name], getattr(samples, name))
        assert arrays["scale"] == 2.0

    capsys.readouterr()
    assert cli.main(["evaluate", "same.ply", "closed.ply", *common]) == 0
    printed = json.loads(capsys.readouterr().out)
    result = occnet.evaluate("same.ply", "closed.ply", config)
    assert {name: printed[name] for name in result.values} == result.values


def test_every_form_of_prediction_and_ground_truth_agrees(folder, config):
    """A cube of edge 1 inside one of edge 2 has an IoU of 1/8 in whatever frame and form they come."""
    write_cube("small.obj", edge=1.0)
    small, cube = occnet.load_mesh("small.obj"), occnet.load_mesh("cube.obj")
    unit_cube = occnet.Watertight(
        replace(cube, vertices=(cube.vertices - (3, 4, 5)) / 2), np.array([3.0, 4, 5]), 2.0
    )
    unit_small = replace(small, vertices=(small.vertices - (3, 4, 5)) / 2)
    occnet.save_mesh(unit_cube, "unit.ply", frame="unit")
    occnet.save_mesh(unit_cube, "source.ply")
    config = occnet.load_config("config.yaml", points={"uniform": 20000})
    for prediction, truth in [
        ("small.obj", "cube.obj"),
        ("small.obj", "source.ply"),
        ("small.obj", cube),
        (small, cube),
        (small, "cube.obj"),
        (small, "source.ply"),
        (unit_small, unit_cube),
        (unit_small, "unit.ply"),
        (occnet.Reconstruction(unit_small), unit_cube),
        (occnet.Reconstruction(unit_small), cube),
        (occnet.Reconstruction(unit_small), "source.ply"),
    ]:
        assert occnet.evaluate(prediction, truth, config).values["iou"] == pytest.approx(1 / 8, abs=0.01)
    whole = occnet.evaluate("source.ply", unit_cube, config)
    assert whole.values["iou"] == 1.0


def test_an_empty_reconstruction_has_the_worst_values(config, folder):
    empty = occnet.Reconstruction(
        occnet.Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int32)), "failed", "no surface"
    )
    cube = occnet.load_mesh("cube.obj")
    assert occnet.evaluate(empty, cube, config).values["iou"] == 0.0
    with pytest.raises(MeshError, match="no surface"):
        occnet.save_mesh(empty, "mesh.ply")


def test_a_reconstruction_in_the_camera_frame_is_warned_of(config, folder, caplog):
    cube = occnet.load_mesh("cube.obj")
    occnet.evaluate(occnet.Reconstruction(cube, frame="camera"), cube, config)
    assert "in the camera frame" in caplog.text


def test_a_pack_holds_the_sets_of_its_shapes(folder, config):
    config = config.model_copy(
        update={"samples": occnet.load_config(samples={"near": 50, "sharp": 20}).samples}
    )
    closed = occnet.watertight("cube.obj", config)
    shape = closed, occnet.sample_points(closed, config), occnet.render_views("cube.obj", config)
    sets = occnet.sample_sets(closed, config)
    occnet.write_pack("train-000.h5", {"box/cube": (*shape, sets)})
    packed = occnet.open_pack("train-000.h5", verify=True).samples(0).sets
    assert packed.keys() == sets.sets.keys() == {"near", "sharp"}
    assert (packed["near"].distance == sets.sets["near"].distance).all()
    assert (packed["sharp"].normals == sets.sets["sharp"].normals).all()
    with pytest.raises(
        occnet.OccnetError, match="box/plain and others of mixed differ in samples_near_distance"
    ):
        occnet.write_pack("mixed.h5", {"box/cube": (*shape, sets), "box/plain": shape})


def test_invalid_input_is_one_line(folder, config):
    cube = occnet.load_mesh("cube.obj")
    opened = replace(cube, faces=cube.faces[1:])
    with pytest.raises(MeshError, match=r"ground truth: is not closed .*close it with `watertight` first"):
        occnet.evaluate(cube, opened, config)
    with pytest.raises(ConfigError, match="section `samples` has no counts"):
        occnet.sample_sets("cube.obj", config)
    with pytest.raises(ConfigError, match="no model 'wide'"):
        occnet.train("packs", "run", config, model="wide")
    for name in ("cube", "/cube", "a/b/c"):
        with pytest.raises(occnet.OccnetError, match="<category>/<id>"):
            occnet.write_pack("train-000.h5", {name: ()})
    with pytest.raises(occnet.OccnetError, match=r"missing\.h5"):
        occnet.open_pack("missing.h5")
