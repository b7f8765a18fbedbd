"""OBJ files: numbers as Python reads them, materials as people write them."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from occnet_lib.errors import MeshError
from occnet_lib.geometry.textures import bake
from occnet_lib.storage.meshes import load_mesh
from occnet_lib.storage.meshes.mtl import parse_map
from occnet_lib.storage.meshes.obj_scan import scan
from occnet_lib.types import Mesh

RED = (220, 30, 30)
SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
FACE = "f 1/1 2/2 3/3 4/4\n"


def image(path: Path, color: tuple[int, int, int] = RED) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), color).save(path)


def load(folder: Path, text: str, mtl: str | bytes | None = None, mtl_name: str = "m.mtl") -> Mesh:
    """The mesh of an OBJ file in a folder, with its materials beside it."""
    if mtl is not None:
        (folder / mtl_name).write_bytes(mtl if isinstance(mtl, bytes) else mtl.encode())
    (folder / "mesh.obj").write_text(text)
    return load_mesh(folder / "mesh.obj")


def textured(folder: Path, statement: str | bytes) -> Mesh:
    """A square with one material whose `map_Kd` is the statement."""
    raw = statement if isinstance(statement, bytes) else statement.encode()
    return load(folder, f"mtllib m.mtl\n{SQUARE}usemtl a\n{FACE}", b"newmtl a\nKd .2 .2 .2\nmap_Kd " + raw)


def colors(mesh: Mesh) -> list[tuple[int, ...]]:
    """The colours in bytes that occur at the vertices, textures included."""
    baked = bake(mesh)
    assert baked.colors is not None
    return sorted({tuple(color) for color in np.round(255 * baked.colors).astype(int).tolist()})


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64), min_size=3, max_size=30))
def test_numbers_are_those_of_python(values: list[float]) -> None:
    texts = [repr(value) for value in values] + [f"{value:+0.12E}" for value in values]
    read = scan("".join(f"v {text} 0 0\n" for text in texts).encode()).values[:, 0]
    want = np.array([float(text) for text in texts])
    np.testing.assert_allclose(read, want, rtol=1e-15, atol=1e-320)


def test_numbers_in_unusual_forms() -> None:
    forms = {"1": 1, "+.5": 0.5, "-5.": -5, "1e3": 1e3, "1D+02": 100, "1e-400": 0, "1e400": np.inf}
    forms |= {"-inf": -np.inf, "nan": np.nan, "-1.#IND": np.nan, "000000000000000000000001.5": 1.5}
    read = scan("".join(f"v {form} 0 0\n" for form in forms).encode())
    np.testing.assert_array_equal(read.values[:, 0], list(forms.values()))
    assert read.malformed < 0
    for form in ("x", "1,5", "--1", "1e", "."):
        assert scan(f"v 1 2 3\nv {form} 0 0\n".encode()).malformed == 8, form


def test_lines_of_any_kind(tmp_path: Path) -> None:
    text = "# f 1 2 3\r\n\to name f 9 9 9\r\nv 0 0 0 # v\r\nv 1 0 0\r\n  v\t1 1 0\r\nvn 0 0 1\r\n"
    text += "g f\r\ns off\r\nl 1 2\r\nf 1//1 \\\r\n 2//1 3//1 # 9\r\nfo -3 -2 -1\r\nf 1 2\r\np 1"
    mesh = load(tmp_path, text)
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert mesh.unread == ("1 of 3 faces have fewer than three corners and are skipped",)
    assert (
        load(tmp_path, text.replace("\r\n", "\r").replace("\\\r", "\\\r\n")).faces.tolist() == [[0, 1, 2]] * 2
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v 0 0 0\nv 1 0 0\nv 0 1,5 0\nf 1 2 3\n", "line 3: v 0 1,5 0"),
        ("v 0 0 0\nv 1 0\nv 0 1 0\nf 1 2 3\n", "line 2: v 1 0"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 x\n", "not a face: line 4: f 1 2 x"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 99999999999999\n", "outside 0..2"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 0 1 2\n", "outside 0..2"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 -4\n", "outside 0..2"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\nsurf 0 1 0 1 1 2\n", "`surf` is not supported"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\ncall other.obj\n", "`call` is not supported"),
    ],
)
def test_faults_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(MeshError, match=message):
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("stored", "statement"),
    [
        ("tex/red.png", "tex\\red.png"),
        ("red.png", "C:\\Users\\me\\tex\\red.png"),
        ("tex/red.png", "\\\\server\\x\\tex\\red.png"),
        ("textures/red.png", "/home/me/red.png"),
        ("my tex/red wood.png", "my tex/red wood.png"),
        ("my tex/red wood.png", '"my tex/red wood.png"'),
        ("Tex/RED.PNG", "tex/red.png"),
        ("red.png", "-s 1 1 1 -o 0 0 0 -bm 0.2 -blendu on -imfchan l -texres 512 -clamp off red.png"),
        ("1.png", "-s 1 1 1.png"),
        ("stra\u00dfe.png", "stra\u00dfe.png".encode("latin-1")),
        ("re\u0301d.png", "r\u00e9d.png"),
    ],
)
def test_a_texture_is_where_people_have_it(tmp_path: Path, stored: str, statement: str | bytes) -> None:
    image(tmp_path / stored)
    mesh = textured(tmp_path, statement)
    assert (colors(mesh), mesh.unread) == ([RED], ())


def test_a_texture_with_a_name_in_latin_1_on_disk(tmp_path: Path) -> None:
    image(tmp_path / "red.png")
    os.rename(tmp_path / "red.png", os.fsencode(tmp_path) + b"/stra\xdfe.png")
    assert colors(textured(tmp_path, "stra\u00dfe.png")) == [RED]


def test_options_of_a_texture_are_applied(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.array([[[200, 0, 0], [0, 200, 0]]], np.uint8)).save(tmp_path / "t.png")
    mesh = textured(tmp_path, "-s 2 3 -o 0.25 .5 0 -mm 0.2 0.5 -clamp on t.png")
    assert mesh.texturing is not None
    texture = mesh.texturing.textures[0]
    assert texture.pixels.tolist() == [[[151, 51, 51], [51, 151, 51]]]
    assert texture.wrap == ("clamp", "clamp")
    # Corner 2 of the first face has the coordinates (1, 1), v upwards.
    assert mesh.texturing.uv[0, 2].tolist() == [2.25, 1 - 3.5]
    assert parse_map("-s 2 x.png", tmp_path).scale == (2.0, 1.0)


@pytest.mark.parametrize(
    ("statement", "content", "line"),
    [
        ("absent.png", b"", "texture absent.png: no such file"),
        ("a.png", b"not an image", "texture a.png: not an image of a known format"),
        ("a.png", None, "texture a.png: damaged: "),
        ("-mm 1 a.png", b"", "material a: map_Kd -mm 1 a.png is not supported"),
    ],
)
def test_a_texture_that_cannot_be_read_is_named(
    tmp_path: Path, statement: str, content: bytes | None, line: str
) -> None:
    image(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:-30] if content is None else content)
    mesh = textured(tmp_path, statement)
    assert mesh.texturing is None
    assert [text[: len(line)] for text in mesh.unread] == [line]
    if "mm" not in statement:
        assert mesh.colors is None  # grey: `Kd` beside a texture often is black or dark


def test_materials_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    body = f"{SQUARE}usemtl a\n{FACE}"
    unnamed = ("materials are not read: the file names no material library (mtllib)",)
    assert load(tmp_path, body + "usemtl b\nf 1 2 3\n").unread == unnamed
    assert load(tmp_path, body.replace("usemtl a", "usemtl (null)")).unread == ()
    assert load(tmp_path, f"mtllib no.mtl\n{body}").unread == ("materials no.mtl: no such file",)
    mesh = load(tmp_path, f"mtllib m.mtl\n{body}", "newmtl b\nKd 1 0 0\n")
    assert (mesh.unread, mesh.colors) == (("material a: not in m.mtl",), None)
    assert (
        load(tmp_path, f"mtllib m.mtl\n{body}".replace("usemtl a", "usemtl None"), "newmtl b\n").unread == ()
    )
    mesh = load(tmp_path, f"mtllib m.mtl\n{body}", "newmtl a\nKd spectral x.rfl 1\n")
    assert mesh.unread == ("material a: Kd spectral x.rfl 1 is not supported",)
    image(tmp_path / "t.png")
    mesh = load(tmp_path, f"mtllib m.mtl\n{body}f 1 2 3\n", "newmtl a\nmap_Kd t.png\n")
    assert mesh.unread == ("1 faces with a texture have no texture coordinates",)
    assert mesh.texturing is not None
    assert mesh.texturing.index.tolist() == [0, 0, -1]


@pytest.mark.parametrize(
    "line",
    [
        "mtllib M.MTL",
        "mtllib none.mtl m.mtl",
        'mtllib "m.mtl"',
        "mtllib C:\\me\\m.mtl",
        "mtllib ./m.mtl",
        "mtllib\tm.mtl",
    ],
)
def test_libraries_of_materials_are_where_people_have_them(tmp_path: Path, line: str) -> None:
    if "none" in line:
        (tmp_path / "none.mtl").write_text("newmtl x\n")
    mesh = load(tmp_path, f"{line}\n{SQUARE}usemtl a b\n{FACE}", "newmtl a b\nKd 1 0 0\n")
    assert (colors(mesh), mesh.unread) == ([(255, 0, 0)], ())


def test_a_library_with_spaces_in_utf_16(tmp_path: Path) -> None:
    text = f"mtllib my m.mtl\n{SQUARE}usemtl \u00e4\n{FACE}"
    for encoding in ("utf-16", "utf-8-sig"):
        (tmp_path / "mesh.obj").write_text(text, encoding=encoding)
        (tmp_path / "my m.mtl").write_text("newmtl \u00e4\nKd 255 0 0\n", encoding=encoding)
        assert colors(load_mesh(tmp_path / "mesh.obj")) == [(255, 0, 0)]


@pytest.mark.parametrize(
    ("values", "want"),
    [
        (["230 25 25"] * 4, [(230, 25, 25)]),
        ([".9 .1 .1"] * 4, [(230, 26, 26)]),
        (["1.0000001 .1 .1"] * 4, [(255, 26, 26)]),
        (["1 0 0", "1 0 0", "1 0 0", ""], [(178, 178, 178), (255, 0, 0)]),
        (["nan 0 0", "1 0 0", "1 0 0", "1 0 0"], [(178, 0, 0), (255, 0, 0)]),
    ],
)
def test_colors_of_vertices(tmp_path: Path, values: list[str], want: list[tuple[int, ...]]) -> None:
    corners = ("0 0 0", "1 0 0", "1 1 0", "0 1 0")
    lines = [f"v {corner} {value}\n" for corner, value in zip(corners, values, strict=True)]
    assert colors(load(tmp_path, "".join(lines) + "f 1 2 3 4\n")) == want
    # They take the place of a material's colour.
    text = "mtllib m.mtl\n" + "".join(lines) + "usemtl a\nf 1 2 3 4\n"
    assert colors(load(tmp_path, text, "newmtl a\nKd 0 1 0\n")) == want


def test_polypaint_of_zbrush(tmp_path: Path) -> None:
    text = "v 0 0 0\nv 1 0 0\nv 1 1 0\n#MRGB ffff0000ff00ff00\n#MRGB ff0000fF\nf 1 2 3\n"
    mesh = load(tmp_path, text)
    assert mesh.colors is not None
    assert mesh.colors.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    mesh = load(tmp_path, text.replace("ff0000fF", "ff00"))
    assert (mesh.colors, mesh.unread) == (None, ("vertex colours (#MRGB): 2.5 for 3 vertices",))


def test_many_materials_keep_their_faces(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    chosen = rng.integers(0, 7, 60)
    mtl = "".join(f"newmtl m{i}\nKd {i / 10} 0 0\n" for i in range(7))
    text = "mtllib m.mtl\n"
    for i, number in enumerate(chosen):
        text += f"v {i} 0 0\nv {i} 1 0\nv {i} 0 1\nusemtl m{number}\nf -3 -2 -1\n"
    mesh = load(tmp_path, text, mtl)
    assert mesh.colors is not None
    assert len(mesh.faces) == 60
    place = mesh.triangles[:, 0, 0].astype(int)
    np.testing.assert_allclose(mesh.colors[mesh.faces[:, 0], 0], chosen[place] / 10, atol=1e-6)


def test_a_compressed_file_has_its_materials(tmp_path: Path) -> None:
    (tmp_path / "m.mtl").write_text("newmtl a\nKd 1 0 0\n")
    data = gzip.compress(f"mtllib m.mtl\n{SQUARE}usemtl a\n".encode()) + gzip.compress(FACE.encode())
    (tmp_path / "Mesh.OBJ.gz").write_bytes(data)
    assert colors(load_mesh(tmp_path / "Mesh.OBJ.gz")) == [(255, 0, 0)]
    for damaged, message in (
        (data[:-30], "truncated"),
        (data[:9] + b"xxxx" + data[13:], "damaged"),
        (b"x" * 50, "damaged"),
    ):
        (tmp_path / "d.obj.gz").write_bytes(damaged)
        with pytest.raises(MeshError, match=f"the compressed file is {message}"):
            load_mesh(tmp_path / "d.obj.gz")


def test_a_decompression_bomb_takes_no_memory(tmp_path: Path) -> None:
    import resource

    (tmp_path / "bomb.obj.gz").write_bytes(gzip.compress(bytes(2**26), 1) * 20)  # 1.3 GiB of zeros
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(MeshError, match=r"decompresses to more than \d+ MiB"):
        load_mesh(tmp_path / "bomb.obj.gz")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB
