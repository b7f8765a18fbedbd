"""Geometry of glTF files: what the standard says, or one line that names what is wrong."""

from __future__ import annotations

import base64
import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from occnet_lib.errors import MeshError
from occnet_lib.storage.meshes import digest, load_mesh, parts
from occnet_lib.types import Mesh
from tests.support.gltf_files import CUBE, CUBE_FACES, SQUARE, SQUARE_FACES, GltfFile, cube_file

HALF = np.sqrt(0.5)


def extent(mesh: Mesh) -> NDArray[np.float64]:
    return np.asarray(mesh.vertices.max(axis=0) - mesh.vertices.min(axis=0))


def volume(mesh: Mesh) -> float:
    """By the divergence theorem: positive where faces point outward."""
    a, b, c = np.moveaxis(mesh.triangles, 1, 0)
    return float(np.einsum("fk,fk->f", a, np.cross(b, c)).sum() / 6)


def read(file: GltfFile, folder: Path) -> Mesh:
    return load_mesh(file.save_glb(folder / "model.glb"))


def faults(file: GltfFile, folder: Path) -> str:
    with pytest.raises(MeshError) as caught:
        read(file, folder)
    text = str(caught.value)
    assert text.startswith(str(folder / "model.glb"))
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("dtype", "normalized", "step"),
    [
        *(("i1", True, 127), ("u1", True, 255), ("i2", True, 32767), ("u2", True, 65535)),
        *(("i1", False, 1), ("u1", False, 1), ("i2", False, 1), ("u2", False, 1)),
    ],
)
def test_quantised_positions(tmp_path: Path, dtype: str, normalized: bool, step: int) -> None:
    low = 0 if dtype[0] == "u" else -np.iinfo(dtype).max
    stored = np.where(CUBE > 0, np.iinfo(dtype).max, low).astype(dtype)
    rows = np.zeros((8, 4), dtype)  # each begins at a multiple of four bytes
    rows[:, :3] = stored
    file = GltfFile()
    view = file.view(rows.tobytes(), byteStride=rows.strides[0])
    entry = {**file.described(stored), "bufferView": view, "normalized": normalized}
    mesh = file.mesh(file.primitive(file.add("accessors", entry), CUBE_FACES))
    for x in (0.0, 3.0):
        file.node(mesh=mesh, translation=[x, 0, 0], scale=[2.0] * 3)
    file.require("KHR_mesh_quantization")
    edge = 2 * (np.iinfo(dtype).max - low) / step
    result = read(file, tmp_path)
    np.testing.assert_allclose(extent(result), [edge + 3, edge, edge], rtol=1e-12)
    assert volume(result) == pytest.approx(2 * edge**3)


def test_the_most_negative_normalised_value_counts_as_minus_one(tmp_path: Path) -> None:
    stored = np.where(CUBE > 0, 127, -128).astype("i1")
    file = GltfFile()
    file.node(mesh=file.mesh(file.primitive(file.accessor(stored, normalized=True), CUBE_FACES)))
    assert extent(read(file, tmp_path)).tolist() == [2, 2, 2]


def test_interleaved_attributes(tmp_path: Path) -> None:
    rows = np.zeros(8, [("position", "<f4", 3), ("normal", "<f4", 3), ("color", "u1", 4)])
    rows["position"], rows["normal"], rows["color"] = CUBE, 99, (255, 0, 0, 255)
    file = GltfFile()
    view = file.view(rows.tobytes(), byteStride=28)
    position = {"bufferView": view, "componentType": 5126, "type": "VEC3", "count": 8}
    color = {"bufferView": view, "byteOffset": 24, "componentType": 5121, "type": "VEC4", "count": 8}
    color["normalized"] = True
    primitive = file.primitive(
        file.add("accessors", position), CUBE_FACES, COLOR_0=file.add("accessors", color)
    )
    file.node(mesh=file.mesh(primitive))
    result = read(file, tmp_path)
    assert volume(result) == pytest.approx(1)
    assert result.colors is not None
    np.testing.assert_allclose(result.colors, [[1, 0, 0]] * 8, atol=1e-6)


def sparse(file: GltfFile, places: list[int], values: NDArray[np.float64], **base: Any) -> int:
    entry = {
        **{"componentType": 5126, "type": "VEC3", "count": 8, **base},
        "sparse": {
            "count": len(places),
            "indices": {"bufferView": file.view(np.array(places, "u1").tobytes()), "componentType": 5121},
            "values": {"bufferView": file.view(values.astype("<f4").tobytes())},
        },
    }
    return file.add("accessors", entry)


