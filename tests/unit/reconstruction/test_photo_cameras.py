"""Camera files of photos that their EXIF orientation turns, or whose shape is another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from occnet_lib.errors import DataError
from occnet_lib.geometry.cameras import Camera, project
from occnet_lib.reconstruction.image_file import image_size, quarter_turns, read_image, stored_size
from occnet_lib.reconstruction.photo_cameras import read_photo_camera
from occnet_lib.storage.cameras import write_camera

CAMERA = Camera(
    np.array([[50.0, 0, 21], [0, 55, 14], [0, 0, 1]]), np.hstack([np.eye(3), [[0], [0], [2.0]]]), 40, 30
)


def photo(folder: Path, orientation: int, suffix: str = ".png") -> Path:
    """A file of 40 x 30 stored pixels, white where `CAMERA` sees (0.3, 0.1, 0)."""
    pixels = np.zeros((30, 40, 3), np.uint8)
    u, v = project(np.array([[0.3, 0.1, 0]]), CAMERA.camera_mat, CAMERA.world_mat, np.zeros(3), 1.0)[0][0]
    pixels[int(v), int(u)] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(folder / f"photo{suffix}", exif=exif)
    return folder / f"photo{suffix}"


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_a_camera_of_the_stored_pixels_is_turned_with_them(tmp_path, orientation, suffix):
    path = photo(tmp_path, orientation, suffix)
    write_camera(tmp_path / "photo.json", CAMERA)
    camera = read_photo_camera(tmp_path / "photo.json", path)
    frame = camera.camera_mat, camera.world_mat, camera.loc, camera.scale
    u, v = project(np.array([[0.3, 0.1, 0]]), *frame)[0][0]
    shown = read_image(path)[..., 0]
    assert np.argwhere(shown == 255).tolist() == [[int(v), int(u)]]
    assert (camera.width, camera.height) == image_size(path) == shown.shape[::-1]
    assert stored_size(path) == (40, 30)
    assert quarter_turns(path) == {1: 0, 6: 1, 8: 3}[orientation]


def test_a_camera_of_the_shown_photo_stays(tmp_path):
    write_camera(tmp_path / "photo.json", CAMERA)
    camera = read_photo_camera(tmp_path / "photo.json", photo(tmp_path, 3))  # as docs/photos.md states
    assert np.array_equal(camera.world_mat, CAMERA.world_mat)


def test_another_shape_and_mirrored_photos_are_refused(tmp_path):
    write_camera(tmp_path / "photo.json", Camera(CAMERA.camera_mat, CAMERA.world_mat, 30, 40))
    with pytest.raises(DataError, match=r"photo.png: the image has 40 x 30 pixels, its camera 30 x 40"):
        read_photo_camera(tmp_path / "photo.json", photo(tmp_path, 1))
    write_camera(tmp_path / "photo.json", CAMERA)
    with pytest.raises(DataError, match="its EXIF orientation mirrors it"):
        read_photo_camera(tmp_path / "photo.json", photo(tmp_path, 5))
