"""Photos: files, masks, plain backgrounds, margins, and what is refused."""

from __future__ import annotations

import struct
import sys

import numpy as np
import pytest
from PIL import Image, ImageCms
from scipy.ndimage import gaussian_filter

from occnet_lib.errors import ImageError
from occnet_lib.geometry.colors import linear_to_srgb, srgb_to_linear
from occnet_lib.networks.framing import OBJECT_LEVEL, object_box
from occnet_lib.reconstruction import image_file
from occnet_lib.reconstruction import photo as photo_module
from occnet_lib.reconstruction.image_file import read_image
from occnet_lib.reconstruction.photo import OBJECT_FRACTION, centred

RED = (200, 30, 40)


def load_photo(path, size=137, mask="auto") -> np.ndarray:
    return centred(photo_module.load_photo(path, mask).image, size)


def drawing(height=200, width=300, background=(255, 255, 255), box=(120, 60, 220, 140)) -> np.ndarray:
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
    assert max(right - left, bottom - top) == pytest.approx(OBJECT_FRACTION * size, abs=2)
    assert (right - left) / (bottom - top) == pytest.approx(aspect, rel=0.05)
    assert (left + right) / 2 == pytest.approx(size / 2, abs=1.5)
    assert (top + bottom) / 2 == pytest.approx(size / 2, abs=1.5)
    assert (image[[0, -1]] == 255).all()
    assert (image[:, [0, -1]] == 255).all()


@pytest.mark.parametrize("background", [(255, 255, 255), (30, 140, 60), (0, 0, 0)])
def test_plain_background_becomes_white_and_the_object_sits_in_the_middle(tmp_path, background):
    image = load_photo(save(tmp_path, drawing(background=background)))
    assert_well_placed(image, 100 / 80)
    assert (image[68, 68] == 255).all()  # the hole shows the background too
    left, top, _, _ = extent(image)
    assert np.abs(image[top + 3, left + 3].astype(int) - RED).max() < 12


def test_transparent_background_is_the_mask(tmp_path):
    rgb = drawing(background=(90, 90, 90))
    rgb[:, ::2] += 40  # not plain at all
    mask = (drawing() != 255).any(axis=2)
    rgb[mask] = RED
    image = load_photo(save(tmp_path, np.dstack([rgb, mask * np.uint8(255)])), size=224)
    assert image.shape == (224, 224, 3)
    assert_well_placed(image, 100 / 80)


def test_noise_jpeg_and_specks_do_not_count(tmp_path):
    rng = np.random.default_rng(0)
    noisy = drawing(background=(120, 160, 200)).astype(int) + rng.integers(-5, 6, (200, 300, 3))
    noisy[5:8, 280:283] = 0
    path = save(tmp_path, noisy.clip(0, 255).astype(np.uint8), "photo.jpg", quality=85)
    assert_well_placed(load_photo(path), 100 / 80)


def test_object_near_the_border_gets_its_margin(tmp_path):
    assert_well_placed(load_photo(save(tmp_path, drawing(box=(3, 3, 103, 83)))), 100 / 80)


