"""`--uncertainty`: the width of a field's surface, its colours, and the files that can hold them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from occnet_lib import cli
from occnet_lib.networks.checkpoint import network_file, save_network
from occnet_lib.reconstruction.extract import surface
from occnet_lib.reconstruction.mise import mise
from occnet_lib.reconstruction.surface_uncertainty import SCALE, colors_of, surface_uncertainty
from occnet_lib.storage.meshes import load_mesh
from occnet_lib.types import Mesh

from .test_reconstruct import MODEL, TRAIN, ball_network


@pytest.mark.parametrize(("gradient", "level"), [(20.0, 0.0), (100.0, -0.4)])
def test_of_a_ball_it_is_the_distance_to_three_times_the_odds(gradient, level):
    def field(p):
        return gradient * (0.3 - np.linalg.norm(p, axis=1)) + level

    mesh = surface(mise(lambda p: field(p).astype(np.float32), 32, 0, level).logits, level)
    width = surface_uncertainty(field, mesh, level)
    assert width.dtype == np.float32
    assert width == pytest.approx(math.log(3) / gradient, rel=0.05)


def test_what_is_nowhere_certain_has_the_upper_end():
    mesh = Mesh(np.array([[0.0, 0, 0], [0.1, 0, 0], [0, 0.1, 0]]), np.array([[0, 1, 2]], np.int32))
    flat = surface_uncertainty(lambda p: np.full(len(p), 0.5), mesh, 0.5)
    assert flat == pytest.approx(SCALE[1])
    sharp_outside = surface_uncertainty(lambda p: np.where(p[:, 2] > 0.001, -50.0, 0.2), mesh, 0.0)
    assert sharp_outside == pytest.approx(SCALE[1] / 2, abs=1e-3)
    falling_inwards = surface_uncertainty(lambda p: -10.0 * np.abs(p[:, 2]), mesh, 0.0)
    assert falling_inwards == pytest.approx((SCALE[1] + math.log(3) / 10) / 2, rel=1e-3)


def test_colours_go_from_violet_to_yellow():
    ends = colors_of(np.array([0.0, SCALE[0], math.sqrt(SCALE[0] * SCALE[1]), SCALE[1], 1.0]))
    np.testing.assert_array_equal(np.round(255 * ends[[0, 1]]), [[68, 1, 84]] * 2)
    np.testing.assert_array_equal(np.round(255 * ends[[3, 4]]), [[253, 231, 37]] * 2)
    np.testing.assert_allclose(255 * ends[2], [33, 145, 140], atol=1)


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    options = {"model": MODEL.model_dump(mode="json"), "train": TRAIN, "val_threshold": 0.35}
    save_network(tmp_path / "best.ckpt", network_file(ball_network(5.0).state_dict(), options))
    small = {"resolution0": 16, "upsampling_steps": 0, "refine_steps": 0, "simplify": {"faces": None}}
    (tmp_path / "small.yaml").write_text(json.dumps({"reconstruct": small}))
    image = np.full((60, 60, 3), 255, np.uint8)
    image[20:40, 15:45] = 80
    Image.fromarray(image).save(tmp_path / "photo.png")
    fixed = ["--checkpoint", str(tmp_path / "best.ckpt"), "--config", str(tmp_path / "small.yaml")]
    return ["reconstruct", str(tmp_path / "photo.png"), *fixed]


@pytest.mark.parametrize("suffix", ["ply", "glb"])
def test_the_mesh_has_the_colours_and_the_terminal_the_scale(command, suffix, tmp_path, capsys):
    plain, colored = tmp_path / f"plain.{suffix}", tmp_path / f"colored.{suffix}"
    assert cli.main([*command, "-o", str(plain)]) == 0
    assert "uncertain" not in capsys.readouterr().out
    assert cli.main([*command, "-o", str(colored), "--uncertainty"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "surface uncertain" in line)
    assert line.endswith("colours from 0.005 (dark violet) to 0.12 (yellow)")
    median = float(line.split("± ")[1].split()[0])
    mesh = load_mesh(colored)
    np.testing.assert_array_equal(mesh.vertices, load_mesh(plain).vertices)
    assert load_mesh(plain).colors is None
    assert np.median(mesh.colors, axis=0) == pytest.approx(colors_of(np.array([median]))[0], abs=0.03)


def test_a_format_without_colours_is_refused(command, tmp_path, capsys):
    assert cli.main([*command, "-o", str(tmp_path / "a.stl"), "--uncertainty"]) == 1
    assert "this format has no colours for --uncertainty (use .ply, .glb or .obj)" in capsys.readouterr().err
    assert not (tmp_path / "a.stl").exists()
