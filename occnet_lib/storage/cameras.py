"""Camera files: JSON beside a photo (docs/photos.md, "A known camera")."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import DataError
from occnet_lib.geometry.cameras import Camera

from .atomic import write_text

_RIGID = 1e-3  # largest error of R Rᵀ = 1
_TURN = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])


def read_camera(path: str | Path) -> Camera:
    """The camera of a JSON file.

    Keys: `camera_mat` (3 x 3, pixels), `world_mat` (3 x 4, world to camera), `image_size` (width, height in pixels), and
    optionally `loc` (3) and `scale`, the object's place in the world (`geometry.cameras.Camera`). Others are ignored.

    Raises:
        DataError: the file is missing, not JSON or lacks a key; a matrix has another shape or is not that of a camera.
    """
    path = Path(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read as a camera: {error}", path=path) from error
    if not isinstance(values, dict):
        raise DataError("expected an object with camera_mat, world_mat and image_size", path=path)
    shapes = {"camera_mat": (3, 3), "world_mat": (3, 4), "image_size": (2,)}
    arrays = {name: _numbers(values, name, shape, path) for name, shape in shapes.items()}
    loc = _numbers({"loc": [0, 0, 0]} | values, "loc", (3,), path)
    scale = float(_numbers({"scale": 1} | values, "scale", (), path))
    rotation, camera_mat = arrays["world_mat"][:, :3], arrays["camera_mat"]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > _RIGID or np.linalg.det(rotation) < 0:
        hint = "world_mat is [R | t] from the world to a camera with x right, y down, z forward"
        raise DataError("the first three columns of world_mat are not a rotation", path=path, hint=hint)
    if np.abs(camera_mat[2] - (0, 0, 1)).max() > 1e-9 or min(camera_mat[0, 0], camera_mat[1, 1]) <= 0:
        hint = "camera_mat is [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] in pixels"
        raise DataError("camera_mat is not a matrix of intrinsics", path=path, hint=hint)
    if min(scale, *arrays["image_size"]) <= 0:
        raise DataError("scale and image_size must be above 0", path=path)
    width, height = arrays["image_size"].tolist()
    camera = Camera(camera_mat, arrays["world_mat"], width, height, loc, scale)
    if camera.projection[2, 3] <= 0:
        raise DataError(
            "the object is behind the camera", path=path, hint="world_mat maps the world to the camera"
        )
    return camera


def turned(camera: Camera, quarters: int) -> Camera:
    """The camera of the image after quarter turns clockwise: its x is right and its y down in the turned image."""
    for _ in range(quarters):
        places = np.array([[0.0, -1, camera.height], [1, 0, 0], [0, 0, 1]])
        camera = replace(
            camera,
            camera_mat=places @ camera.camera_mat @ _TURN.T,
            world_mat=_TURN @ camera.world_mat,
            width=camera.height,
            height=camera.width,
        )
    return camera


def write_camera(path: str | Path, camera: Camera, more: dict[str, Any] | None = None) -> None:
    """Write a file that `read_camera` reads; `more`: further keys."""
    values = {
        "camera_mat": camera.camera_mat.tolist(),
        "world_mat": camera.world_mat.tolist(),
        "image_size": [camera.width, camera.height],
        "loc": camera.loc.tolist(),
        "scale": camera.scale,
    }
    write_text(path, json.dumps(values | (more or {}), indent=2) + "\n")


def _numbers(values: dict[str, Any], name: str, shape: tuple[int, ...], path: Path) -> NDArray[np.float64]:
    try:
        array = np.array(values[name], dtype=np.float64)
    except KeyError:
        raise DataError(f"has no {name}", path=path) from None
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{name} is not made of numbers", path=path) from None
    if array.shape != shape or not np.isfinite(array).all():
        expected = " x ".join(map(str, shape)) or "one"
        raise DataError(f"{name}: expected {expected} finite numbers, got shape {array.shape}", path=path)
    return array
