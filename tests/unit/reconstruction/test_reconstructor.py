"""Several photos of one object: what the command and the function say of one that shows another."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import occnet_lib as occnet
from occnet_lib import cli
from occnet_lib.config import ReconstructConfig
from occnet_lib.geometry.agreement import Agreement, mean_logits
from occnet_lib.networks.checkpoint import network_file, save_network
from occnet_lib.networks.folded import MeanField
from occnet_lib.reconstruction.photo_meshes import disagreements
from occnet_lib.reconstruction.reconstructor import Reconstructor
from occnet_lib.storage.meshes import load_mesh

from .test_reconstruct import MODEL, TRAIN, ball_network

SMALL = {"resolution0": 16, "upsampling_steps": 0, "refine_steps": 0, "simplify": {"faces": None}}


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, dict[str, Path]]:
    """A checkpoint whose balls are small for dark photos, and photos: front, back and side of one object, a dark other."""
    network = ball_network(5.0)
    with torch.no_grad():
        network.decoder.blocks[0].fc_c.weight[:, 0] = 1.0
    checkpoint = tmp_path / "best.ckpt"
    options = {"model": MODEL.model_dump(mode="json"), "train": TRAIN, "val_threshold": 0.35}
    save_network(checkpoint, network_file(network.state_dict(), options))

    def features(self: Reconstructor, image: np.ndarray) -> tuple[torch.Tensor]:
        return (torch.tensor([[0.1 * (image.min() < 60) + 0.0001 * image.min(), *[0.0] * 7]]),)

    monkeypatch.setattr(Reconstructor, "_features", features)
    files = {}
    for name, shade in (("front", 80), ("back", 90), ("side", 100), ("other", 20)):
        image = np.full((60, 60, 3), 255, np.uint8)
        image[20:40, 15:45] = shade
        files[name] = tmp_path / f"{name}.png"
        Image.fromarray(image).save(files[name])
    return checkpoint, files


def radius(path: Path) -> float:
    return float(np.linalg.norm(load_mesh(path).vertices, axis=1).mean())


def command(photos, *names: str, out: str, options: tuple[str, ...] = ()) -> list[str]:
    checkpoint, files = photos
    small = checkpoint.with_name("small.yaml")
    small.write_text(json.dumps({"reconstruct": SMALL}))
    shown = [str(files[name]) for name in names]
    fixed = ["--merge", "--checkpoint", str(checkpoint), "--config", str(small)]
    return ["reconstruct", *shown, *fixed, "-o", str(checkpoint.with_name(out)), *options]


def test_a_photo_of_another_object_is_named_and_can_be_left_out(photos, capsys):
    folder = photos[0].parent
    assert cli.main(command(photos, "front", "other", "side", out="with.ply")) == 0
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "disagrees" in line)
    assert f"{folder / 'other.png'} disagrees with the other photos (agreement 0." in line
    assert ", of the others among themselves 0." in line
    assert line.endswith(": left in; --drop-outliers leaves it out")
    dropping = command(photos, "front", "other", "side", out="without.ply", options=("--drop-outliers",))
    assert cli.main(dropping) == 0
    assert capsys.readouterr().err.rstrip().endswith("): left out")
    assert cli.main(command(photos, "front", "side", out="two.ply")) == 0
    assert "disagree" not in capsys.readouterr().err
    assert (folder / "without.ply").read_bytes() == (folder / "two.ply").read_bytes()
    assert radius(folder / "with.ply") < radius(folder / "two.ply") - 0.03


def test_photos_that_agree_are_all_taken_whether_outliers_are_dropped_or_not(photos, capsys):
    folder = photos[0].parent
    names = "front", "back", "side"
    assert cli.main(command(photos, *names, out="all.ply")) == 0
    assert cli.main(command(photos, *names, out="same.ply", options=("--drop-outliers",))) == 0
    assert "disagree" not in capsys.readouterr().err
    assert (folder / "all.ply").read_bytes() == (folder / "same.ply").read_bytes()


def test_of_two_photos_neither_is_blamed(photos, capsys):
    assert cli.main(command(photos, "front", "other", out="two.ply", options=("--drop-outliers",))) == 0
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "disagree" in line)
    assert "front.png and " in line
    assert "do they show one object" in line


def test_photos_of_two_objects_are_said_to_be_such():
    """Also where all of them agree so little that they would only be said to disagree."""
    values = np.full(4, 0.2)
    (line,) = disagreements(list("abcd"), Agreement(values, values, (), ((0, 2), (1, 3))), True)
    assert (
        line
        == "a, c disagree with b, d, and agree among themselves: do they show two objects? None is left out"
    )


@pytest.mark.parametrize("drop", [False, True])
def test_three_photos_of_three_objects_are_said_to_disagree(drop):
    values = np.full(3, 0.1)
    (line,) = disagreements(["a.png", "b.png", "c.png"], Agreement(values, values, ()), drop)
    assert line.startswith("a.png, b.png and c.png disagree (agreement 0.10): do they show one object")


def test_without_merge_there_are_no_outliers_to_drop(photos, capsys):
    options = command(photos, "front", "side", out="out", options=("--drop-outliers",))
    options.remove("--merge")
    assert cli.main(options) == 1
    assert "--drop-outliers is for photos of one object (add --merge)" in capsys.readouterr().err


def test_the_python_function_warns_and_returns_the_agreement(photos, caplog):
    checkpoint, files = photos
    config = occnet.load_config(reconstruct=SMALL)
    shown = [files[name] for name in ("front", "back", "other")]
    result = occnet.reconstruct(shown, checkpoint, config)
    assert result.agreement.outliers == (2,)
    assert "other.png disagrees" in caplog.text
    assert caplog.text.rstrip().endswith("left in")
    without = occnet.reconstruct(shown, checkpoint, config, drop_outliers=True)
    alone = occnet.reconstruct(shown[:2], checkpoint, config)
    assert np.array_equal(without.mesh.vertices, alone.mesh.vertices)
    assert occnet.reconstruct(shown[0], checkpoint, config).agreement is None


def test_the_field_of_several_images_is_the_mean_that_the_evaluation_measures(photos):
    checkpoint, _ = photos
    network = Reconstructor(checkpoint, ReconstructConfig(**SMALL))
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (200, 3)).astype(np.float32)
    fields = [network.field(np.full((32, 32, 3), shade, np.uint8)) for shade in (20, 90, 200)]
    logits = np.stack([field.on_array(points) for field in fields])
    assert MeanField(fields).on_array(points) == pytest.approx(mean_logits(logits), abs=1e-4)