def test_grey_palette_deep_and_turned_images(tmp_path):
    grey = np.asarray(Image.fromarray(drawing()).convert("L"))
    assert_well_placed(load_photo(save(tmp_path, grey, "grey.png")), 100 / 80)
    deep = grey.astype(np.uint16) * 257
    assert_well_placed(load_photo(save(tmp_path, deep, "deep.png")), 100 / 80)
    Image.fromarray(drawing()).quantize(4).save(tmp_path / "palette.gif", transparency=0)
    assert load_photo(tmp_path / "palette.gif").shape == (137, 137, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    assert_well_placed(load_photo(save(tmp_path, drawing(), "turned.jpg", exif=exif, quality=95)), 80 / 100)


def display_p3() -> tuple[bytes, np.ndarray]:
    """A colour profile of sRGB's curves and the primaries of Display P3, and (3, 3) linear Display P3 to linear sRGB."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    ours = [(0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)]
    theirs = []
    for k, values in zip((b"rXYZ", b"gXYZ", b"bXYZ"), ours, strict=True):
        at = struct.unpack_from(">I", data, data.index(k, 128) + 4)[0] + 8
        theirs.append(np.array(struct.unpack_from(">3i", data, at)) / 65536)
        struct.pack_into(">3i", data, at, *(round(65536 * value) for value in values))
    return bytes(data), np.linalg.inv(np.array(theirs).T) @ np.array(ours).T


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_colour_profiles_are_applied(tmp_path, suffix):
    profile, to_srgb = display_p3()
    pixels = np.full((60, 60, 3), 255, np.uint8)
    pixels[20:40, 20:40] = 180, 120, 90
    file = tmp_path / f"p3{suffix}"
    Image.fromarray(pixels).save(file, icc_profile=profile, **({"quality": 100} if suffix != ".tif" else {}))
    want = linear_to_srgb(to_srgb @ srgb_to_linear(pixels[30, 30] / 255))
    seen = read_image(file)
    assert np.abs(seen[30, 30, :3] - 255 * want).max() < 3
    assert np.abs(seen[30, 30, :3] - pixels[30, 30].astype(int)).max() > 5
    assert (seen[2, 2] == 255).all(), "white stays white"
    Image.fromarray(pixels).save(file, icc_profile=b"no profile")
    assert np.abs(read_image(file)[30, 30, :3] - pixels[30, 30].astype(int)).max() < 3


def test_an_object_of_a_few_pixels_is_refused(tmp_path):
    pixels = np.full((18, 18, 3), 200, np.uint8)
    pixels[6:8, 6:8] = 0
    with pytest.raises(ImageError, match="the outline is blurred"):  # warnings are errors in tests
        photo_module.load_photo(save(tmp_path, pixels))


def test_a_colour_profile_keeps_opacity(tmp_path):
    pixels = np.dstack([np.full((8, 8, 3), 90, np.uint8), np.arange(64, dtype=np.uint8).reshape(8, 8)])
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=display_p3()[0])
    assert (read_image(tmp_path / "a.png")[..., 3] == pixels[..., 3]).all()


def test_a_small_image_is_enlarged(tmp_path):
    image = load_photo(save(tmp_path, drawing(40, 40, box=(10, 10, 30, 30))[:, :, :]))
    assert image.shape == (137, 137, 3)


def test_what_cannot_be_used_is_refused_with_the_way_out(tmp_path):
    rng = np.random.default_rng(0)
    clutter = rng.integers(0, 255, (100, 100, 3), dtype=np.uint8)
    with pytest.raises(ImageError, match=r"not plain.*transparent background"):
        load_photo(save(tmp_path, clutter))
    touching = drawing(box=(0, 0, 300, 140))
    with pytest.raises(ImageError, match="touches the border"):
        load_photo(save(tmp_path, touching))
    with pytest.raises(ImageError, match="shows no object"):
        load_photo(save(tmp_path, np.full((50, 50, 3), 200, np.uint8)))
    with pytest.raises(ImageError, match="shows no object"):
        load_photo(save(tmp_path, np.zeros((50, 50, 4), np.uint8)))
    with pytest.raises(ImageError, match=r"has 7 x 9 pixels, too few to show an object"):
        load_photo(save(tmp_path, np.full((9, 7, 3), 255, np.uint8)))
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ImageError, match="cannot be read"):
        load_photo(tmp_path / "text.png")
    with pytest.raises(ImageError, match="no such file"):
        load_photo(tmp_path / "absent.png")
    with pytest.raises(ImageError, match=r"is a folder, not a photo \(give the photos in it: .*/\*\.png"):
        load_photo(tmp_path)
    (tmp_path / "chair.glb").write_bytes(b"glTF")
    with pytest.raises(ImageError, match=r"is a mesh, not a photo \(occnet watertight"):
        load_photo(tmp_path / "chair.glb")
    cut = save(tmp_path, clutter, "cut.png")
    cut.write_bytes(cut.read_bytes()[:2000])
    with pytest.raises(ImageError, match="cannot be read"):
        load_photo(cut)


CHAIR = (150, 90, 40)


def chair(height=300, width=400) -> np.ndarray:
    """(H, W) of a chair seen from its side."""
    mask = np.zeros((height, width), bool)
    mask[40:260, 140:175] = mask[150:170, 140:260] = mask[150:260, 240:260] = True
    return mask


def before(background, mask=None, noise=0.0) -> np.ndarray:
    """A chair before a background, (H, W, 3) or a colour."""
    mask = chair() if mask is None else mask
    image = np.where(mask[..., None], np.array(CHAIR, float), np.asarray(background, float))
    image = image + noise * np.random.default_rng(0).standard_normal(image.shape)
    return image.clip(0, 255).round().astype(np.uint8)


def blob(row, column, rows, columns, blur) -> np.ndarray:
    """(300, 400) of a blurred ellipse of height 1."""
    y, x = np.mgrid[:300, :400]
    inside = ((y - row) / rows) ** 2 + ((x - column) / columns) ** 2 < 1
    return gaussian_filter(inside.astype(float), blur)


def method_of(path, mask="auto") -> str:
    """How a photo of the chair was cut out, which must be right to a pixel or two."""
    cutout = photo_module.load_photo(path, mask)
    ys, xs = np.nonzero(cutout.image.min(axis=2) < 190)
    height, width = np.ptp(ys) + 1, np.ptp(xs) + 1
    assert abs(height - 220) <= 2
    assert abs(width - 120) <= 2
    white = (cutout.image > 240).all(axis=2).sum()
    assert white == pytest.approx(cutout.image[..., 0].size - chair().sum(), rel=0.01)
    return cutout.method


def with_alpha(image, alpha) -> np.ndarray:
    return np.dstack([image, np.broadcast_to(alpha, image.shape[:2]).round().astype(np.uint8)])


def rounded(height=300, width=400, radius=20) -> np.ndarray:
    """(H, W) opacity of a rectangle with rounded corners."""
    y, x = np.mgrid[:height, :width] + 0.5
    dy = np.maximum(np.abs(y - height / 2) - (height / 2 - radius), 0)
    dx = np.maximum(np.abs(x - width / 2) - (width / 2 - radius), 0)
    return 255 * np.clip(radius - np.hypot(dy, dx) + 0.5, 0, 1)


@pytest.mark.parametrize("background", [(255, 255, 255), (225, 228, 235)])
def test_an_alpha_channel_that_is_no_mask_does_not_count(tmp_path, background):
    image, pixel = before(background), np.full((300, 400), 255)
    pixel[120, 60] = 0
    for alpha in (254, 200, pixel, rounded(), rounded(radius=45)):
        assert "background" in method_of(save(tmp_path, with_alpha(image, alpha)))
    # A window before its own soft shadow.
    window = np.pad(rounded(), 50)
    shadow = 120 * gaussian_filter(np.pad(np.ones((300, 400)), 50), 12)
    around = np.where(window[..., None] >= 128, np.pad(image, ((50, 50), (50, 50), (0, 0))), 0)
    path = save(tmp_path, with_alpha(around, np.maximum(window, shadow)))
    assert "opaque rectangle" in method_of(path)
    assert photo_module.load_photo(path).box == (slice(50, 350), slice(50, 450))


def test_a_mask_is_taken_with_its_holes_and_without_its_soft_shadow(tmp_path):
    clutter = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    image = np.where(chair()[..., None], np.array(CHAIR, np.uint8), clutter)
    assert method_of(save(tmp_path, with_alpha(image, 255 * chair()))) == "alpha"
    shadow = 160 * blob(260, 210, 15, 90, 6)
    image = np.where(chair()[..., None], np.array(CHAIR, np.uint8), np.uint8(10))
    alpha = np.maximum(255 * chair(), shadow)
    assert method_of(save(tmp_path, with_alpha(image, alpha))) == "alpha, soft shadow removed"


def test_an_opaque_rectangle_is_the_object_or_refused(tmp_path):
    alpha = np.zeros((300, 400))
    alpha[60:240, 100:300] = 255
    face = np.full((300, 400, 3), CHAIR, np.uint8)
    cutout = photo_module.load_photo(save(tmp_path, with_alpha(face, alpha)))
    assert cutout.method == "alpha"
    assert extent(cutout.image) == (100, 60, 300, 240)
    face[100:200, 150:250] = 255
    path = save(tmp_path, with_alpha(face, alpha))
    with pytest.raises(ImageError, match=r"rectangle with contents.*--mask alpha"):
        photo_module.load_photo(path)
    assert extent(photo_module.load_photo(path, "alpha").image) == (100, 60, 300, 240)
    with pytest.raises(ImageError, match="no transparent background"):
        photo_module.load_photo(save(tmp_path, before(255), "opaque.png"), "alpha")


@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_vignettes_gradients_and_soft_shadows_are_background(tmp_path, noise):
    y, x = np.mgrid[-1:1:300j, -1:1:400j]
    white, blue = np.full((300, 400, 3), 240.0), np.full((300, 400, 3), (190.0, 205.0, 230.0))
    vignette, gradient = 1 - 0.15 * (x**2 + y**2), 0.9 + 0.07 * y - 0.04 * x
    shadow = 1 - 0.45 * blob(255, 220, 18, 95, 7)
    for colour in (white, blue):
        for shade in (vignette, gradient):
            path = save(tmp_path, before(colour * shade[..., None], noise=noise))
            assert method_of(path) == "plain background"
        for shade in (shadow, shadow * vignette):
            path = save(tmp_path, before(colour * shade[..., None], noise=noise))
            assert method_of(path) == "plain background, soft shadow removed"
    faint = 255.0 * (1 - 0.08 * blob(255, 220, 18, 95, 10))
    path = save(tmp_path, before(np.repeat(faint[..., None], 3, 2)))
    assert method_of(path) == "plain background, soft shadow removed"


def test_what_resembles_a_shadow_is_refused(tmp_path):
    # A grey chair as dark as its shadow, which flows into it.
    grey = before(255 * (1 - 0.5 * blob(220, 200, 25, 110, 9))[..., None])
    grey[chair()] = 140
    with pytest.raises(ImageError, match="shadow cannot be distinguished"):
        photo_module.load_photo(save(tmp_path, grey))
    blurred = gaussian_filter(before(235), (9, 9, 0))
    with pytest.raises(ImageError, match=r"blurred|hardly differs|no object"):
        photo_module.load_photo(save(tmp_path, blurred))
    pale = before(230, np.zeros((300, 400), bool), noise=3.0)
    pale[chair()] -= 20
    pale[200:225, 145:165] = 80
    with pytest.raises(ImageError, match=r"hardly differs|cannot be distinguished"):
        photo_module.load_photo(save(tmp_path, pale))


def test_a_thin_frame_is_cropped_and_a_wide_one_refused(tmp_path):
    for colour in (0, 120):
        thin = np.pad(before(255), ((8, 8), (8, 8), (0, 0)), constant_values=colour)
        assert method_of(save(tmp_path, thin)) == "plain background, frame cropped"
        wide = np.pad(before(255), ((70, 70), (70, 70), (0, 0)), constant_values=colour)
        with pytest.raises(ImageError, match=r"framed image.*crop the frame"):
            photo_module.load_photo(save(tmp_path, wide))
        # The mask lies in the input where the box says.
        cutout = photo_module.load_photo(save(tmp_path, thin))
        placed = np.zeros(thin.shape[:2], bool)
        placed[cutout.box] = cutout.mask
        assert (placed[8:-8, 8:-8] != chair()).mean() < 0.002
    line = before(250)
    line[20:280, 60:340][[0, 1, -2, -1]] = line[20:280, 60:340][:, [0, 1, -2, -1]] = 30
    with pytest.raises(ImageError, match="framed image"):
        photo_module.load_photo(save(tmp_path, line))


def test_lines_before_a_plain_colour_are_not_plain(tmp_path):
    grid = np.full((300, 400, 3), 58, np.uint8)
    grid[::50], grid[:, ::50] = 180, 180
    with pytest.raises(ImageError, match="not plain"):
        photo_module.load_photo(save(tmp_path, before(grid)))


def test_an_object_that_goes_on_beyond_the_photo_is_warned_of(tmp_path, caplog):
    photo_module.load_photo(save(tmp_path, before(255)[:200]))
    assert "touches the border" in caplog.text


def test_a_white_background_stays_as_it_is(tmp_path):
    image = before(255)
    cutout = photo_module.load_photo(save(tmp_path, image))
    assert cutout.unchanged
    assert (cutout.image == image).all()
    image[3:6, 3:6] = 0  # dirt
    cutout = photo_module.load_photo(save(tmp_path, image))
    assert not cutout.unchanged
    assert (cutout.image == before(255)).all()


def test_large_photos_are_reduced_and_white_means_white(tmp_path):
    mask = chair().repeat(5, 0).repeat(5, 1)
    for name in ("photo.png", "photo.jpg"):
        image = image_file.read_image(save(tmp_path, before(230, mask), name))
        assert max(image.shape) == image_file.WORKING_EDGE
        assert image.shape[0] == 768
    ramp = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (8, 1))
    for scale, kind in ((1, np.float32), (255, np.float32), (65535, np.uint16)):
        path = tmp_path / "grey.tif"
        Image.fromarray((ramp * scale).astype(kind)).save(path)
        levels = image_file.read_image(path)[0, :, 0]
        assert np.abs(levels - np.linspace(0, 255, 64)).max() <= 1
    dark = tmp_path / "dark.png"
    Image.fromarray(np.full((8, 8), 200, np.uint16)).save(dark)  # 16 bits, nearly black
    assert image_file.read_image(dark).max(axis=2).min() == 255
    assert image_file.read_image(dark)[..., :3].max() <= 1


@pytest.mark.parametrize("background", [None, 120])
@pytest.mark.parametrize("has_print", [True, False])
def test_a_white_object_is_darkened_so_that_framing_sees_all_of_it(tmp_path, background, has_print):
    image = np.full((300, 400, 3), background or 255, np.uint8)
    image[chair()] = 240
    if has_print:
        image[200:225, 145:165] = 80
    path = save(tmp_path, image if background else with_alpha(image, 255 * chair()))
    cutout = photo_module.load_photo(path)
    assert "darkened because it is nearly white" in cutout.method
    assert np.abs(np.array(object_box(cutout.image)) - (140, 40, 260, 260)).max() <= 1
    levels = cutout.image[210, [141, 150]].max(axis=-1)
    assert 0.8 * 240 < levels[0] <= OBJECT_LEVEL
    assert levels[1] == 68 if has_print else levels[1] == levels[0]
    assert (cutout.image[:30] == 255).all()


def test_highlights_within_an_object_change_nothing(tmp_path):
    image = before(255)
    image[60:120, 150:165] = 250
    assert (photo_module.load_photo(save(tmp_path, with_alpha(image, 255 * chair()))).image == image).all()


def test_what_looks_like_a_training_view_stays_as_it_is(tmp_path):
    view = np.full((137, 137, 3), 255, np.uint8)
    view[40:100, 50:90] = 215
    view[40:70, 70:90] = 255
    view[75:95, 55:85] = (120, 90, 60)
    view[10:13, 20] = 90  # what is left of a thin cord
    path = save(tmp_path, view)
    cutout = photo_module.load_photo(path, view_size=137)
    assert cutout.unchanged
    assert (cutout.image == view).all()
    assert (photo_module.load_photo(path, "background", 137).image[10:13, 20] == 255).all()
    assert not photo_module.load_photo(path, view_size=64).unchanged
    for changed in (np.full_like(view, 255), np.full_like(view, 200)):
        with pytest.raises(ImageError, match="shows no object"):
            photo_module.load_photo(save(tmp_path, changed), view_size=137)


def test_heic_is_read_or_the_package_named(tmp_path, monkeypatch):
    heif = pytest.importorskip("pillow_heif")
    path = tmp_path / "photo.heic"
    heif.from_pillow(Image.fromarray(before(255))).save(path, quality=95)
    assert "background" in method_of(path)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"HEIC image.*pip install pillow-heif"):
        photo_module.load_photo(path)
