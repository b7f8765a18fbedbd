"""Folders of meshes and pack shards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from occnet_lib.config import Config
from occnet_lib.errors import OccnetError
from occnet_lib.types import PointSamples, Samples, ShapeKey, Views, Watertight

from .files import PathLike

if TYPE_CHECKING:
    from occnet_lib.storage.packs import Shard

Records = tuple[Watertight, PointSamples, Views] | tuple[Watertight, PointSamples, Views, Samples]


def list_shapes(folder: PathLike, config: Config | None = None) -> list[ShapeKey]:
    """List the shapes of a folder of meshes, with split and shard.

    Args:
        folder: any layout that README lists.
        config: section `dataset` and `seed` are used.

    Returns:
        shapes sorted by name; `path` is relative to `folder`.

    Raises:
        DataError: the folder is missing or holds no meshes.

    Examples:
        >>> [(shape.name, shape.path) for shape in occnet.list_shapes("meshes")]
        [('box/cube', 'box/cube.obj')]
    """
    from occnet_lib.interop.conversion import shapes_of

    return shapes_of(config or Config(), Path(folder))


def write_pack(
    path: PathLike, shapes: Mapping[str, Records], split: Literal["train", "val", "test"] = "train"
) -> None:
    """Write shapes into a pack shard (HDF5), which training reads.

    Args:
        path: file to write; its stem is the name of the shard.
        shapes: what `watertight`, `sample_points` and `render_views` returned, by `<category>/<id>`, optionally with
            what `sample_sets` returned as the fourth. All have the same sets and numbers of points and views.
        split: which split the shard belongs to.

    Raises:
        DataError: the shapes differ in their sets or numbers of points or views; the disk is full.

    Examples:
        >>> closed = occnet.watertight("cube.obj", config)
        >>> shape = closed, occnet.sample_points(closed, config), occnet.render_views("cube.obj", config)
        >>> occnet.write_pack("train-000.h5", {"box/cube": shape})
        >>> len(occnet.open_pack("train-000.h5"))
        1
    """
    from occnet_lib.storage.packs import PackedShape, write_shard

    packed = []
    for shape, records in shapes.items():
        category, slash, id = shape.partition("/")
        if not slash or not category or not id or "/" in id:
            raise OccnetError(f"{shape!r} is not a shape's name", hint="<category>/<id>, such as chair/a1")
        packed.append(PackedShape.of(ShapeKey(category, id), *records))
    write_shard(Path(path), packed, Path(path).stem, split)


def open_pack(path: PathLike, *, verify: bool = False) -> Shard:
    """Open a pack shard for reading. It may be pickled, forked and read from threads.

    Args:
        path: file of `write_pack` or `results/pack/`.
        verify: compare the whole file with its checksum first (1 CPU s per GB).

    Raises:
        DataError: the file is missing, damaged or of another schema version.

    Examples:
        >>> pack = occnet.open_pack("packs/train-000.h5", verify=True)
        >>> pack.keys[0].name, pack.views
        ('box/cube', 2)
        >>> points, occupancies = pack.points(0, start=0, count=100)
        >>> points.shape, occupancies.shape, pack.image(0, view=1).shape
        ((100, 3), (100,), (64, 64, 3))
    """
    from occnet_lib.storage import packs

    (packs.verify if verify else packs.verify_structure)(path)
    return packs.Shard(path)
