"""Export of pack files as datasets of training codes for vector-set models."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from occnet_lib.errors import DataError
from occnet_lib.storage.atomic import write_text
from occnet_lib.storage.packs import verified_shapes

from .vecset_formats import FORMATS, Frame, PackedSamples, Splits

logger = logging.getLogger(__name__)


def export_samples(
    packs: Sequence[Path],
    folder: Path,
    layout: str,
    edge: float | None = None,
    up: str = "y",
    watch: Callable[[list[Path]], Iterable[Path]] = iter,
) -> int:
    """Write the samples of pack shards as a dataset of another training code.

    `frame.json` holds the frame of the points. Sizes that the loader of that code does not accept are logged as warnings.

    Args:
        packs: all shards of the dataset.
        folder: folder to write, without a dataset.
        layout: one of `FORMATS`.
        edge: longest edge of a shape in the files; None: that of the code's own normalisation.
        up: y or z.
        watch: iterates over `packs`, e.g. with a progress bar.

    Returns:
        number of shapes written.

    Raises:
        DataError: a shard is missing, corrupt or without a required set, a shape is in two shards, `folder` has a
            dataset, or the disk is full.
    """
    target = FORMATS[layout]
    if (folder / "frame.json").exists():
        raise DataError("contains a dataset already", path=folder, hint="give a new folder")
    frame = Frame(target.edge if edge is None else edge, up)
    splits: Splits = {"train": [], "val": [], "test": []}
    for shard, i, key in verified_shapes(watch(list(packs))):
        shape = PackedSamples(shard, i, frame)
        if not any(splits.values()):
            _warn_of_sizes(layout, shape)
        target.write_shape(folder, shape)
        splits[shard.split].append(key)
    target.write_lists(folder, splits)
    description = {"format": layout, "edge": frame.edge, "up": up, "x_file": "edge * R * x_unit, R: +y to up"}
    write_text(folder / "frame.json", json.dumps(description, indent=1))
    return sum(map(len, splits.values()))


def _warn_of_sizes(layout: str, shape: PackedSamples) -> None:
    target = FORMATS[layout]
    for name, count in target.exact.items():
        if name in shape.sets and len(shape.sets[name].points) != count:
            text = "the loader of %s expects %d points of samples.%s, got %d"
            logger.warning(text, layout, count, name, len(shape.sets[name].points))
    if target.images and "mask" not in shape.shard.extra:
        text = (
            "no images written: the loader of %s needs RGBA; set views.extra: [mask] and run preprocess again"
        )
        logger.warning(text, layout)
    elif target.images > shape.shard.views:
        logger.warning("the loader of %s expects %d images, got %d", layout, target.images, shape.shard.views)