def test_sparse_values_replace_some(tmp_path: Path) -> None:
    file = GltfFile()
    top = np.flatnonzero(CUBE[:, 1] > 0).tolist()
    base = file.view(CUBE.astype("<f4").tobytes())
    number = sparse(file, top, CUBE[top] + [0, 2, 0], bufferView=base)
    file.node(mesh=file.mesh(file.primitive(number, CUBE_FACES)))
    result = read(file, tmp_path)
    assert extent(result).tolist() == [1, 3, 1]
    assert volume(result) == pytest.approx(3)


def test_sparse_values_without_a_base_replace_zeros(tmp_path: Path) -> None:
    file = GltfFile()
    places = [1, 2, 3, 4, 5, 6, 7]
    number = sparse(file, places, CUBE[places] + 0.5)
    file.node(mesh=file.mesh(file.primitive(number, CUBE_FACES)))
    assert volume(read(file, tmp_path)) == pytest.approx(1)


def test_a_morph_target_moves_by_its_default_weight(tmp_path: Path) -> None:
    def build(**node: Any) -> GltfFile:
        file = GltfFile()
        primitive = file.primitive(CUBE, CUBE_FACES)
        top = np.flatnonzero(CUBE[:, 1] > 0).tolist()
        higher = sparse(file, top, np.tile([0.0, 4.0, 0.0], (4, 1)))
        wider = file.accessor((CUBE * [1, 0, 0]).astype("<f4"))
        nothing = file.add("accessors", {"componentType": 5126, "type": "VEC3", "count": 8})
        primitive["targets"] = [{"POSITION": higher}, {"POSITION": nothing}, {"POSITION": wider}]
        file.node(mesh=file.mesh(primitive, weights=[0.5, 1.0, 0.0]), **node)
        return file

    assert extent(read(build(), tmp_path)).tolist() == [1, 3, 1]
    assert extent(read(build(weights=[0.25, 0.0, 2.0]), tmp_path)).tolist() == [3, 2, 1]
    assert extent(read(build(weights=[0, 0, 0]), tmp_path)).tolist() == [1, 1, 1]


def test_colours_have_morph_targets_too(tmp_path: Path) -> None:
    file = GltfFile()
    primitive = file.primitive(CUBE, CUBE_FACES, COLOR_0=np.tile([1.0, 0.0, 0.0], (8, 1)))
    primitive["targets"] = [{"COLOR_0": file.accessor(np.tile([-1.0, 2.0, 0.0], (8, 1)).astype("<f4"))}]
    file.node(mesh=file.mesh(primitive, weights=[1.0]))
    colors = read(file, tmp_path).colors
    assert colors is not None
    np.testing.assert_allclose(colors, [[0, 1, 0]] * 8, atol=1e-6)


def test_instances_stand_at_translation_rotation_scale_below_the_node(tmp_path: Path) -> None:
    file = GltfFile()
    turn = np.array([[0, 0, 0, 32767], [0, 0, HALF * 32767, HALF * 32767], [0, 0, 0, 32767]]).round()
    attributes = {
        "TRANSLATION": file.accessor(np.array([[0, 0, 0], [3, 0, 0], [6, 0, 0]], "<f4")),
        "ROTATION": file.accessor(turn.astype("<i2"), normalized=True),
        "SCALE": file.accessor(np.array([[1, 1, 1], [1, 2, 1], [-1, 1, 1]], "<f4")),
    }
    mesh = file.mesh(file.primitive(CUBE, CUBE_FACES))
    file.node(
        mesh=mesh, scale=[10, 10, 10], extensions={"EXT_mesh_gpu_instancing": {"attributes": attributes}}
    )
    file.require("EXT_mesh_gpu_instancing")
    result = read(file, tmp_path)
    assert len(result.faces) == 36
    # The second one, twice as long along y, lies along x.
    np.testing.assert_allclose(extent(result), [70, 10, 10], atol=1e-3)
    np.testing.assert_allclose(result.vertices[8:16, 0].min(), 20, atol=1e-3)
    assert volume(result) == pytest.approx(4000, rel=1e-4)  # the mirrored one, too, has its faces outward


