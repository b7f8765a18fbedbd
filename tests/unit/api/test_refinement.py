"""Cross-fitting as a whole: who trains on what, what is kept, and meshes by the graph network through every door."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import yaml

import occnet_lib as occnet
from occnet_lib import cli
from occnet_lib.cli.refinement import evaluate_refinements, refinement_table
from occnet_lib.config import Config, ReconstructConfig
from occnet_lib.errors import ConfigError, DataError
from occnet_lib.networks.checkpoint import network_file, save_network
from occnet_lib.networks.face_normals import FaceNormalNetwork, load_face_normals, save_face_normals
from occnet_lib.reconstruction.compared_refinements import ComparedRefinements
from occnet_lib.reconstruction.reconstructor import Reconstructor
from occnet_lib.reconstruction.shard import reconstruct_shard
from occnet_lib.storage.dataset.catalogue import write_table
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.reconstructions import read_mesh, read_status
from occnet_lib.storage.tables import read_rows
from occnet_lib.types import ShapeKey
from tests.support.small_encoder import small_encoder
from tests.unit.reconstruction.test_reconstruct import MODEL, TRAIN, ball_network, shard_file

pytestmark = pytest.mark.usefixtures("keep_logging")

SMALL = {
    "models": {"ball": MODEL.model_dump()},
    "reconstruct": {
        **{"resolution0": 16, "upsampling_steps": 0, "simplify": {"faces": 200}, "refine_steps": 2},
        **{"accelerator": "cpu", "refinement": "graph"},
        "graph": {"meshes": 4, "steps": 3, "hidden": 8, "layers": 2},
    },
    "train": {"hardware": {"accelerator": "cpu"}},
}


@pytest.fixture(autouse=True)
def _small_encoder():
    with small_encoder():
        yield


def write_ball(path):
    options = {"model": MODEL.model_dump(mode="json"), "train": TRAIN, "val_threshold": 0.35}
    save_network(path, network_file(ball_network(5.0).state_dict(), options))


@pytest.fixture
def packs(tmp_path, monkeypatch):
    """Packs, and a training that writes a network of a ball and records which shapes it sees."""
    from occnet_lib.training import train as module

    (tmp_path / "packs").mkdir()
    for name, shapes in (("train-000", list("abcd")), ("val-000", ["v"]), ("test-000", ["t"])):
        shard_file(tmp_path / "packs" / f"{name}.h5", shapes)
    seen = {}

    def train(config, model, training, validation, out, only):
        seen[out.name] = set(only)
        write_ball(out / "best.ckpt")  # also where it is trained already, as the real one: with other bytes

    monkeypatch.setattr(module, "train", train)
    return tmp_path / "packs", seen


def test_cross_fitting_from_packs_to_meshes(packs, tmp_path):
    folder, seen = packs
    config = occnet.load_config(**SMALL)
    graph = occnet.train_refinement(folder, tmp_path / "out", config, model="ball")
    assert graph == tmp_path / "out" / "graph.ckpt"
    assert len(seen["half-0"]) == len(seen["half-1"]) == 2
    assert seen["half-0"] | seen["half-1"] == {f"chair/{name}" for name in "abcd"}
    samples = sorted((tmp_path / "out" / "faces" / "graph" / "chair").glob("*.npz"))
    assert [path.stem for path in samples] == ["a", "b", "c", "d", "v"]
    times = [path.stat().st_mtime_ns for path in (*samples, graph)]
    occnet.train_refinement(folder, tmp_path / "out", config, model="ball")
    assert [path.stat().st_mtime_ns for path in (*samples, graph)] == times, "what is there is kept"

    write_ball(tmp_path / "best.ckpt")
    test = folder / "test-000.h5"
    reconstruct_shard(tmp_path / "best.ckpt", test, config.reconstruct, tmp_path / "meshes", graph=graph)
    row = read_status(tmp_path / "meshes")["chair/t"]
    assert (row["status"], row["refined"]) == ("ok", "1")
    mesh = read_mesh(tmp_path / "meshes", ShapeKey("chair", "t"))
    batched = config.reconstruct.model_copy(update={"batch": 2})
    reconstruct_shard(tmp_path / "best.ckpt", test, batched, tmp_path / "batched", graph=graph)
    assert np.array_equal(read_mesh(tmp_path / "batched", ShapeKey("chair", "t")).vertices, mesh.vertices)

    both = config.reconstruct.model_copy(update={"refinement": "both"})
    with pytest.raises(ConfigError, match=r"trained for refinement graph, not both"):
        reconstruct_shard(tmp_path / "best.ckpt", test, both, tmp_path / "other", graph=graph)
    with pytest.raises(ConfigError, match=r"refinement is graph, which needs .* \(give graph.ckpt"):
        reconstruct_shard(tmp_path / "best.ckpt", test, config.reconstruct, tmp_path / "other")
    assert Reconstructor(tmp_path / "best.ckpt", both).threshold == 0.35, "fields need no graph network"


def test_compared_refinements_are_those_of_reconstructions(packs, tmp_path):
    """From the graph networks of both refinements to the table: the meshes are those of `reconstruct_shard`."""
    folder, _ = packs
    config = occnet.load_config(**SMALL, evaluate={"surface": 500, "refinements": ["ball"]})
    train = partial(occnet.train_refinement, folder, tmp_path / "out", config, model="ball")
    graphs = {"graph": train(), "both": train(refinement="both")}
    assert graphs["both"] == tmp_path / "out" / "both" / "graph.ckpt"
    assert [load_face_normals(path)[1]["refinement"] for path in graphs.values()] == ["graph", "both"]

    checkpoint, test = tmp_path / "best.ckpt", folder / "test-000.h5"
    write_ball(checkpoint)
    write_table(tmp_path / "shapes.csv", [ShapeKey("chair", "t", "t.obj", "test", "test-000")])
    out, meshes = tmp_path / "evaluate" / "ball" / "test-000.refinements.csv", tmp_path / "meshes"
    about = {"checkpoint": checkpoint, "model": "ball", "table": tmp_path / "shapes.csv"}
    evaluate_refinements(test, config, **graphs, **about, meshes=meshes, out=out)
    names = ["none", "gradient", "gradient_24", "bilateral", "graph", "both", "perfect_normals"]
    assert [row["refinement"] for row in read_rows(out)] == names
    expected = {name: {"refinement": name} for name in names[:-1]}
    expected["gradient_24"] = {"refinement": "gradient", "refine_steps": 24}
    shown = {}
    for name, changes in expected.items():
        settings, graph = config.reconstruct.model_copy(update=changes), graphs.get(name)
        reconstruct_shard(checkpoint, test, settings, tmp_path / name, config.seed, graph)
        shown[name] = read_mesh(meshes / name, ShapeKey("chair", "t")).vertices
        assert np.array_equal(shown[name], read_mesh(tmp_path / name, ShapeKey("chair", "t")).vertices), name
    assert len({vertices.tobytes() for vertices in shown.values()}) == len(expected), "no two are the same"

    refinement_table(out.parents[1], config, table=tmp_path / "shapes.csv")
    table = read_rows(out.parents[1] / "refinements.csv")
    assert [row["refinement"] for row in table] == names
    assert table[0]["iou_difference"] == "0.0"
    beyond = config.reconstruct.model_copy(update={"view": 2})
    with pytest.raises(ConfigError, match=r"reconstruct.view is 2, shapes have views 0 to 1"):
        ComparedRefinements(checkpoint, beyond, {}, 0).of_shape(Shard(test), 0)


def test_a_graph_network_of_another_model_is_named(tmp_path, caplog):
    """By the architecture if the file has it, by the name if it is of an earlier version."""
    network = FaceNormalNetwork(4, 1)
    ball = {
        "model_name": "ball",
        "model": MODEL.model_dump(mode="json"),
        "train": {"steps": 5},
        "val_threshold": 0.4,
    }
    trained_for = {key: ball[key] for key in ("model", "train")}
    save_network(tmp_path / "best.ckpt", network_file(ball_network(5.0).state_dict(), ball))
    config = ReconstructConfig(refinement="graph", accelerator="cpu")

    def paired(**options):
        caplog.clear()
        save_face_normals(tmp_path / "graph.ckpt", network, {"hidden": 4, "layers": 1, **options})
        Reconstructor(tmp_path / "best.ckpt", config, graph=tmp_path / "graph.ckpt")
        return caplog.text

    assert paired() == paired(model_name="ball", network=trained_for) == ""
    again = trained_for | {"model": trained_for["model"] | {"seed": 3}}
    assert paired(model_name="ball-seed3", network=again) == "", "another seed is the same kind of network"
    assert "trained for meshes of cube, this checkpoint is of ball; normals" in paired(model_name="cube")
    longer = trained_for | {"train": {"steps": 9}}
    assert "they differ in train.steps" in paired(model_name="ball", network=longer)
    hull = trained_for | {"model": trained_for["model"] | {"labels": "hull"}}
    assert "they differ in labels; normals" in paired(model_name="ball", network=hull)
    wider = trained_for | {"model": trained_for["model"] | {"hidden": 77}}
    with pytest.raises(
        ConfigError, match=r"meshes of cube, this checkpoint is of ball, and they differ in hidden"
    ):
        paired(model_name="cube", network=wider)


def test_the_commands(packs, tmp_path, capsys):
    from PIL import Image

    folder, _ = packs
    settings = {**SMALL, "reconstruct": SMALL["reconstruct"] | {"refinement": "both"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    options = ["--config", str(tmp_path / "config.yaml")]
    out = tmp_path / "out"
    assert cli.main(["train_refinement", str(folder), *options, "--model", "ball", "-o", str(out)]) == 0
    assert str(out / "graph.ckpt") in capsys.readouterr().out
    written = load_face_normals(out / "graph.ckpt")[1]
    assert written["refinement"] == "both"
    assert written["network"]["model"]["hidden"] == MODEL.hidden
    write_ball(tmp_path / "best.ckpt")
    photo = np.full((40, 40, 3), 255, np.uint8)
    photo[10:30, 10:30] = 80
    Image.fromarray(photo).save(tmp_path / "photo.png")
    command = [
        "reconstruct",
        str(tmp_path / "photo.png"),
        "--checkpoint",
        str(tmp_path / "best.ckpt"),
        *options,
    ]
    assert cli.main([*command, "-o", str(tmp_path / "a.ply")]) == 1
    error = capsys.readouterr().err
    assert "refinement is both, which needs a graph network" in error
    assert "Traceback" not in error
    assert "photo.png:" not in error, "said before a photo is read"
    missing = str(tmp_path / "missing.ckpt")
    assert cli.main([*command, "-o", str(tmp_path / "a.ply"), "--graph", missing]) == 1
    said = capsys.readouterr()
    assert "missing.ckpt: no such file (give graph.ckpt of `occnet train_refinement`)" in said.err
    assert "photo.png:" not in said.out
    assert cli.main([*command, "-o", str(tmp_path / "a.ply"), "--graph", str(out / "graph.ckpt")]) == 0
    assert cli.main([*command, "-o", str(tmp_path / "b.ply"), "--refinement", "none"]) == 0
    a, b = (occnet.load_mesh(tmp_path / f"{name}.ply") for name in "ab")
    assert np.array_equal(a.faces, b.faces)
    assert not np.array_equal(a.vertices, b.vertices)


def test_one_shape_cannot_be_halved(tmp_path):
    (tmp_path / "packs").mkdir()
    shard_file(tmp_path / "packs" / "train-000.h5", ["a"])
    with pytest.raises(DataError, match="needs two training shapes, the packs hold 1"):
        occnet.train_refinement(
            tmp_path / "packs", tmp_path / "out", Config(models=SMALL["models"]), model="ball"
        )
