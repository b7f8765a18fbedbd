"""Mesh files in and out; whatever is wrong with a file ends as a `MeshError` of one line."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import MeshError
from occnet_lib.records import Mesh

from . import polygons
from .atomic import replacing
from .meshcolors import DEFAULT_COLOR, linear_to_srgb, part_colors, srgb_to_linear
from .off import read_off

logger = logging.getLogger(__name__)

# In order of preference where a shape has several.
SUFFIXES = (".obj", ".glb", ".gltf", ".ply", ".off", ".stl", ".dae")
WRITABLE = (".obj", ".ply", ".off", ".stl", ".glb")

# A file may have this share of faces with NaN or infinite corners; they are dropped.
MAX_NONFINITE = 0.05

_CHUNK = 100_000  # faces looked at together, to hold little memory of large meshes

_UTF16 = (b"\xff\xfe", b"\xfe\xff")

# How a file names others that belong to it.
_SIDE_FILES = {".obj": rb"^mtllib[ \t]+(.+?)\s*$", ".gltf": rb'"uri"\s*:\s*"(?!data:)([^"]+)"'}

# Rotations that turn the up axis to +y.
_TURNS = {
    "x": np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
    "y": np.eye(3),
    "z": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]]),
}

# One part of a file: vertices (V, 3) float64, faces (F, 3), colours (V, 3) float32 or None.
Part = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float32] | None]


def load_mesh(path: str | Path, up: Literal["x", "y", "z"] = "y") -> Mesh:
    """Read a mesh file as one mesh in the source frame.

    All parts of a scene are put together in their places; polygons are divided into triangles;
    materials, textures and vertex colours become vertex colours. Vertices that no face uses are
    dropped, and so are a few faces with coordinates that are not finite. Degenerate and doubled
    faces stay. Face order and winding are the file's.

    Args:
        path: a file with one of `SUFFIXES`.
        up: the file's up axis, turned to +y.

    Raises:
        MeshError: the file is missing, of unknown kind, unreadable, without faces or without extent.
    """
    path = Path(path)
    _check_file(path)
    parts = _read_parts(path)
    if not parts:
        raise MeshError("no faces in the file", path=path, hint="points, lines or an empty scene")
    starts = np.cumsum([0, *(len(vertices) for vertices, _, _ in parts)])
    faces = np.concatenate([faces + start for (_, faces, _), start in zip(parts, starts, strict=False)])
    with np.errstate(invalid="ignore"):  # infinite coordinates are dealt with below
        vertices = np.concatenate([vertices for vertices, _, _ in parts]) @ _TURNS[up].T
    return _checked(vertices, faces, _join_colors(parts), path)


def digest(path: str | Path) -> str:
    """A hash of a mesh file and of the files of materials and buffers that it names (blake2b, hexadecimal).

    Raises:
        MeshError: the file cannot be read.
    """
    path = Path(path)
    _check_file(path)
    data = path.read_bytes()
    value = hashlib.blake2b(data, digest_size=16)
    pattern = _SIDE_FILES.get(path.suffix.lower())
    for name in re.findall(pattern, data, re.MULTILINE) if pattern else []:
        side = path.parent / os.fsdecode(name)
        if side.is_file():
            value.update(side.read_bytes())
    return value.hexdigest()


def save_mesh(mesh: Mesh, path: str | Path, normals: NDArray[np.floating] | None = None) -> None:
    """Write a mesh as OBJ, PLY, OFF, STL or GLB, told by the suffix, atomically.

    Colours, and vertex normals (V, 3) where they are given, are written to OBJ, PLY and GLB.

    Raises:
        MeshError: a suffix that cannot be written.
        DataError: the disk is full.
    """
    import trimesh

    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise MeshError(
            f"cannot write {suffix or 'a file without suffix'}", path=path, hint=f"use {' '.join(WRITABLE)}"
        )
    colors = None
    if mesh.colors is not None:
        values = srgb_to_linear(mesh.colors) if suffix == ".glb" else mesh.colors
        rgba = np.concatenate([values, np.ones((len(values), 1), np.float32)], axis=1)
        colors = np.round(255 * np.clip(rgba, 0, 1)).astype(np.uint8)
    file_mesh = trimesh.Trimesh(
        mesh.vertices, mesh.faces, vertex_colors=colors, vertex_normals=normals, process=False
    )
    flag = {".ply": "vertex_normal", ".obj": "include_normals", ".glb": "include_normals"}
    told: dict[str, Any] = {flag[suffix]: normals is not None} if suffix in flag else {}
    data: Any = file_mesh.export(file_type=suffix[1:], **told)
    with replacing(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def _check_file(path: Path) -> None:
    """Refuse what needs no parser to be refused."""
    if path.is_dir():
        raise MeshError("a folder in which no single mesh file is called model.*", path=path)
    if not path.is_file():
        raise MeshError("no such file", path=path)
    if path.suffix.lower() not in SUFFIXES:
        known = " ".join(SUFFIXES)
        raise MeshError(f"unknown kind of mesh file {path.suffix!r}", path=path, hint=f"known are {known}")
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError as error:
        raise MeshError(f"cannot be read: {error.strerror}", path=path) from error
    if not start.strip():
        raise MeshError("the file is empty", path=path)
    if start.startswith(b"version https://git-lfs"):
        raise MeshError("a git-lfs pointer, not a mesh", path=path, hint="run: git lfs pull")


def _read_parts(path: Path) -> list[Part]:
    """The parts of a file that have faces, as the library that understands the file gives them."""
    suffix = path.suffix.lower()
    try:
        with warnings.catch_warnings():
            # The loaders warn about details of materials; what matters is checked afterwards.
            warnings.simplefilter("ignore")
            if suffix == ".off":
                parts = [read_off(path)]
            elif suffix in (".glb", ".gltf") and _needs_assimp(path):
                parts = list(_assimp_parts(path))
            else:
                parts = list(_trimesh_parts(path))
    except MeshError:
        raise
    except ImportError as error:
        name = {".dae": "pycollada"}.get(suffix, error.name or "?")
        raise MeshError(f"{suffix} needs a missing library", path=path, hint=f"pip install {name}") from error
    except MemoryError as error:
        raise MeshError("not enough memory to read it", path=path) from error
    except Exception as error:  # the loaders raise anything at all for a malformed file
        raise MeshError(f"malformed {suffix[1:]} file: {type(error).__name__}: {error}", path=path) from error
    return [part for part in parts if len(part[1])]


def _trimesh_parts(path: Path) -> Iterator[Part]:
    import trimesh

    kind = path.suffix.lower()
    data = path.read_bytes()
    if kind == ".obj" and data[:2] not in _UTF16:
        data = polygons.split_concave_obj(data)

    # Textures and buffers may be links or, as ShapeNet's, in a folder beside.
    resolver = trimesh.resolvers.FilePathResolver(str(path), allow_anywhere=True)
    loaded = trimesh.load(io.BytesIO(data), file_type=kind[1:], resolver=resolver, process=False)
    scene = loaded if isinstance(loaded, trimesh.Scene) else trimesh.Scene(loaded)
    for node in scene.graph.nodes_geometry:
        transform, name = scene.graph[node]
        mesh = scene.geometry[name]
        if not isinstance(mesh, trimesh.Trimesh):
            continue
        with np.errstate(invalid="ignore"):
            vertices = np.asarray(mesh.vertices, np.float64) @ transform[:3, :3].T + transform[:3, 3]
        faces = np.asarray(mesh.faces, np.int64)
        if np.linalg.det(transform[:3, :3]) < 0:
            faces = faces[:, ::-1]
        yield part_colors(vertices, faces, mesh.visual, linear=kind in (".glb", ".gltf"))


def _needs_assimp(path: Path) -> bool:
    """Whether a glTF file is of version 1 or compressed by Draco, which trimesh alone cannot read."""
    tree = _gltf_tree(path)
    version = str(tree.get("asset", {}).get("version", "2"))
    return version.startswith("1") or "KHR_draco_mesh_compression" in tree.get("extensionsRequired", ())


def _gltf_tree(path: Path) -> dict[str, Any]:
    """The JSON part of a .gltf or .glb file of either version."""
    data = path.read_bytes()
    if data[:4] != b"glTF":
        tree = json.loads(data.decode("utf-8-sig"))
    else:
        version, _, length, kind = struct.unpack_from("<4I", data, 4)
        if version not in (1, 2) or (version == 1 and kind != 0):
            raise ValueError(f"glTF container of version {version}")
        tree = json.loads(data[20 : 20 + length])
    if not isinstance(tree, dict):
        raise ValueError("the JSON part is no object")
    return tree


def _assimp_parts(path: Path) -> Iterator[Part]:
    """Parts read by open3d's Assimp, which puts them in their places itself."""
    import open3d

    with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
        model = open3d.io.read_triangle_model(str(path))  # type: ignore[arg-type]  # wrong stubs
    for info in model.meshes:
        vertices = np.asarray(info.mesh.vertices, np.float64)
        faces = np.asarray(info.mesh.triangles, np.int64)
        color = np.full(3, DEFAULT_COLOR, np.float32)
        if 0 <= info.material_idx < len(model.materials):
            color = linear_to_srgb(np.array(model.materials[info.material_idx].base_color[:3], np.float32))
        yield vertices, faces, np.tile(color, (len(vertices), 1))


