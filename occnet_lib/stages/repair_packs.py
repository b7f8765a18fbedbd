"""Verification of pack and shape files; corrupt ones are made again with the same content."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from occnet_lib.config import Config
from occnet_lib.errors import DataError
from occnet_lib.interop.conversion import import_shard, packed_dataset_layout
from occnet_lib.storage import packs, shape_file
from occnet_lib.storage.locks import job_lock
from occnet_lib.storage.shape_file import path_of
from occnet_lib.types import ShapeKey

from . import process_shape
from .pack import pack

logger = logging.getLogger(__name__)


def pack_with_repair(
    shard: str, keys: Sequence[ShapeKey], config: Config, shapes_dir: str | Path, out_path: str | Path
) -> int:
    """`pack.pack`; where shape files are corrupt or missing, they are made again and packing is repeated.

    Raises:
        DataError: as `pack.pack`, for another reason than corruption.
    """
    try:
        return pack(shard, keys, shapes_dir, out_path)
    except DataError as error:
        paths = {key: path_of(shapes_dir, key) for key in keys}
        damaged = [key for key, path in paths.items() if not _is_intact(shape_file.read_status, path)]
        if not damaged:
            raise
        logger.warning("%s; processed again: %s", error, ", ".join(key.name for key in damaged))
    for key in damaged:
        with _preserving_mtime(paths[key]):
            process_shape.process(key, config, config.dataset_root, paths[key], force=True)
    return pack(shard, keys, shapes_dir, out_path)


def delete_packed_shapes(keys: Sequence[ShapeKey], shapes_dir: str | Path) -> None:
    """Delete the shape files that a pack contains; those of failed shapes stay, with their reasons."""
    for key in keys:
        path = path_of(shapes_dir, key)
        if shape_file.read_status(path, whole=False).status != "failed":
            path.unlink()


def repair_pack(
    path: Path, keys: Sequence[ShapeKey], config: Config, shapes_dir: str | Path, whole: bool = True
) -> None:
    """Pack a shard again if its file is corrupt; several jobs may call this at the same time.

    Args:
        path: the pack file; ignored where it does not exist.
        keys: the shapes of the shard.
        config: the whole configuration.
        shapes_dir: folder of the shape files.
        whole: verify the checksum, which reads the whole file (`packs.verify`); otherwise verify only that the file
            can be opened.
    """
    check = packs.verify if whole else packs.verify_structure
    if not path.exists() or _is_intact(check, path):
        return
    with job_lock(path.with_name(f".{path.stem}.lock")):
        if _is_intact(check, path):
            return
        logger.warning("%s is corrupt; packing it again", path)
        with _preserving_mtime(path):
            if packed_dataset_layout(config.dataset_root):
                import_shard(Path(config.dataset_root), keys, path)
                return
            pack_with_repair(path.stem, keys, config, shapes_dir, path)
            if not config.preprocess.keep_shapes:
                delete_packed_shapes(keys, shapes_dir)


def _is_intact(check: Callable[[Path], object], path: Path) -> bool:
    try:
        check(path)
    except DataError:
        return False
    return True


@contextlib.contextmanager
def _preserving_mtime(path: Path) -> Iterator[None]:
    """Keep the modification time of a file that gets the same content again, so that no later rule reruns."""
    before = path.stat() if path.exists() else None
    yield
    if before is not None:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
