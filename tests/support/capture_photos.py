"""Photos of an ellipsoid as PNGs with their cameras as transforms.json, for tests of captures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from occnet_lib.geometry.cameras import Camera, camera_centres, look_at_origin
from occnet_lib.storage.cameras import write_camera
from tests.support.silhouette_shapes import silhouette

RADII, CENTRE = (
    np.array([0.5, 0.3, 0.22]),
    np.array([0.4, 1.1, -0.3]),
)  # in the world of the cameras, whose +y is up
SCALE = 2 * RADII.max()
LENS = 150.0  # focal length in pixels of an image of 120
EDGE = 120
FLIP = np.diag([1.0, -1.0, -1.0, 1.0])
Z_UP = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])


def cameras(count: int, roll: float = 0.0) -> list[Camera]:
    """Cameras around the ellipsoid, each at another elevation and distance; the world is that of `CENTRE`."""
    steps = np.arange(count)
    azimuth, elevation = steps * 360 / count + 11.0, 10 + 25.0 * (steps % 3)
    world_mats = look_at_origin(camera_centres(azimuth, elevation, 2.2 + 0.2 * (steps % 2)))
    camera_mat = np.array([[LENS, 0, EDGE / 2 + 3], [0, LENS, EDGE / 2 - 2], [0, 0, 1.0]])
    for world_mat in world_mats:
        world_mat[:, 3] -= world_mat[:, :3] @ CENTRE
    return [Camera(camera_mat, world_mat, EDGE, EDGE, CENTRE, SCALE) for world_mat in world_mats]


def photo(camera: Camera, pixels: int = EDGE) -> np.ndarray:
    """(pixels, pixels, 4) uint8, the ellipsoid with a transparent background."""
    covered = silhouette(camera.projection, pixels, np.zeros(3), RADII / SCALE)
    colour = np.broadcast_to(np.array([70, 90, 60], np.uint8), (pixels, pixels, 3))
    return np.dstack([colour, np.round(255 * covered).astype(np.uint8)])


def frame(camera: Camera, name: str) -> dict[str, Any]:
    """A frame of transforms.json in the world of `CENTRE`."""
    pose = np.eye(4)
    pose[:3] = camera.world_mat
    fx, fy, cx, cy = (float(camera.camera_mat[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2)))
    values = {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": camera.width, "h": camera.height}
    return {"file_path": name, "transform_matrix": (np.linalg.inv(pose) @ FLIP).tolist()} | values


def write_capture(folder: Path, count: int = 8, seen: list[np.ndarray] | None = None) -> list[dict[str, Any]]:
    """Write photos 00.png … and transforms.json; the frames."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    shots = cameras(count)
    for i, image in enumerate(seen or map(photo, shots)):
        Image.fromarray(image).save(folder / "images" / f"{i:02d}.png")
    frames = [frame(camera, f"./images/{i:02d}") for i, camera in enumerate(shots)]
    write_frames(folder, frames)
    return frames


def write_frames(folder: Path, frames: list[dict[str, Any]], **common: Any) -> None:
    """Write transforms.json."""
    (folder / "transforms.json").write_text(json.dumps(common | {"frames": frames}))


def write_camera_files(folder: Path, count: int = 8, shots: list[Camera] | None = None) -> None:
    """Write photos 00.png … with 00.json … beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, camera in enumerate(cameras(count)):
        Image.fromarray(photo(camera)).save(folder / f"{i:02d}.png")
        write_camera(folder / f"{i:02d}.json", shots[i] if shots else camera)
