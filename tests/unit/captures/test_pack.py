"""`occnet import` of photos with cameras: shards that networks are trained and adapted on, statuses, camera files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from occnet_lib import cli
from occnet_lib.captures.capture import capture_of
from occnet_lib.captures.pack import pack_captures
from occnet_lib.config import load
from occnet_lib.errors import DataError
from occnet_lib.geometry.cameras import project
from occnet_lib.storage.cameras import read_camera
from occnet_lib.storage.packs import Shard, verify
from occnet_lib.storage.tables import read_rows
from tests.support import capture_photos as photos
from tests.support.train_config import nested

KEYS = {"batch_size": 2, "points": 32, "image_size": 32, "validation_points": 256, "accelerator": "cpu"}
SMALL = {"hidden": 16, "c_dim": 8, "blocks": 1}


def settings(path: Path, **models) -> str:
    """A configuration file."""
    values = {
        "dataset": {"split": {"val": 0.0, "test": 0.0}},
        "views": {"image_size": 48},
        "models": {"onet": None} | models,
        "train": {"steps": 3} | nested(KEYS),
    }
    path.write_text(yaml.safe_dump(values))
    return str(path)


@pytest.fixture(scope="module")
def imported(tmp_path_factory) -> Path:
    """Packs of four captures, one of which has wrong cameras and another fewer photos."""
    root = tmp_path_factory.mktemp("captures")
    frames = photos.write_capture(root / "mine" / "cup" / "blue", 6)
    for name in ("red", "wrong", "few"):
        shutil.copytree(root / "mine/cup/blue", root / "mine/cup" / name)
    flipped = [
        f | {"transform_matrix": (np.array(f["transform_matrix"]) @ photos.FLIP).tolist()} for f in frames
    ]
    photos.write_frames(root / "mine/cup/wrong", flipped)
    photos.write_frames(root / "mine/cup/few", frames[:4])
    config = settings(root / "config.yaml", hull=SMALL | {"labels": "hull"}, labelled=SMALL)
    assert cli.main(["import", str(root / "mine"), "--config", config, "-o", str(root / "packs")]) == 0
    return root


def test_objects_become_shapes_of_shards_with_as_many_views(imported):
    rows = {row["id"]: row for row in read_rows(imported / "packs" / "shapes.csv")}
    assert {
        name: (row["status"], row["photos"], row["views"], row["shard"]) for name, row in rows.items()
    } == {
        "blue": ("ok", "6", "6", "train-001"),
        "red": ("ok", "6", "6", "train-001"),
        "few": ("ok", "4", "4", "train-000"),
        "wrong": ("failed", "6", "", ""),
    }
    assert "axes are OpenCV's" in rows["wrong"]["reason"]
    shards = [Shard(path) for path in sorted((imported / "packs").glob("*.h5"))]
    assert [[key.name for key in shard.keys] for shard in shards] == [["cup/few"], ["cup/blue", "cup/red"]]
    for shard in shards:
        verify(shard.path)
        assert shard.image(0, 0).shape == (48, 48, 3)
        assert shard.mask(0, 0).max() == 1
        with pytest.raises(
            DataError, match="photos without 3D shapes"
        ):  # not an empty array, whose mean is NaN
            shard.points(0, 0, min(100, shard.points_per_shape))


def test_cameras_are_written_for_reconstruction(imported):
    camera = read_camera(imported / "packs/cameras/cup/blue/images/02.json")
    original = photos.cameras(6)[2]
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (20, 3))
    world = points * camera.scale + camera.loc
    seen, _ = project(points, camera.camera_mat, camera.world_mat, camera.loc, camera.scale)
    expected, _ = project(world, original.camera_mat, original.world_mat, np.zeros(3), 1.0)
    assert np.allclose(seen, expected)


def test_cameras_stay_below_the_folder_of_the_packs(tmp_path):
    frames = photos.write_capture(tmp_path / "mine" / "cup", 4)
    shutil.move(tmp_path / "mine/cup/images/00.png", tmp_path / "00.png")
    (tmp_path / "far").mkdir()
    shutil.move(tmp_path / "mine/cup/images/01.png", tmp_path / "far" / "00.png")
    with Image.open(tmp_path / "mine/cup/images/03.png") as image:
        image.save(tmp_path / "mine/cup/images/02.webp", lossless=True)
    places = "../../00.png", str(tmp_path / "far/00.png"), "../cup/images/02.png", "images/02.webp"
    photos.write_frames(
        tmp_path / "mine/cup", [f | {"file_path": place} for f, place in zip(frames, places, strict=True)]
    )
    config = settings(tmp_path / "config.yaml", hull=SMALL)
    before = set(tmp_path.rglob("*"))
    assert (
        cli.main(["import", str(tmp_path / "mine"), "--config", config, "-o", str(tmp_path / "packs")]) == 0
    )
    made = {path for path in set(tmp_path.rglob("*")) - before if path.suffix == ".json"}
    folder = tmp_path / "packs" / "cameras" / "objects" / "cup"
    assert made == {
        folder / name for name in ("00.json", "far/00.json", "images/02.png.json", "images/02.webp.json")
    }
    assert len({read_camera(path).world_mat.tobytes() for path in made}) == 4


def test_folders_of_photos_without_cameras_and_errors_of_one_object_are_failed(
    imported, tmp_path, monkeypatch
):
    root = tmp_path / "mine"
    for name in ("cup/blue", "cup/bare", "cup/red", "bare"):
        shutil.copytree(imported / "mine/cup/blue", root / name)
    for name in ("cup/bare", "bare"):
        (root / name / "transforms.json").unlink()
    (root / "notes").mkdir()

    def capture(sources, *rest):
        if "red" in str(sources[0][0]):
            raise ZeroDivisionError("red")
        return capture_of(sources, *rest)

    monkeypatch.setattr("occnet_lib.captures.pack.capture_of", capture)
    rows = pack_captures(root, tmp_path / "packs", load(Path(settings(tmp_path / "config.yaml", hull=SMALL))))
    assert {f"{row['category']}/{row['id']}": row["status"] for row in rows} == {
        "cup/blue": "ok",
        "cup/bare": "failed",
        "cup/red": "failed",
        "objects/bare": "failed",
    }
    reasons = {row["id"]: row["reason"] for row in rows}
    assert "has photos without cameras (expected transforms.json" in reasons["bare"]
    assert reasons["red"] == "ZeroDivisionError: red"


def test_a_network_is_adapted_to_them(imported, tmp_path):
    config, packs = str(imported / "config.yaml"), str(imported / "packs")
    assert (
        cli.main(["train", packs, "--config", config, "--model", "hull", "-o", str(tmp_path / "first")]) == 0
    )
    start = SMALL | {"labels": "hull", "start": str(tmp_path / "first" / "best.ckpt")}
    config = settings(tmp_path / "config.yaml", adapted=start)
    assert (
        cli.main(["train", packs, "--config", config, "--model", "adapted", "-o", str(tmp_path / "next")])
        == 0
    )
    options = json.loads((tmp_path / "next" / "options.json").read_text())
    assert options["shapes"] == {"train": 3, "val": 0}


def test_training_with_3d_labels_is_refused(imported, tmp_path, capsys):
    config, packs = str(imported / "config.yaml"), str(imported / "packs")
    assert (
        cli.main(["train", packs, "--config", config, "--model", "labelled", "-o", str(tmp_path / "run")])
        == 1
    )
    assert (
        "holds photos without 3D shapes, so it has no points (train with `labels: hull`"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mine"], "contains pack shards already"),
        (["mine", "--box", "1,2,3"], "expected X,Y,Z,EDGE"),
        (["packs"], "not a dataset in a known layout"),
        (["mine/cup/blue"], "is the folder of one object (give the folder that contains it)"),
    ],
)
def test_what_cannot_be_imported_is_one_line(imported, capsys, arguments, message):
    folder, *more = arguments
    arguments = ["import", str(imported / folder), *more, "-o", str(imported / "packs")]
    if "--box" in more:
        with pytest.raises(SystemExit):
            cli.main(arguments)
    else:
        assert cli.main(arguments) == 1
    assert message in capsys.readouterr().err
