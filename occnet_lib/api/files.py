"""Configuration and mesh files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from occnet_lib import config as configuration
from occnet_lib.config import Config
from occnet_lib.types import Mesh, Watertight

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from occnet_lib.reconstruction.reconstruct import Reconstruction
    from occnet_lib.storage.meshes import Up

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
