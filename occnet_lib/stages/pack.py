"""Pack stage: the usable shapes of a shard into the one file that training reads."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from occnet_lib.storage import shape_file
from occnet_lib.storage.packs import PackedShape, write_shard
from occnet_lib.storage.shape_file import path_of
from occnet_lib.types import ShapeKey

logger = logging.getLogger(__name__)


def pack(shard: str, keys: Iterable[ShapeKey], shapes_dir: str | Path, out_path: str | Path) -> int:
    """Write the shard of all shapes with status `ok` or `warn`; failed ones are left out.

    Args:
        shard: name of the shard, `<split>-<number>`.
        keys: its shapes.
        shapes_dir: folder of the shape files.
        out_path: the shard's file; written even if no shape is usable.

    Returns:
        number of shapes in it.

    Raises:
        DataError: a shape file is missing or corrupt, or not made with the same parameters as the others.
    """
    keys = list(keys)
    pairs = [(key, path_of(shapes_dir, key)) for key in keys]
    usable = [(key, path) for key, path in pairs if shape_file.read_status(path).status != "failed"]
    if len(usable) < len(keys):
        logger.info("%s: %d of %d shapes failed and are left out", shard, len(keys) - len(usable), len(keys))
    write_shard(out_path, _ShapeFiles(usable), shard, shard.rpartition("-")[0])
    return len(usable)


class _ShapeFiles(Sequence[PackedShape]):
    """Shape files, each read when it is accessed."""

    def __init__(self, pairs: Sequence[tuple[ShapeKey, Path]]) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, i: int) -> PackedShape:  # type: ignore[override]  # no slices
        key, path = self.pairs[i]
        closed, points = shape_file.read_watertight(path), shape_file.read_points(path)
        has_samples = "samples" in shape_file.read_status(path, whole=False).stages
        samples = shape_file.read_samples(path) if has_samples else None
        return PackedShape(key, closed, points, shape_file.read_encoded_views(path), samples)
