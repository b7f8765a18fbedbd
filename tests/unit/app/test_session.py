"""What one browser tab has, over its actions."""

from __future__ import annotations

import numpy as np
import pytest

from occnet_lib.app.session import Session
from occnet_lib.errors import ImageError

GREEN = [np.full((30, 40, 4), (0, 224, 90, 153), np.uint8)]
CORNER = [np.pad(GREEN[0][:9, :9], ((0, 21), (0, 31), (0, 0)))]


@pytest.fixture
def files(photos) -> dict[str, tuple[str, str]]:
    return {path.stem: (str(path), path.name) for path in photos.iterdir()}


def test_photos_keep_their_corrections_until_they_are_removed_or_reset(files, tmp_path):
    session = Session(tmp_path).uploaded([files["plain"]], 32, "auto")
    drawn = session.painted(CORNER, 32, True)
    assert session.photos[0].corrected_file is None
    assert drawn.photo.corrected_file.name == "plain.png"
    assert drawn.photo.mask[:80, :80].all()
    assert drawn.painted([], 32, True) is drawn
    more = drawn.uploaded([files["plain"], files["side"]], 32, "auto")
    assert more.photos[0] is drawn.photo
    assert more.reopened(32, "background").photos[0] is drawn.photo
    assert more.select(1).photo.name == "side.jpg"
    assert more.select(99).selected == 1
    assert more.reset(32, "auto").photo.corrected_file is None
    fewer = more.select(1).uploaded([files["plain"]], 32, "auto")
    assert [photo.name for photo in fewer.photos] == ["plain.png"]
    assert fewer.selected == 0
    assert not more.photos[1].file.exists()
    assert fewer.uploaded([], 32, "auto").photo is None
    session.close()
    assert not tmp_path.exists()


def test_a_refused_photo_comes_into_the_editor(files, tmp_path):
    session = Session(tmp_path).uploaded([files["plain"], files["chequered"]], 32, "auto")
    assert session.selected == 1
    assert session.photo.problem


def test_photos_of_one_name_are_two_photos(files, photos, tmp_path):
    same = [(str(photos / "plain.png"), "IMG_1.png"), (str(photos / "side.jpg"), "../IMG_1.png")]
    session = Session(tmp_path).uploaded(same, 32, "auto")
    assert [photo.name for photo in session.photos] == ["IMG_1.png", "IMG_1.png"]
    assert len({photo.file for photo in session.photos}) == 2
    assert all(photo.file.resolve().is_relative_to(tmp_path) for photo in session.photos)


def test_too_many_photos_change_nothing(files, tmp_path):
    session = Session(tmp_path).uploaded([files["plain"]], 32, "auto")
    with pytest.raises(ImageError, match="20 photos"):
        session.uploaded([files["side"]] * 20, 32, "auto")
    assert session.photo.file.exists()


def test_without_photos_every_action_does_nothing(tmp_path):
    session = Session(tmp_path)
    assert session.painted(GREEN, 32, True) is session
    assert session.reset(32, "auto") is session
    assert session.reopened(32, "auto") == session
    assert session.select(3).photo is None
    assert [session.mesh_folder()[1].name, session.mesh_folder()[0].mesh_folder()[1].name] == [
        "mesh-1",
        "mesh-2",
    ]
