"""3MF files: what is built, in its places and colours."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from occnet_lib.errors import MeshError
from occnet_lib.geometry.textures import bake
from occnet_lib.storage.meshes import load_mesh, packed, parts
from occnet_lib.storage.meshes.threemf import reader
from occnet_lib.types import Mesh

NAMES = "http://schemas.microsoft.com/3dmanufacturing/"
# A box from (0, 0, 0) to (1, 2, 3) with faces that point outward.
CORNERS = [(x, y, z) for x in (0, 1) for y in (0, 2) for z in (0, 3)]
FACES = [(0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1)]
FACES += [(2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3)]
VERTICES = "".join(f'<vertex x="{x}" y="{y}" z="{z}"/>' for x, y, z in CORNERS)
PLAIN = [""] * 12


def box(name: int = 1, attributes: str = "", properties: list[str] = PLAIN) -> str:
    triangles = "".join(
        f'<triangle v1="{a}" v2="{b}" v3="{c}" {extra}/>'
        for (a, b, c), extra in zip(FACES, properties, strict=True)
    )
    return (
        f'<object id="{name}" type="model" {attributes}><mesh><vertices>{VERTICES}</vertices>'
        f"<triangles>{triangles}</triangles></mesh></object>"
    )


def model(resources: str, items: str = '<item objectid="1"/>', attributes: str = "") -> str:
    return f"""<?xml version="1.0" encoding="UTF-8"?>
    <model unit="inch" xmlns="{NAMES}core/2015/02" xmlns:m="{NAMES}material/2015/02"
     xmlns:p="{NAMES}production/2015/06" {attributes}><resources>{resources}</resources><build>{items}</build></model>"""


def load(
    folder: Path, text: str, files: dict[str, str | bytes] | None = None, root: str = "3D/3dmodel.model"
) -> Mesh:
    with zipfile.ZipFile(folder / "mesh.3mf", "w", zipfile.ZIP_DEFLATED) as archive:
        if root != "3D/3dmodel.model":
            kind = "http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"
            relation = f'<Relationship Id="r" Type="{kind}" Target="/{root}"/>'
            archive.writestr("_rels/.rels", f"<Relationships>{relation}</Relationships>")
        archive.writestr(root, text)
        for name, content in (files or {}).items():
            archive.writestr(name, content)
    return load_mesh(folder / "mesh.3mf")


def volume(mesh: Mesh) -> float:
    a, b, c = np.moveaxis(mesh.triangles, 1, 0)
    return float(np.einsum("fk,fk->f", a, np.cross(b, c)).sum() / 6)


def colors(mesh: Mesh) -> list[tuple[int, ...]]:
    baked = bake(mesh)
    assert baked.colors is not None
    return sorted({tuple(color) for color in np.round(255 * baked.colors).astype(int).tolist()})


@pytest.mark.parametrize("root", ["3D/3dmodel.model", "3d/3DModel.model", "other/part.model"])
def test_what_is_built_stands_on_the_plate(tmp_path: Path, root: str) -> None:
    mesh = load(tmp_path, model(box() + box(2)), root=root)
    assert (len(mesh.faces), mesh.colors, mesh.unread) == (12, None, ())
    assert volume(mesh) == pytest.approx(6)
    assert np.ptp(mesh.vertices, axis=0).tolist() == [1, 3, 2]  # z of the file is up
    assert mesh.vertices[:, 1].min() == 0


def test_components_and_items_have_transforms(tmp_path: Path) -> None:
    resources = f"""{box()}<object id="2"><components><component objectid="1" transform="2 0 0 0 1 0 0 0 1 10 0 0"/>
    <component objectid="1" transform="-1 0 0 0 1 0 0 0 1 0 0 0"/></components></object>
    <object id="3"><components><component p:path="/3D/part.model" objectid="7"/></components></object>"""
    items = """<item objectid="2" transform="0 1 0 -1 0 0 0 0 1 0 0 100"/><item objectid="3"/>
    <item p:path="/3D/part.model" objectid="7" transform="1 0 0 0 1 0 0 0 1 50 0 0"/>"""
    mesh = load(tmp_path, model(resources, items), {"3D/part.model": model(box(7), "")})
    assert len(mesh.faces) == 48
    assert volume(mesh) == pytest.approx(6 * (2 + 1 + 1 + 1))
    parts = mesh.vertices.reshape(4, 8, 3)
    # (x, y, z) -> (-y, x, z + 100) in the file, whose z is up: (x, z, -y) in the mesh.
    for part, low, high in zip(
        parts,
        ([-2, 100, -12], [-2, 100, 0], [0, 0, -2], [50, 0, -2]),
        ([0, 103, -10], [0, 103, 1], [1, 3, 0], [51, 3, 0]),
        strict=True,
    ):
        assert (part.min(axis=0).tolist(), part.max(axis=0).tolist()) == (low, high)


def test_colors(tmp_path: Path) -> None:
    groups = """<basematerials id="5"><base name="a" displaycolor="#FF0000"/><base name="b" displaycolor="#0000FF80"/>
    </basematerials><m:colorgroup id="6"><m:color color="#00FF00FF"/><m:color color="#000000"/></m:colorgroup>"""
    assert colors(load(tmp_path, model(groups + box(1, 'pid="5" pindex="1"')))) == [(0, 0, 255)]
    properties = ['pid="6" p1="0"'] * 2 + ['pid="6" p1="0" p2="1" p3="1"'] + ['p1="0"'] * 2 + [""] * 7
    mesh = load(tmp_path, model(groups + box(1, 'pid="5" pindex="1"', properties)))
    assert mesh.colors is not None
    assert (len(mesh.faces), volume(mesh)) == (12, pytest.approx(6))
    seen = [tuple(map(tuple, face)) for face in mesh.colors[mesh.faces].astype(int).tolist()]
    red, green, blue, black = (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)
    assert sorted(seen) == sorted(
        [(green,) * 3] * 2 + [(green, black, black)] + [(red,) * 3] * 2 + [(blue,) * 3] * 7
    )


def test_textures(tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[:2, :2] = (255, 0, 0)  # u below one half, v above
    Image.fromarray(pixels).save(tmp_path / "t.png")
    groups = """<m:texture2d id="4" path="/3D/Texture/t.png" contenttype="image/png" tilestyleu="mirror" tilestylev="clamp"/>
    <m:texture2dgroup id="5" texid="4"><m:tex2coord u="0.1" v="0.9"/></m:texture2dgroup>"""
    text = model(groups + box(1, 'pid="5" pindex="0"'))
    mesh = load(tmp_path, text, {"3D/Texture/T.png": (tmp_path / "t.png").read_bytes()})
    assert (colors(mesh), mesh.unread) == ([(255, 0, 0)], ())
    assert mesh.texturing is not None
    assert mesh.texturing.textures[0].wrap == ("mirror", "clamp")
    mesh = load(tmp_path, text)
    assert (mesh.colors, mesh.unread) == (
        None,
        ("texture /3D/Texture/t.png: /3D/Texture/t.png is not in the archive",),
    )


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    body = box(1, 'pid="9" pindex="0"')
    mesh = load(tmp_path, model(f"<m:multiproperties id='9' pids='5 6'/>{body}"))
    assert (mesh.unread, mesh.colors) == (("<multiproperties> is not read",), None)
    lattice = f'requiredextensions="m b" xmlns:b="{NAMES}beamlattice/2017/02"'
    with pytest.raises(
        MeshError, match=r"mesh\.3mf: requires the extension beamlattice/2017/02, which is not read"
    ):
        load(tmp_path, model(box(), attributes=lattice))
    assert len(load(tmp_path, model(box(), attributes='requiredextensions="m p"')).faces) == 12


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (model(box(), '<item objectid="8"/>'), "object 8 is not in 3D/3dmodel.model"),
        (model(box().replace('v1="0"', 'v1="8"', 1)), r"outside 0\.\.7"),
        (model(box().replace('v1="0"', 'v1="-1"', 1)), r"outside 0\.\.7"),
        (model(box().replace('x="0"', 'x="a"', 1)), "malformed 3mf"),
        (model(box().replace('x="0"', "", 1)), "malformed 3mf"),
        (model(box(), '<item objectid="1" transform="1 2"/>'), "a transform of 2 numbers"),
        (model("<basematerials id='5'/>" + box(1, 'pid="5" pindex="0"')), "a property outside"),
        (model(box(), '<item objectid="1" p:path="/x.model"/>'), "x.model is not in the archive"),
        (model('<object id="1"><components><component objectid="1"/></components></object>'), "in a circle"),
        (model(box())[:-300], "malformed 3mf"),
        (model(box(), ""), "no faces"),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]>" + model(box()).partition("?>")[2], "document type"),
    ],
)
def test_malformed_files(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(MeshError, match=message):
        load(tmp_path, text)


def test_small_files_cannot_become_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    doubled = "".join(
        f'<object id="{i}"><components>' + f'<component objectid="{i - 1}"/>' * 2 + "</components></object>"
        for i in range(2, 60)
    )
    monkeypatch.setattr(reader, "MAX_INSTANCES", 1000)
    with pytest.raises(MeshError, match="more than 1000 components"):
        load(tmp_path, model(box() + doubled, '<item objectid="59"/>'))
    monkeypatch.setattr(parts, "MAX_CORNERS", 300)
    with pytest.raises(MeshError, match="more than 100 faces with all instances"):
        load(tmp_path, model(box(), '<item objectid="1"/>' * 10))
    monkeypatch.setattr(packed, "_FREE_BYTES", 10_000)
    with pytest.raises(MeshError, match=r"decompresses to more than \d+ MiB"):
        load(tmp_path, model(box()) + " " * 10_000_000)


def test_damaged_archives(tmp_path: Path) -> None:
    load(tmp_path, model(box()))
    data = (tmp_path / "mesh.3mf").read_bytes()
    for damaged in (data[:200], data[:60] + b"xxxxxx" + data[66:], b"PK\x03\x04" + bytes(100)):
        (tmp_path / "bad.3mf").write_bytes(damaged)
        with pytest.raises(MeshError, match="malformed 3mf"):
            load_mesh(tmp_path / "bad.3mf")
