"""Small valid files of every format that is read, with what lies beside them, for `benchmarks/fuzz.py`."""

from __future__ import annotations

import base64
import gzip
import io
import json
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.support.gltf_files import CUBE, CUBE_FACES, GltfFile, encoded
from tests.support.step_files import step_file

Files = dict[str, bytes]  # by name, the mesh file first

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
UV = np.random.default_rng(1).random((8, 2))
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
NAMES_3MF = "http://schemas.microsoft.com/3dmanufacturing/"


def seeds() -> dict[str, Files]:
    """The files by kind."""
    makers: dict[str, Callable[[], Files]] = {
        **{"obj": _obj, "obj.gz": lambda: _packed(_obj()), "ply text": lambda: {"m.ply": _ply("ascii", "")}},
        **{"ply little": lambda: {"m.ply": _ply("binary_little_endian", "<")}, "ply strips": _ply_strips},
        **{"ply big": lambda: {"m.ply": _ply("binary_big_endian", ">")}, "ply texture": _ply_texture},
        **{"off": _off, "off.gz": lambda: _packed(_off()), "stl binary": _stl_binary, "stl text": _stl_text},
        **{"dae": _dae, "3mf": _3mf, "step": lambda: {"m.step": step_file(CUBE.tolist(), QUADS)}},
        **{"glb": _glb, "gltf": _gltf, "glb skin": _glb_skin, "glb draco": _glb_draco},
        **{"glb meshopt": _glb_meshopt, "gltf 1": _gltf1},
    }
    return {kind: make() for kind, make in makers.items()}


def _packed(files: Files) -> Files:
    (name, data), *others = files.items()
    return {f"{name}.gz": gzip.compress(data, mtime=0), **dict(others)}


def _obj() -> Files:
    lines = ["# a cube", "mtllib m.mtl"]
    lines += [f"v {x} {y} {z} 200 {20 * i} 0" for i, (x, y, z) in enumerate(CUBE)]
    lines += [f"vt {u:.4f} {v:.4f}" for u, v in UV] + ["vn 0 0 1", "usemtl a"]
    for i, quad in enumerate(QUADS):
        lines += ["usemtl b"] if i == 3 else []
        lines.append("f " + " ".join(f"{c + 1}/{c + 1}/1" for c in quad))
    lines += ["v 0 0 2", "f -1 1 \\", " 3 4 2", "l 1 2"]
    mtl = "newmtl a\nKd .2 .3 .4\nmap_Kd -s 1 2 1 -clamp on t.png\nnewmtl b\nKd 1 0 0\nd .5\n"
    return {"m.obj": "\n".join(lines).encode(), "m.mtl": mtl.encode(), "t.png": encoded(PIXELS)}


def _header(order: str, comment: str, *lines: str) -> bytes:
    return "\n".join(
        ["ply", f"format {order} 1.0", *([comment] if comment else []), *lines, "end_header\n"]
    ).encode()


def _ply(order: str, code: str) -> bytes:
    """Quads and triangles with colours of 16 bits."""
    polygons = [*QUADS[:3], *CUBE_FACES[6:].tolist()]
    properties = [f"property float {axis}" for axis in "xyz"] + [
        f"property ushort {c}" for c in ("red", "green", "blue")
    ]
    lists = "property list uchar int vertex_indices"
    header = _header(order, "", "element vertex 8", *properties, f"element face {len(polygons)}", lists)
    if not code:
        rows = [" ".join(map(str, [*corner, 1000 * i, 500, 65535])) for i, corner in enumerate(CUBE)]
        rows += [" ".join(map(str, [len(p), *p])) for p in polygons]
        return header + "\n".join(rows).encode() + b"\n"
    data = b"".join(struct.pack(f"{code}3f3H", *c, 1000 * i, 500, 65535) for i, c in enumerate(CUBE))
    return header + data + b"".join(struct.pack(f"{code}B{len(p)}i", len(p), *p) for p in polygons)


def _ply_strips() -> Files:
    strip = [0, 1, 2, 3, 6, 7, 4, 5, -1, 0, 4, 1, 5]
    lines = ["element vertex 8", *(f"property double {axis}" for axis in "xyz"), "element tristrips 1"]
    header = _header("binary_little_endian", "", *lines, "property list int int vertex_indices")
    return {
        "m.ply": header
        + CUBE.astype("<f8").tobytes()
        + struct.pack(f"<{len(strip) + 1}i", len(strip), *strip)
    }


