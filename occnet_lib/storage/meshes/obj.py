"""OBJ files."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import MeshError
from occnet_lib.geometry.colors import DEFAULT_COLOR
from occnet_lib.types import Texture

from . import mtl, polygons
from .images import TextureReader
from .parts import FileContents, Part, compact, finite_colors, of_one_color, report_skipped
from .side_files import joined_lines, name_key, obj_libraries

# Statements with faces that are not supported (free-form surfaces, references to other files).
_UNSUPPORTED = (b"surf", b"bzp", b"bsp", b"cdp", b"res", b"call")

# Names that programs write for faces without a material.
_NO_MATERIAL = (b"", b"none", b"(null)", b"null", b"off")


@dataclass
class _Materials:
    """Materials of an OBJ file, loaded on use; `unread` lists what cannot be read."""

    libraries: dict[str, Path | None]
    unread: list[str] = field(default_factory=list)
    _by_name: dict[bytes, mtl.Material] = field(default_factory=dict)
    _by_key: dict[str, mtl.Material] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._textures = TextureReader(self.unread)

    def load(self) -> None:
        """Read the MTL files."""
        for name, path in self.libraries.items():
            if path is None:
                self.unread.append(f"materials {name}: no such file")
                continue
            try:
                self._by_name |= mtl.parse_mtl(path.read_bytes(), path.parent)
            except OSError as error:
                self.unread.append(f"materials {name}: {error.strerror}")
        self._by_key = {name_key(os.fsdecode(name)): material for name, material in self._by_name.items()}

    def of(self, name: bytes) -> mtl.Material:
        """The material of a `usemtl` statement; an empty one if it does not exist."""
        material = self._by_name.get(name) or self._by_key.get(name_key(os.fsdecode(name)))
        if material is None and not self.libraries:
            if name.lower() not in _NO_MATERIAL:
                self.unread.append("materials are not read: the file names no material library (mtllib)")
            return mtl.Material()
        if material is None:
            if self._by_name and None not in self.libraries.values() and name.lower() not in _NO_MATERIAL:
                self.unread.append(f"material {os.fsdecode(name)}: not in {', '.join(self.libraries)}")
            return mtl.Material()
        if material.unread:
            self.unread.append(f"material {os.fsdecode(name)}: {material.unread}")
        return material

    def texture(self, of: mtl.TextureMap) -> Texture | None:
        """The image of a material; None if it cannot be read."""
        key = (of.folder, of.name, of.base, of.gain, of.clamp)
        return self._textures.texture(key, of.name, lambda: mtl.load_texture(of, self._textures))


def read_obj(path: Path, data: bytes) -> FileContents:
    """Read an OBJ file with its materials.

    A texture replaces `Kd`, which many programs set to black or grey then, and vertex colours; vertex colours replace
    `Kd`. Opacity (`d`, `Tr`, `map_d`) is not used.

    Args:
        path: of the file, for files beside it.
        data: its content.

    Raises:
        MeshError: free-form surfaces, or faces of other files.
        ValueError, IndexError: a malformed face, or a vertex that does not exist.
    """
    from . import obj_scan  # importing numba takes 0.5 s

    data = joined_lines(data)
    read = obj_scan.scan(data)
    if read.bad_face >= 0:
        raise ValueError(f"not a face: {_line(data, read.bad_face)}")
    statements = [data[start:end].split(None, 1) for start, end in read.statements]
    for words in statements:
        if words[0] in _UNSUPPORTED:
            raise MeshError(f"`{words[0].decode()}` is not supported, only polygons are", path=path)
    vertices = np.ascontiguousarray(read.values[:, :3])
    positions, owners = polygons.divide(vertices, read.corners, read.sizes)
    if read.malformed >= 0 and np.isnan(vertices[read.corners]).any():
        raise ValueError(f"not a vertex: {_line(data, read.malformed)}")
    libraries = b"\n".join(b" ".join(words) for words in statements if words[0] == b"mtllib")
    materials = _Materials(obj_libraries(path.parent, libraries))
    materials.load()
    report_skipped(read.sizes, materials.unread)
    colors = _vertex_colors(read.values, materials.unread)
    if colors is None and b"#MRGB" in data:
        colors = _polypaint(data, len(vertices), materials.unread)
    contents = FileContents(unread=materials.unread)
    for name, chosen in _by_material(statements, read.at, owners, len(read.sizes)):
        of_part = positions if chosen is None else positions[chosen]
        used = read.corners[of_part] if len(positions) else np.zeros((0, 3), np.int32)
        uv = _texture_coordinates(read.uv, read.corner_uv[of_part]) if len(read.uv) else None
        contents.parts += _parts(vertices, used, colors, uv, materials, name)
    return contents


def _line(data: bytes, start: int) -> str:
    number = data.count(b"\n", 0, start) + 1
    text = re.split(rb"[\r\n]", data[start : start + 200], maxsplit=1)[0]
    return f"line {number}: {text[:60].decode(errors='replace')}"


def _by_material(
    statements: list[list[bytes]], at: NDArray[np.int64], owners: NDArray[np.int64], faces: int
) -> list[tuple[bytes, NDArray[np.int64] | None]]:
    """Name and triangles of every material, in the order of use; None: all triangles."""
    switches = [(i, words) for i, words in enumerate(statements) if words[0] == b"usemtl"]
    names = [b"", *(words[1].strip() if len(words) > 1 else b"" for _, words in switches)]
    starts = np.array([0, *(at[i] for i, _ in switches), faces])
    distinct = list(dict.fromkeys(names))
    number = {name: i for i, name in enumerate(distinct)}
    of_face = np.repeat([number[name] for name in names], np.diff(starts))
    if not len(of_face) or (of_face == of_face[0]).all():
        return [(distinct[of_face[0]] if len(of_face) else b"", None)]
    of_triangle = of_face[owners]
    order = np.argsort(of_triangle, kind="stable")
    bounds = np.searchsorted(of_triangle[order], np.arange(len(distinct) + 1))
    groups = [(name, order[bounds[i] : bounds[i + 1]]) for i, name in enumerate(distinct)]
    return [(name, chosen) for name, chosen in groups if len(chosen)]


def _vertex_colors(values: NDArray[np.float64], unread: list[str]) -> NDArray[np.float32] | None:
    """(V, 3) sRGB of vertex lines with six numbers; bytes where one is above 2 (1 may be exceeded by rounding)."""
    if values.shape[1] < 6 or np.isnan(values[:, 3:6]).all():
        return None
    colors = values[:, 3:6]
    scale = 255.0 if colors[np.isfinite(colors)].max(initial=0) > 2 else 1.0
    colors = np.where(np.isnan(colors), DEFAULT_COLOR, colors / scale)
    return finite_colors(colors, unread).astype(np.float32)


def _polypaint(data: bytes, count: int, unread: list[str]) -> NDArray[np.float32] | None:
    """(V, 3) sRGB of the comments `#MRGB` of ZBrush: eight hexadecimal digits per vertex, two of which are a mask."""
    digits = b"".join(re.findall(rb"^#MRGB[ \t]+([0-9a-fA-F]+)", data, re.MULTILINE))
    if len(digits) != 8 * count:
        unread.append(f"vertex colours (#MRGB): {len(digits) / 8:g} for {count} vertices")
        return None
    values = np.frombuffer(bytes.fromhex(digits.decode()), np.uint8).reshape(-1, 4)
    return values[:, 1:].astype(np.float32) / np.float32(255)


def _texture_coordinates(
    uv: NDArray[np.float32], corners: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(F, 3, 2) coordinates of the corners, v upwards, and (F,) which faces have them."""
    there = (corners >= 0) & (corners < len(uv))
    return uv[np.where(there, corners, 0)], np.asarray(there.all(axis=1))


