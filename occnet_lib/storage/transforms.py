"""`transforms.json`: cameras of photos as NeRF codes and their converters write them.

Fields and conventions as in instant-ngp (NVlabs/instant-ngp, scripts/colmap2nerf.py and record3d2nerf.py) and nerfstudio
(nerfstudio-project/nerfstudio, docs/quickstart/data_conventions.md): `transform_matrix` is camera to world, x right, y up,
z backward; `fl_x`, `fl_y`, `cx`, `cy`, `w`, `h` in pixels, or `camera_angle_x` in radians, for all frames or of each one;
`k1`, `k2`, `k3`, `p1`, `p2` of OpenCV's lens distortion.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from os.path import isfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import DataError
from occnet_lib.geometry.cameras import Camera

from . import cameras

NAME = "transforms.json"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".heic", ".avif", ".bmp")
"""Of images, tried in this order where `file_path` has none, as in the datasets of NeRF."""
DISTORTION = ("k1", "k2", "p1", "p2", "k3")  # in OpenCV's order
_PINHOLE = ("", "SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "PERSPECTIVE")
_RIGID = 1e-3  # largest error of R Rᵀ = 1
SAVE_UPRIGHT = (
    "photos that their EXIF orientation turns must be saved upright before their cameras are computed"
)
_OPENGL_TO_OPENCV = np.diag([1.0, -1.0, -1.0])


class Frame(NamedTuple):
    """One photo of a `transforms.json`.

    Attributes:
        path: of the image.
        world_mat: (3, 4) [R | t], world to camera (x right, y down, z forward).
        intrinsics: fx, fy, cx, cy in pixels of an image of `size`.
        size: width and height in pixels.
        distortion: (5,) k1, k2, p1, p2, k3 of OpenCV's model.
    """

    path: Path
    world_mat: NDArray[np.float64]
    intrinsics: tuple[float, float, float, float]
    size: tuple[float, float]
    distortion: NDArray[np.float64]


def read_frames(path: str | Path) -> list[dict[str, Any]]:
    """The frames of a file, each with the file's own values for all frames.

    Raises:
        DataError: the file is missing, not JSON or has no frames.
    """
    path = Path(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read as cameras: {error}", path=path) from error
    frames = values.get("frames") if isinstance(values, dict) else None
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise DataError(
            "has no list `frames`", path=path, hint="docs/how-to/adapt-to-photos.md says what is read"
        )
    common = {key: value for key, value in values.items() if key != "frames"}
    return [common | frame for frame in frames]


def image_of(frame: Mapping[str, Any], folder: Path) -> Path:
    """The image file of a frame; it need not exist."""
    name = frame.get("file_path")
    if not isinstance(name, str) or not name:
        raise DataError("a frame has no file_path", path=folder / NAME)
    path = folder / name.replace("\\", "/")
    if isfile(path):  # False also for names that no file can have
        return path
    endings = [form for suffix in SUFFIXES for form in (suffix, suffix.upper())]
    return next((whole for ending in endings if isfile(whole := Path(f"{path}{ending}"))), path)


def frame_of(values: Mapping[str, Any], path: Path, image_size: tuple[int, int]) -> Frame:
    """The camera of a frame of `read_frames`.

    Args:
        values: the frame.
        path: its image.
        image_size: width and height of the image in pixels, turned as its camera is.

    Raises:
        DataError: a value is missing or wrong, the lens is not a perspective one, or the image has another shape than the
            camera.
    """
    lens = str(values.get("camera_model", "")).upper()
    if values.get("is_fisheye") or lens not in _PINHOLE or _number(values, "k4", path, 0.0):
        raise DataError(
            f"its lens ({lens or 'fisheye'}) is not a perspective one", path=path, hint="undistort the photos"
        )
    width, height = (_number(values, key, path, n) for key, n in zip("wh", image_size, strict=True))
    if min(width, height) <= 0:
        raise DataError(f"w and h must be above 0, got {width:g} and {height:g}", path=path)
    check_aspect((width, height), image_size, path)
    fx = _focal(values, "x", width, path) or _focal(values, "y", height, path)
    if fx is None:
        raise DataError("has neither fl_x nor camera_angle_x", path=path)
    fy = _focal(values, "y", height, path) or fx  # square pixels
    cx, cy = _number(values, "cx", path, width / 2), _number(values, "cy", path, height / 2)
    distortion = np.array([_number(values, key, path, 0.0) for key in DISTORTION])
    world_mat = _world_to_camera(values.get("transform_matrix"), path)
    return Frame(path, world_mat, (fx, fy, cx, cy), (width, height), distortion)


def stated_size(values: Mapping[str, Any]) -> tuple[float, float] | None:
    """`w` and `h` of a frame of `read_frames`; None where they are missing, or wrong, which `frame_of` reports."""
    try:
        width, height = (_number(values, key, Path(), 0.0) for key in "wh")
    except DataError:
        return None
    return (width, height) if min(width, height) > 0 else None


def turned(frame: Frame, quarters: int) -> Frame:
    """The camera of an image after quarter turns clockwise: x right and y down are those of the turned image."""
    fx, fy, cx, cy = frame.intrinsics
    camera_mat = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    camera = cameras.turned(Camera(camera_mat, frame.world_mat, *frame.size), quarters)
    k1, k2, p1, p2, k3 = frame.distortion
    for _ in range(quarters):
        p1, p2 = p2, -p1
    (fx, _, cx), (_, fy, cy), _ = camera.camera_mat.tolist()
    size, distortion = (camera.width, camera.height), np.array([k1, k2, p1, p2, k3])
    return Frame(frame.path, camera.world_mat, (fx, fy, cx, cy), size, distortion)


def has_aspect(size: tuple[float, float], image_size: tuple[int, int]) -> bool:
    """Whether an image of `image_size` has the aspect ratio of `size`, up to rounding."""
    (width, height), (across, down) = size, image_size
    return abs(math.log(width / height * down / across)) <= 2.5 / min(image_size)


def check_aspect(size: tuple[float, float], image_size: tuple[int, int], path: Path) -> None:
    """Check that an image has the aspect ratio of its camera, up to rounding.

    Args:
        size: width and height of the camera's image.
        image_size: those of the image, upright.
        path: of the image.

    Raises:
        DataError: it has not.
    """
    if not has_aspect(size, image_size):
        (width, height), (across, down) = size, image_size
        text = f"the image has {across} x {down} pixels, its camera {width:g} x {height:g}"
        raise DataError(text, path=path, hint=SAVE_UPRIGHT)


def _focal(values: Mapping[str, Any], axis: str, length: float, path: Path) -> float | None:
    """Focal length in pixels along an axis; None if neither it nor the angle of view is given."""
    for key in (f"fl_{axis}", f"camera_angle_{axis}"):
        if key not in values:
            continue
        value = _number(values, key, path, 0.0)
        if value <= 0:
            raise DataError(f"{key} must be above 0, got {value:g}", path=path)
        if key.startswith("fl"):
            return value
        if value >= math.pi:
            raise DataError(f"{key} is {value:g}: it is in radians, below pi", path=path)
        return length / (2 * math.tan(value / 2))
    return None


def _world_to_camera(value: Any, path: Path) -> NDArray[np.float64]:
    """(3, 4) of a `transform_matrix`, camera to world in OpenGL's axes."""
    try:
        matrix = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        matrix = np.zeros(0)
    if matrix.shape not in ((3, 4), (4, 4)) or not np.isfinite(matrix).all():
        raise DataError("transform_matrix is not one of 4 x 4 finite numbers", path=path)
    if matrix.shape == (4, 4) and np.abs(matrix[3] - (0, 0, 0, 1)).max() > 1e-6:
        raise DataError(f"the last row of transform_matrix is {matrix[3].tolist()}, not 0 0 0 1", path=path)
    rotation = matrix[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > _RIGID or np.linalg.det(rotation) < 0:
        raise DataError("the first three columns of transform_matrix are not a rotation", path=path)
    turn = _OPENGL_TO_OPENCV @ rotation.T
    return np.concatenate([turn, -turn @ matrix[:3, 3:]], axis=1)


def _number(values: Mapping[str, Any], key: str, path: Path, default: float) -> float:
    value = values.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise DataError(f"{key} is not a finite number", path=path)
    return float(value)
