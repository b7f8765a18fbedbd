"""PLY files: any type, order and arrangement of elements that the format allows."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from occnet_lib.errors import MeshError
from occnet_lib.geometry.textures import bake
from occnet_lib.storage.meshes import load_mesh
from occnet_lib.types import Mesh

CODES = {
    **{"char": "b", "uchar": "B", "short": "h", "ushort": "H", "int": "i", "uint": "I", "float": "f"},
    **{"double": "d", "int8": "b", "uint8": "B", "uint16": "H", "int32": "i", "float32": "f", "float64": "d"},
}
CORNERS = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1)]
XYZ = [("float", "x"), ("float", "y"), ("float", "z")]
INDICES = [("list uchar int", "vertex_indices")]
Elements = dict[str, tuple[list[tuple[str, str]], list[list[Any]]]]


def ply(elements: Elements, order: str, comments: str = "", eol: str = "\n") -> bytes:
    """A PLY file; a list is a Python list."""
    kind = {"": "ascii", "<": "binary_little_endian", ">": "binary_big_endian"}[order]
    lines = ["ply", f"format {kind} 1.0", *comments.splitlines()]
    for name, (properties, rows) in elements.items():
        lines += [f"element {name} {len(rows)}", *(f"property {kind} {label}" for kind, label in properties)]
    body = b""
    for properties, rows in elements.values():
        for row in rows:
            words = []
            for (kind, _), value in zip(properties, row, strict=True):
                if kind.startswith("list"):
                    _, count, kind = kind.split()
                    words += [(count, len(value)), *((kind, item) for item in value)]
                else:
                    words.append((kind, value))
            if order:
                body += b"".join(struct.pack(order + CODES[kind], value) for kind, value in words)
            else:
                body += (" ".join(str(value) for _, value in words) + eol).encode()
    return eol.join([*lines, "end_header", ""]).encode() + body


def load(folder: Path, data: bytes) -> Mesh:
    (folder / "mesh.ply").write_bytes(data)
    return load_mesh(folder / "mesh.ply")


def colors(mesh: Mesh) -> list[tuple[int, ...]]:
    baked = bake(mesh)
    assert baked.colors is not None
    return sorted({tuple(color) for color in np.round(255 * baked.colors).astype(int).tolist()})


@pytest.mark.parametrize("eol", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("order", ["", "<", ">"])
def test_every_order_and_line_end(tmp_path: Path, order: str, eol: str) -> None:
    faces = [[[0, 1, 2, 3]], [[0, 4, 1]], [[0, 1]], [[3, 4, 0]]]
    elements: Elements = {"vertex": (XYZ, [list(c) for c in CORNERS]), "face": (INDICES, faces)}
    mesh = load(tmp_path, ply(elements, order, eol=eol))
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 4, 1], [3, 4, 0]]
    assert mesh.vertices.tolist() == [list(c) for c in CORNERS]
    # Elements may come in any order, and others between them.
    mixed: Elements = {
        "face": (
            [("int", "a"), *INDICES, ("list int double", "b")],
            [[7, [2, 1, 0], []], [8, [2, 3, 4], [1.5]]],
        ),
        "edge": ([("int", "vertex1"), ("int", "vertex2")], [[0, 1]]),
        "empty": ([], []),
        "vertex": ([("list uchar float", "weights"), *XYZ], [[[0.5] * i, *c] for i, c in enumerate(CORNERS)]),
    }
    assert load(tmp_path, ply(mixed, order, eol=eol)).faces.tolist() == [[2, 1, 0], [2, 3, 4]]


@pytest.mark.parametrize("count", ["char", "uchar", "short", "int", "uint"])
@pytest.mark.parametrize("index", ["uchar", "short", "ushort", "int", "uint", "float", "double"])
def test_lists_of_every_type(tmp_path: Path, count: str, index: str) -> None:
    face = ([(f"list {count} {index}", "vertex_index")], [[[0, 1, 2]], [[2, 3, 4]]])
    for order in ("", "<", ">"):
        mesh = load(tmp_path, ply({"vertex": (XYZ, [list(c) for c in CORNERS]), "face": face}, order))
        assert mesh.faces.tolist() == [[0, 1, 2], [2, 3, 4]]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("uchar", [230, 25, 25]),
        ("char", [-26, 25, 25]),
        ("ushort", [59110, 6425, 6425]),
        ("int", [230, 25, 25]),
        ("uint", [59110, 6425, 6425]),
        ("float", [0.902, 0.098, 0.098]),
        ("double", [230.0, 25.0, 25.0]),
    ],
)
def test_colors_of_every_type(tmp_path: Path, kind: str, value: list[float]) -> None:
    for names, order in itertools.product(
        ("red green blue", "diffuse_red diffuse_green diffuse_blue"), ("", ">")
    ):
        channels = [(kind, name) for name in [*names.split(), "alpha"]]
        rows = [[*c, *value, 1] for c in CORNERS]
        mesh = load(
            tmp_path, ply({"vertex": (XYZ + channels, rows), "face": (INDICES, [[[0, 1, 2, 4]]])}, order)
        )
        assert colors(mesh) == [(230, 25, 25)]
        faces = [[[0, 1, 2, 3], *value, 1], [[0, 1, 4], 0, 0, 0, 1]]
        plain = {"vertex": (XYZ, [list(c) for c in CORNERS]), "face": (INDICES + channels, faces)}
        mesh = load(tmp_path, ply(plain, order))
        assert colors(mesh) == [(0, 0, 0), (230, 25, 25)]
        assert mesh.colors is not None
        assert np.round(255 * mesh.colors[mesh.faces[:, 0], 0]).tolist() == [230, 230, 0]


@pytest.mark.parametrize("order", ["", "<", ">"])
def test_strips(tmp_path: Path, order: str) -> None:
    strips = [[[0, 1, 3, 2, -1, 4, 0, 1, -1, 2, -1]], [[1, 2, 4]]]
    element = ([("list int int", "vertex_indices")], strips)
    mesh = load(tmp_path, ply({"vertex": (XYZ, [list(c) for c in CORNERS]), "tristrips": element}, order))
    assert mesh.faces.tolist() == [[0, 1, 3], [3, 1, 2], [4, 0, 1], [1, 2, 4]]
    element = (element[0], [[[0, 1, 5]]])
    with pytest.raises(MeshError, match=r"outside 0\.\.4"):
        load(tmp_path, ply({"vertex": (XYZ, [list(c) for c in CORNERS]), "tristrips": element}, order))


@pytest.mark.parametrize("order", ["", "<"])
def test_textures(tmp_path: Path, order: str) -> None:
    from PIL import Image

    for name, color in (("a b.png", (255, 0, 0)), ("c.png", (0, 0, 255))):
        pixels = np.full((4, 4, 3), 255, np.uint8)
        pixels[:2, :2] = color  # u below one half, v above
        Image.fromarray(pixels).save(tmp_path / name)
    upper = [0.1, 0.9] * 3
    properties = [*INDICES, ("list uchar float", "texcoord"), ("int", "texnumber")]
    faces = [[[0, 1, 2], upper, 0], [[0, 2, 3], upper, 1], [[0, 1, 4], [], 0], [[1, 2, 4], upper, 5]]
    comments = "comment TextureFile a b.png\ncomment TextureFile x\\c.png"
    vertex = (XYZ, [list(c) for c in CORNERS])
    mesh = load(tmp_path, ply({"vertex": vertex, "face": (properties, faces)}, order, comments))
    assert mesh.texturing is not None
    assert mesh.texturing.index.tolist() == [0, 1, -1, -1]
    assert colors(mesh)[0] == (0, 0, 255)
    assert (255, 0, 0) in colors(mesh)
    for names in ("st", "uv"):
        channels = [("float", name) for name in names]
        rows = [[*c, 0.1, 0.9] for c in CORNERS]
        element: Elements = {"vertex": (XYZ + channels, rows), "face": (INDICES, [[[0, 1, 2, 3]]])}
        assert colors(load(tmp_path, ply(element, order, "comment TextureFile c.png"))) == [(0, 0, 255)]
    mesh = load(tmp_path, ply(element, order, "comment TextureFile no.png"))
    assert (mesh.unread, mesh.texturing) == (("texture no.png: no such file",), None)
    mesh = load(tmp_path, ply({"vertex": vertex, "face": (INDICES, [[[0, 1, 2]]])}, order, comments))
    assert mesh.unread[0] == "texture a b.png: no texture coordinates"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((b"vertex 5", b"vertex 1000000000"), "declares 1000000000 of vertex, the file has room for"),
        ((b"vertex 5", b"vertex -5"), "negative"),
        ((b"face 1", b"face 1000000000"), "declares 1000000000 of face, the file has room for"),
        ((b"face 1", b"face 2"), "room for|data ends in row 1 of 2 of face"),
        ((b"float x", b"flaot x"), "malformed header line: property flaot x"),
        ((b"float x", b"float w"), "vertices without x, y and z"),
        ((b"end_header", b"end_haeder"), "no header"),
        ((b"1.0", b"1.0\nelement"), "malformed header line: element"),
    ],
)
@pytest.mark.parametrize("order", ["", "<"])
def test_headers_that_lie(tmp_path: Path, order: str, change: tuple[bytes, bytes], message: str) -> None:
    elements: Elements = {"vertex": (XYZ, [list(c) for c in CORNERS]), "face": (INDICES, [[[0, 1, 2]]])}
    with pytest.raises(MeshError, match=message):
        load(tmp_path, ply(elements, order).replace(*change))


def test_data_that_do_not_fit(tmp_path: Path) -> None:
    elements: Elements = {"vertex": (XYZ, [list(c) for c in CORNERS]), "face": (INDICES, [[[0, 1, 2]]])}
    with pytest.raises(MeshError, match="2 more numbers than the header declares"):
        load(tmp_path, ply(elements, "") + b"1 2\n")
    with pytest.raises(MeshError, match="not a number: x"):
        load(tmp_path, ply(elements, "") + b"x\n")
    with pytest.raises(MeshError, match="a list vertex_indices of -3 values"):
        load(tmp_path, ply(elements, "").replace(b"\n3 0 1 2", b"\n-3 0 1 2"))
    with pytest.raises(MeshError, match=r"outside 0\.\.4"):
        load(tmp_path, ply(elements, "").replace(b"\n3 0 1 2", b"\n3 0 1 7"))
    with pytest.raises(MeshError, match="no faces in the file"):
        load(tmp_path, ply({"vertex": elements["vertex"]}, "<"))


def test_faces_after_the_declared_ones_are_reported(tmp_path: Path) -> None:
    faces = [[[0, 1, 2]], [[0, 2, 3]], [[0, 1, 4]]]
    data = ply({"vertex": (XYZ, [list(c) for c in CORNERS]), "face": (INDICES, faces)}, "<")
    mesh = load(tmp_path, data.replace(b"element face 3", b"element face 2"))
    assert len(mesh.faces) == 2
    assert mesh.unread == ("13 bytes after the data of the header were not read",)
    assert load(tmp_path, data + b"\n").unread == ()
