"""Mesh files: right geometry and colours, or one line that says what is wrong."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from occnet_lib.errors import MeshError
from occnet_lib.geometry.colors import DEFAULT_COLOR
from occnet_lib.geometry.textures import bake
from occnet_lib.storage.meshes import WRITABLE, digest, load_mesh, save_mesh
from occnet_lib.types import Mesh

# A box of edges 1, 2 and 3 with one corner at 0, as OBJ quads that point outward.
BOX = """
v 0 0 0
v 1 0 0
v 1 2 0
v 0 2 0
v 0 0 3
v 1 0 3
v 1 2 3
v 0 2 3
{before}
f 1 4 3 2
f 5 6 7 8
f 1 2 6 5
{between}
f 3 4 8 7
f 1 5 8 4
f 2 3 7 6
"""


def obj(tmp_path: Path, text: str, name: str = "mesh.obj") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def box(tmp_path: Path, before: str = "", between: str = "") -> Path:
    return obj(tmp_path, BOX.format(before=before, between=between))


def volume(mesh: Mesh) -> float:
    """By the divergence theorem: positive where faces point outward."""
    a, b, c = np.moveaxis(mesh.triangles, 1, 0)
    return float(np.einsum("fk,fk->f", a, np.cross(b, c)).sum() / 6)


def areas(mesh: Mesh) -> NDArray[np.float64]:
    a, b, c = np.moveaxis(mesh.triangles, 1, 0)
    return np.asarray(np.cross(b - a, c - a) / 2)


def extent(mesh: Mesh) -> list[float]:
    return np.ptp(mesh.vertices, axis=0).round(6).tolist()


def test_quads_become_triangles(tmp_path: Path) -> None:
    mesh = load_mesh(box(tmp_path))
    assert (len(mesh.vertices), len(mesh.faces), mesh.colors) == (8, 12, None)
    assert (mesh.vertices.dtype, mesh.faces.dtype) == (np.float64, np.int32)
    assert extent(mesh) == [1, 2, 3]
    assert volume(mesh) == pytest.approx(6)


@pytest.mark.parametrize(
    ("up", "edges", "top"), [("y", [1, 2, 3], "y"), ("z", [1, 3, 2], "z"), ("x", [2, 1, 3], "x")]
)
def test_up_axis_is_turned_to_y(tmp_path: Path, up: str, edges: list[int], top: str) -> None:
    path = box(tmp_path)
    mesh = load_mesh(path, up)  # type: ignore[arg-type]
    assert extent(mesh) == edges
    assert volume(mesh) == pytest.approx(6)
    # The box lies on the positive side of the file's up axis, so it must stand above the ground.
    assert mesh.vertices[:, 1].min() == pytest.approx(0)


@pytest.mark.parametrize("suffix", WRITABLE)
@pytest.mark.parametrize("colored", [False, True])
def test_round_trip(tmp_path: Path, suffix: str, colored: bool) -> None:
    source = load_mesh(box(tmp_path))
    rng = np.random.default_rng(0)
    colors = rng.random((8, 3)).astype(np.float32) if colored else None
    path = tmp_path / f"out{suffix}"
    save_mesh(Mesh(source.vertices, source.faces, colors), path)
    mesh = load_mesh(path)
    np.testing.assert_allclose(mesh.triangles, source.triangles, atol=1e-6)
    if colored and suffix in (".obj", ".ply", ".glb"):
        assert mesh.colors is not None
        # Linear light in 8 bits (GLB) is coarse in the dark.
        tolerance = 0.06 if suffix == ".glb" else 0.003
        np.testing.assert_allclose(mesh.colors[mesh.faces], colors[source.faces], atol=tolerance)
    elif suffix != ".glb":
        assert mesh.colors is None


def test_unknown_suffixes(tmp_path: Path) -> None:
    mesh = load_mesh(box(tmp_path))
    with pytest.raises(MeshError, match=r"cannot write .*\.xyz.*\.obj"):
        save_mesh(mesh, tmp_path / "a.xyz")
    with pytest.raises(MeshError, match=r"unknown kind of mesh file '\.xyz'.*\.obj"):
        load_mesh(obj(tmp_path, "v 0 0 0", "a.xyz"))
    with pytest.raises(MeshError, match=r"\.fbx \(Autodesk FBX\) is not supported \(.*Blender\)"):
        load_mesh(obj(tmp_path, "Kaydara FBX Binary", "a.fbx"))
    with pytest.raises(MeshError, match=r"\.zip \(an archive\) is not supported \(unpack it\)"):
        load_mesh(obj(tmp_path, "PK", "a.zip"))


def test_files_of_other_commands_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match=r"\.jpg \(an image\) is not supported \(occnet reconstruct"):
        load_mesh(obj(tmp_path, "x", "a.jpg"))
    with pytest.raises(MeshError, match=r"\.h5 \(processed shapes\) is not supported \(give the raw mesh"):
        load_mesh(obj(tmp_path, "x", "a.h5"))
    with pytest.raises(MeshError, match=r"a folder without mesh files \(give a mesh file\)"):
        load_mesh(tmp_path)
    obj(tmp_path, "x", "b.obj")
    with pytest.raises(MeshError, match=r"a folder with several mesh files, none of them model"):
        load_mesh(tmp_path)


def test_materials_become_colors(tmp_path: Path) -> None:
    (tmp_path / "m.mtl").write_text("newmtl red\nKd 1 0 0\nnewmtl grey\nKd 0.4 0.4 0.4\n")
    mesh = load_mesh(box(tmp_path, "mtllib m.mtl\nusemtl red", "usemtl grey"))
    assert mesh.colors is not None
    assert mesh.colors.dtype == np.float32
    by_face = sorted(map(tuple, mesh.colors[mesh.faces].mean(axis=1).tolist()))
    np.testing.assert_allclose(by_face, [(0.4, 0.4, 0.4)] * 6 + [(1, 0, 0)] * 6, atol=1e-6)


def test_material_without_description_is_no_color(tmp_path: Path) -> None:
    assert load_mesh(box(tmp_path, "mtllib absent.mtl\nusemtl red")).colors is None
    assert load_mesh(box(tmp_path, "usemtl red")).colors is None


def test_colors_that_are_not_numbers_and_faces_without_area_are_reported(tmp_path: Path) -> None:
    lines = [
        "colours are not finite numbers, which are taken as grey",
        "faces have fewer than three corners and are skipped",
    ]
    corners = "0 0 0 {}\n1 0 0 {}\n0 1 0 {}\n"
    colors = "1 0 0", "nan nan nan", "1 0 nan"
    properties = "".join(f"property float {name}\n" for name in ("x", "y", "z", "red", "green", "blue"))
    files = {
        "a.obj": "v " + corners.replace("\n", "\nv ", 2).format(*colors) + "f 1 2 3\nf 1 2\n",
        "a.ply": "ply\nformat ascii 1.0\nelement vertex 3\n"
        + properties
        + "element face 2\nproperty list uchar int vertex_indices\nend_header\n"
        + corners.format(*colors)
        + "3 0 1 2\n2 0 1\n",
        "a.off": "COFF\n3 2 0\n"
        + corners.format("1.0 0 0 1", "nan nan nan 1", "1.0 0 nan 1")
        + "3 0 1 2\n2 0 1\n",
        "a.dae": '<COLLADA><library_geometries><geometry id="g"><mesh><source id="p"><float_array>0 0 0 1 0 0 0 1 0'
        '</float_array></source><source id="c"><float_array>1 0 0 nan nan nan 1 0 nan</float_array></source>'
        '<polylist><input semantic="POSITION" source="#p"/><input semantic="COLOR" source="#c"/>'
        "<vcount>3 2</vcount><p>0 1 2 0 1</p></polylist></mesh></geometry></library_geometries></COLLADA>",
    }
    for name, text in files.items():
        mesh = load_mesh(obj(tmp_path, text, name))
        assert sorted(mesh.unread) == [f"1 of 2 {lines[1]}", f"2 of 3 {lines[0]}"], name
        assert mesh.colors is not None
        np.testing.assert_allclose(
            mesh.colors, [(1, 0, 0), (DEFAULT_COLOR,) * 3, (1, 0, DEFAULT_COLOR)], atol=1e-6
        )
    mesh = load_mesh(obj(tmp_path, "v 0 0 0 255 0 0\nv 1 0 0\nv 0 1 0 0 0 255\nf 1 2 3\n"))
    assert mesh.unread == ()  # a vertex without a colour is grey
    np.testing.assert_allclose(mesh.colors, [(1, 0, 0), (DEFAULT_COLOR,) * 3, (0, 0, 1)], atol=1e-6)


def test_part_without_color_is_grey(tmp_path: Path) -> None:
    scene = trimesh.Scene()
    red = trimesh.creation.box(extents=(1, 1, 1))
    red.visual = trimesh.visual.TextureVisuals(
        material=trimesh.visual.material.PBRMaterial(baseColorFactor=[1.0, 0.0, 0.0, 1.0])
    )
    scene.add_geometry(red)
    scene.add_geometry(trimesh.creation.box(extents=(2, 2, 2)))
    scene.export(tmp_path / "s.glb")
    colors = load_mesh(tmp_path / "s.glb").colors
    assert colors is not None
    assert {tuple(color) for color in colors.round(2).tolist()} >= {(1.0, 0.0, 0.0)}


def test_gltf_color_is_linear_light(tmp_path: Path) -> None:
    mesh = trimesh.creation.box(extents=(1, 1, 1))
    mesh.visual = trimesh.visual.TextureVisuals(
        material=trimesh.visual.material.PBRMaterial(baseColorFactor=[0.2140, 1.0, 0.0, 1.0])
    )
    mesh.export(tmp_path / "s.glb")
    colors = load_mesh(tmp_path / "s.glb").colors
    assert colors is not None
    np.testing.assert_allclose(colors, np.tile([0.5, 1.0, 0.0], (len(colors), 1)), atol=0.01)


def test_texture_is_sampled_at_the_vertices(tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[:2, :2], pixels[:2, 2:] = (255, 0, 0), (0, 255, 0)  # the upper half: v above one half
    pixels[2:, :2], pixels[2:, 2:] = (0, 0, 255), (255, 255, 255)
    Image.fromarray(pixels).save(tmp_path / "t.png")
    (tmp_path / "m.mtl").write_text("newmtl t\nKd 0 0 0\nmap_Kd t.png\n")
    text = "mtllib m.mtl\nusemtl t\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 2 0 0\n"
    text += "vt 0.1 0.1\nvt 0.9 0.1\nvt 0.9 0.9\nvt 0.1 0.9\nvt 1.1 -0.1\n"
    mesh = load_mesh(obj(tmp_path, text + "f 1/1 2/2 3/3 4/4\nf 2/2 5/5 3/3\n"))
    assert mesh.texturing is not None
    mesh = bake(mesh)
    assert mesh.colors is not None
    want = {(0, 0): (0, 0, 1), (1, 0): (1, 1, 1), (1, 1): (0, 1, 0), (0, 1): (1, 0, 0), (2, 0): (1, 0, 0)}
    pairs = zip(mesh.vertices[:, :2].astype(int), mesh.colors.round().astype(int), strict=True)
    got = {tuple(vertex): tuple(color) for vertex, color in pairs}
    assert got == want


def test_shapenet_s_textures_and_links_are_read(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "id" / "models").mkdir(parents=True)
    (tmp_path / "id" / "images").mkdir()
    Image.new("RGB", (8, 8), (0, 255, 0)).save(tmp_path / "id" / "images" / "texture0.png")
    (tmp_path / "store.mtl").write_text("newmtl t\nKd 1 0 0\nmap_Kd ../images/texture0.png\n")
    (tmp_path / "id" / "models" / "m.mtl").symlink_to(tmp_path / "store.mtl")
    text = "mtllib m.mtl\nusemtl t\nv 0 0 0\nv 1 0 0\nv 1 1 0\nvt 0.5 0.5\nf 1/1 2/1 3/1\n"
    mesh = bake(load_mesh(obj(tmp_path / "id" / "models", text, "model_normalized.obj")))
    assert mesh.colors is not None
    np.testing.assert_allclose(mesh.colors, [[0, 1, 0]] * 3, atol=1e-6)


def test_face_colors_stay_with_their_faces(tmp_path: Path) -> None:
    text = "OFF\n4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 2 255 0 0\n3 0 2 3 0 0 255\n"
    mesh = load_mesh(obj(tmp_path, text, "c.off"))
    assert mesh.colors is not None
    assert mesh.colors[mesh.faces].mean(axis=1).tolist() == [[1, 0, 0], [0, 0, 1]]


def test_scene_transforms_are_applied_and_mirrors_keep_outward_faces(tmp_path: Path) -> None:
    cube = trimesh.creation.box(extents=(1, 1, 1))
    scene = trimesh.Scene()
    moved, mirrored = np.eye(4), np.diag([-2.0, 1.0, 1.0, 1.0])
    moved[:3, 3] = (10, 0, 0)
    scene.add_geometry(cube, transform=moved)
    scene.add_geometry(cube.copy(), transform=mirrored)
    scene.export(tmp_path / "s.glb")
    mesh = load_mesh(tmp_path / "s.glb")
    assert extent(mesh) == [11.5, 1, 1]
    assert volume(mesh) == pytest.approx(3)


def test_concave_polygons_are_divided_rightly(tmp_path: Path) -> None:
    # An L and an arrow head whose fan from the first corner sticks out.
    ell = "v 0 0 0\nv 2 0 0\nv 2 1 0\nv 1 1 0\nv 1 2 0\nv 0 2 0\n"
    for order in ("3 4 5 6 1 2", "1 2 3 4 5 6", "5 6 1 2 3 4", "-6 -5 -4 -3 -2 -1", "6 5 4 3 2 1"):
        mesh = load_mesh(obj(tmp_path, f"{ell}f {order}\n"))
        area = areas(mesh)
        assert np.linalg.norm(area, axis=1).sum() == pytest.approx(3)
        assert area.sum(axis=0)[2] == pytest.approx(-3 if order.startswith("6") else 3)
    head = "v 0 1 0\nv -1 -1 0\nv 0 0 0\nv 1 -1 0\nvt 0 0\n"
    arrow = load_mesh(obj(tmp_path, f"{head}f 2 3 4 1\nf 4/1 1/1 2/1 \\\n 3/1\n"))
    assert np.linalg.norm(areas(arrow), axis=1).sum() == pytest.approx(2)


@pytest.mark.parametrize("turn", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_random_star_polygons_keep_their_area(tmp_path: Path, turn: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(1)
    for n in (5, 9, 40, 1500):
        angle = np.sort(rng.uniform(0, 2 * np.pi, n))
        corners = np.stack([np.cos(angle), np.sin(angle)], axis=1) * rng.uniform(0.2, 1, (n, 1))
        x, y = corners.T
        want = 0.5 * float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))  # the shoelace formula
        points = np.insert(corners, 2, 0.5, axis=1)[:, list(turn)]
        lines = [f"v {a} {b} {c}" for a, b, c in points] + ["f " + " ".join(str(i + 1) for i in range(n))]
        mesh = load_mesh(obj(tmp_path, "\n".join(lines)))
        assert len(mesh.faces) == n - 2
        area = areas(mesh)
        assert np.abs(area.sum(axis=0)).max() == pytest.approx(abs(want))
        assert np.linalg.norm(area, axis=1).sum() == pytest.approx(abs(want))


def test_off_in_any_arrangement(tmp_path: Path) -> None:
    want = load_mesh(box(tmp_path))
    save_mesh(want, tmp_path / "a.off")
    words = (tmp_path / "a.off").read_text().split()
    for name, text in {
        "glued.off": "OFF" + " ".join(words[1:4]) + "\n" + "\n".join(words[4:]),
        "lines.off": "# made by hand\nOFF # really\n" + "\n".join(words[1:]),
        "one.off": " ".join(words),
    }.items():
        mesh = load_mesh(obj(tmp_path, text, name))
        assert volume(mesh) == pytest.approx(6), name


def test_lines_after_the_faces_of_off_are_reported(tmp_path: Path) -> None:
    text = "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"
    assert not load_mesh(obj(tmp_path, text + "# the end\n", "a.off")).unread
    assert load_mesh(obj(tmp_path, text + "3 2 1 0\n", "b.off")).unread == (
        "1 lines after the last of 1 faces were not read",
    )


def test_unused_vertices_do_not_count(tmp_path: Path) -> None:
    mesh = load_mesh(box(tmp_path, "v 1000 0 0\nv nan 0 0"))
    assert extent(mesh) == [1, 2, 3]


def test_few_faces_that_are_not_finite_are_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    many = "\n".join("f 1 4 3 2" for _ in range(30))
    mesh = load_mesh(box(tmp_path, "v inf 0 0\nf 1 2 9\n" + many))
    assert extent(mesh) == [1, 2, 3]
    assert mesh.unread == ("dropped 1 of 73 faces that are not finite",)
    assert mesh.unread[0] in caplog.text
    with pytest.raises(MeshError, match="1 of 13 faces have coordinates that are not finite"):
        load_mesh(box(tmp_path, "v nan 0 0\nf 1 2 9"))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.obj", "", "empty"),
        ("a.ply", " \n\n", "empty"),
        ("a.obj", "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n", "git-lfs pointer"),
        ("a.obj", "v 0 0 0\nv 1 0 0\nl 1 2\n", "no faces"),
        ("a.obj", "v 0 0 0\nv 1 0 0\nf 1 2 7\n", "malformed"),
        ("a.obj", "v 3 3 3\nv 3 3 3\nv 3 3 3\nf 1 2 3\n", "no extent"),
        ("a.obj", "v 0 0 0\nv 1 1 1\nv 2 2 2\nf 1 2 3\n", "no area"),
        ("a.obj", "v 1e308 0 0\nv -1e308 1 1\nv 2 2 2\nf 1 2 3\n", "too large"),
        ("a.off", "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 5\n", "vertex outside 0..2|malformed"),
        ("a.off", "OFF\n-3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", "-3 vertices and 1 faces are declared"),
        ("a.off", "OFF BINARY\n3 1 0\n", "binary OFF is not supported"),
        ("a.off", "OFF\n3\n1\n0\n0 0 0\n1 0 0\n0 1 0\n3 0 1\n", "malformed"),
        ("a.gltf", "{]", "malformed"),
        ("a.gltf", "[]", "malformed"),
        ("a.glb", "glTFxxxx", "malformed"),
        ("a.stl", "solid x\nendsolid x\n", "no faces|malformed"),
        ("a.ply", "ply\nformat ascii 1.0\nelement vertex 9\n", "malformed|no faces"),
    ],
)
def test_faults_are_one_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = obj(tmp_path, text, name)
    with pytest.raises(MeshError, match=message) as caught:
        load_mesh(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match="no such file"):
        load_mesh(tmp_path / "absent.obj")
    with pytest.raises(MeshError, match="a folder without mesh files"):
        load_mesh(tmp_path)


def test_index_outside_in_gltf(tmp_path: Path) -> None:
    trimesh.creation.box(extents=(1, 1, 1)).export(tmp_path / "s.glb")
    data = bytearray((tmp_path / "s.glb").read_bytes())
    tree = json.loads(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]])
    view = tree["bufferViews"][tree["accessors"][tree["meshes"][0]["primitives"][0]["indices"]]["bufferView"]]
    start = 20 + struct.unpack_from("<I", data, 12)[0] + 8 + view.get("byteOffset", 0)
    data[start : start + 4] = b"\xff\xff\x00\x00"
    (tmp_path / "s.glb").write_bytes(data)
    with pytest.raises(MeshError, match=r"outside 0\.\.|malformed"):
        load_mesh(tmp_path / "s.glb")


def test_digest_covers_the_files_that_are_named(tmp_path: Path) -> None:
    path = box(tmp_path, "mtllib m.mtl")
    first = digest(path)
    (tmp_path / "m.mtl").write_text("newmtl red\nKd 1 0 0\n")
    second = digest(path)
    (tmp_path / "other.mtl").write_text("x")
    assert digest(path) == second != first
    path.write_text(path.read_text() + "v 0 0 0\n")
    assert digest(path) != second
    with pytest.raises(MeshError, match="no such file"):
        digest(tmp_path / "absent.obj")


# Faces and rounded extent of those of the broken files that have geometry; all others are MeshErrors whose
# text contains the words.
GOOD = {
    "off_one_index_per_line.off": (3266, [41.555, 25.404, 11.881]),
    "quads.off": (3328, [8.279, 8.28, 1.487]),
    "gltf1_airplane.glb": (16521, None),
    "draco_sedan.gltf": (1932, [1.5, 1.3, 2.5]),
    "draco_bench.gltf": (2048, [2.366, 1.613, 1.374]),
    "no_mtllib_with_usemtl.obj": (676, [0.482, 0.794, 0.495]),
    "malformed2.obj": (10, [1, 1, 1]),
    "utf16be.obj": (12, [1, 1, 1]),
    "long_line.obj": (944, [1, 1, 1]),
    "concave_polygon.obj": (64, [0, 1.485, 1.485]),
    "no_line_ending.obj": (12, [1, 1, 1]),
    "two_solids.stl": (2, [4, 4, 0]),
    "empty_solid.stl": (1, [2, 2, 0]),
    "tristrips.ply": (268686, [0.069, 0.099, 0.099]),
    "dae_trimesh_empty_1.dae": (14220, [0.931, 0.307, 2.151]),
    "dae_trimesh_empty_2.dae": (192, [313.706, 47.106, 313.706]),
    "flat_mat.dae": (2, [37.402, 0, 78.740]),
    "hole.stl": (285, [3, 3, 3]),
    "crlf_header.ply": (12, [1, 1, 1]),
    "not_enough_indices.obj": (1, [1000, 500, 0]),
    "negative_indices.obj": (12, [2, 2, 2]),
    "nan_color.obj": (12, [1, 1, 1]),
    "polygon_faces.obj": (3, [1000, 500, 1000]),
    "busted.stl": (3878, [10.675, 11.385, 9.572]),
    "soup.stl": (100, [0.997, 0.997, 0.993]),
    "comments.off": (12, [3.266, 3.266, 2.309]),
    "whitespace.off": (12, [3.266, 3.266, 2.309]),
    "missing_image.obj": (1000, [0.073, 0.074, 0.215]),
    "thin_sheet_leaf.obj": (152, [0.152, 0.415, 0.564]),
    "flat_coffee_spill.obj": (5736, [0.264, 0.288, 0.02]),
    "quads_ngons.obj": (620, [1.4, 0.77, 0.678]),
    "gears_huge_bike.obj": (276540, [4.699, 2.503, 1.357]),
    "many_bodies_dutch_ship.obj": (69162, [24.07, 24.657, 6.809]),
}
BAD = {
    "lfs_pointer.obj": "git-lfs",
    "json_broken_1.gltf": "malformed gltf",
    "truncated.dae": "malformed dae file: ParseError",
    "lines_only.obj": "no faces",
    "empty.obj": "empty",
    "empty.off": "empty",
    "empty.ply": "empty",
    "malformed.obj": "malformed obj",
    "out_of_memory.off": "malformed off",
    "invalid_off.off": "malformed off",
    "crash.ply": "malformed ply",
    "infinite_vertices.glb": "12 of 12 faces",
    "index_out_of_range.gltf": "vertex outside",
    "missing_bin.gltf": "BoxTextured0.bin",
    "no_root_node.gltf": "no faces",
    "recursive_nodes.gltf": "their own ancestors",
    "number_formats.obj": "no area",
    "face_in_group_name.obj": "no faces",
    "points_only.ply": "no faces",
    "empty_nodes.glb": "no faces",
}


@pytest.mark.real
def test_every_broken_file_ends_as_geometry_or_reason(real_data: Path) -> None:
    folder = real_data / "broken"
    files = [path for path in sorted(folder.iterdir()) if path.suffix not in (".csv", ".bin")]
    assert {path.name for path in files} == GOOD.keys() | BAD.keys()
    for path in files:
        if path.name in GOOD:
            mesh = load_mesh(path)
            count, size = GOOD[path.name]
            assert len(mesh.faces) == count, path.name
            assert size is None or extent(mesh) == pytest.approx(size, abs=1e-3), path.name
            assert np.isfinite(mesh.vertices).all()
            if mesh.colors is not None:
                assert mesh.colors.shape == mesh.vertices.shape
                assert np.isfinite(mesh.colors).all()
        else:
            with pytest.raises(MeshError, match=BAD[path.name]) as caught:
                load_mesh(path)
            assert "\n" not in str(caught.value)


@pytest.mark.real
def test_dev_meshes_have_the_faces_of_the_manifest(real_data: Path) -> None:
    import csv

    with (real_data / "dev" / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows[::4]:
        mesh = load_mesh(real_data / "dev" / row["file"])
        assert len(mesh.faces) == int(row["faces"]), row["id"]
        want = sorted(float(edge) for edge in row["extent"].split("x"))
        assert sorted(extent(mesh)) == pytest.approx(want, rel=0.01, abs=0.01), row["id"]