def _join_colors(parts: list[Part]) -> NDArray[np.float32] | None:
    """Colours of all parts; the default where only some have them, None where none has."""
    if all(colors is None for _, _, colors in parts):
        return None
    grey = np.float32(DEFAULT_COLOR)
    return np.concatenate(
        [np.full((len(vertices), 3), grey) if colors is None else colors for vertices, _, colors in parts]
    )


def _checked(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], colors: NDArray[np.float32] | None, path: Path
) -> Mesh:
    """Drop what no face uses and what is not finite; refuse what is no surface."""
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise MeshError(f"a face names a vertex outside 0..{len(vertices) - 1}", path=path)
    sound = np.asarray(np.isfinite(vertices).all(axis=1))
    finite = sound[faces].all(axis=1)
    if not finite.all():
        lost = int((~finite).sum())
        if lost > MAX_NONFINITE * len(faces):
            raise MeshError(f"{lost} of {len(faces)} faces have coordinates that are not finite", path=path)
        logger.warning("%s: dropped %d of %d faces that are not finite", path, lost, len(faces))
        faces = faces[finite]
    used = np.zeros(len(vertices), dtype=bool)
    used[faces] = True
    number = np.cumsum(used, dtype=np.int32) - np.int32(1)
    mesh = Mesh(vertices[used], number[faces], None if colors is None else colors[used])
    _check_extent(mesh, path)
    return mesh


def _check_extent(mesh: Mesh, path: Path) -> None:
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    with np.errstate(over="ignore"):
        extent = float((high - low).max())
    if not np.isfinite(extent):
        raise MeshError("coordinates too large for floating point numbers", path=path)
    if extent == 0:
        raise MeshError("no extent: all vertices are at one place", path=path)
    for start in range(0, len(mesh.faces), _CHUNK):  # the first one tells of almost any mesh
        a, b, c = np.moveaxis((mesh.vertices[mesh.faces[start : start + _CHUNK]] - low) / extent, 1, 0)
        if np.cross(b - a, c - a).any():
            return
    raise MeshError("no area: every face is degenerate", path=path)