def skinned(joints: NDArray[Any], weights: NDArray[Any], *places: list[float], **joint: Any) -> GltfFile:
    """A cube on joints at places, whose mesh was bound with all joints at the origin."""
    file = GltfFile()
    sets = {}
    for number in range(joints.shape[1] // 4):
        part = slice(4 * number, 4 * number + 4)
        sets[f"JOINTS_{number}"] = joints[:, part].astype("u1")
        sets[f"WEIGHTS_{number}"] = file.accessor(
            weights[:, part].copy(), normalized=weights.dtype.kind == "u"
        )
    mesh = file.mesh(file.primitive(CUBE, CUBE_FACES, **sets))
    numbers = [file.node(translation=place, **joint) for place in places]
    skin = file.add("skins", {"joints": numbers})
    file.node(mesh=mesh, skin=skin, scale=[100, 1, 1], translation=[7, 7, 7])
    return file


def test_a_skinned_mesh_stands_where_its_joints_are(tmp_path: Path) -> None:
    joints = np.zeros((8, 4), int)
    joints[:, 0] = CUBE[:, 1] > 0  # the upper half hangs on joint 1
    weights = np.tile(np.array([1, 0, 0, 0], "<f4"), (8, 1))
    result = read(skinned(joints, weights, [0, 0, 0], [0, 3, 0]), tmp_path)
    assert extent(result).tolist() == [1, 4, 1]
    np.testing.assert_allclose(result.vertices.mean(axis=0), [0, 1.5, 0])


@pytest.mark.parametrize("dtype", ["<f4", "u1", "<u2"])
def test_eight_joints_move_a_vertex_by_their_mean(tmp_path: Path, dtype: str) -> None:
    joints = np.tile(np.arange(8), (8, 1))
    weights = np.full((8, 8), 0.125 if dtype == "<f4" else 30, dtype)  # 8 × 30 is not 255
    places = [[float(i), 0.0, 0.0] for i in range(8)]
    result = read(skinned(joints, weights, *places), tmp_path)
    np.testing.assert_allclose(result.vertices.mean(axis=0), [3.5, 0, 0], atol=1e-6)
    assert volume(result) == pytest.approx(1)


def test_inverse_bind_matrices_undo_the_joints_of_the_bind_pose(tmp_path: Path) -> None:
    joints = np.zeros((8, 4), int)
    weights = np.tile(np.array([1, 0, 0, 0], "<f4"), (8, 1))
    turn = {"rotation": [0, 0, HALF, HALF]}
    file = skinned(joints, weights, [5, 6, 7], **turn)
    bound = np.array([[0.0, -1, 0, 5], [1, 0, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]])
    inverse = np.linalg.inv(bound).T.astype("<f4").reshape(1, 16)  # by columns
    file.tree["skins"][0]["inverseBindMatrices"] = file.accessor(inverse)
    np.testing.assert_allclose(read(file, tmp_path).vertices, CUBE, atol=1e-6)
    file.tree["nodes"][0]["translation"] = [5, 6, 9]
    np.testing.assert_allclose(read(file, tmp_path).vertices, CUBE + np.array([0, 0, 2]), atol=1e-6)


def test_mirrored_joints_leave_faces_outward(tmp_path: Path) -> None:
    joints = np.zeros((8, 4), int)
    weights = np.tile(np.array([1, 0, 0, 0], "<f4"), (8, 1))
    assert volume(read(skinned(joints, weights, [0, 0, 0], scale=[-1, 1, 1]), tmp_path)) == pytest.approx(1)


def test_a_vertex_without_weight_hangs_on_its_first_joint(tmp_path: Path) -> None:
    joints = np.tile([1, 0, 0, 0], (8, 1))
    result = read(skinned(joints, np.zeros((8, 4), "<f4"), [0, 0, 0], [0, 3, 0]), tmp_path)
    np.testing.assert_allclose(result.vertices.mean(axis=0), [0, 3, 0])


def test_faults_of_skins(tmp_path: Path) -> None:
    joints = np.full((8, 4), 2)
    weights = np.full((8, 4), 0.25, "<f4")
    assert "joint outside 0..1" in faults(skinned(joints, weights, [0, 0, 0], [0, 3, 0]), tmp_path)
    file = cube_file(skin=0)
    file.add("skins", {"joints": [0]})
    assert "without joints or weights" in faults(file, tmp_path)
    file.tree["skins"][0]["inverseBindMatrices"] = 0
    assert "1 joints and 8 inverse bind matrices" in faults(file, tmp_path)


# A square as a strip (with a joint of two degenerate triangles), a fan and loose corners, all with
# corners left over that make no triangle.
STRIP = [0, 1, 3, 3, 3, 1, 2]


@pytest.mark.parametrize(
    ("mode", "indices"),
    [(4, [0, 1, 2, 0, 2, 3, 1]), (5, [0, 1, 3, 2]), (5, STRIP), (6, [0, 1, 2, 3])],
)
def test_lists_strips_and_fans(tmp_path: Path, mode: int, indices: list[int]) -> None:
    for named in (True, False):
        file = GltfFile()
        vertices = SQUARE if named else SQUARE[indices]
        primitive = file.primitive(vertices, np.array(indices) if named else None)
        primitive["mode"] = mode
        file.node(mesh=file.mesh(primitive))
        mesh = read(file, tmp_path)
        assert len(mesh.faces) == (5 if not named and indices is STRIP else 2)
        a, b, c = np.moveaxis(mesh.triangles, 1, 0)
        normals = np.cross(b - a, c - a)
        assert normals.sum(axis=0).tolist() == [0, 0, 2]  # all face +z, and cover the square once
        assert np.abs(normals[:, 2]).sum() == 2


def test_points_and_lines_beside_faces_are_reported(tmp_path: Path) -> None:
    file = cube_file()
    for mode in range(4):
        file.tree["meshes"][0]["primitives"].append(file.primitive(10 * CUBE) | {"mode": mode})
    mesh = read(file, tmp_path)
    assert extent(mesh).tolist() == [1, 1, 1]
    assert mesh.unread == ("points or lines are skipped, they have no surface",)
    del file.tree["meshes"][0]["primitives"][0]
    assert "no faces" in faults(file, tmp_path)


def test_draco_is_the_same_mesh(tmp_path: Path) -> None:
    import DracoPy

    uv = np.random.default_rng(0).random((8, 2))
    data = DracoPy.encode(
        CUBE.astype(np.float32), CUBE_FACES.astype(np.uint32), quantization_bits=14, tex_coord=uv
    )
    ids = {entry["attribute_type"]: entry["unique_id"] for entry in DracoPy.decode(data).attributes}
    file = GltfFile()
    kinds = {"POSITION": "VEC3", "TEXCOORD_0": "VEC2"}
    numbers = {
        name: file.add("accessors", {"componentType": 5126, "type": kind, "count": 8})
        for name, kind in kinds.items()
    }
    primitive = {
        "attributes": numbers,
        "indices": file.add("accessors", {"componentType": 5125, "type": "SCALAR", "count": 36}),
        "extensions": {
            "KHR_draco_mesh_compression": {
                "bufferView": file.view(data),
                "attributes": {"POSITION": ids[0], "TEXCOORD_0": ids[3]},
            }
        },
    }
    primitive["material"] = file.material(
        baseColorTexture={"index": file.image(np.zeros((2, 2, 3), np.uint8))}
    )
    file.node(mesh=file.mesh(primitive), translation=[0, 5, 0])
    file.require("KHR_draco_mesh_compression")
    mesh = read(file, tmp_path)
    assert volume(mesh) == pytest.approx(1, abs=1e-3)
    assert mesh.texturing is not None
    order = np.linalg.norm(mesh.vertices[:, None] - (CUBE + np.array([0, 5, 0])), axis=2).argmin(axis=1)
    np.testing.assert_allclose(mesh.vertices, CUBE[order] + np.array([0, 5, 0]), atol=1e-3)
    np.testing.assert_allclose(mesh.texturing.uv, uv[order][mesh.faces], atol=2e-3)

    file.blob[: len(data)] = bytes(len(data))
    assert "Draco data cannot be decompressed" in faults(file, tmp_path)


def compressed(file: GltfFile, name: str, values: NDArray[Any], mode: str, **more: Any) -> int:
    """A view compressed by meshopt, whose parent lies in a buffer without data."""
    import meshopt

    rows = more.pop("rows", values)
    data = meshopt.encode_gltf_buffer(rows, mode, int(name.startswith("KHR")))
    compressed_view = file.view(data)
    inner = {**file.tree["bufferViews"][compressed_view], "count": len(values), "mode": mode, **more}
    inner["byteStride"] = rows.nbytes // len(rows)
    parent = {"buffer": 1, "byteLength": len(values) * inner["byteStride"], "extensions": {name: inner}}
    if mode == "ATTRIBUTES":
        parent["byteStride"] = inner["byteStride"]
    file.tree["buffers"] = [{}, {"byteLength": 10**6, "extensions": {name: {"fallback": True}}}]
    return file.add("bufferViews", parent)


@pytest.mark.parametrize("name", ["EXT_meshopt_compression", "KHR_meshopt_compression"])
@pytest.mark.parametrize("mode", ["TRIANGLES", "INDICES"])
@pytest.mark.parametrize("index", ["<u2", "<u4"])
def test_meshopt_is_the_same_mesh(tmp_path: Path, name: str, mode: str, index: str) -> None:
    file = GltfFile()
    stored = np.zeros((8, 4), "<u2")
    stored[:, :3] = (CUBE + 0.5) * 16383
    position = {**file.described(stored[:, :3]), "bufferView": compressed(file, name, stored, "ATTRIBUTES")}
    corners = CUBE_FACES.ravel().astype(index)
    view = compressed(file, name, corners, mode)
    faces = {**file.described(corners), "bufferView": view}
    file.node(
        mesh=file.mesh(
            {
                "attributes": {"POSITION": file.add("accessors", position)},
                "indices": file.add("accessors", faces),
            }
        ),
        scale=[1 / 16383] * 3,
    )
    file.require(name, "KHR_mesh_quantization")
    mesh = read(file, tmp_path)
    assert volume(mesh) == pytest.approx(1)
    np.testing.assert_allclose(mesh.vertices, CUBE + 0.5, atol=1e-12)


def test_meshopt_filters(tmp_path: Path) -> None:
    import meshopt

    rng = np.random.default_rng(1)
    vertices, rgba = rng.random((8, 3)), np.hstack([rng.random((8, 3)), np.ones((8, 1))])
    file, name = GltfFile(), "KHR_meshopt_compression"
    floats = meshopt.encode_filter_exp(vertices, 20)
    view = compressed(file, name, vertices, "ATTRIBUTES", rows=floats, filter="EXPONENTIAL")
    position = {"componentType": 5126, "type": "VEC3", "count": 8, "bufferView": view}
    view = compressed(
        file, name, rgba, "ATTRIBUTES", rows=meshopt.encode_filter_color(rgba, 4, 8), filter="COLOR"
    )
    color = {"componentType": 5121, "type": "VEC4", "count": 8, "bufferView": view, "normalized": True}
    primitive = file.primitive(
        file.add("accessors", position), CUBE_FACES, COLOR_0=file.add("accessors", color)
    )
    turn = np.array([[0, 0, HALF, HALF]])
    view = compressed(
        file, name, turn, "ATTRIBUTES", rows=meshopt.encode_filter_quat(turn, 8, 16), filter="QUATERNION"
    )
    rotation = {"componentType": 5122, "type": "VEC4", "count": 1, "bufferView": view, "normalized": True}
    instancing = {"attributes": {"ROTATION": file.add("accessors", rotation)}}
    file.node(mesh=file.mesh(primitive), extensions={"EXT_mesh_gpu_instancing": instancing})
    mesh = read(file, tmp_path)
    np.testing.assert_allclose(mesh.vertices, vertices @ [[0, 1, 0], [-1, 0, 0], [0, 0, 1]], atol=1e-3)
    assert mesh.colors is not None
    linear = np.where(mesh.colors <= 0.04045, mesh.colors / 12.92, ((mesh.colors + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(linear, rgba[:, :3], atol=0.02)


def test_damaged_meshopt_data_is_named(tmp_path: Path) -> None:
    file = GltfFile()
    view = compressed(file, "EXT_meshopt_compression", CUBE.astype("<f4"), "ATTRIBUTES")
    position = {"componentType": 5126, "type": "VEC3", "count": 8, "bufferView": view}
    file.node(mesh=file.mesh(file.primitive(file.add("accessors", position), CUBE_FACES)))
    assert volume(read(file, tmp_path)) == pytest.approx(1)
    inner = file.tree["bufferViews"][view]["extensions"]["EXT_meshopt_compression"]
    inner["count"] = 10**9
    assert "declares 1000000000 items" in faults(file, tmp_path)
    inner["count"] = 100
    assert "cannot be decompressed" in faults(file, tmp_path)
    inner["count"], inner["mode"] = 8, "OTHER"
    assert "cannot be decompressed" in faults(file, tmp_path)


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("my%20part.bin", "my part.bin"),
        ("my part.bin", "my part.bin"),
        ("a%2520b.bin", "a%20b.bin"),
        ("100%25/%C3%A9.bin", "100%/é.bin"),
        ("sub\\part.bin", "sub/part.bin"),
    ],
)
def test_uris_are_percent_decoded(tmp_path: Path, uri: str, name: str) -> None:
    file = cube_file()
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(file.blob)
    assert volume(load_mesh(file.save_gltf(tmp_path / "m.gltf", uri))) == pytest.approx(1)


def test_buffers_in_the_file_itself(tmp_path: Path) -> None:
    file = cube_file()
    assert volume(load_mesh(file.save_gltf(tmp_path / "base64.gltf"))) == pytest.approx(1)
    percent = "data:," + "".join(f"%{byte:02X}" for byte in file.blob)
    assert volume(load_mesh(file.save_gltf(tmp_path / "percent.gltf", percent))) == pytest.approx(1)


def test_missing_and_short_buffers_are_named(tmp_path: Path) -> None:
    file = cube_file()
    with pytest.raises(MeshError, match=r"buffer 0 cannot be read: no such file: part\.bin"):
        load_mesh(file.save_gltf(tmp_path / "m.gltf", "part.bin"))
    (tmp_path / "part.bin").write_bytes(file.blob[:-1])
    with pytest.raises(
        MeshError, match=f"buffer 0 has {len(file.blob) - 1} bytes instead of {len(file.blob)}"
    ):
        load_mesh(tmp_path / "m.gltf")
    (tmp_path / "part.bin").write_bytes(file.blob + b"more")
    assert volume(load_mesh(tmp_path / "m.gltf")) == pytest.approx(1)


def test_padding_and_foreign_bytes_in_a_container(tmp_path: Path) -> None:
    file = cube_file()
    path = tmp_path / "m.glb"
    foreign = struct.pack("<2I", 3, 0x58585858) + b"abc"
    data = file.glb()
    json_end = 20 + struct.unpack_from("<I", data, 12)[0]
    for content in (
        file.glb(chunk_padding=8),
        data + b"\0" * 7,
        data + b"behind the end there is something else",
        data[:json_end] + foreign + data[json_end:],
    ):
        path.write_bytes(content)
        assert volume(load_mesh(path)) == pytest.approx(1)
    path.write_bytes(data[:-1])
    with pytest.raises(MeshError, match="truncated"):
        load_mesh(path)
    path.write_bytes(data[:json_end])
    with pytest.raises(MeshError, match="buffer 0 has no data"):
        load_mesh(path)


def test_what_a_file_requires_and_is_not_read_is_named(tmp_path: Path) -> None:
    file = cube_file()
    file.require("KHR_materials_transmission", "KHR_texture_basisu", "KHR_lights_punctual")
    assert volume(read(file, tmp_path)) == pytest.approx(1)
    file.require("VENDOR_voxels", "EXT_splines")
    text = faults(file, tmp_path)
    assert "EXT_splines and VENDOR_voxels, which are not supported" in text
    assert "Blender" in text


@pytest.mark.parametrize("asset", [{"version": "3.0"}, {"version": "2.0", "minVersion": "2.1"}])
def test_later_versions(tmp_path: Path, asset: dict[str, str]) -> None:
    file = cube_file()
    file.tree["asset"] = asset
    if asset["version"] == "2.0":
        assert volume(read(file, tmp_path)) == pytest.approx(1)
    else:
        assert "version 3.0 is not supported" in faults(file, tmp_path)


def test_version_1_is_read_but_for_its_textures(tmp_path: Path) -> None:
    blob = SQUARE.astype("<f4").tobytes() + SQUARE_FACES.astype("<u2").tobytes()
    view = {"buffer": "data", "byteOffset": 0, "byteLength": 48, "target": 34962}
    accessor = {"bufferView": "v", "byteOffset": 0, "byteStride": 12, "componentType": 5126, "count": 4}
    primitive = {"attributes": {"POSITION": "p"}, "indices": "i", "material": "red", "mode": 4}
    uri = "data:application/octet-stream;base64," + base64.b64encode(blob).decode()
    tree = {
        "asset": {"version": "1.0"},
        "scene": "s",
        "scenes": {"s": {"nodes": ["n"]}},
        "nodes": {"n": {"meshes": ["m"], "translation": [0, 0, 3]}},
        "meshes": {"m": {"primitives": [primitive]}},
        "materials": {"red": {"values": {"diffuse": [1, 0, 0, 1]}}},
        "textures": {"t": {"source": "x"}},
        "accessors": {
            "p": accessor | {"type": "VEC3"},
            "i": {"bufferView": "f", "byteOffset": 0, "componentType": 5123, "count": 6, "type": "SCALAR"},
        },
        "bufferViews": {"v": view, "f": view | {"byteOffset": 48, "byteLength": 12, "target": 34963}},
        "buffers": {"data": {"uri": uri, "byteLength": len(blob), "type": "arraybuffer"}},
    }
    (tmp_path / "m.gltf").write_text(json.dumps(tree))
    mesh = load_mesh(tmp_path / "m.gltf")
    assert len(mesh.faces) == 2
    assert mesh.vertices.min(axis=0).tolist() == [0, 0, 3]
    assert mesh.vertices.max(axis=0).tolist() == [1, 1, 3]
    assert mesh.unread == ("textures of glTF 1.0 are not read; convert the file to glTF 2.0",)
    del tree["asset"]
    (tmp_path / "m.gltf").write_text(json.dumps(tree))
    with pytest.raises(MeshError, match=r"glTF 1\.0 file cannot be read .*convert it"):
        load_mesh(tmp_path / "m.gltf")


def test_only_the_default_scene_is_read(tmp_path: Path) -> None:
    file = cube_file()
    file.node(mesh=0, translation=[5, 0, 0])
    file.scene(0)
    file.scene(1)
    file.tree["scene"] = 1
    mesh = read(file, tmp_path)
    assert mesh.vertices.mean(axis=0).tolist() == [5, 0, 0]
    assert mesh.unread == ()
    del file.tree["scene"]
    mesh = read(file, tmp_path)
    assert mesh.vertices.mean(axis=0).tolist() == [0, 0, 0]
    assert mesh.unread == ("the file has several scenes and no default; only the first one is read",)
    del file.tree["scenes"]
    assert extent(read(file, tmp_path)).tolist() == [6, 1, 1]
    del file.tree["nodes"]
    assert extent(read(file, tmp_path)).tolist() == [1, 1, 1]


def test_transforms_of_nodes_follow_one_another(tmp_path: Path) -> None:
    file = cube_file(translation=[1, 0, 0])
    matrix = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 4], [0, 0, 0, 1]])
    file.scene(file.node(children=[0], matrix=matrix.T.ravel().tolist()))
    np.testing.assert_allclose(read(file, tmp_path).vertices.mean(axis=0), [0, 1, 4])
    file.tree["nodes"].append({"children": [1], "scale": [1, -3, 1]})
    file.tree["scenes"] = [{"nodes": [2]}]
    mesh = read(file, tmp_path)
    np.testing.assert_allclose(mesh.vertices.mean(axis=0), [0, -3, 4])
    assert volume(mesh) == pytest.approx(3)


