"""Captures to pack shards, which training without 3D labels reads."""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from occnet_lib.config import Config
from occnet_lib.errors import DataError, OccnetError
from occnet_lib.geometry.cameras import Camera
from occnet_lib.storage.cameras import write_camera
from occnet_lib.storage.packs import PackedShape, write_shard
from occnet_lib.storage.packs.writer import no_points, without_mesh
from occnet_lib.storage.tables import write_rows
from occnet_lib.types import ShapeKey, Views

from .capture import Capture, capture_of
from .folders import Box, objects_below, photos_of

logger = logging.getLogger(__name__)
COLUMNS = ("category", "id", "split", "shard", "status", "reason", "photos", "views", "explained")
Row = dict[str, Any]


def pack_captures(
    root: Path,
    packs: Path,
    config: Config,
    box: Box | None = None,
    watch: Callable[[list[ShapeKey]], Iterable[ShapeKey]] = iter,
) -> list[Row]:
    """Write the objects of a folder as pack shards `<split>-<number>.h5`, shapes.csv, and the cameras of their photos.

    All objects of a shard have the same number of views. `cameras/<category>/<id>/<photo>.json` are files for
    `occnet reconstruct --camera`.

    Args:
        root: folder of captures (`folders.LAYOUT`).
        packs: folder to write, without shards.
        config: `seed`, section `dataset` and `views.image_size` are used.
        box: of every object, as in `capture_of`.
        watch: iterates over the objects, e.g. with a progress bar.

    Returns:
        one row per object: `COLUMNS`; status ok, warn (photos were left out) or failed.

    Raises:
        DataError: there are no objects, `packs` has shards, no object is usable, or the disk is full.
    """
    keys = objects_below(config, root)
    if any(packs.glob("*.h5")):
        raise DataError("contains pack shards already", path=packs, hint="give a new folder")
    shards = _Shards(packs, config.dataset.shard_size)
    rows = []
    for key in watch(keys):
        row: Row = {"category": key.category, "id": key.id, "split": key.split}
        rows.append(row)
        try:
            photos = photos_of(root / key.path)
            row["photos"] = len(photos)
            capture = capture_of(photos, config, box)
        except OccnetError as error:
            row |= {"status": "failed", "reason": str(error)}
            logger.warning("%s failed: %s", key.name, error)
            continue
        except Exception as error:  # the other objects go on
            row |= {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
            logger.exception("%s: unexpected error", key.name)
            continue
        reason = "; ".join(capture.notes)
        row |= {"status": "warn" if reason else "ok", "reason": reason, "views": len(capture.views)}
        row["explained"] = round(capture.explained, 4)
        _write_cameras(packs / "cameras" / key.name, root / key.path, capture)
        shards.add(_packed(key, capture))
    names = shards.close()
    for row in rows:
        row["shard"] = names.get(f"{row['category']}/{row['id']}", "")
    write_rows(packs / "shapes.csv", rows, COLUMNS)
    if not names:
        raise DataError(f"no usable object; the first: {rows[0]['reason']}", path=root)
    return rows


class _Shards:
    """Shards that are written as soon as they have `size` objects, each of one split and one number of views."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder, self._size = folder, size
        self._groups: dict[tuple[str, int], list[PackedShape]] = defaultdict(list)
        self._counts: Counter[str] = Counter()
        self._names: dict[str, str] = {}

    def add(self, shape: PackedShape) -> None:
        """Add an object."""
        group = shape.key.split, len(shape.views.images)
        self._groups[group].append(shape)
        if len(self._groups[group]) == self._size:
            self._write(group)

    def close(self) -> dict[str, str]:
        """Write all others; the names of the shards of all objects."""
        for group in sorted(self._groups):
            self._write(group)
        return self._names

    def _write(self, group: tuple[str, int]) -> None:
        split, _ = group
        shard = f"{split}-{self._counts[split]:03d}"
        self._counts[split] += 1
        shapes = [replace(shape, key=replace(shape.key, shard=shard)) for shape in self._groups.pop(group)]
        write_shard(self._folder / f"{shard}.h5", shapes, shard, split)
        self._names |= {shape.key.name: shard for shape in shapes}


def _packed(key: ShapeKey, capture: Capture) -> PackedShape:
    """A capture without points and mesh; no other frame than that of its cameras is known."""
    views, loc, scale = capture.views, capture.loc, capture.scale
    images = np.stack([view.image for view in views])
    cameras = np.stack([view.camera_mat for view in views]), np.stack([view.world_mat for view in views])
    masks = {"mask": np.stack([view.mask for view in views])}
    all_views = Views(images, *cameras, loc, scale, extra=masks)
    return PackedShape.of(key, without_mesh(loc, scale), no_points(), all_views)


def _write_cameras(folder: Path, photos: Path, capture: Capture) -> None:
    """The camera of each photo, in the object's frame, at the photo's place below the folder of its object.

    That of a photo in another folder is below `folder`, too; photos that differ in their suffix keep it.
    """
    places = [_place(view.frame.path, photos) for view in capture.views]
    stems = Counter(place.with_suffix("") for place in places)
    for view, place in zip(capture.views, places, strict=True):
        frame = view.frame
        fx, fy, cx, cy = frame.intrinsics
        camera_mat = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        camera = Camera(camera_mat, frame.world_mat, *frame.size, capture.loc, capture.scale)
        name = f"{place.name if stems[place.with_suffix('')] > 1 else place.stem}.json"
        write_camera(folder / place.with_name(name), camera)


def _place(path: Path, photos: Path) -> Path:
    """The path of a photo relative to the folder of its object, without `..`."""
    return Path(*(part for part in Path(os.path.relpath(path, photos)).parts if part != os.pardir))
