"""PLY files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import polygons
from .images import TextureReader
from .parts import FileContents, Part, compact, finite_colors, of_faces, report_skipped
from .ply_elements import Columns, Lists, read_elements

_COLORS = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))
_UV = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"), ("texture_s", "texture_t"))


def read_ply(path: Path, data: bytes) -> FileContents:
    """Read a PLY file: polygons and triangle strips with colours of vertices or faces, or textures.

    A texture replaces colours; colours of vertices replace colours of faces.

    Raises:
        ValueError, IndexError: malformed, or a face corner that is not a vertex.
    """
    elements, comments, trailing = read_elements(data)
    vertex, face = elements.get("vertex", {}), elements.get("face", {})
    corners = next((v for k, v in face.items() if "vert" in k and isinstance(v, Lists)), None)
    strips = _strips(elements.get("tristrips", {}))
    if (corners is None or not len(corners.sizes)) and not len(strips):
        return FileContents()
    if any(name not in vertex for name in "xyz"):
        raise ValueError("vertices without x, y and z")
    vertices = _stack(vertex, ("x", "y", "z")).astype(np.float64)
    contents = FileContents()
    colors = _colors(vertex, contents.unread)
    if trailing:
        contents.unread.append(f"{trailing} bytes after the data of the header were not read")
    if len(strips):
        if strips.min() < 0 or strips.max() >= len(vertices):
            raise IndexError(f"a strip refers to a vertex outside 0..{len(vertices) - 1}")
        contents.parts.append(Part(vertices, strips, colors))
    if corners is None:
        return contents
    report_skipped(corners.sizes, contents.unread)
    flat = _integers(corners.values)
    positions, owners = polygons.divide(vertices, flat, corners.sizes)
    faces = flat[positions]
    uv = _texture_coordinates(vertex, face, flat, corners.sizes)
    numbers = _integers(_column(face, "texnumber", len(corners.sizes)))[owners]
    names = [words[1].strip() for text in comments if _is_texture(words := text.split(None, 1))]
    corner_uv = None if uv is None else uv[positions]
    plain = _add_textured(contents, path, names, vertices, faces, corner_uv, numbers)
    if plain.any():
        of_face = None if colors is not None else _colors(face, contents.unread)
        part = Part(vertices, faces[plain], colors)
        if of_face is not None:
            part = of_faces(vertices[faces[plain]], np.repeat(of_face[owners[plain]], 3, axis=0))
        contents.parts.append(part)
    return contents


def _add_textured(
    contents: FileContents,
    path: Path,
    names: list[str],
    vertices: NDArray[np.float64],
    faces: NDArray[np.int64],
    uv: NDArray[np.float32] | None,
    numbers: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Add the parts with textures, and return the faces without a texture.

    Args:
        contents: of the file; its `unread` lists textures that cannot be read.
        path: of the file.
        names: of its textures.
        vertices, faces: all of the file.
        uv: (F, 3, 2) of the corners, v upwards, NaN for corners without coordinates; None if there are none.
        numbers: (F,) texture of each face.
    """
    plain = np.ones(len(faces), bool)
    if uv is None:
        contents.unread += [f"texture {name}: no texture coordinates" for name in names]
        return plain
    uv, textures = np.stack([uv[..., 0], 1 - uv[..., 1]], axis=-1), TextureReader(contents.unread)
    for number, name in enumerate(names):
        chosen = (numbers == number) & np.isfinite(uv).all(axis=(1, 2))
        texture = textures.texture(number, name, partial(textures.beside, path.parent, name))
        if texture is not None and chosen.any():
            contents.parts.append(compact(vertices, faces[chosen], None, uv[chosen], texture))
            plain &= ~chosen
    return plain


def _is_texture(words: list[str]) -> bool:
    return len(words) == 2 and words[0].lower() == "texturefile"


def _column(columns: Columns, name: str, rows: int) -> NDArray[Any]:
    """A scalar property; zeros if it does not exist."""
    values = columns.get(name)
    return np.zeros(rows) if values is None or isinstance(values, Lists) else values


def _stack(columns: Columns, names: tuple[str, ...]) -> NDArray[Any]:
    """(N, len(names)) scalar properties."""
    arrays = [columns[name] for name in names]
    return np.stack([array for array in arrays if not isinstance(array, Lists)], axis=1)


def _integers(values: NDArray[Any]) -> NDArray[np.int64]:
    """Values as integers, -1 for non-integers."""
    if values.dtype.kind in "iu":
        return values.astype(np.int64)
    whole = np.isfinite(values) & (np.abs(values) < 2**31)
    return np.where(whole, values, -1).astype(np.int64)


def _strips(columns: Columns) -> NDArray[np.int64]:
    """(T, 3) triangles of strips, separated by -1; every second triangle of a strip is reversed."""
    lists = next((v for k, v in columns.items() if "vert" in k and isinstance(v, Lists)), None)
    if lists is None:
        return np.zeros((0, 3), np.int64)
    ends = np.cumsum(lists.sizes)[:-1]
    flat = np.insert(_integers(lists.values), ends, -1)
    triangles = (
        np.stack([flat[:-2], flat[1:-1], flat[2:]], axis=1) if len(flat) > 2 else np.zeros((0, 3), np.int64)
    )
    at = np.arange(len(flat))
    start = np.maximum.accumulate(np.where(flat < 0, at + 1, 0))  # start of the strip of each number
    odd = (at - start)[: len(triangles)] % 2 == 1
    triangles[odd] = triangles[odd][:, [1, 0, 2]]
    return triangles[(triangles >= 0).all(axis=1)]


def _colors(columns: Columns, unread: list[str]) -> NDArray[np.float32] | None:
    """(N, 3) sRGB colours of vertices or faces."""
    names = next((names for names in _COLORS if all(name in columns for name in names)), None)
    if names is None or any(isinstance(columns[name], Lists) for name in names):
        return None
    values = _stack(columns, names)
    if not len(values):
        return None
    if values.dtype.kind == "i" and values.dtype.itemsize == 1:
        values = values.view(np.uint8)
    return finite_colors(values.astype(np.float64) / _full_scale(values), unread).astype(np.float32)


def _full_scale(values: NDArray[Any]) -> float:
    """The value that represents 1 in colours: 255 for bytes; by the values themselves for floats and large integers."""
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind == "u" and size <= 2:
        return 255.0 if size == 1 else 65535.0
    highest = float(values[np.isfinite(values)].max(initial=0))
    if kind in "iu" or highest > 2:
        return 65535.0 if highest > 255 else 255.0
    return 1.0


def _texture_coordinates(
    vertex: Columns, face: Columns, flat: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.float32] | None:
    """(C, 2) coordinates of all face corners, v upwards, NaN for corners without coordinates; None if there are none."""
    lists = face.get("texcoord")
    if isinstance(lists, Lists) and len(lists.values):
        uv = np.full((len(flat), 2), np.nan, np.float32)
        whole = lists.sizes == 2 * sizes
        uv[np.repeat(whole, sizes)] = lists.values[np.repeat(whole, lists.sizes)].reshape(-1, 2)
        return uv
    names = next((names for names in _UV if all(name in vertex for name in names)), None)
    return None if names is None else _stack(vertex, names).astype(np.float32)[flat]