def test_what_is_not_visible_is_not_there(tmp_path: Path) -> None:
    file = cube_file()
    file.node(mesh=0, translation=[5, 0, 0])
    hidden = {"extensions": {"KHR_node_visibility": {"visible": False}}}
    file.scene(0, file.node(children=[1], **hidden))
    assert extent(read(file, tmp_path)).tolist() == [1, 1, 1]


def test_nodes_that_form_no_tree(tmp_path: Path) -> None:
    file = cube_file()
    file.tree["nodes"] += [{"children": [2]}, {"children": [1]}]
    assert "their own ancestors" in faults(file, tmp_path)
    file.tree["nodes"] = [{"mesh": 0}, {"children": [0]}, {"children": [0]}]
    assert "node 0 has two parents" in faults(file, tmp_path)
    file.tree["nodes"] = [{"mesh": 0, "children": [7]}]
    assert "refers to nodes[7] of 1" in faults(file, tmp_path)


def test_a_deep_tree_is_no_recursion(tmp_path: Path) -> None:
    file = cube_file()
    file.tree["nodes"] += [{"children": [i], "translation": [1, 0, 0]} for i in range(5000)]
    assert read(file, tmp_path).vertices.mean(axis=0).tolist() == [5000, 0, 0]


def test_counts_that_lie_allocate_nothing(tmp_path: Path) -> None:
    for change in ({"count": 10**9}, {"count": 9}, {"byteOffset": 4}, {"byteOffset": 10**12}):
        file = cube_file()
        file.tree["accessors"][0].update(change)
        assert "its buffer view has 96" in faults(file, tmp_path)
    file = cube_file()
    file.tree["bufferViews"][1]["byteLength"] = 10**9
    assert "bufferView 1 ends at byte" in faults(file, tmp_path)
    file = GltfFile()
    file.node(mesh=file.mesh(file.primitive(sparse(file, [0], CUBE[:1], count=10**9), CUBE_FACES)))
    assert "declares 1000000000 items without data" in faults(file, tmp_path)
    file = cube_file()
    file.tree["accessors"][0]["count"] = "8"
    assert "whole number was expected" in faults(file, tmp_path)
    file.tree["accessors"][0]["count"] = -8
    assert "whole number was expected" in faults(file, tmp_path)


