"""COLLADA files: axes, scenes, primitives, materials and skins as the standard says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from occnet_lib.errors import MeshError
from occnet_lib.geometry.textures import bake
from occnet_lib.storage.meshes import load_mesh, parts
from occnet_lib.storage.meshes.dae import reader
from occnet_lib.types import Mesh

# A box from (0, 0, 0) to (1, 2, 3), as quads that point outward, and the coordinates (0.1, 0.9) at every corner.
BOX = "0 0 0 1 0 0 1 2 0 0 2 0 0 0 3 1 0 3 1 2 3 0 2 3"
QUADS = "0 3 2 1 4 5 6 7 0 1 5 4 2 3 7 6 0 4 7 3 1 2 6 5"
GEOMETRY = "<instance_geometry url='#g'/>"


def source(name: str, values: str, stride: int) -> str:
    count = len(values.split())
    return f"""<source id="{name}"><float_array id="{name}-a" count="{count}">{values}</float_array>
    <technique_common><accessor source="#{name}-a" count="{count // stride}" stride="{stride}"/></technique_common>
    </source>"""


def box(primitive: str = "", extra: str = "") -> str:
    """A geometry `g` with one primitive."""
    primitive = (
        primitive
        or f"""<polylist count="6" material="m"><input semantic="VERTEX" source="#v" offset="0"/>
        <vcount>4 4 4 4 4 4</vcount><p>{QUADS}</p></polylist>"""
    )
    return f"""<library_geometries><geometry id="g"><mesh>{source("pos", BOX, 3)}{extra}
    <vertices id="v"><input semantic="POSITION" source="#pos"/></vertices>{primitive}</mesh></geometry>
    </library_geometries>"""


def scene(nodes: str = f"<node>{GEOMETRY}</node>", library: str = "") -> str:
    return f"""{library}<library_visual_scenes><visual_scene id="s">{nodes}</visual_scene></library_visual_scenes>
    <scene><instance_visual_scene url="#s"/></scene>"""


def load(folder: Path, body: str, up_axis: str = "", up: str = "y") -> Mesh:
    asset = f"<asset><unit name='inch' meter='0.0254'/>{up_axis and f'<up_axis>{up_axis}</up_axis>'}</asset>"
    text = f"""<?xml version="1.0" encoding="utf-8"?>
    <COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">{asset}{body}</COLLADA>"""
    (folder / "mesh.dae").write_text(text)
    return load_mesh(folder / "mesh.dae", up)  # type: ignore[arg-type]


def extent(mesh: Mesh) -> list[float]:
    return np.ptp(mesh.vertices, axis=0).round(6).tolist()


def volume(mesh: Mesh) -> float:
    a, b, c = np.moveaxis(mesh.triangles, 1, 0)
    return float(np.einsum("fk,fk->f", a, np.cross(b, c)).sum() / 6)


def colors(mesh: Mesh) -> list[tuple[int, ...]]:
    baked = bake(mesh)
    assert baked.colors is not None
    return sorted({tuple(color) for color in np.round(255 * baked.colors).astype(int).tolist()})


@pytest.mark.parametrize(
    ("stated", "given", "want"),
    [
        ("Z_UP", "y", [1, 3, 2]),
        ("Z_UP", "z", [1, 3, 2]),
        ("Y_UP", "z", [1, 2, 3]),
        ("X_UP", "y", [2, 1, 3]),
        ("", "z", [1, 3, 2]),
        ("", "y", [1, 2, 3]),
        ("nonsense", "z", [1, 3, 2]),
    ],
)
def test_the_stated_axis_counts_and_units_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, stated: str, given: str, want: list[float]
) -> None:
    mesh = load(tmp_path, box() + scene(), stated, given)
    assert extent(mesh) == want
    assert volume(mesh) == pytest.approx(6)
    assert mesh.vertices[:, 1].min() == pytest.approx(0)
    differs = stated.endswith("UP") and stated[0].lower() != given
    assert (f"as up axis, which overrides dataset.up: {given}" in caplog.text) == differs


@pytest.mark.parametrize("tag", ["triangles", "polygons", "tristrips", "trifans"])
def test_every_kind_of_primitive(tmp_path: Path, tag: str) -> None:
    quads = np.array(QUADS.split()).reshape(-1, 4)
    order = {"triangles": [0, 1, 2, 0, 2, 3], "tristrips": [0, 1, 3, 2]}.get(tag, [0, 1, 2, 3])
    lists = [" ".join(quad[order]) for quad in quads]
    ps = f"<p>{' '.join(lists)}</p>" if tag == "triangles" else "".join(f"<p>{item}</p>" for item in lists)
    body = f"<{tag}><input semantic='VERTEX' source='#v' offset='0'/>{ps}</{tag}>"
    mesh = load(tmp_path, box(body) + scene())
    assert (len(mesh.faces), volume(mesh)) == (12, pytest.approx(6))


def test_concave_polygons_and_several_inputs(tmp_path: Path) -> None:
    # An L in the plane z = 0, with a normal at every corner, and lines beside it.
    body = """<polylist count="1"><input semantic="NORMAL" source="#pos" offset="0"/>
    <input semantic="VERTEX" source="#v" offset="2"/><vcount>6</vcount>
    <p>0 9 3 0 9 4 0 9 5 0 9 0 0 9 1 0 9 2</p></polylist><lines><p>0 1</p></lines>"""
    extra = source("ell", "0 0 0 2 0 0 2 1 0 1 1 0 1 2 0 0 2 0", 3)
    text = box(body, extra).replace('semantic="POSITION" source="#pos"', 'semantic="POSITION" source="#ell"')
    mesh = load(tmp_path, text + scene())
    a, b, c = np.moveaxis(mesh.triangles, 1, 0)
    normals = np.cross(b - a, c - a) / 2
    assert np.linalg.norm(normals, axis=1).sum() == pytest.approx(3)
    assert normals.sum(axis=0).tolist() == pytest.approx([0, 0, 3])


def test_nodes_place_their_geometry(tmp_path: Path) -> None:
    library = f"<library_nodes><node id='n'><translate>0 0 5</translate>{GEOMETRY}</node></library_nodes>"
    nodes = f"""<node><translate>10 0 0</translate><rotate>0 0 1 90</rotate><scale>2 1 1</scale>{GEOMETRY}
        <node><matrix>1 0 0 0 0 1 0 0 0 0 1 100 0 0 0 1</matrix>{GEOMETRY}</node></node>
        <node><scale>-1 1 1</scale><instance_node url="#n"/></node>"""
    mesh = load(tmp_path, box() + library + scene(nodes))
    assert len(mesh.faces) == 36
    assert volume(mesh) == pytest.approx(6 * (2 + 2 + 1))  # the mirrored one points outward, too
    first, second, third = mesh.vertices.reshape(3, 8, 3)
    assert (first.min(axis=0).round(6).tolist(), first.max(axis=0).round(6).tolist()) == (
        [8, 0, 0],
        [10, 2, 3],
    )
    np.testing.assert_allclose(second, first + np.array([0, 0, 100]))
    assert (third.min(axis=0).tolist(), third.max(axis=0).tolist()) == ([-1, 0, 5], [0, 2, 8])


def test_a_node_that_looks_at_a_point(tmp_path: Path) -> None:
    node = f"<node><lookat>1 2 3  1 2 0  0 1 0</lookat>{GEOMETRY}</node>"
    mesh = load(tmp_path, box() + scene(node))
    assert mesh.vertices.min(axis=0).tolist() == [1, 2, 3]  # its axes are the scene's


def test_without_a_scene_all_geometries_count(tmp_path: Path) -> None:
    assert len(load(tmp_path, box()).faces) == 12
    library = (
        "<library_visual_scenes><visual_scene><node><scale>2 2 2</scale><instance_geometry url='#g'/></node>"
    )
    mesh = load(tmp_path, box() + library + "</visual_scene></library_visual_scenes>")
    assert extent(mesh) == [2, 4, 6]


EFFECT = """<library_effects><effect id="e"><profile_COMMON>{params}<technique sid="t"><{model}>
<emission><color>0 0 0 1</color></emission>{diffuse}</{model}></technique></profile_COMMON></effect></library_effects>
<library_materials><material id="mat"><instance_effect url="#e"/></material></library_materials>"""
BOUND = """<node><instance_geometry url='#g'><bind_material><technique_common>
<instance_material symbol="m" target="#mat"><bind_vertex_input semantic="CHANNEL1" input_semantic="TEXCOORD"
 input_set="3"/></instance_material></technique_common></bind_material></instance_geometry></node>"""
PARAMS = """<newparam sid="sf"><surface type="2D"><init_from>img</init_from></surface></newparam>
<newparam sid="sm"><sampler2D><source>sf</source><wrap_s>MIRROR</wrap_s><wrap_t>CLAMP</wrap_t></sampler2D></newparam>"""
TEXTURED = """<polylist count="6" material="m"><input semantic="VERTEX" source="#v" offset="0"/>
<input semantic="TEXCOORD" source="#other" offset="0" set="0"/>
<input semantic="TEXCOORD" source="#uv" offset="1" set="3"/><vcount>4 4 4 4 4 4</vcount><p>{p}</p></polylist>"""


