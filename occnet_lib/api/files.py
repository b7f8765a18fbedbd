"""Configuration, mesh files, folders of meshes and pack shards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from occnet_lib import config as configuration
from occnet_lib.config import Config
from occnet_lib.errors import OccnetError
from occnet_lib.types import Mesh, PointSamples, Samples, ShapeKey, Views, Watertight

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from occnet_lib.reconstruction.reconstruct import Reconstruction
    from occnet_lib.storage.meshes import Up
    from occnet_lib.storage.packs import Shard

PathLike = str | Path


def load_config(*paths: PathLike, **sections: Any) -> Config:
    """Read and check the configuration.

    Args:
        paths: YAML or JSON files, later ones over earlier ones, all over the defaults.
        sections: values over those of the files, by section or top-level key.

    Raises:
        ConfigError: unknown key or invalid value; the message names the key, the allowed values and the nearest match.

    Examples:
        >>> config = occnet.load_config("config.yaml", watertight={"resolution": 128}, seed=1)
        >>> config.watertight.resolution, config.points.padding, config.seed
        (128, 0.1, 1)
        >>> occnet.load_config(watertight={"resolutoin": 128})
        Traceback (most recent call last):
        occnet_lib.errors.ConfigError: unknown key `watertight.resolutoin`; did you mean `watertight.resolution`? ...
    """
    config = configuration.load(*map(Path, paths))
    return configuration.check(configuration.merge(config.model_dump(), sections)) if sections else config


def load_mesh(path: PathLike, up: Up = "y") -> Mesh:
    """Read a mesh file, such as OBJ, PLY, OFF, STL, GLB or glTF, also compressed with gzip.

    All parts of a scene become one mesh, polygons become triangles, materials and textures become colours of the
    mesh. docs/formats.md lists what is read of each format.

    Args:
        path: the file.
        up: its up axis, `x`, `y` or `z`, which is turned to +y. A file that occnet wrote states its own.

    Returns:
        Mesh in the source frame: `vertices` (V, 3) float64, `faces` (F, 3) int32.

    Raises:
        MeshError: the file is missing, of an unknown format or unreadable.
        EmptyMeshError: the file has no faces.

    Examples:
        >>> mesh = occnet.load_mesh("cube.obj")
        >>> mesh.vertices.shape, mesh.faces.shape
        ((8, 3), (12, 3))
    """
    from occnet_lib.storage import meshes

    return meshes.load_mesh(path, up)


def save_mesh(
    mesh: Mesh | Watertight | Reconstruction,
    path: PathLike,
    normals: NDArray[np.floating] | None = None,
    *,
    frame: Literal["source", "unit"] = "source",
    up: Up = "y",
) -> None:
    """Write a mesh as OBJ, PLY, OFF, STL or GLB, as the suffix says. The file appears complete or not at all.

    A closed mesh and a reconstruction are written with a comment that states their frame, which `occnet` reads.

    Args:
        mesh: what to write; a plain `Mesh` is written as it is. A reconstruction is written in its own frame.
        path: file to write.
        normals: (V, 3) unit vertex normals of a `Mesh` or `Watertight`; a reconstruction brings its own.
        frame: of a `Watertight`: the frame of the raw file or the unit cube.
        up: up axis of the file in the source frame; `y` for the unit frame.

    Raises:
        MeshError: a suffix that cannot be written, or a reconstruction without a surface.
        DataError: the disk is full.

    Examples:
        >>> closed = occnet.watertight("cube.obj", config)
        >>> occnet.save_mesh(closed, "closed.ply")
        >>> occnet.load_mesh("closed.ply").faces.shape == closed.mesh.faces.shape
        True
    """
    from occnet_lib.storage import meshes

    if isinstance(mesh, Watertight):
        x, y, z = mesh.loc.tolist()
        stated = meshes.MeshFrame(frame, "y" if frame == "unit" else up, (x, y, z), mesh.scale)
        vertices = mesh.mesh if frame == "unit" else mesh.mesh.transformed(mesh.loc, mesh.scale)
        meshes.save_mesh(vertices, path, normals, stated)
    elif isinstance(mesh, Mesh):
        meshes.save_mesh(mesh, path, normals)
    else:
        mesh.save(path)


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
