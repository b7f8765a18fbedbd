"""Shapes through all stages in a tenth of a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from occnet_lib.config import Config
from occnet_lib.storage import shape_file
from occnet_lib.storage.packs import image_codec
from occnet_lib.types import ShapeKey, Views

SMALL: dict[str, Any] = {
    "watertight": {"resolution": 32, "views": 20, "image_size": 64, "max_faces": 500},
    "points": {"uniform": 400, "surface": 300, "voxels": 8},
    "views": {"count": 2, "image_size": 32, "renderer": "raycast"},
}


def config(**changes: dict[str, Any]) -> Config:
    return Config.model_validate(
        {name: SMALL.get(name, {}) | changes.get(name, {}) for name in SMALL | changes}
    )


def key(name: str, suffix: str = ".obj") -> ShapeKey:
    return ShapeKey("solid", name, f"solid/{name}{suffix}", "train", "train-000")


def decoded_views(path: Path) -> Views:
    """The views of a shape file with decoded images."""
    views = shape_file.read_encoded_views(path)
    images = np.stack([image_codec.decode(data) for data in views.images])
    extra = {
        word: np.stack([image_codec.decode_extra(data) for data in own]) for word, own in views.extra.items()
    }
    return Views(images, views.camera_mat, views.world_mat, views.loc, views.scale, views.audit, extra)


def everything(path: Path) -> dict[str, Any]:
    """All arrays of a shape file."""
    closed, samples, images = (
        shape_file.read_watertight(path),
        shape_file.read_points(path),
        decoded_views(path),
    )
    return {
        "vertices": closed.mesh.vertices,
        "faces": closed.mesh.faces,
        **{
            name: getattr(samples, name) for name in ("points", "occupancies", "surface", "normals", "voxels")
        },
        **{name: getattr(images, name) for name in ("images", "camera_mat", "world_mat")},
    }


def assert_same(one: dict[str, Any], two: dict[str, Any]) -> None:
    for name, array in one.items():
        np.testing.assert_array_equal(array, two[name], err_msg=name)
