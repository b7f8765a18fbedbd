"""Verbs of datasets: raw meshes, catalogues, pack shards, other projects' files (docs/interop.md)."""

from __future__ import annotations

import argparse
import logging
import math
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, get_args

from occnet_lib.config import Config
from occnet_lib.errors import OccnetError
from occnet_lib.storage.atomic import write_text
from occnet_lib.types import ShapeKey

from .arguments import Catalogue, Out, Pack, count_statuses, length, progress_bar, shard_members

logger = logging.getLogger(__name__)

# The last five are those of interop.vecset_formats.FORMATS, which is imported only when used.
Format = Literal["onet", "noisypixel", "vecset", "vecsetx", "dora", "hunyuan", "ultrashape"]


def _box(text: str) -> tuple[float, ...]:
    """Four numbers, the last above 0."""
    with suppress(ValueError):
        numbers = tuple(float(word) for word in text.split(","))
        if len(numbers) == 4 and all(map(math.isfinite, numbers)) and numbers[3] > 0:
            return numbers
    raise argparse.ArgumentTypeError(f"expected X,Y,Z,EDGE with EDGE above 0, got {text!r}")


def demo(folder: Annotated[Path, "folder to fill"], config: Config) -> str:
    """Make the bundled dataset of raw meshes."""
    from occnet_lib.demo import write

    write(folder, config.demo, config.seed)
    write_text(folder / "demo.json", config.demo.model_dump_json())
    return f"{folder}: {config.demo.shapes_per_category} shapes each of {', '.join(config.demo.categories)}"


def catalogue(
    folder: Annotated[Path, "folder of raw meshes"],
    config: Config,
    *,
    state: Annotated[str, "state of the dataset, which the workflow keeps beside the table"] = "",
    out: Annotated[Path, "CSV file to write"],
) -> str:
    """List the shapes of a folder with split and shard."""
    from occnet_lib.api.files import list_shapes
    from occnet_lib.storage.dataset.catalogue import write_table
    from occnet_lib.storage.dataset.state import write_state

    keys = list_shapes(folder, config)
    read, changed = write_state(config, keys, state) if state else (0, 0)
    write_table(out, keys)
    splits = Counter(key.split for key in keys)
    counts = ", ".join(f"{splits[split]} {split}" for split in ("train", "val", "test"))
    dates = f"; {changed} of {read} shapes with other dates have changed" if read else ""
    return f"{out}: {len(keys)} shapes ({counts}) of {len({key.category for key in keys})} categories{dates}"


def pack(
    shapes: Annotated[Path, "folder of shape files: <category>/<id>.h5"],
    config: Config,
    *,
    split: Annotated[Literal["train", "val", "test"], "of all shapes in the folder"] = "train",
    table: Annotated[
        Path | None,
        "shapes.csv of the workflow's catalogue: only the shapes of the shard named as the file, and damaged shape "
        "files are made again",
    ] = None,
    out: Annotated[Path, "pack shard to write"],
) -> str:
    """Pack shape files into a shard for training."""
    from occnet_lib.stages.pack import pack as write_pack
    from occnet_lib.stages.repair_packs import delete_packed_shapes, pack_with_repair

    name = out.stem
    if table is None:
        files = sorted(shapes.glob("*/*.h5"))
        if not files:
            hint = "results/preprocess/shapes is such a folder"
            raise OccnetError("holds no <category>/<id>.h5", path=shapes, hint=hint)
        keys = [ShapeKey(file.parent.name, file.stem, split=split, shard=name) for file in files]
        count = write_pack(name, keys, shapes, out)
    else:
        keys = shard_members(table, name)
        count = pack_with_repair(name, keys, config, shapes, out)
        if not config.preprocess.keep_shapes:
            delete_packed_shapes(keys, shapes)
    return f"{out}: {count} of {len(keys)} shapes"


