"""Pack shards as datasets of other training codes for implicit 3D models."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from occnet_lib.errors import DataError
from occnet_lib.storage.atomic import replacing
from occnet_lib.storage.packs import Shard, verify

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

    `frame.json` states the frame of the points. Where the loader fixes a size that the samples do not have, a
    warning says so.

    Args:
        packs: shards; together they are the dataset.
        folder: to write; may hold no dataset.
        layout: one of `FORMATS`.
        edge: longest edge of a shape in the files; None: as that code's own script normalises.
        up: y or z.
        watch: goes through `packs`, and may show progress.

    Returns:
        the number of shapes written.

    Raises:
        DataError: a shard is missing or corrupt or lacks a set, a shape is in two, `folder` holds a dataset, a
            full disk.
    """
    form = FORMATS[layout]
    if (folder / "frame.json").exists():
        raise DataError("holds a dataset already", path=folder, hint="give a new folder")
    frame = Frame(form.edge if edge is None else edge, up)
    splits: Splits = {"train": [], "val": [], "test": []}
    names: set[str] = set()
    for path in watch(list(packs)):
        verify(path)
        shard = Shard(path)
        for i, key in enumerate(shard.keys):
            if key.name in names:
                raise DataError(f"shape {key.name} is in another shard, too", path=path)
            shape = PackedSamples(shard, i, frame)
            if not names:
                _warn_of_sizes(layout, shape)
            names.add(key.name)
            form.write_shape(folder, shape)
            splits[shard.split].append(key)
        shard.close()
    form.write_lists(folder, splits)
    about = {"format": layout, "edge": frame.edge, "up": up, "x_file": "edge * R * x_unit, R: +y to up"}
    with replacing(folder / "frame.json") as temporary:
        temporary.write_text(json.dumps(about, indent=1))
    return len(names)


def _warn_of_sizes(layout: str, shape: PackedSamples) -> None:
    form = FORMATS[layout]
    for name, count in form.exact.items():
        if name in shape.sets and len(shape.sets[name].points) != count:
            text = "%s's loader expects %d points of samples.%s; there are %d"
            logger.warning(text, layout, count, name, len(shape.sets[name].points))
    if form.images and "mask" not in shape.shard.extra:
        text = "no images are written: %s's loader needs RGBA; set views.extra: [mask] and preprocess again"
        logger.warning(text, layout)
    elif form.images > shape.shard.views:
        logger.warning("%s's loader expects %d images; there are %d", layout, form.images, shape.shard.views)
