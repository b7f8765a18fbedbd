"""The page's mesh is that of the command line, byte for byte."""

from __future__ import annotations

import shlex
from dataclasses import replace

import numpy as np
import pytest

from occnet_lib import cli
from occnet_lib.app.checkpoints import Networks, find_checkpoints
from occnet_lib.app.masks import ADD, REMOVE
from occnet_lib.app.meshes import FORMATS, Options, reconstruct_photos
from occnet_lib.app.photos import open_photo, paint
from occnet_lib.config import Config
from occnet_lib.errors import ConfigError, ImageError, MeshError
from occnet_lib.storage.meshes import load_mesh

from .test_photos import HOLE, OBJECT, painted

pytestmark = pytest.mark.usefixtures("keep_logging")
FAST = Options(resolution=32, refine=2, simplify=500)


@pytest.fixture(scope="module")
def networks(results) -> Networks:
    return Networks(find_checkpoints(results))


def by_command(command: str, out, monkeypatch, folder) -> bytes:
    """The mesh of the command that the page prints, run in the folder of the photos."""
    monkeypatch.chdir(folder)
    words = shlex.split(command)
    assert words[0] == "occnet"
    words[words.index("-o") + 1] = str(out)
    assert cli.main(words[1:]) == 0
    return out.read_bytes()


@pytest.mark.parametrize(
    ("names", "options"),
    [(["plain.png"], replace(FAST, uncertainty=True)), (["plain.png", "side.jpg"], FAST)],
    ids=["uncertainty", "merged"],
)
def test_the_files_are_those_of_the_command(photos, networks, tmp_path, monkeypatch, names, options):
    opened = [open_photo(photos / name, name, 32) for name in names]
    outcome = reconstruct_photos(opened, networks, "onet", Config(), options, tmp_path / "page")
    assert [text.split()[:2] for text in outcome.notes] == [["surface", "uncertain"]] * options.uncertainty
    assert set(outcome.files) == set(FORMATS)
    for format in FORMATS:
        out = tmp_path / f"command.{format}"
        assert outcome.files[format].name == f"plain.{format}"
        assert by_command(outcome.command, out, monkeypatch, photos) == outcome.files[format].read_bytes()
    assert {"encode", "mise", "extract", "simplify", "refine", "files"} <= set(outcome.seconds)
    assert outcome.threshold == 0.35
    shown = load_mesh(outcome.view)
    assert np.array_equal(shown.faces, load_mesh(outcome.files["glb"]).faces)
    assert (outcome.view == outcome.files["glb"]) == options.uncertainty, "its own colours, otherwise grey"
    assert options.uncertainty or np.allclose(shown.colors, 0.55, atol=0.01)
    assert [image.shape for image in outcome.seen] == [(32, 32, 3)] * len(names)


def test_fields_of_the_page_are_numbers_or_empty():
    assert Options.of_page("auto", 0, "", " ", None, False, False) == Options()
    assert Options.of_page("alpha", 64, " 0,3", "500", "2", True, True) == Options(
        "alpha", 64, 0.3, 500, 2, True, True
    )
    for fields, message in (
        (("x", "", ""), "Threshold: expected a number, got 'x'"),
        (("", "nan", ""), "Faces: expected a number, got 'nan'"),
        (("", "", "1.5"), "Refinement steps: expected a whole number, got '1.5'"),
    ):
        with pytest.raises(ConfigError, match=message):
            Options.of_page("auto", 0, *fields, False, False)


def test_the_files_of_a_corrected_photo_are_those_of_the_command_for_its_png(
    photos, networks, tmp_path, monkeypatch
):
    photo = open_photo(photos / "chequered.png", "chequered.png", 32)
    photo = paint(photo, painted([(ADD, OBJECT), (REMOVE, HOLE)]), 32, tmp_path / "mask")
    outcome = reconstruct_photos([photo], networks, "small", Config(), FAST, tmp_path / "page")
    assert "--mask alpha" in outcome.command
    mesh = by_command(outcome.command, tmp_path / "out.glb", monkeypatch, photo.corrected_file.parent)
    assert mesh == outcome.files["glb"].read_bytes()
    plain = open_photo(photos / "plain.png", "plain.png", 32)
    assert (
        reconstruct_photos([photo, plain], networks, "small", Config(), FAST, tmp_path / "two").command == ""
    )


def test_models_photos_and_options_count(photos, networks, tmp_path):
    """The equalities above would hold for a network that ignores its image."""
    first, second = (open_photo(photos / name, "photo.png", 32) for name in ("plain.png", "side.jpg"))

    def mesh(number, photo, model="onet", options=FAST) -> bytes:
        folder = tmp_path / str(number)
        return (
            reconstruct_photos([photo], networks, model, Config(), options, folder).files["ply"].read_bytes()
        )

    meshes = [
        mesh(0, first),
        mesh(1, second),
        mesh(2, first, "small"),
        mesh(3, first, options=Options(resolution=32, refine=2, simplify=500, threshold=0.6)),
    ]
    assert len(set(meshes)) == len(meshes)
    assert mesh(4, first) == meshes[0]


def test_errors_are_those_of_the_command(photos, networks, tmp_path):
    refused = open_photo(photos / "chequered.png", "chequered.png", 32)
    plain = open_photo(photos / "plain.png", "plain.png", 32)
    for error, given, options in (
        (ImageError, [], FAST),
        (ImageError, [plain, refused], FAST),
        (MeshError, [plain], Options(resolution=32, threshold=0.9999)),
        (ConfigError, [plain], Options(threshold=1.5)),
    ):
        with pytest.raises(error) as caught:
            reconstruct_photos(given, networks, "onet", Config(), options, tmp_path)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_command_is_safe_to_paste(photos, networks, tmp_path):
    plain = open_photo(photos / "plain.png", "-x; rm $(id) 'a'.png", 32)
    outcome = reconstruct_photos([plain], networks, "onet", Config(), FAST, tmp_path)
    words = shlex.split(outcome.command)
    assert words[2] == "./-x; rm $(id) 'a'.png"
    assert cli.parser().parse_args(words[1:]).out.name == "-x; rm $(id) 'a'.glb"
    assert np.isfinite(list(outcome.seconds.values())).all()