def _parts(
    vertices: NDArray[np.float64],
    faces: NDArray[np.int32],
    colors: NDArray[np.float32] | None,
    uv: tuple[NDArray[np.float32], NDArray[np.bool_]] | None,
    materials: _Materials,
    name: bytes,
) -> list[Part]:
    """Faces of one material: those that show its texture, and the others."""
    material = materials.of(name)
    texture = None if material.texture is None else materials.texture(material.texture)
    plain = None if material.texture is not None else material.color
    if texture is None or material.texture is None:
        return [_plain(vertices, faces, colors, plain)]
    coordinates, there = (np.zeros((len(faces), 3, 2), np.float32), np.zeros(len(faces), bool))
    if uv is not None:
        coordinates, there = uv
    parts = []
    if there.any():
        scale, offset = np.array([material.texture.scale, material.texture.offset], np.float32)
        shown = coordinates[there] * scale + offset
        shown[..., 1] = 1 - shown[..., 1]
        parts.append(compact(vertices, faces[there], None, shown, texture))
    if not there.all():
        count = int((~there).sum())
        materials.unread.append(f"{count} faces with a texture have no texture coordinates")
        parts.append(_plain(vertices, faces[~there], colors, None))
    return parts


def _plain(
    vertices: NDArray[np.float64],
    faces: NDArray[np.int32],
    colors: NDArray[np.float32] | None,
    color: NDArray[np.float32] | None,
) -> Part:
    if colors is None and color is not None:
        return of_one_color(vertices, faces, color)
    return compact(vertices, faces, colors)
