"""Photos of the page against the command line: the same masks, the same refusals."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from occnet_lib.app.masks import ADD, REMOVE
from occnet_lib.app.photos import BORDER, open_photo, paint
from occnet_lib.errors import ImageError
from occnet_lib.reconstruction.photo import load_photo

OBJECT = ((100, 80), (300, 80), (300, 230), (100, 230), (100, 80))
HOLE = ((132, 123), (268, 123), (268, 230), (132, 230), (132, 123))


def painted(lines, size=(768, 576), width=3) -> list[np.ndarray]:
    """A layer of the editor with lines (color, points of the photo), of 400 x 300 pixels."""
    image = Image.new("RGBA", size)
    scale = size[0] / 400
    for color, points in lines:
        path = [(x * scale, y * scale) for x, y in points]
        ImageDraw.Draw(image).line(path, fill=color, width=width)
    return [np.asarray(image)]


def test_a_photo_is_cut_out_as_on_the_command_line(photos):
    photo = open_photo(photos / "plain.png", "plain.png", 32)
    expected = load_photo(photos / "plain.png", view_size=32)
    assert np.array_equal(photo.cutout.image, expected.image)
    assert np.array_equal(photo.mask, expected.mask)
    assert photo.note == "plain.png: object from plain background"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"text",
    ],
    ids=["empty", "header", "svg", "text"],
)
def test_what_is_no_image_is_refused_with_the_same_line(tmp_path, content):
    file = tmp_path / "photo.png"
    file.write_bytes(content)
    with pytest.raises(ImageError) as error:
        load_photo(file)
    photo = open_photo(file, "photo.png", 32)
    assert photo.note == str(error.value).replace(str(file), "photo.png")
    assert not photo.can_be_corrected
    assert paint(photo, painted([(ADD, OBJECT)]), 32, tmp_path) is photo


def test_a_refused_photo_is_rescued_by_the_brush(photos, tmp_path):
    file = photos / "chequered.png"
    photo = open_photo(file, "chequered.png", 32)
    with pytest.raises(ImageError) as error:
        load_photo(file)
    assert photo.problem == str(error.value).replace(str(file), "chequered.png")
    assert not photo.mask.any()
    drawn = paint(photo, painted([(ADD, OBJECT), (REMOVE, HOLE)]), 32, tmp_path / "mask")
    assert drawn.note == "chequered.png: your mask"
    plain = open_photo(photos / "plain.png", "plain.png", 32)
    assert (plain.mask & ~drawn.mask).mean() < 0.001
    # The lines are 10 pixels beside the object, but for its hole.
    assert drawn.mask.sum() < 2.5 * plain.mask.sum()
    assert not drawn.mask[150:210, 150:250].any()
    # The PNG with the mask gives the command line the same object.
    again = load_photo(drawn.corrected_file, "alpha", 32)
    assert np.array_equal(again.image, drawn.cutout.image)
    assert np.array_equal(again.mask, drawn.mask)


def test_strokes_add_up_and_reset(photos, tmp_path):
    photo = open_photo(photos / "plain.png", "plain.png", 32)
    without = paint(photo, painted([(REMOVE, ((100, 100), (300, 100)))], width=40), 32, tmp_path / "a")
    assert without.mask.sum() < photo.mask.sum()
    back = paint(without, painted([(ADD, ((100, 100), (300, 100)))], width=40), 32, tmp_path / "b")
    assert back.mask.sum() > without.mask.sum()
    assert paint(photo, painted([]), 32, tmp_path) is photo
    assert paint(photo, [], 32, tmp_path) is photo


@pytest.mark.parametrize(
    ("color", "line"), [(REMOVE, "shows no object"), (ADD, "the mask covers the whole image")]
)
def test_a_mask_of_nothing_or_of_everything_is_one_line(photos, tmp_path, color, line):
    photo = open_photo(photos / "plain.png", "plain.png", 32)
    everything = [np.full((30, 40, 4), (*Image.new("RGB", (1, 1), color).getpixel((0, 0)), 255), np.uint8)]
    painted_over = paint(photo, everything, 32, tmp_path)
    assert painted_over.cutout is None
    assert painted_over.note.startswith(f"plain.png: {line}")
    assert painted_over.can_be_corrected


def test_deep_grey_cmyk_and_turned_photos(photos, tmp_path):
    """Read as on the command line, and painted on in the orientation that is shown."""
    with Image.open(photos / "plain.png") as image:
        image.convert("CMYK").save(tmp_path / "cmyk.jpg")
        exif = Image.Exif()
        exif[0x0112] = 6  # a quarter turn
        image.save(tmp_path / "turned.jpg", exif=exif)
        grey = np.asarray(image.convert("L"), np.uint16) * 257
    Image.fromarray(grey).save(tmp_path / "deep.png")
    for name in ("cmyk.jpg", "turned.jpg", "deep.png"):
        photo = open_photo(tmp_path / name, name, 32)
        assert photo.cutout is not None, photo.problem
        assert np.array_equal(photo.cutout.image, load_photo(tmp_path / name, view_size=32).image)
        assert photo.mask.shape == photo.rgba.shape[:2]
    assert open_photo(tmp_path / "turned.jpg", "turned.jpg", 32).mask.shape == (400, 300)


def test_an_object_at_the_border_is_noted(tmp_path):
    image = Image.new("RGB", (200, 200), (230, 230, 230))
    ImageDraw.Draw(image).rectangle((60, 0, 120, 150), fill=(30, 60, 120))
    image.save(tmp_path / "photo.png")
    assert open_photo(tmp_path / "photo.png", "photo.png", 32).note.endswith(BORDER)