def _ply_texture() -> Files:
    lines = ["element vertex 8", *(f"property float {axis}" for axis in "xyz"), "element face 12"]
    lines += ["property list uchar int vertex_indices", "property list uchar float texcoord"]
    header = _header("binary_little_endian", "comment TextureFile t.png", *lines)
    faces = (struct.pack("<B3iB6f", 3, *face, 6, *UV[face].ravel()) for face in CUBE_FACES)
    return {"m.ply": header + CUBE.astype("<f4").tobytes() + b"".join(faces), "t.png": encoded(PIXELS)}


def _off() -> Files:
    lines = ["OFF", f"8 {len(QUADS)} 0", *(" ".join(map(str, corner)) for corner in CUBE)]
    lines += [" ".join(map(str, [4, *quad, 255, 40 * i, 0])) for i, quad in enumerate(QUADS)]
    return {"m.off": "\n".join(lines).encode()}


def _stl_binary() -> Files:
    faces = (struct.pack("<12fH", 0, 0, 1, *CUBE[face].ravel(), 0x801F) for face in CUBE_FACES)
    return {"m.stl": b"a cube".ljust(80) + struct.pack("<I", 12) + b"".join(faces)}


def _stl_text() -> Files:
    lines = ["solid cube"]
    for face in CUBE_FACES:
        lines += ["facet normal 0 0 1", "outer loop", *(f"vertex {x} {y} {z}" for x, y, z in CUBE[face])]
        lines += ["endloop", "endfacet"]
    return {"m.stl": "\n".join([*lines, "endsolid cube"]).encode()}


def _dae() -> Files:
    def source(name: str, values: Any, stride: int) -> str:
        numbers = np.asarray(values, float).ravel()
        return (
            f'<source id="{name}"><float_array id="{name}a" count="{numbers.size}">{" ".join(map(str, numbers))}'
            f'</float_array><technique_common><accessor source="#{name}a" count="{numbers.size // stride}" '
            f'stride="{stride}"/></technique_common></source>'
        )

    corners = " ".join(f"{c} {c}" for quad in QUADS for c in quad)
    text = f"""<?xml version="1.0"?><COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">
<asset><unit meter="0.01"/><up_axis>Z_UP</up_axis></asset>
<library_images><image id="i"><init_from>t.png</init_from></image></library_images>
<library_effects><effect id="e"><profile_COMMON><newparam sid="s"><surface type="2D"><init_from>i</init_from></surface>
</newparam><newparam sid="p"><sampler2D><source>s</source></sampler2D></newparam><technique sid="t"><phong><diffuse>
<texture texture="p" texcoord="UV"/></diffuse></phong></technique></profile_COMMON></effect></library_effects>
<library_materials><material id="m"><instance_effect url="#e"/></material></library_materials>
<library_geometries><geometry id="g"><mesh>{source("x", CUBE, 3)}{source("u", UV, 2)}
<vertices id="v"><input semantic="POSITION" source="#x"/></vertices><polylist count="6" material="k">
<input semantic="VERTEX" source="#v" offset="0"/><input semantic="TEXCOORD" source="#u" offset="1" set="0"/>
<vcount>4 4 4 4 4 4</vcount><p>{corners}</p></polylist></mesh></geometry></library_geometries>
<library_controllers><controller id="c"><skin source="#g"><source id="j"><Name_array id="ja" count="1">b</Name_array>
</source>{source("ib", np.eye(4), 16)}{source("w", [1], 1)}<joints><input semantic="JOINT" source="#j"/>
<input semantic="INV_BIND_MATRIX" source="#ib"/></joints><vertex_weights count="8">
<input semantic="JOINT" source="#j" offset="0"/><input semantic="WEIGHT" source="#w" offset="1"/>
<vcount>1 1 1 1 1 1 1 1</vcount><v>{"0 0 " * 8}</v></vertex_weights></skin></controller></library_controllers>
<library_visual_scenes><visual_scene id="vs"><node id="n"><translate>1 2 3</translate><rotate>0 0 1 30</rotate>
<instance_geometry url="#g"><bind_material><technique_common><instance_material symbol="k" target="#m"/>
</technique_common></bind_material></instance_geometry></node><node id="b" sid="b"><scale>2 1 1</scale></node>
<node><instance_controller url="#c"><skeleton>#b</skeleton><bind_material><technique_common><instance_material symbol="k"
target="#m"/></technique_common></bind_material></instance_controller></node></visual_scene>
</library_visual_scenes><scene><instance_visual_scene url="#vs"/></scene></COLLADA>"""
    return {"m.dae": text.encode(), "t.png": encoded(PIXELS)}


