"""Import of datasets in the layouts of ONet and noisypixel as pack files, and export to them."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from occnet_lib.config import Config
from occnet_lib.errors import DataError
from occnet_lib.storage.atomic import write_text
from occnet_lib.storage.dataset.catalogue import scan
from occnet_lib.storage.dataset.layouts import SPLITS
from occnet_lib.storage.packs import PackedShape, point_codec, verified_shapes, write_shard
from occnet_lib.storage.tables import read_rows, shape_name, write_rows
from occnet_lib.types import PointSamples, ShapeKey

from . import noisypixel, onet

logger = logging.getLogger(__name__)
Layout = Literal["onet", "noisypixel"]
COLUMNS = ("category", "id", "split", "shard", "status", "reason")
_IMAGE_ORDER = (
    "files <category>_<id>.h5 often have their images in directory order: image i may not be the view of camera i; "
    "training is not affected, projections and poses are"
)
_NOT_UNIFORM = (
    "points are not uniform: their IoU is not the IoU of volumes, and the threshold chosen on the validation set "
    "depends on their distribution; neither is comparable with values from uniform points"
)


# Modules with shapes_below, read_shape and write_shape.
_LAYOUTS = {"onet": onet, "noisypixel": noisypixel}


def layout_of(folder: Path) -> Layout:
    """The layout of a dataset.

    Raises:
        DataError: the folder has none of the known layouts.
    """
    if next(folder.glob("*/*/points.npz"), None) is not None:
        return "onet"
    if next(folder.glob("*_*.h5"), None) is not None:
        return "noisypixel"
    hint = (
        "looked for <category>/<id>/points.npz (ONet), <category>_<id>.h5 (noisypixel) and photos with cameras "
        "(docs/how-to/adapt-to-photos.md)"
    )
    raise DataError("not a dataset in a known layout", path=folder, hint=hint)


def packed_dataset_layout(root: str | Path) -> Layout | None:
    """The layout of a `dataset.root` that has points and images already; None: raw meshes, or nothing."""
    try:
        return layout_of(Path(root))
    except DataError:
        return None


def was_imported(results: str | Path) -> bool:
    """Whether the shards of a results folder were imported, for a dataset that is not available now."""
    table = next((Path(results) / "preprocess" / "shards").glob("*.csv"), None)
    return table is not None and {*COLUMNS} == {column for row in read_rows(table) for column in row}


def shapes_of(config: Config, root: str | Path) -> list[ShapeKey]:
    """The shapes of a dataset of raw meshes or in one of the layouts, with split and shard.

    Raises:
        DataError: as `catalogue.scan`.
    """
    layout = packed_dataset_layout(root)
    return scan(config, root) if layout is None else _LAYOUTS[layout].shapes_below(config, Path(root))


def import_shard(folder: Path, keys: Sequence[ShapeKey], path: Path) -> list[dict[str, Any]]:
    """Write the shapes of one shard of a dataset as a pack file.

    Args:
        folder: as for `import_packs`.
        keys: all shapes of the shard, at least one.
        path: file to write.

    Returns:
        one row per shape: category, id, split, shard, status (ok; warn: the points were shuffled or are not uniform;
        failed), reason.

    Raises:
        DataError: the layout is unknown or the disk is full.
    """
    shapes, rows = _readable(_LAYOUTS[layout_of(folder)].read_shape, folder, keys)
    write_shard(path, shapes, keys[0].shard, keys[0].split)
    return rows


def import_packs(
    folder: Path, packs: Path, config: Config, watch: Callable[[list[str]], Iterable[str]] = iter
) -> tuple[int, int]:
    """Write the shapes of a dataset as pack shards `<split>-<number>.h5`, and shapes.csv about them.

    A shape that cannot be read, or has other numbers of points or views than the first of its shard, is skipped;
    shapes.csv gives the reason.

    Args:
        folder: a dataset in ONet's layout or of files <category>_<id>.h5.
        packs: folder to write, without other shards.
        config: `seed` and the section `dataset` (categories, limit, split where there are no lists, shard_size).
        watch: iterates over the names of the shards, e.g. with a progress bar.

    Returns:
        numbers of imported shapes and of all shapes.

    Raises:
        DataError: the layout is unknown, no shape is readable, `packs` has other shards, or the disk is full.
    """
    layout = layout_of(folder)
    if layout == "noisypixel":
        logger.warning("%s: %s", folder, _IMAGE_ORDER)
    keys = _LAYOUTS[layout].shapes_below(config, folder)
    by_shard: dict[str, list[ShapeKey]] = defaultdict(list)
    for key in keys:
        by_shard[key.shard].append(key)
    if unexpected := sorted({path.stem for path in packs.glob("*.h5")} - by_shard.keys()):
        raise DataError(
            f"contains other shards: {', '.join(unexpected)}", path=packs, hint="give a new folder"
        )
    rows: list[dict[str, Any]] = []
    for shard in watch(sorted(by_shard)):
        rows += import_shard(folder, by_shard[shard], packs / f"{shard}.h5")
    rows.sort(key=lambda row: (row["category"], row["id"]))
    log_warnings(rows)
    write_rows(packs / "shapes.csv", rows, COLUMNS)
    failed = [row for row in rows if row["status"] == "failed"]
    if failed:
        text = "%d of %d shapes skipped; %s/%s: %s; shapes.csv lists all"
        first = failed[0]
        logger.warning(text, len(failed), len(rows), first["category"], first["id"], first["reason"])
    if len(failed) == len(rows):
        raise DataError("no readable shape", path=folder, hint=f"see {packs / 'shapes.csv'}")
    return len(rows) - len(failed), len(rows)


def log_warnings(rows: Sequence[Mapping[str, Any]]) -> None:
    """Log the warnings of imported shapes: each reason once, with a count and an example."""
    warned: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row["status"] == "warn":
            warned[row["reason"]].append(shape_name(row))
    for reason, names in warned.items():
        logger.warning("%d of %d shapes, e.g. %s: %s", len(names), len(rows), names[0], reason)


def _readable(
    read: Callable[[Path, ShapeKey], PackedShape], folder: Path, keys: Sequence[ShapeKey]
) -> tuple[list[PackedShape], list[dict[str, Any]]]:
    """The readable shapes of a shard, and one row per shape."""
    shapes: list[PackedShape] = []
    rows = []
    for key in keys:
        status, reason = "ok", ""
        try:
            shape = read(folder, key)
            if shapes and _sizes(shape) != _sizes(shapes[0]):
                sizes = f"{_sizes(shape)} instead of {_sizes(shapes[0])}"
                raise DataError(
                    f"sizes differ from those of {shapes[0].key.name}: {sizes}", path=folder / key.path
                )
            reasons = []
            if not point_codec.runs_are_random_samples(shape.points.points, shape.points.occupancies):
                reasons.append("points were not in random order and were shuffled")
                shape = replace(shape, points=_shuffled(shape.points))
            if not point_codec.is_uniform(shape.points.points):
                reasons.append(_NOT_UNIFORM)
            if reasons:
                status, reason = "warn", "; ".join(reasons)
                logger.info("%s: %s", key.name, reason)
            shapes.append(shape)
        except (DataError, OSError) as error:
            status, reason = "failed", str(error)
            logger.info("%s skipped: %s", key.name, reason)
        row = {name: getattr(key, name) for name in COLUMNS[:4]}
        rows.append(row | {"status": status, "reason": reason})
    return shapes, rows


def _shuffled(samples: PointSamples) -> PointSamples:
    order = point_codec.mixed_order(samples.points)
    return replace(samples, points=samples.points[order], occupancies=samples.occupancies[order])


def _sizes(shape: PackedShape) -> dict[str, int]:
    """The sizes that all shapes of a shard have in common."""
    return {
        "points": len(shape.points.points),
        "surface": len(shape.points.surface),
        "views": len(shape.views.images),
        "voxels": len(shape.points.voxels),
        "surface voxels": len(() if shape.points.surface_voxels is None else shape.points.surface_voxels),
    }


def export_packs(
    packs: Sequence[Path],
    folder: Path,
    layout: Layout = "onet",
    watch: Callable[[list[Path]], Iterable[Path]] = iter,
) -> int:
    """Write the shapes of pack shards as a dataset in ONet's layout, or of files <category>_<id>.h5.

    `loc` and `scale` are written for the view frame, which the cameras refer to. The layouts have no closed meshes and no
    source frame.

    Args:
        packs: all shards of the dataset.
        folder: folder to write, without a dataset.
        layout: onet or noisypixel.
        watch: iterates over `packs`, e.g. with a progress bar.

    Returns:
        number of shapes written.

    Raises:
        DataError: a shard is missing or corrupt, a shape is in two shards, `folder` has a dataset, or the disk is full.
    """
    if next(folder.glob("*/*.lst"), None) or next(folder.glob("*.lst"), None):
        raise DataError("contains a dataset already", path=folder, hint="give a new folder")
    write = _LAYOUTS[layout].write_shape
    lists: dict[str, dict[str, list[str]]] = defaultdict(lambda: {split: [] for split in SPLITS})
    without_voxels: list[str] = []
    for shard, i, key in verified_shapes(watch(list(packs))):
        if not write(folder, shard, i):
            without_voxels.append(key.name)
        lists[key.category][shard.split].append(key.id)
    if without_voxels:
        text = "%d shapes without voxels, e.g. %s, have no model.binvox: ONet skips them in validation"
        logger.warning(text, len(without_voxels), without_voxels[0])
    (_write_lists if layout == "onet" else _write_noisypixel_lists)(folder, lists)
    return sum(len(ids) for splits in lists.values() for ids in splits.values())


def _write_lists(folder: Path, lists: dict[str, dict[str, list[str]]]) -> None:
    """Lists and metadata.yaml. ONet splits a list at line ends, so the last line has none."""
    for category, splits in sorted(lists.items()):
        for split, ids in splits.items():
            write_text(folder / category / f"{split}.lst", "\n".join(sorted(ids)))
    empty = [
        f"{category}/{split}.lst"
        for category, splits in lists.items()
        for split in SPLITS
        if not splits[split]
    ]
    if empty:
        text = "%d lists are empty, e.g. %s: ONet's generate.py and eval_meshes.py stop at an empty list; %s"
        hint = "name the categories that have shapes in the split under data.classes of its configuration"
        logger.warning(text, len(empty), min(empty), hint)
    metadata = {category: {"id": category, "name": category} for category in sorted(lists)}
    write_text(folder / "metadata.yaml", json.dumps(metadata, indent=4))


def _write_noisypixel_lists(folder: Path, lists: dict[str, dict[str, list[str]]]) -> None:
    for split in SPLITS:
        names = [f"{category}_{id}.h5" for category in lists for id in lists[category][split]]
        write_text(folder / f"{split}.lst", "\n".join(sorted(names)))
