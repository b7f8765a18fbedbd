"""What a user's photo gets: the IoU of a network's field for photos that go through the code of `occnet reconstruct`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from occnet_lib import seeds
from occnet_lib.config import Config
from occnet_lib.errors import DataError, ImageError
from occnet_lib.geometry.cameras import Camera
from occnet_lib.storage.atomic import replacing
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.tables import write_rows
from occnet_lib.types import Mesh

from .merged import merged_columns
from .metrics import iou
from .reliability import COLUMNS as RELIABILITY
from .reliability import reliability_of, reliability_rows, uncertainty_columns
from .view_metrics import another, reliability_table

Photograph = Callable[[Mesh, int, np.random.Generator], tuple[NDArray[np.uint8], Sequence[Camera]]]
"""A mesh of the unit frame and a number to so many photos (N, H, W, 4) and their cameras."""

PhotoLogits = Callable[[Path, NDArray[np.float64], NDArray[np.floating]], NDArray[np.float32]]
"""A photo's file, its camera's rotation (3, 3) and points (N, 3) of the unit frame to logits (N,)."""

CameraLogits = Callable[
    [Path, NDArray[np.float64], NDArray[np.floating], NDArray[np.float64]], NDArray[np.float32]
]
"""As `PhotoLogits`, by the photo's projection (3, 4) (`geometry.cameras.image_projection`), which is the last argument."""

COLUMNS = ("model", "category", "id", "photo", "iou", "status", "reason")
CAMERAS = "cameras.json"
"""File beside the photos of a shape: {"rotations": one 3 x 3 matrix a photo, unit frame to camera, "projections": 3 x 4, as
`geometry.cameras.image_projection`}; those of earlier versions have no projections."""


def write_photos(shard: Shard, photograph: Photograph, count: int, seed: int, folder: str | Path) -> None:
    """Write photos of the shapes of a shard as PNGs with an alpha channel; the folder appears whole or not at all.

    Of the shapes the closed meshes are taken, which all packs hold; one without faces (docs/interop.md) gets none.

    Args:
        shard: pack shard.
        photograph: mesh, count and generator to photos, as `rendering.photographs.photograph`.
        count: photos of a shape.
        seed: of the configuration.
        folder: to write.
    """
    with replacing(folder) as temporary:
        temporary.mkdir()
        for i, key in enumerate(shard.keys):
            mesh, place = shard.mesh(i), temporary / key.category / key.id
            place.mkdir(parents=True)
            images = np.zeros((0, 1, 1, 4), np.uint8)
            cameras: Sequence[Camera] = []
            if len(mesh.faces):
                images, cameras = photograph(mesh, count, seeds.rng(seed, "photos", key.name))
            for photo, image in enumerate(images):
                Image.fromarray(image).save(place / f"{photo}.png")
            matrices = {"rotations": [camera.rotation.tolist() for camera in cameras]}
            matrices["projections"] = [camera.projection.tolist() for camera in cameras]
            (place / CAMERAS).write_text(json.dumps(matrices) + "\n")


def evaluate_photos(
    logits: PhotoLogits,
    level: float,
    shard_path: str | Path,
    folder: str | Path,
    config: Config,
    model: str,
    out_csv: str | Path,
    merged: Sequence[int] = (),
    given: CameraLogits | None = None,
) -> list[dict[str, Any]]:
    """Measure a network's field for every photo of every shape of a shard, and of several merged; one row a photo.

    A photo that is refused counts with IoU 0 and its reason; sets of several photos lack it. With `given` rows also have
    `iou_given`, with the photo's true camera instead of the predicted one.

    Args:
        logits: the network behind the reading of photos; raises `ImageError` for one that it refuses.
        level: logit above which a point is inside.
        shard_path: pack shard with the ground truth.
        folder: <category>/<id>/{0.png, 1.png, ..., cameras.json}.
        config: `evaluate.photos`, `evaluate.view_points`, `evaluate.uncertainty` (as in `evaluate_views`) and `seed` are
            used.
        model: its name, for the column `model`.
        out_csv: table to write.
        merged: numbers of photos whose logits are averaged (`merged.merged_columns`).
        given: the network with given cameras, of one that predicts them.

    Raises:
        DataError: the shard or the folder is missing or broken.
    """
    shard, rows, reliability = Shard(shard_path), [], []
    for i, key in enumerate(shard.keys):
        points, occupied = shard.points(i, 0, min(config.evaluate.view_points, shard.points_per_shape))
        about = {"model": model, "category": key.category, "id": key.id}
        place = Path(folder) / key.category / key.id
        own, fields = [], _fields(logits, place, points)
        cameras = _matrices(place / CAMERAS) if given else {}
        for photo, field in enumerate(fields):
            row = about | {"photo": photo, "iou": 0.0, "status": "ok", "reason": ""}
            if isinstance(field, ImageError):
                row |= {"status": "failed", "reason": field.message}
            else:
                row["iou"] = iou(field > level, occupied)
            if given and "projections" in cameras:
                row["iou_given"] = 0.0
                if row["status"] == "ok":
                    rotation, projection = (cameras[name][photo] for name in ("rotations", "projections"))
                    logits_there = given(place / f"{photo}.png", rotation, points, projection)
                    row["iou_given"] = iou(logits_there > level, occupied)
            own.append(row)
        intruder = None
        if merged and len(shard) > 1:
            other = shard.keys[another(i, len(shard), config.seed, key.name)]
            strange = _fields(logits, Path(folder) / other.category / other.id, points, 1)
            intruder = next(iter(_read(strange)), None)
        read = _read(fields)
        more = merged_columns(read, occupied, level, merged, intruder)
        if config.evaluate.uncertainty:
            uncertain = uncertainty_columns(read, occupied, level, _rotations(place / CAMERAS), merged)
            more = [one | two for one, two in zip(more, uncertain, strict=True)]
            reliability += reliability_rows(about, reliability_of(read, occupied))
        rows += [row | columns for row, columns in zip(own, more, strict=True)]
    if config.evaluate.uncertainty:
        write_rows(reliability_table(out_csv), reliability, RELIABILITY)
    write_rows(Path(out_csv), rows, COLUMNS)
    return rows


def _fields(
    logits: PhotoLogits, place: Path, points: NDArray[np.floating], count: int | None = None
) -> list[NDArray[np.float32] | ImageError]:
    """Logits (N,) of the photos of a shape, of the first `count` where given, or why one is refused."""
    fields: list[NDArray[np.float32] | ImageError] = []
    for photo, rotation in enumerate(_rotations(place / CAMERAS)[:count]):
        try:
            fields.append(logits(place / f"{photo}.png", rotation, points))
        except ImageError as error:
            fields.append(error)
    return fields


def _read(fields: Sequence[NDArray[np.float32] | ImageError]) -> list[NDArray[np.float32] | None]:
    return [None if isinstance(field, ImageError) else field for field in fields]


def _rotations(path: Path) -> NDArray[np.float64]:
    return _matrices(path)["rotations"].reshape(-1, 3, 3)


def _matrices(path: Path) -> dict[str, NDArray[np.float64]]:
    """The rotations of the photos of a shape, and the projections if the file has them."""
    try:
        read = {name: np.array(own, dtype=np.float64) for name, own in json.loads(path.read_text()).items()}
        if "rotations" not in read:
            raise ValueError("no rotations")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError("is missing or damaged", path=path, hint="delete the folder and run again") from error
    return read
