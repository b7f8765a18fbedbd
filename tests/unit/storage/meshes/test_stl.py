"""STL files: binary and text, with what writers of them get wrong."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from occnet_lib.errors import MeshError
from occnet_lib.storage.meshes import load_mesh
from occnet_lib.types import Mesh

FACES = np.array([[[0, 0, 0], [1, 0, 0], [1, 1, 0]], [[0, 0, 0], [1, 1, 0], [0, 1, 1]]], np.float64)


def binary(count: int = 2, header: bytes = b"", attributes: tuple[int, ...] = (0, 0)) -> bytes:
    data = header.ljust(80, b" ") + struct.pack("<I", count)
    for face, attribute in zip(FACES, attributes, strict=True):
        data += struct.pack("<12fH", 0, 0, 1, *face.ravel(), attribute)
    return data


def text(name: str = "", end: str = "endsolid") -> str:
    lines = [f"solid {name}"]
    for face in FACES:
        lines += ["facet normal 0 0 1", "outer loop", *(f"vertex {x} {y} {z}" for x, y, z in face)]
        lines += ["endloop", "endfacet"]
    return "\n".join([*lines, f"{end} {name}"])


QUADS = "solid\n" + 3 * f"facet outer loop {4 * 'vertex 0 1 2 '} endloop endfacet " + "endsolid"


def load(folder: Path, data: bytes | str) -> Mesh:
    (folder / "mesh.stl").write_bytes(data if isinstance(data, bytes) else data.encode())
    return load_mesh(folder / "mesh.stl")


@pytest.mark.parametrize(
    "data",
    [
        binary(),
        binary(header=b"solid made by a program"),
        text(),
        text("a vertex of the facet"),
        text().replace("\n", " "),
        text().upper().replace("\n", "\r\n\t"),
        text().replace("endsolid", "endsolid\nsolid empty\nendsolid"),
    ],
)
def test_faces_of_both_kinds(tmp_path: Path, data: bytes | str) -> None:
    mesh = load(tmp_path, data)
    assert (mesh.triangles.tolist(), mesh.colors, mesh.unread) == (FACES.tolist(), None, ())


def test_two_solids(tmp_path: Path) -> None:
    assert len(load(tmp_path, text() + "\n" + text("b")).faces) == 4


def test_counts_that_do_not_fit(tmp_path: Path) -> None:
    mesh = load(tmp_path, binary(0))
    assert mesh.triangles.tolist() == FACES.tolist()
    assert mesh.unread == ("the header declares no faces; 2 were read",)
    mesh = load(tmp_path, binary() + b"x" * 37)
    assert mesh.triangles.tolist() == FACES.tolist()
    assert mesh.unread == ("37 bytes after the last of 2 faces were not read",)
    mesh = load(tmp_path, binary(1))
    assert (len(mesh.faces), mesh.unread) == (1, ("50 bytes after the last of 1 faces were not read",))
    for count in (3, 2**32 - 1):
        with pytest.raises(MeshError, match=f"declares {count} faces, the file has room for 2"):
            load(tmp_path, binary(count))
    with pytest.raises(MeshError, match="no faces"):
        load(tmp_path, binary(0)[:84])


def test_colors_of_binary_files(tmp_path: Path) -> None:
    red, blue = 31, 31 << 10
    # VisCAM: bit 15 set, blue in the low bits; all faces must have a colour.
    mesh = load(tmp_path, binary(attributes=(0x8000 | red, 0x8000 | blue)))
    assert mesh.colors is not None
    assert mesh.colors[mesh.faces[:, 0]].tolist() == [[0, 0, 1], [1, 0, 0]]
    assert load(tmp_path, binary(attributes=(red, 0x8000 | blue))).colors is None
    # Magics: bit 15 not set, red in the low bits; else the colour in the header.
    mesh = load(tmp_path, binary(header=b"x COLOR=\xff\x00\x33\xff", attributes=(red, 0x8000)))
    assert mesh.colors is not None
    np.testing.assert_allclose(mesh.colors[mesh.faces[:, 0]], [[1, 0, 0], [1, 0, 0.2]])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (text()[: text().rindex("vertex")], "ends within a face"),
        (text().replace("vertex 1.0 1.0 0.0", "vertex 1.0 1.0", 1), "not a number: endloop"),
        (text().replace("vertex 1.0 1.0 0.0", "vertex 1.0 1,0 0.0", 1), "not a number: 1,0"),
        # Three faces of four corners are not four of three.
        (QUADS, "without three corners"),
        (b"abc", "3 bytes are neither"),
    ],
)
def test_malformed_files(tmp_path: Path, data: bytes | str, message: str) -> None:
    with pytest.raises(MeshError, match=message):
        load(tmp_path, data)


def test_a_text_file_without_its_end_is_named(tmp_path: Path) -> None:
    whole = text()
    mesh = load(tmp_path, whole[: whole.index("endfacet") + 9])
    assert (len(mesh.faces), mesh.unread) == (1, ("the file ends without endsolid: faces may be missing",))