@pytest.mark.parametrize("number", [0, 1])
def test_vertices_and_faces_without_data_are_not_zeros(tmp_path: Path, number: int) -> None:
    file = cube_file()
    del file.tree["accessors"][number]["bufferView"]
    assert f"accessor {number} has no data" in faults(file, tmp_path)


def test_items_that_overlap(tmp_path: Path) -> None:
    file = cube_file()
    file.tree["bufferViews"][0]["byteStride"] = 8
    assert "items of 12 bytes, 8 apart" in faults(file, tmp_path)


def test_sparse_places_outside(tmp_path: Path) -> None:
    file = GltfFile()
    file.node(mesh=file.mesh(file.primitive(sparse(file, [8], CUBE[:1]), CUBE_FACES)))
    assert "outside 0..7" in faults(file, tmp_path)


def test_a_corner_never_reaches_into_another_primitive(tmp_path: Path) -> None:
    file = GltfFile()
    first = file.primitive(SQUARE, SQUARE_FACES + 1)  # names vertex 4 of 0..3
    file.node(mesh=file.mesh(first, file.primitive(CUBE, CUBE_FACES)))
    assert "vertex outside 0..3" in faults(file, tmp_path)


def test_a_small_file_does_not_become_a_huge_mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = cube_file()
    file.tree["nodes"] *= 100
    monkeypatch.setattr(parts, "MAX_CORNERS", 3600)
    assert len(read(file, tmp_path).faces) == 1200
    file.tree["nodes"] *= 2
    assert "more than 1200 faces" in faults(file, tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"accessors": []},
        {"meshes": [{"primitives": [{"attributes": {"POSITION": -1}}]}]},
        {"meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "mode": 7}]}]},
        {"meshes": [{"primitives": [{"attributes": {"POSITION": 1}}]}]},
        {"meshes": [None]},
        {"nodes": [{"mesh": 0, "matrix": [1, 2]}]},
        {"nodes": [{"mesh": 0, "translation": "far"}]},
        {"scenes": [{"nodes": [-1]}]},
        {"scenes": [{"nodes": [0]}], "scene": 1},
        {"bufferViews": [{"buffer": 3, "byteLength": 96}] * 2},
    ],
)
def test_malformed_trees_are_one_line(tmp_path: Path, change: dict[str, Any]) -> None:
    file = cube_file()
    file.tree.update(change)
    assert "malformed" in faults(file, tmp_path)


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    file = cube_file()
    name = b"caf\xe9.bin"
    (tmp_path / "m.gltf").write_bytes(
        json.dumps({**file.tree, "buffers": [{"byteLength": len(file.blob), "uri": "@"}]})
        .encode()
        .replace(b"@", name)
    )
    with open(bytes(tmp_path) + b"/" + name, "wb") as stream:
        stream.write(file.blob)
    assert volume(load_mesh(tmp_path / "m.gltf")) == pytest.approx(1)
    before = digest(tmp_path / "m.gltf")
    Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_bytes(file.blob + b"more")
    assert digest(tmp_path / "m.gltf") != before


@pytest.mark.real
def test_the_same_as_trimesh_on_files_that_both_read(real_data: Path) -> None:
    import trimesh

    paths = sorted((real_data / "dev").rglob("*.gl[bt]*"))
    assert len(paths) >= 10
    for path in paths:
        mesh = load_mesh(path)
        scene = trimesh.load_scene(path, process=False)
        other = scene.to_mesh()
        assert len(mesh.faces) == len(other.faces), path
        corners = mesh.triangles.reshape(len(mesh.faces), 9)
        theirs = np.asarray(other.triangles).reshape(len(mesh.faces), 9)
        ours, theirs = (rows[np.lexsort(rows.round(4).T)] for rows in (corners, theirs))
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.ptp(mesh.vertices), err_msg=str(path))
