"""Reading of mesh files; every error is a `MeshError` of one line."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from occnet_lib.errors import EmptyMeshError, MeshError
from occnet_lib.types import Mesh

from .dae import read_dae
from .frame import TURNS, Up, read_frame
from .gltf import read_gltf
from .obj import read_obj
from .off import read_off
from .packed import content
from .parts import FileContents, join
from .ply import read_ply
from .side_files import side_files
from .step import read_step
from .stl import read_stl
from .suffixes import SUFFIXES, known_suffix, unread_format
from .threemf import read_3mf

logger = logging.getLogger(__name__)

# Maximum fraction of faces with NaN or infinite corners, which are dropped.
MAX_NONFINITE = 0.05

_CHUNK = 100_000  # faces processed together, which limits memory

# Readers by format; arguments: path, for side files and messages, and content.
_READERS: dict[str, Callable[[Path, bytes], FileContents]] = {
    ".obj": read_obj,
    ".ply": read_ply,
    ".off": read_off,
    ".stl": read_stl,
    ".dae": read_dae,
    ".3mf": read_3mf,
    **dict.fromkeys((".step", ".stp", ".iges", ".igs"), read_step),
    ".glb": read_gltf,
    ".gltf": read_gltf,
}


def load_mesh(path: str | Path, up: Up = "y") -> Mesh:
    """Read a mesh file as one mesh in the source frame.

    All parts of a scene are placed and joined. Polygons are triangulated. Colours of materials, vertices and faces become
    vertex colours; textures are kept. Unused vertices and a small fraction of faces with non-finite coordinates are
    dropped. Degenerate and duplicate faces are kept. Face order and winding are those of the file. Items that could not
    be read, without effect on the geometry, are logged and listed in `unread` of the mesh.

    Args:
        path: a file with one of `SUFFIXES`.
        up: up axis of the file, which is turned to +y. Overridden by the up axis that the file defines: `up_axis` of
            COLLADA, z in 3MF, and the frame that occnet writes (`frame`).

    Raises:
        MeshError: the file is missing, of unknown kind or unreadable; `EmptyMeshError`: it has no surface.
    """
    path = Path(path)
    _check_file(path)
    contents = _read(path)
    if frame := read_frame(path):
        up = frame.up
    elif contents.up not in (None, up):
        logger.warning(
            "%s: the file defines %s as up axis, which overrides dataset.up: %s", path, contents.up, up
        )
        up = contents.up or up
    if not contents.parts:
        raise EmptyMeshError("no faces in the file", path=path, hint="points, lines or an empty scene")
    mesh = join(contents)
    for line in mesh.unread:
        logger.warning("%s: %s", path, line)
    with np.errstate(invalid="ignore"):  # non-finite coordinates are handled below
        mesh = replace(mesh, vertices=mesh.vertices @ TURNS[up].T, up=up)
    return _checked(mesh, path)


def digest(path: str | Path) -> str:
    """A hash of the content of a mesh file and of names and content of its `side_files` (blake2b, hexadecimal).

    Raises:
        MeshError: the file cannot be read.
    """
    path = Path(path)
    _check_file(path)
    try:
        data = path.read_bytes()
        value = hashlib.blake2b(data, digest_size=16)
        for side in side_files(path, data):
            # The name is included, because another of several named textures may exist later.
            value.update(os.fsencode(os.path.relpath(side, path.parent)) + b"\0" + _content(side))
    except OSError as error:
        raise MeshError(f"cannot be read: {error.strerror}", path=path) from error
    return value.hexdigest()


def _content(side: Path) -> bytes:
    """A hash of a side file; the error number if it cannot be read, which the readers report."""
    try:
        return hashlib.blake2b(side.read_bytes(), digest_size=16).digest()
    except OSError as error:
        return str(error.errno).encode()


def _check_file(path: Path) -> None:
    """Refuse files that are invalid independent of their format."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise MeshError(_absence(path), path=path) from error
    except OSError as error:
        raise MeshError(f"cannot be read: {error.strerror}", path=path) from error
    if stat.S_ISDIR(mode):
        raise _of_folder(path)
    if not stat.S_ISREG(mode):
        raise MeshError("not a regular file", path=path)
    if not known_suffix(path.name):
        name, way_out = unread_format(path.name)
        if name:
            raise MeshError(f"{path.suffix} ({name}) is not supported", path=path, hint=way_out)
        known = " ".join(SUFFIXES)
        raise MeshError(f"unknown kind of mesh file {path.suffix!r}", path=path, hint=f"supported: {known}")
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError as error:
        raise MeshError(f"cannot be read: {error.strerror}", path=path) from error
    if not start.strip():
        raise MeshError("the file is empty", path=path)
    if start.startswith(b"version https://git-lfs"):
        raise MeshError("a git-lfs pointer, not a mesh", path=path, hint="run: git lfs pull")