def _3mf() -> Files:
    vertices = "".join(f'<vertex x="{x}" y="{y}" z="{z}"/>' for x, y, z in CUBE)
    faces = "".join(
        f'<triangle v1="{a}" v2="{b}" v3="{c}" pid="{5 + i % 2}" p1="{i % 2}"/>'
        for i, (a, b, c) in enumerate(CUBE_FACES)
    )
    coordinates = "".join(f'<m:tex2coord u="{u:.3f}" v="{v:.3f}"/>' for u, v in UV)
    model = f"""<?xml version="1.0" encoding="UTF-8"?><model unit="millimeter" xmlns="{NAMES_3MF}core/2015/02"
xmlns:m="{NAMES_3MF}material/2015/02" requiredextensions="m"><resources><basematerials id="5">
<base name="a" displaycolor="#FF0000"/><base name="b" displaycolor="#00FF00FF"/></basematerials>
<m:texture2d id="4" path="/3D/t.png" contenttype="image/png"/><m:texture2dgroup id="6" texid="4">{coordinates}
</m:texture2dgroup><object id="1" pid="5" pindex="1"><mesh><vertices>{vertices}</vertices><triangles>{faces}
</triangles></mesh></object><object id="2"><components><component objectid="1" transform="1 0 0 0 2 0 0 0 1 3 0 0"/>
<component objectid="1"/></components></object></resources><build><item objectid="2"/></build></model>"""
    return {"m.3mf": archive({"3D/3dmodel.model": model.encode(), "3D/t.png": encoded(PIXELS)})}