def import_(
    folder: Annotated[
        Path,
        "<category>/<id>/points.npz (ONet) or <category>_<id>.h5 (noisypixel), with .lst files; or photos with their "
        "cameras: <object>/transforms.json, or <object>/<photo>.json beside each photo",
    ],
    config: Config,
    *,
    box: Annotated[
        tuple[float, ...] | None,
        "of photos: centre and longest edge of the objects' bounding boxes in the cameras' world; without it that of the "
        "visual hull",
        _box,
        "X,Y,Z,EDGE",
    ] = None,
    out: Annotated[Path, "folder for the shards and shapes.csv"],
) -> str:
    """Convert ONet's dataset, <category>_<id>.h5 files, or photos with cameras, to pack shards."""
    from occnet_lib.captures.folders import holds_captures

    if holds_captures(folder):
        return _import_captures(folder, config, box, out)
    if box is not None:
        raise OccnetError(
            "--box belongs to photos with cameras",
            hint="this folder has none: docs/how-to/adapt-to-photos.md",
        )
    from occnet_lib.interop.conversion import import_packs

    good, total = import_packs(folder, out, config, partial(progress_bar, title="importing shards"))
    return f"{out}: {good} of {total} shapes"


def _import_captures(folder: Path, config: Config, box: tuple[float, ...] | None, out: Path) -> str:
    """Pack photos with cameras."""
    import numpy as np

    from occnet_lib.captures.pack import pack_captures

    place = None if box is None else (np.array(box[:3]), box[3])
    rows = pack_captures(folder, out, config, place, partial(progress_bar, title="importing photos"))
    good = [row for row in rows if row["status"] != "failed"]
    splits = Counter(row["split"] for row in good)
    if not splits["train"]:
        logger.warning(
            "%s: no object is in the training split: set dataset.split.test: 0, or list them in train.lst",
            out,
        )
    counts = ", ".join(f"{splits[split]} {split}" for split in ("train", "val", "test"))
    return f"{out}: {count_statuses(row['status'] for row in rows)} ({counts})"


def import_shard(
    folder: Annotated[Path, "as `occnet import`"],
    config: Config,
    *,
    table: Catalogue,
    shard: Annotated[str, "name of the shard"],
    pack: Pack,
    out: Out,
) -> str:
    """Pack the shapes of one shard of a dataset that holds points and images already."""
    from occnet_lib.interop.conversion import import_shard as write
    from occnet_lib.interop.conversion import log_warnings
    from occnet_lib.storage.tables import write_rows

    rows = write(folder, shard_members(table, shard), pack)
    write_rows(out, rows)
    log_warnings(rows)
    good = sum(row["status"] != "failed" for row in rows)
    return f"import: {shard}: {good} of {len(rows)} shapes"


def _format(name: str) -> str:
    if name == "seed":
        raise argparse.ArgumentTypeError("layout 'seed' is now called 'noisypixel'")
    return name


def export(
    packs: Annotated[list[Path], "pack shards: all of the dataset"],
    config: Config,
    *,
    layout: Annotated[
        Format,
        "noisypixel: files <category>_<id>.h5; the others are training codes for vector-set models",
        *("--format", "--layout"),
        _format,
    ] = "onet",
    edge: Annotated[
        float | None, "longest edge of a shape in the files of vector-set models (each has its own)", length
    ] = None,
    up: Annotated[Literal["y", "z"], "up axis of these files"] = "y",
    out: Annotated[Path, "folder to write"],
) -> str:
    """Convert pack shards to a dataset in ONet's layout."""
    from occnet_lib.interop.conversion import export_packs

    if folders := [path for path in packs if path.is_dir()]:
        raise OccnetError("is a folder", path=folders[0], hint=f"give its shards: {folders[0]}/*.h5")
    watch = partial(progress_bar, title="exporting shards")
    if layout in ("onet", "noisypixel"):
        if edge is not None or up != "y":
            hint = ", ".join(get_args(Format)[2:])
            raise OccnetError("--edge and --up belong to the formats of vector-set models", hint=hint)
        count = export_packs(packs, out, layout, watch)
    else:
        from occnet_lib.interop.vecset import export_samples

        count = export_samples(packs, out, layout, edge, up, watch)
    return f"{out}: {count} shapes"
