"""Files that a fault of the disk has damaged since they were made: found, and made again as they were."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from occnet_lib.config import Config
from occnet_lib.errors import DataError
from occnet_lib.records import ShapeKey
from occnet_lib.storage import shapefile, shards
from occnet_lib.storage.locks import job_lock

from . import shape
from .pack import pack

logger = logging.getLogger(__name__)


def pack_soundly(
    shard: str, keys: Sequence[ShapeKey], config: Config, shapes_dir: str | Path, out_path: str | Path
) -> int:
    """`pack.pack`, after which damaged or lost shape files are made again, and packing once more.

    Raises:
        DataError: as `pack.pack`, for another reason than damage.
    """
    try:
        return pack(shard, keys, shapes_dir, out_path)
    except DataError as error:
        damaged = [key for key in keys if not _shape_is_sound(shapefile.path_of(shapes_dir, key))]
        if not damaged:
            raise
        logger.warning("%s; made again: %s", error, ", ".join(key.name for key in damaged))
    for key in damaged:
        path = shapefile.path_of(shapes_dir, key)
        with _same_time(path):
            shape.process(key, config, config.dataset_root, path, force=True)
    return pack(shard, keys, shapes_dir, out_path)


def drop_packed(keys: Sequence[ShapeKey], shapes_dir: str | Path) -> None:
    """Remove the shape files that a pack file now holds; those of failed shapes stay, with their reasons."""
    for key in keys:
        path = shapefile.path_of(shapes_dir, key)
        if shapefile.read_status(path).status != "failed":
            path.unlink()


def mend_pack(
    path: Path, keys: Callable[[], Sequence[ShapeKey]], config: Config, shapes_dir: str | Path
) -> None:
    """Pack a shard again if its file is damaged; jobs that need it may ask for this at the same time.

    Truncation and damage to the structure are found; a changed byte within an array is not.
    """
    if not path.exists() or _pack_is_sound(path):
        return
    with job_lock(path.with_name(f".{path.stem}.lock")):
        if not _pack_is_sound(path):
            logger.warning("%s is damaged; packed again", path)
            with _same_time(path):
                pack_soundly(path.stem, keys(), config, shapes_dir, path)


def _pack_is_sound(path: Path) -> bool:
    file = shards.Shard(path)
    try:
        return len(file) >= 0  # opened, everything there, names read
    except DataError:
        return False
    finally:
        file.close()


def _shape_is_sound(path: Path) -> bool:
    try:
        if shapefile.read_status(path).status != "failed":
            shapefile.read_watertight(path)
            shapefile.read_points(path)
            shapefile.read_views(path)
    except DataError:
        return False
    return True


@contextlib.contextmanager
def _same_time(path: Path) -> Iterator[None]:
    """Keep the time of a file that is made again with the same content: nothing after it need be redone."""
    before = path.stat() if path.exists() else None
    yield
    if before is not None:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