def archive(members: Files) -> bytes:
    """A ZIP archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(zipfile.ZipInfo(name), data)
    return stream.getvalue()


def _glb() -> Files:
    file = GltfFile()
    material = file.material(baseColorTexture={"index": file.image(PIXELS)}, baseColorFactor=[1, 0.5, 0.5, 1])
    colors = np.full((8, 4), 200, "u1")
    primitive = file.primitive(
        CUBE, CUBE_FACES, TEXCOORD_0=UV, COLOR_0=file.accessor(colors, normalized=True)
    )
    primitive["material"] = material
    file.scene(file.node(mesh=file.mesh(primitive), rotation=[0, 0.6, 0, 0.8]))
    return {"m.glb": file.glb()}


def _gltf() -> Files:
    file = GltfFile()
    material = file.add("images", {"uri": "t.png"})
    file.add("textures", {"source": material})
    primitive = file.primitive(CUBE, CUBE_FACES, TEXCOORD_0=UV)
    primitive["material"] = file.material(baseColorTexture={"index": 0})
    file.scene(file.node(mesh=file.mesh(primitive), scale=[1, 2, 3]))
    file.tree["buffers"] = [{"byteLength": len(file.blob), "uri": "m.bin"}]
    text = json.dumps(file.tree, indent=1).encode()
    return {"m.gltf": text, "m.bin": bytes(file.blob), "t.png": encoded(PIXELS)}


def _glb_skin() -> Files:
    """A skin, a morph target, sparse values, instances."""
    file = GltfFile()
    joints = np.zeros((8, 4), "u1")
    weights = file.accessor(np.tile(np.float32([1, 0, 0, 0]), (8, 1)))
    skinned = file.primitive(CUBE, CUBE_FACES, JOINTS_0=joints, WEIGHTS_0=weights)
    sparse = {
        "count": 2,
        "indices": {"bufferView": file.view(np.array([1, 5], "<u2").tobytes()), "componentType": 5123},
    }
    sparse["values"] = {"bufferView": file.view(np.ones((2, 3), "<f4").tobytes())}
    target = file.add("accessors", {"componentType": 5126, "type": "VEC3", "count": 8, "sparse": sparse})
    morphed = {**file.primitive(CUBE, CUBE_FACES), "targets": [{"POSITION": target}]}
    instances = {"TRANSLATION": file.accessor(np.array([[3, 0, 0], [6, 0, 0]], "<f4"))}
    joint = file.node(translation=[0, 4, 0])
    skin = file.add(
        "skins",
        {"joints": [joint], "inverseBindMatrices": file.accessor(np.eye(4, dtype="<f4").reshape(1, 16))},
    )
    nodes = [joint, file.node(mesh=file.mesh(skinned), skin=skin)]
    nodes.append(file.node(mesh=file.mesh(morphed, weights=[0.5])))
    plain = file.mesh(file.primitive(CUBE, CUBE_FACES))
    nodes.append(file.node(mesh=plain, extensions={"EXT_mesh_gpu_instancing": {"attributes": instances}}))
    file.scene(*nodes)
    return {"m.glb": file.glb()}


def _glb_draco() -> Files:
    import DracoPy

    data = DracoPy.encode(
        CUBE.astype(np.float32), CUBE_FACES.astype(np.uint32), quantization_bits=14, tex_coord=UV
    )
    ids = {entry["attribute_type"]: entry["unique_id"] for entry in DracoPy.decode(data).attributes}
    file = GltfFile()
    numbers = {
        name: file.add("accessors", {"componentType": 5126, "type": kind, "count": 8})
        for name, kind in (("POSITION", "VEC3"), ("TEXCOORD_0", "VEC2"))
    }
    attributes = {"POSITION": ids[0], "TEXCOORD_0": ids[3]}
    compression = {"bufferView": file.view(data), "attributes": attributes}
    indices = file.add("accessors", {"componentType": 5125, "type": "SCALAR", "count": 36})
    primitive = {
        "attributes": numbers,
        "indices": indices,
        "extensions": {"KHR_draco_mesh_compression": compression},
    }
    file.scene(file.node(mesh=file.mesh(primitive)))
    file.require("KHR_draco_mesh_compression")
    return {"m.glb": file.glb()}


def _glb_meshopt() -> Files:
    import meshopt

    file, name = GltfFile(), "EXT_meshopt_compression"
    stored = np.zeros((8, 4), "<u2")
    stored[:, :3] = (CUBE + 0.5) * 16383
    accessors = []
    for values, seen, mode in (
        (stored, stored[:, :3], "ATTRIBUTES"),
        (CUBE_FACES.ravel().astype("<u2"), CUBE_FACES.ravel().astype("<u2"), "TRIANGLES"),
    ):
        width = values.nbytes // len(values)
        view = file.tree.setdefault("bufferViews", [])
        number = file.view(meshopt.encode_gltf_buffer(values, mode, 0))
        inner = {**view[number], "count": len(values), "mode": mode, "byteStride": width}
        view[number] = {"buffer": 1, "byteLength": values.nbytes, "extensions": {name: inner}}
        view[number] |= {"byteStride": width} if mode == "ATTRIBUTES" else {}
        accessors.append(file.add("accessors", {**file.described(seen), "bufferView": number}))
    file.tree["buffers"] = [{}, {"byteLength": 10**6, "extensions": {name: {"fallback": True}}}]
    primitive = {"attributes": {"POSITION": accessors[0]}, "indices": accessors[1]}
    file.scene(file.node(mesh=file.mesh(primitive)))
    file.require(name, "KHR_mesh_quantization")
    return {"m.glb": file.glb()}


def _gltf1() -> Files:
    blob = CUBE.astype("<f4").tobytes() + CUBE_FACES.astype("<u2").tobytes()
    uri = "data:application/octet-stream;base64," + base64.b64encode(blob).decode()
    accessor = {"byteOffset": 0, "byteStride": 0}
    tree = {
        "asset": {"version": "1.0"},
        "scene": "s",
        "scenes": {"s": {"nodes": ["n"]}},
        "nodes": {"n": {"meshes": ["m"], "translation": [0, 0, 3]}},
        "meshes": {"m": {"primitives": [{"attributes": {"POSITION": "p"}, "indices": "i", "mode": 4}]}},
        "accessors": {
            "p": accessor
            | {"bufferView": "v", "componentType": 5126, "count": 8, "type": "VEC3", "byteStride": 12},
            "i": accessor | {"bufferView": "f", "componentType": 5123, "count": 36, "type": "SCALAR"},
        },
        "bufferViews": {
            "v": {"buffer": "data", "byteOffset": 0, "byteLength": 96, "target": 34962},
            "f": {"buffer": "data", "byteOffset": 96, "byteLength": 72, "target": 34963},
        },
        "buffers": {"data": {"uri": uri, "byteLength": len(blob), "type": "arraybuffer"}},
    }
    return {"m.gltf": json.dumps(tree).encode()}