def textured(folder: Path, init_from: str, params: str = PARAMS, name: str = "sm", p: str = "") -> Mesh:
    """A box whose corners all have the coordinates (0.1, 0.9) of a texture that is red there."""
    p = p or " ".join(f"{corner} 0" for corner in QUADS.split())
    extra = source("uv", "0.1 0.9", 2) + source("other", "0.9 0.1 " * 8, 2)
    image = f"<library_images><image id='img'><init_from>{init_from}</init_from></image></library_images>"
    texture = f"<diffuse><texture texture='{name}' texcoord='CHANNEL1'/></diffuse>"
    effect = EFFECT.format(params=params, model="phong", diffuse=texture)
    return load(folder, image + effect + box(TEXTURED.format(p=p), extra) + scene(BOUND))


def corner_image(path: Path) -> None:
    from PIL import Image

    path.parent.mkdir(exist_ok=True)
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[:2, :2] = (255, 0, 0)  # u below one half, v above
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize(
    ("stored", "init_from"),
    [
        ("a b.png", "a b.png"),
        ("a b.png", "./a%20b.png"),
        ("tex/a.png", "tex\\a.png"),
        ("tex/a.png", "file:///C:/me/tex/a.png"),
        ("a.png", "file://a.png"),
        ("textures/a.png", "../elsewhere/A.PNG"),
        ("a&amp;b.png", "a&amp;b.png"),
    ],
)
def test_textures_are_where_people_have_them(tmp_path: Path, stored: str, init_from: str) -> None:
    corner_image(tmp_path / stored.replace("&amp;", "&"))
    mesh = textured(tmp_path, init_from)
    assert (colors(mesh), mesh.unread) == ([(255, 0, 0)], ())
    assert mesh.texturing is not None
    assert mesh.texturing.textures[0].wrap == ("mirror", "clamp")


def test_textures_in_other_words(tmp_path: Path) -> None:
    corner_image(tmp_path / "a.png")
    hexed = (tmp_path / "a.png").read_bytes().hex()
    new = '<newparam sid="sm"><sampler2D><instance_image url="#img"/></sampler2D></newparam>'
    assert colors(textured(tmp_path, "<ref>a.png</ref>", new)) == [(255, 0, 0)]  # COLLADA 1.5
    assert colors(textured(tmp_path, f"<hex format='PNG'>{hexed}</hex>", new)) == [(255, 0, 0)]
    assert colors(textured(tmp_path, "a.png", "", "img")) == [(255, 0, 0)]  # the image itself
    assert colors(textured(tmp_path, "x", PARAMS.replace(">img<", ">a.png<"))) == [(255, 0, 0)]  # the file


def test_textures_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    mesh = textured(tmp_path, "no%20.png")
    assert (mesh.unread, mesh.colors, mesh.texturing) == (("texture no%20.png: no such file",), None, None)
    (tmp_path / "bad.png").write_bytes(b"x")
    assert textured(tmp_path, "bad.png").unread == ("texture bad.png: not an image of a known format",)
    assert textured(tmp_path, "").unread == ("texture sm: the image has no file",)
    mesh = load(tmp_path, box() + scene(BOUND))
    assert mesh.unread == ("material mat: malformed COLLADA: no element has the id 'mat'",)
    unbound = "<library_materials><material id='red'/></library_materials>"
    assert load(tmp_path, unbound + box() + scene()).unread == ("material m: the scene binds it to none",)
    assert load(tmp_path, box() + scene()).unread == ()
    with pytest.raises(MeshError, match=r"an index outside 0\.\.0"):
        textured(tmp_path, "bad.png", p=" ".join(f"{corner} 1" for corner in QUADS.split()))


@pytest.mark.parametrize("model", ["phong", "lambert", "blinn", "constant"])
def test_colors_of_materials(tmp_path: Path, model: str) -> None:
    diffuse = "<diffuse><color sid='d'>1 0.2 0 1</color></diffuse>"
    effect = EFFECT.format(params="", model=model, diffuse=diffuse)
    assert colors(load(tmp_path, effect + box() + scene(BOUND))) == [(255, 51, 0)]
    # Without a binding the symbol may be the material's id; another is grey.
    assert colors(load(tmp_path, effect + box().replace('"m"', '"mat"') + scene())) == [(255, 51, 0)]
    assert load(tmp_path, effect + box() + scene()).colors is None


def test_colors_of_vertices(tmp_path: Path) -> None:
    body = f"""<polylist><input semantic="VERTEX" source="#v" offset="0"/>
    <input semantic="COLOR" source="#c" offset="1"/><vcount>4 4 4 4 4 4</vcount>
    <p>{" ".join(f"{corner} {i // 12}" for i, corner in enumerate(QUADS.split()))}</p></polylist>"""
    mesh = load(tmp_path, box(body, source("c", "1 0 0 1 0 0 1 1", 4)) + scene())
    assert colors(mesh) == [(0, 0, 255), (255, 0, 0)]
    assert volume(mesh) == pytest.approx(6)


