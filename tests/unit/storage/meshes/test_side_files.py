"""Which files a mesh file names."""

from __future__ import annotations

import gzip
import json
import os
import struct
from pathlib import Path

import pytest
from PIL import Image

from occnet_lib.storage.meshes import SUFFIXES, digest, known_suffix, load_mesh, side_files, suffixes
from occnet_lib.storage.meshes.side_files import find_side_file, split_map_options

FACE = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"


def write(folder: Path, **files: str | bytes) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def named(path: Path) -> list[str]:
    return [os.path.relpath(file, path.parent) for file in side_files(path)]


def test_materials_and_textures_of_an_obj_file(tmp_path: Path) -> None:
    mtl = "newmtl a\nmap_Kd tex/red wood.png\n  map_Bump -bm 0.5 b.png\nnewmtl c\nmap_Kd tex/red wood.png\nmap_d gone.png"
    files = {
        "m.obj": f"mtllib m.mtl\n{FACE}",
        "m.mtl": mtl,
        "tex/red wood.png": "1",
        "b.png": "2",
        "c.png": "3",
    }
    write(tmp_path, **files)
    assert named(tmp_path / "m.obj") == ["m.mtl", "tex/red wood.png", "b.png"]


@pytest.mark.parametrize("line", ["mtllib a b.mtl", "\tmtllib  a b.mtl \r\n", "# x\rmtllib a b.mtl\r"])
def test_a_material_library_whose_name_has_spaces(tmp_path: Path, line: str) -> None:
    write(tmp_path, **{"m.obj": f"{line}\n{FACE}", "a b.mtl": "", "b.mtl": ""})
    assert named(tmp_path / "m.obj") == ["a b.mtl"]


def test_several_material_libraries_in_one_line(tmp_path: Path) -> None:
    write(
        tmp_path,
        **{"m.obj": f"mtllib a.mtl b.mtl\n{FACE}", "a.mtl": "", "b.mtl": "map_Kd t.png", "t.png": ""},
    )
    assert named(tmp_path / "m.obj") == ["a.mtl", "b.mtl", "t.png"]


def test_continued_lines_and_comments_that_end_in_a_backslash(tmp_path: Path) -> None:
    mtl = "# of C:\\work\\\nnewmtl a\nmap_Kd -s 2 2 \\ \n t.png\n"
    obj = "# C:\\work\\\nmtllib \\\r\n m.mtl\nusemtl a\n"
    corners = "# D:\\\nv 0 0 0 # here \\\nv 1 0 0\nv 0 1 0\nvt 0 0\nf 1/1 2/1 \\\n3/1\n"
    write(tmp_path, **{"m.obj": obj + corners, "m.mtl": mtl})
    Image.new("RGB", (2, 2), "red").save(tmp_path / "t.png")
    assert named(tmp_path / "m.obj") == ["m.mtl", "t.png"]
    mesh = load_mesh(tmp_path / "m.obj")
    assert mesh.faces.tolist() == [[0, 1, 2]]
    assert mesh.texturing is not None
    assert not mesh.unread


def test_a_compressed_obj_file(tmp_path: Path) -> None:
    write(tmp_path, **{"m.obj.gz": gzip.compress(b"mtllib m.mtl\n"), "m.mtl": "map_Kd t.png", "t.png": ""})
    assert named(tmp_path / "m.obj.gz") == ["m.mtl", "t.png"]
    write(tmp_path, **{"m.obj.gz": b"no gzip"})
    assert named(tmp_path / "m.obj.gz") == []


@pytest.mark.parametrize(
    "name",
    [
        "tex/wood.png",
        "tex\\wood.png",
        "TEX/Wood.PNG",
        "C:\\work\\models\\wood2.png",
        "/home/x/wood2.png",
        '"tex/wood.png"',
    ],
)
def test_paths_of_other_systems(tmp_path: Path, name: str) -> None:
    write(tmp_path, **{"tex/wood.png": "", "wood2.png": ""})
    actual = find_side_file(tmp_path, name)
    assert actual is not None
    assert actual.is_file()
    assert find_side_file(tmp_path, "gone.png") is None
    assert find_side_file(tmp_path, "") is None
    assert find_side_file(tmp_path, "tex") is None


def test_a_texture_where_scanned_objects_have_it(tmp_path: Path) -> None:
    files = {"meshes/model.obj": "mtllib model.mtl\n", "meshes/model.mtl": "map_Kd texture.png"}
    write(tmp_path, **files, **{"materials/textures/texture.png": ""})
    assert named(tmp_path / "meshes/model.obj") == ["model.mtl", "../materials/textures/texture.png"]


def test_a_name_in_the_encoding_of_windows(tmp_path: Path) -> None:
    write(tmp_path, **{"m.obj": b"mtllib m\xf6bel.mtl\n", "möbel.mtl": ""})
    assert named(tmp_path / "m.obj") == ["möbel.mtl"]


