"""Names and limits of uploads."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from occnet_lib.app.uploads import MOST_BYTES, MOST_PHOTOS, check_uploads, photo_name
from occnet_lib.errors import ImageError


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("chair.png", "chair.png"),
        ("my chair (2).tar.JPG", "my chair (2).tar.JPG"),
        ("椅子.png", "椅子.png"),
        ("../../etc/passwd", "passwd"),
        ("/root/.ssh/id_rsa", "id_rsa"),
        ("C:\\Users\\me\\chair.png", "chair.png"),
        ("..", "photo"),
        ("", "photo"),
        ("a/..", "photo"),
        ("x\0y\n.png", "xy.png"),
        (".png", ".png"),
        ("-rf.png", "-rf.png"),
    ],
)
def test_names(name, clean):
    assert photo_name(name) == clean


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=300))
def test_no_name_leaves_its_folder(name):
    clean = photo_name(name)
    assert "/" not in clean
    assert "\0" not in clean
    assert clean not in ("", ".", "..")
    assert len(clean.encode()) <= 200


def test_long_names_keep_their_suffix():
    assert photo_name("ä" * 300 + ".jpeg").endswith("ä.jpeg")


def test_limits():
    check_uploads([])
    check_uploads([MOST_BYTES] * MOST_PHOTOS)
    with pytest.raises(ImageError, match=f"20 photos of one object, more than {MOST_PHOTOS}"):
        check_uploads([1] * 20)
    with pytest.raises(ImageError, match=r"a file has 41 MB, more than 40"):
        check_uploads([1, 41_000_000])