SKIN = """<library_controllers><controller id="c"><skin source="#g">
<bind_shape_matrix>2 0 0 0 0 2 0 0 0 0 2 0 0 0 0 1</bind_shape_matrix>
<source id="j"><Name_array id="ja" count="2">low high</Name_array></source>{inverse}{weights}
<joints><input semantic="JOINT" source="#j"/><input semantic="INV_BIND_MATRIX" source="#ib"/></joints>
<vertex_weights count="8"><input semantic="JOINT" source="#j" offset="0"/>
<input semantic="WEIGHT" source="#w" offset="1"/><vcount>1 1 1 1 1 1 1 2</vcount>
<v>0 0 0 0 0 0 0 0 1 0 1 0 1 0 0 1 1 1</v></vertex_weights></skin></controller></library_controllers>"""


def test_skins_stand_as_the_joints_do(tmp_path: Path) -> None:
    back = "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1 1 0 0 0 0 1 0 0 0 0 1 -6 0 0 0 1"  # `high` was at z = 6
    skin = SKIN.format(inverse=source("ib", back, 16), weights=source("w", "1 0.5", 1))
    nodes = """<node><translate>9 9 9</translate><instance_controller url="#c"><skeleton>#root</skeleton>
    </instance_controller></node><node id="root" sid="low"><translate>1 0 0</translate>
    <node sid="high"><translate>0 0 {z}</translate></node></node>"""
    mesh = load(tmp_path, box() + skin + scene(nodes.format(z=10)))
    want = 2 * np.array(BOX.split(), float).reshape(8, 3) + [1, 0, 0]
    want[[4, 5, 6], 2] += 4
    want[7, 2] += 2  # half with each joint
    np.testing.assert_allclose(mesh.vertices, want)
    assert mesh.unread == ()
    lost = load(tmp_path, box() + skin + scene(nodes.format(z=10).replace('sid="high"', 'sid="x"')))
    np.testing.assert_allclose(lost.vertices, 2 * np.array(BOX.split(), float).reshape(8, 3))
    assert lost.unread == ("joint high is not in the scene: the skin keeps its bind pose",)


CIRCLE = "<node id='a'><instance_node url='#b'/></node><node id='b'><instance_node url='#a'/></node>"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (box() + scene("<node><instance_geometry url='other.dae#g'/></node>"), "another file"),
        (box() + scene("<node><instance_geometry url='#x'/></node>"), "no element has the id 'x'"),
        (box() + scene(CIRCLE), "nodes in a circle"),
        (box() + scene("<node><skew>1 2 3 4 5 6 7</skew></node>"), "skew"),
        (box() + scene("<node><scale>1 2</scale></node>"), "a <scale> of 2 numbers"),
        (box().replace("<p>0 3", "<p>0 9") + scene(), r"outside 0\.\.7"),
        (box().replace("<p>0 3", "<p>0 3 1") + scene(), "25 corners in a <polylist> instead of 24"),
        (box().replace("<p>0 3", "<p>0 x") + scene(), "not a number: x"),
        (
            box().replace('count="8" stride', 'count="999999999" stride') + scene(),
            "of 999999999 values has 8",
        ),
        (box().replace("mesh>", "brep>") + scene(), "is of the kind brep"),
        (box("<polygons><ph><p>0 1 2</p><h>4 5 6</h></ph></polygons>") + scene(), "holes"),
        (box() + scene() + "<x>", "malformed dae file"),
        (
            "<library_controllers><controller id='c'><morph source='#g'/></controller></library_controllers>"
            + scene("<node><instance_controller url='#c'/></node>"),
            "morph targets",
        ),
    ],
)
def test_what_is_not_read_is_named(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(MeshError, match=message):
        load(tmp_path, body)


def test_small_files_cannot_become_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    doubling = "".join(
        f"<node id='n{i}'>" + f"<instance_node url='#n{i + 1}'/>" * 2 + "</node>" for i in range(40)
    )
    nodes = doubling + f"<node id='n40'>{GEOMETRY}</node>"
    monkeypatch.setattr(reader, "MAX_INSTANCES", 1000)
    with pytest.raises(MeshError, match="too many instances"):
        load(tmp_path, box() + scene(nodes))
    monkeypatch.setattr(parts, "MAX_CORNERS", 100)
    with pytest.raises(MeshError, match="more than 33 faces"):
        load(tmp_path, box() + scene(f"<node>{GEOMETRY * 5}</node>"))
    laughs = "".join(f"<!ENTITY l{i} '{f'&l{i - 1};' * 10}'>" for i in range(1, 12))
    text = f"<!DOCTYPE x [<!ENTITY l0 'ha'>{laughs}]><COLLADA>&l11;</COLLADA>"
    (tmp_path / "laughs.dae").write_text(text)
    with pytest.raises(MeshError, match="malformed dae file"):
        load_mesh(tmp_path / "laughs.dae")
