"""Photos: masks, plain backgrounds, margins, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from occnet_lib.errors import ImageError
from occnet_lib.reconstruction.photo import OBJECT_SHARE, load_photo

RED = (200, 30, 40)


def picture(height=200, width=300, background=(255, 255, 255), box=(120, 60, 220, 140)) -> np.ndarray:
    """A red box (left, top, right, bottom) with a hole."""
    image = np.full((height, width, 3), background, np.uint8)
    left, top, right, bottom = box
    image[top:bottom, left:right] = RED
    image[top + 20 : bottom - 20, left + 20 : right - 20] = background
    return image


def save(folder, image, name="photo.png", **options):
    path = folder / name
    Image.fromarray(image).save(path, **options)
    return path


def extent(image: np.ndarray) -> tuple[int, int, int, int]:
    ys, xs = np.nonzero(image.min(axis=2) < 128)
    return xs.min(), ys.min(), xs.max() + 1, ys.max() + 1


def assert_well_placed(image: np.ndarray, aspect: float) -> None:
    size = image.shape[0]
    assert image.dtype == np.uint8
    assert image.shape == (size, size, 3)
    left, top, right, bottom = extent(image)
    assert max(right - left, bottom - top) == pytest.approx(OBJECT_SHARE * size, abs=2)
    assert (right - left) / (bottom - top) == pytest.approx(aspect, rel=0.05)
    assert (left + right) / 2 == pytest.approx(size / 2, abs=1.5)
    assert (top + bottom) / 2 == pytest.approx(size / 2, abs=1.5)
    assert (image[[0, -1]] == 255).all()
    assert (image[:, [0, -1]] == 255).all()


@pytest.mark.parametrize("background", [(255, 255, 255), (30, 140, 60), (0, 0, 0)])
def test_plain_background_becomes_white_and_the_object_sits_in_the_middle(tmp_path, background):
    image = load_photo(save(tmp_path, picture(background=background)))
    assert_well_placed(image, 100 / 80)
    assert (image[68, 68] == 255).all()  # the hole shows the background too
    left, top, _, _ = extent(image)
    assert np.abs(image[top + 3, left + 3].astype(int) - RED).max() < 12


def test_transparent_background_is_the_mask(tmp_path):
    rgb = picture(background=(90, 90, 90))
    rgb[:, ::2] += 40  # not plain at all
    mask = (picture() != 255).any(axis=2)
    rgb[mask] = RED
    image = load_photo(save(tmp_path, np.dstack([rgb, mask * np.uint8(255)])), size=224)
    assert image.shape == (224, 224, 3)
    assert_well_placed(image, 100 / 80)


def test_noise_jpeg_and_specks_do_not_count(tmp_path):
    rng = np.random.default_rng(0)
    noisy = picture(background=(120, 160, 200)).astype(int) + rng.integers(-5, 6, (200, 300, 3))
    noisy[5:8, 280:283] = 0
    path = save(tmp_path, noisy.clip(0, 255).astype(np.uint8), "photo.jpg", quality=85)
    assert_well_placed(load_photo(path), 100 / 80)


def test_object_near_the_border_gets_its_margin(tmp_path):
    assert_well_placed(load_photo(save(tmp_path, picture(box=(3, 3, 103, 83)))), 100 / 80)


def test_grey_palette_deep_and_turned_pictures(tmp_path):
    grey = np.asarray(Image.fromarray(picture()).convert("L"))
    assert_well_placed(load_photo(save(tmp_path, grey, "grey.png")), 100 / 80)
    deep = grey.astype(np.uint16) * 257
    assert_well_placed(load_photo(save(tmp_path, deep, "deep.png")), 100 / 80)
    Image.fromarray(picture()).quantize(4).save(tmp_path / "palette.gif", transparency=0)
    assert load_photo(tmp_path / "palette.gif").shape == (137, 137, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    assert_well_placed(load_photo(save(tmp_path, picture(), "turned.jpg", exif=exif, quality=95)), 80 / 100)


def test_a_small_picture_is_enlarged(tmp_path):
    image = load_photo(save(tmp_path, picture(40, 40, box=(10, 10, 30, 30))[:, :, :]))
    assert image.shape == (137, 137, 3)


def test_what_cannot_be_used_is_refused_with_the_way_out(tmp_path):
    rng = np.random.default_rng(0)
    clutter = rng.integers(0, 255, (100, 100, 3), dtype=np.uint8)
    with pytest.raises(ImageError, match=r"not plain.*transparent background"):
        load_photo(save(tmp_path, clutter))
    touching = picture(box=(0, 0, 300, 140))
    with pytest.raises(ImageError, match="touches the border"):
        load_photo(save(tmp_path, touching))
    with pytest.raises(ImageError, match="shows no object"):
        load_photo(save(tmp_path, np.full((50, 50, 3), 200, np.uint8)))
    with pytest.raises(ImageError, match="shows no object"):
        load_photo(save(tmp_path, np.zeros((50, 50, 4), np.uint8)))
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ImageError, match="cannot be read"):
        load_photo(tmp_path / "text.png")
    with pytest.raises(ImageError, match="no such file"):
        load_photo(tmp_path / "absent.png")
    with pytest.raises(ImageError):
        load_photo(tmp_path)
    cut = save(tmp_path, clutter, "cut.png")
    cut.write_bytes(cut.read_bytes()[:2000])
    with pytest.raises(ImageError, match="cannot be read"):
        load_photo(cut)