@pytest.mark.parametrize(
    ("statement", "options", "name"),
    [
        ("wood.png", {}, "wood.png"),
        ("my wood.png", {}, "my wood.png"),
        ("-s 2 2 1 -clamp on my wood.png", {"-s": ["2", "2", "1"], "-clamp": ["on"]}, "my wood.png"),
        ("-o 0.5 wood.png", {"-o": ["0.5"]}, "wood.png"),
        ("-s 1 2 3 4.png", {"-s": ["1", "2", "3"]}, "4.png"),
        ("-bm 1.0 -mm 0 1 a.png", {"-bm": ["1.0"], "-mm": ["0", "1"]}, "a.png"),
        ("-odd.png", {}, "-odd.png"),
        ("-unknown x.png", {}, "-unknown x.png"),
    ],
)
def test_options_of_a_texture(statement: str, options: dict[str, list[str]], name: str) -> None:
    assert split_map_options(statement) == (options, name)


def gltf(**tree: object) -> bytes:
    return json.dumps({"asset": {"version": "2.0"}, **tree}).encode()


def test_buffers_and_images_of_gltf_files(tmp_path: Path) -> None:
    tree = gltf(
        buffers=[{"uri": "my%20mesh.bin"}, {"uri": "data:application/octet-stream;base64,AAAA"}],
        images=[{"uri": "tex%C3%BCre.png"}, {"uri": "as%20is.png"}, {"uri": "https://example.org/a.png"}],
    )
    write(tmp_path, **{"m.gltf": tree, "my mesh.bin": "", "texüre.png": "", "as%20is.png": ""})
    assert named(tmp_path / "m.gltf") == ["my mesh.bin", "texüre.png", "as%20is.png"]
    size = struct.pack("<4I", 2, 20 + len(tree), len(tree), 0x4E4F534A)
    write(tmp_path, **{"m.glb": b"glTF" + size + tree})
    assert named(tmp_path / "m.glb") == named(tmp_path / "m.gltf")


@pytest.mark.parametrize("content", [b"", b"{", b"glTF", b"glTF" + 12 * b"\xff", b"[" * 5000, b"\xff\xfe"])
def test_what_cannot_be_parsed_names_nothing(tmp_path: Path, content: bytes) -> None:
    for suffix in (".gltf", ".glb", ".obj", ".ply", ".dae", ".stl"):
        write(tmp_path, **{f"m{suffix}": content})
        assert side_files(tmp_path / f"m{suffix}") == []


def test_images_of_collada_and_the_texture_of_ply(tmp_path: Path) -> None:
    dae = "<image id='a'><init_from>file:///C:/models/wood%20&amp;%20oak.png</init_from></image><init_from><ref>b.png</ref></init_from>"
    ply = "ply\nformat ascii 1.0\ncomment TextureFile b.png\nend_header\ncomment TextureFile no.png\n"
    write(tmp_path, **{"m.dae": dae, "m.ply": ply, "wood & oak.png": "", "b.png": "", "no.png": ""})
    assert named(tmp_path / "m.dae") == ["wood & oak.png", "b.png"]
    assert named(tmp_path / "m.ply") == ["b.png"]


def test_half_a_surrogate_pair_in_a_uri_names_nothing(tmp_path: Path) -> None:
    path = write(
        tmp_path, **{"m.gltf": r'{"images": [{"uri": "\ud800.png"}, {"uri": "T.png"}]}', "t.png": ""}
    )
    assert named(path / "m.gltf") == ["t.png"]
    assert digest(path / "m.gltf")


def test_digest_covers_every_file_that_is_named(tmp_path: Path) -> None:
    files = {"m.obj": f"mtllib m.mtl\n{FACE}", "m.mtl": "map_Kd t.png\nmap_Ks s.png", "t.png": "1"}
    path = write(tmp_path, **files) / "m.obj"
    seen = [digest(path)]
    for change in ({"t.png": "2"}, {"s.png": "1"}, {"t.png": "1", "s.png": "2"}, {"m.mtl": "map_Kd t.png"}):
        write(tmp_path, **change)
        seen.append(digest(path))
    write(tmp_path, **{"m.mtl": "map_Kd t.png\nmap_Kd u.png", "t.png": "1"})
    seen.append(digest(path))
    (tmp_path / "t.png").rename(tmp_path / "u.png")
    seen.append(digest(path))
    assert len(set(seen)) == len(seen)
    os.utime(path, (0, 0))
    write(tmp_path, **{"not named.png": "1"})
    assert digest(path) == seen[-1]


def test_known_suffix_is_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suffixes, "SUFFIXES", (*SUFFIXES, ".gz"))
    assert known_suffix("A.OBJ") == ".obj"
    assert known_suffix("a.b.Obj.GZ") == ".obj.gz"
    assert known_suffix("a.xyz.gz") == ".gz"
    assert known_suffix("a.obj.txt") == known_suffix("obj") == known_suffix(".obj") == ""
    assert suffixes.stem("a.b.obj.gz") == "a.b"
    assert suffixes.stem("a.b.txt") == "a.b"
    assert suffixes.stem("plain") == "plain"