def _of_folder(path: Path) -> MeshError:
    try:
        if any(known_suffix(name) for name in os.listdir(path)):
            return MeshError("a folder with several mesh files, none of them model.*", path=path)
    except OSError as error:
        return MeshError(f"cannot be read: {error.strerror}", path=path)
    return MeshError("a folder without mesh files", path=path, hint="give a mesh file")


def _absence(path: Path) -> str:
    try:
        target = path.readlink()
    except OSError:
        return "no such file"
    return f"broken link to {target}"


def _read(path: Path) -> FileContents:
    """The parts of a file that have faces."""
    suffix = known_suffix(path.name)
    try:
        with warnings.catch_warnings():
            # Libraries warn about details of materials; the result is checked below.
            warnings.simplefilter("ignore")
            contents = _READERS[suffix.removesuffix(".gz")](path, content(path))
    except MeshError:
        raise
    except ImportError as error:
        raise MeshError(
            f"{suffix} needs a missing library", path=path, hint=f"pip install {error.name}"
        ) from error
    except MemoryError as error:
        raise MeshError("not enough memory to read it", path=path) from error
    except Exception as error:  # the loaders raise any exception for a malformed file
        raise MeshError(f"malformed {suffix[1:]} file: {type(error).__name__}: {error}", path=path) from error
    return replace(contents, parts=[part for part in contents.parts if len(part.faces)])


def _checked(mesh: Mesh, path: Path) -> Mesh:
    """Drop unused vertices and non-finite faces; refuse meshes without a surface."""
    vertices, faces, texturing = mesh.vertices, mesh.faces, mesh.texturing
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise MeshError(f"a face refers to a vertex outside 0..{len(vertices) - 1}", path=path)
    finite = np.asarray(np.isfinite(vertices[faces])).all(axis=(1, 2))
    if not finite.all():
        lost = int((~finite).sum())
        if lost > MAX_NONFINITE * len(faces):
            raise MeshError(f"{lost} of {len(faces)} faces have coordinates that are not finite", path=path)
        line = f"dropped {lost} of {len(faces)} faces that are not finite"
        logger.warning("%s: %s", path, line)
        mesh = replace(mesh, unread=(*mesh.unread, line))
        faces = faces[finite]
        if texturing is not None:
            texturing = replace(texturing, uv=texturing.uv[finite], index=texturing.index[finite])
    mesh = replace(mesh, faces=faces, texturing=texturing).compact()
    _check_extent(mesh, path)
    return mesh


def _check_extent(mesh: Mesh, path: Path) -> None:
    low, high = mesh.bounds
    with np.errstate(over="ignore"):
        extent = float((high - low).max())
    if not np.isfinite(extent):
        raise MeshError("coordinates too large for floating point numbers", path=path)
    if extent == 0:
        raise EmptyMeshError("no extent: all vertices coincide", path=path)
    for start in range(0, len(mesh.faces), _CHUNK):  # the first chunk decides for almost all meshes
        a, b, c = np.moveaxis((mesh.vertices[mesh.faces[start : start + _CHUNK]] - low) / extent, 1, 0)
        if np.cross(b - a, c - a).any():
            return
    raise EmptyMeshError("no area: every face is degenerate", path=path)
