"""Colours of glTF files: factor × texture × vertex colours in linear light, or a line that says what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from occnet_lib.errors import MeshError
from occnet_lib.geometry.colors import DEFAULT_COLOR
from occnet_lib.geometry.textures import bake, nearest_pixels
from occnet_lib.storage.meshes import images, load_mesh
from occnet_lib.types import Mesh
from tests.support.gltf_files import CUBE, CUBE_FACES, SQUARE, SQUARE_FACES, GltfFile, encoded

# Upper half of the image: red, green; lower half: blue, white.
QUARTERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
QUARTERS = QUARTERS.repeat(2, axis=0).repeat(2, axis=1)
WHITE = np.full((2, 2, 3), 255, np.uint8)
UV = SQUARE[:, :2]  # (0, 0) is the upper left corner of the image


def srgb(linear: Any) -> NDArray[np.float64]:
    """IEC 61966-2-1."""
    values = np.asarray(linear, np.float64)
    return np.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055)


def square(file: GltfFile, material: int | None = None, **attributes: Any) -> GltfFile:
    """Add a square in the plane of x and y; y is v of the texture."""
    primitive = file.primitive(SQUARE, SQUARE_FACES, **attributes)
    if material is not None:
        primitive["material"] = material
    file.node(mesh=file.mesh(primitive))
    return file


def read(file: GltfFile, folder: Path) -> Mesh:
    return load_mesh(file.save_glb(folder / "model.glb"))


def colors(mesh: Mesh) -> NDArray[np.floating]:
    """(V, 3) with the texture, sampled at the vertices."""
    values = bake(mesh).colors
    assert values is not None
    return values


def centre_color(mesh: Mesh, u: float, v: float) -> list[int]:
    """The texture's pixel at a point of the square."""
    assert mesh.texturing is not None
    a, b, c = mesh.triangles[0], mesh.texturing.uv[0], np.array([u, v])
    # The square's first face has corners (0, 0), (1, 0), (1, 1).
    assert a[:, :2].tolist() == [[0, 0], [1, 0], [1, 1]]
    uv = b[0] + (b[1] - b[0]) * c[0] + (b[2] - b[1]) * c[1]
    return nearest_pixels(mesh.texturing.textures[mesh.texturing.index[0]], uv).tolist()


def test_no_material_and_no_colours(tmp_path: Path) -> None:
    assert read(square(GltfFile()), tmp_path).colors is None


def test_a_material_without_anything_is_white(tmp_path: Path) -> None:
    file = GltfFile()
    file.add("materials", {})
    np.testing.assert_allclose(colors(read(square(file, 0), tmp_path)), 1, atol=1e-6)


@pytest.mark.parametrize("dtype", ["u1", "<u2", "<f4"])
@pytest.mark.parametrize("width", [3, 4])
@pytest.mark.parametrize("texture", [False, True])
def test_factor_times_texture_times_vertex_colours(
    tmp_path: Path, dtype: str, width: int, texture: bool
) -> None:
    fractions = np.tile([0.5, 0.2, 1.0, 0.3], (4, 1))[:, :width]
    top = 1 if dtype == "<f4" else np.iinfo(dtype).max
    stored = (fractions * top).round() if top > 1 else fractions
    file = GltfFile()
    factor: dict[str, Any] = {"baseColorFactor": [0.8, 1.0, 0.5, 0.1]}
    if texture:
        factor["baseColorTexture"] = {"index": file.image(np.full((2, 2, 3), 188, np.uint8))}
    vertex = file.accessor(stored.astype(dtype), normalized=top > 1)
    square(file, file.material(**factor), COLOR_0=vertex, TEXCOORD_0=UV)
    linear = np.array([0.4, 0.2, 0.5])
    if texture:
        linear = linear * ((188 / 255 + 0.055) / 1.055) ** 2.4
    np.testing.assert_allclose(colors(read(file, tmp_path)), np.tile(srgb(linear), (4, 1)), atol=4e-3)


def test_integer_colours_are_fractions_even_if_the_file_forgets_to_say_so(tmp_path: Path) -> None:
    file = square(GltfFile(), COLOR_0=np.full((4, 4), 55, np.uint8))
    np.testing.assert_allclose(colors(read(file, tmp_path)), srgb(55 / 255), atol=1e-6)


def test_colours_out_of_range_or_not_a_number(tmp_path: Path) -> None:
    file = square(GltfFile(), COLOR_0=np.array([[7.0, -1, np.nan]] * 4))
    mesh = read(file, tmp_path)
    np.testing.assert_allclose(colors(mesh), [[1, 0, DEFAULT_COLOR]] * 4, atol=1e-6)
    assert mesh.unread == ("4 of 4 colours are not finite numbers, which are taken as grey",)


def test_each_primitive_has_its_own_material(tmp_path: Path) -> None:
    file = GltfFile()
    primitives = []
    for x, factor in enumerate(([1, 0, 0, 1], [0, 0, 1, 1])):
        primitive = file.primitive(SQUARE + np.array([2 * x, 0, 0]), SQUARE_FACES)
        primitives.append(primitive | {"material": file.material(baseColorFactor=factor)})
    file.node(mesh=file.mesh(*primitives))
    mesh = read(file, tmp_path)
    assert mesh.colors is not None
    np.testing.assert_allclose(mesh.colors[:, 2], mesh.vertices[:, 0] >= 2, atol=1e-6)


SPECGLOSS = "KHR_materials_pbrSpecularGlossiness"


@pytest.mark.parametrize(
    ("material", "linear"),
    [
        ({"extensions": {SPECGLOSS: {"diffuseFactor": [0.8, 0.02, 0.02, 1]}}}, [0.8, 0.02, 0.02]),
        ({"extensions": {SPECGLOSS: {}}}, [1, 1, 1]),
        # Metals have a specular colour alone.
        (
            {"extensions": {SPECGLOSS: {"diffuseFactor": [0, 0, 0, 1], "specularFactor": [1, 0.7, 0.3]}}},
            [1, 0.7, 0.3],
        ),
        (
            {"extensions": {SPECGLOSS: {"diffuseFactor": [0, 0, 0, 1], "specularFactor": [0, 0, 0]}}},
            [0, 0, 0],
        ),
        # Of what only glows, its glow is seen; of other things it does not count.
        (
            {"pbrMetallicRoughness": {"baseColorFactor": [0, 0, 0, 1]}, "emissiveFactor": [0.2, 0.3, 1]},
            [0.2, 0.3, 1],
        ),
        (
            {"pbrMetallicRoughness": {"baseColorFactor": [0.5, 0, 0, 1]}, "emissiveFactor": [0.2, 0.3, 1]},
            [0.5, 0, 0],
        ),
        ({"pbrMetallicRoughness": {"baseColorFactor": [0, 0, 0, 1]}}, [0, 0, 0]),
        (
            {
                "pbrMetallicRoughness": {"baseColorFactor": [0.1, 0.2, 0.3, 0.0]},
                "alphaMode": "BLEND",
                "extensions": {"KHR_materials_unlit": {}},
            },
            [0.1, 0.2, 0.3],
        ),
    ],
)
def test_models_of_materials(tmp_path: Path, material: dict[str, Any], linear: list[float]) -> None:
    file = GltfFile()
    file.add("materials", material)
    mesh = read(square(file, 0), tmp_path)
    np.testing.assert_allclose(colors(mesh), np.tile(srgb(linear), (4, 1)), atol=1e-6)
    assert mesh.unread == ()


def test_textures_of_other_models_of_materials(tmp_path: Path) -> None:
    for key, extension in (("diffuseTexture", True), ("emissiveTexture", False)):
        file = GltfFile()
        texture = {key: {"index": file.image(QUARTERS)}}
        black = {"pbrMetallicRoughness": {"baseColorFactor": [0, 0, 0, 1]}, "emissiveFactor": [1, 1, 1]}
        file.add("materials", {"extensions": {SPECGLOSS: texture}} if extension else black | texture)
        mesh = read(square(file, 0, TEXCOORD_0=UV), tmp_path)
        assert centre_color(mesh, 0.9, 0.1) == [0, 255, 0]


def test_a_variant_is_not_chosen(tmp_path: Path) -> None:
    file = GltfFile()
    red, blue = (file.material(baseColorFactor=factor) for factor in ([1, 0, 0, 1], [0, 0, 1, 1]))
    square(file, red)
    variants = {"mappings": [{"material": blue, "variants": [0]}]}
    file.tree["meshes"][0]["primitives"][0]["extensions"] = {"KHR_materials_variants": variants}
    file.require("KHR_materials_variants")
    np.testing.assert_allclose(colors(read(file, tmp_path)), [[1, 0, 0]] * 4, atol=1e-6)


def transformed(transform: dict[str, Any], folder: Path, **attributes: Any) -> Mesh:
    file = GltfFile()
    info = {"index": file.image(QUARTERS), "extensions": {"KHR_texture_transform": transform}}
    file.require("KHR_texture_transform")
    return read(
        square(file, file.material(baseColorTexture=info), **{"TEXCOORD_0": UV, **attributes}), folder
    )


def test_the_examples_of_the_texture_transform_s_specification(tmp_path: Path) -> None:
    # "Only the lower left quadrant of the source image, rotated clockwise 90°".
    turn = {"offset": [0, 1], "rotation": 1.57079632679, "scale": [0.5, 0.5]}
    mesh = transformed(turn, tmp_path)
    for u, v in ((0.1, 0.1), (0.9, 0.1), (0.9, 0.9)):
        assert centre_color(mesh, u, v) == [0, 0, 255]
    assert mesh.texturing is not None
    # The image's lower left corner, (0, 1), is at the square's upper left one.
    np.testing.assert_allclose(mesh.texturing.uv[0], [[0, 1], [0, 0.5], [0.5, 0.5]], atol=1e-6)
    # "Inverts the T axis, effectively defining a bottom-left origin."
    mesh = transformed({"offset": [0, 1], "scale": [1, -1]}, tmp_path)
    assert centre_color(mesh, 0.9, 0.1) == [255, 255, 255]
    assert centre_color(mesh, 0.9, 0.85) == [0, 255, 0]


def test_offset_and_other_coordinates_of_the_texture_transform(tmp_path: Path) -> None:
    assert centre_color(transformed({"offset": [0.5, 0]}, tmp_path), 0.1, 0.05) == [0, 255, 0]
    mesh = transformed({"texCoord": 3}, tmp_path, TEXCOORD_3=UV * 0.5 + 0.5)
    assert centre_color(mesh, 0.1, 0.05) == [255, 255, 255]
    assert transformed({}, tmp_path).unread == ()


def test_a_texture_uses_the_coordinates_that_it_names(tmp_path: Path) -> None:
    file = GltfFile()
    material = file.material(baseColorTexture={"index": file.image(QUARTERS), "texCoord": 1})
    stored = np.round(UV * 65535).astype("<u2")
    square(file, material, TEXCOORD_0=UV * 0, TEXCOORD_1=file.accessor(stored, normalized=True))
    assert centre_color(read(file, tmp_path), 0.9, 0.1) == [0, 255, 0]
    primitive = file.tree["meshes"][0]["primitives"][0]
    del primitive["attributes"]["TEXCOORD_1"]
    mesh = read(file, tmp_path)
    assert mesh.unread == ("a texture is not shown: its primitive has no TEXCOORD_1",)
    np.testing.assert_allclose(colors(mesh), DEFAULT_COLOR, atol=1e-6)


def test_wrapping_is_the_sampler_s(tmp_path: Path) -> None:
    file = GltfFile()
    texture = file.image(QUARTERS, wrapS=33071, wrapT=33648)
    mesh = read(square(file, file.material(baseColorTexture={"index": texture}), TEXCOORD_0=UV), tmp_path)
    assert mesh.texturing is not None
    assert mesh.texturing.textures[0].wrap == ("clamp", "mirror")


def test_mirroring_keeps_each_corner_s_texture(tmp_path: Path) -> None:
    file = GltfFile()
    square(file, file.material(baseColorTexture={"index": file.image(QUARTERS)}), TEXCOORD_0=UV)
    file.tree["nodes"][0]["scale"] = [-1, 1, 1]
    mesh = read(file, tmp_path)
    assert mesh.texturing is not None
    mirrored = mesh.triangles[..., :2] * [-1, 1]
    np.testing.assert_allclose(mesh.texturing.uv, mirrored, atol=1e-6)


@pytest.mark.parametrize(
    ("encoding", "extension"),
    [("PNG", ""), ("WEBP", "EXT_texture_webp"), ("AVIF", "EXT_texture_avif"), ("WEBP", "")],
)
def test_formats_of_images(tmp_path: Path, encoding: str, extension: str) -> None:
    from PIL import features

    if encoding == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    pixels = QUARTERS.repeat(16, axis=0).repeat(16, axis=1)
    file = GltfFile()
    texture = file.image(pixels, encoding)
    if extension:
        source = file.tree["textures"][texture].pop("source")
        file.tree["textures"][texture]["extensions"] = {extension: {"source": source}}
        file.require(extension)
    mesh = read(square(file, file.material(baseColorTexture={"index": texture}), TEXCOORD_0=UV), tmp_path)
    assert mesh.unread == ()
    np.testing.assert_allclose(centre_color(mesh, 0.9, 0.1), [0, 255, 0], atol=12)


KTX2 = b"\xabKTX 20\xbb\r\n\x1a\n" + bytes(200)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ({"uri": "wood.png"}, "no such file: wood.png"),
        ({"uri": "data:image/png;base64,AAAA"}, "not an image of a known format"),
        ({"uri": "https://example.org/wood.png"}, "no such file: https"),
        ({"uri": "a\nb.png"}, "no such file: a b.png"),
        ({"uri": "a" * 5000}, "aaa cannot be read .File name too long.|no such file: aaa"),
        ({"bufferView": 99}, r"refers to bufferViews\[99\]"),
        ({}, "bufferView"),
        (KTX2, "KTX2 images .KHR_texture_basisu. are not read"),
        (encoded(WHITE)[:50], "image 0: damaged: "),
        (b"", "not an image"),
    ],
)
def test_a_texture_that_cannot_be_read_is_grey_and_reported(
    tmp_path: Path, image: dict[str, Any] | bytes, reason: str
) -> None:
    import re

    file = GltfFile()
    if isinstance(image, bytes):
        image = {"bufferView": file.view(image)}
    file.add("images", image)
    texture = file.add("textures", {"source": 0})
    material = file.material(baseColorFactor=[1, 0.5, 1, 1], baseColorTexture={"index": texture})
    mesh = read(square(file, material, TEXCOORD_0=UV), tmp_path)
    assert mesh.texturing is None
    assert len(mesh.unread) == 1
    assert mesh.unread[0].startswith("texture 0 is not shown: ")
    assert re.search(reason, mesh.unread[0])
    assert "\n" not in mesh.unread[0]
    assert len(mesh.unread[0]) < 400
    grey = ((DEFAULT_COLOR + 0.055) / 1.055) ** 2.4
    np.testing.assert_allclose(colors(mesh), np.tile(srgb([grey, grey / 2, grey]), (4, 1)), atol=1e-5)


def test_the_first_image_that_can_be_read_is_shown(tmp_path: Path) -> None:
    file = GltfFile()
    texture = file.image(QUARTERS)
    ktx = file.add("images", {"bufferView": file.view(KTX2)})
    entry = file.tree["textures"][texture]
    entry["extensions"] = {"KHR_texture_basisu": {"source": ktx}}
    square(file, file.material(baseColorTexture={"index": texture}), TEXCOORD_0=UV)
    assert read(file, tmp_path).unread == ()
    entry["source"], entry["extensions"]["KHR_texture_basisu"]["source"] = ktx, entry["source"]
    mesh = read(file, tmp_path)
    assert mesh.unread == ()
    assert centre_color(mesh, 0.9, 0.1) == [0, 255, 0]


def test_a_percent_encoded_image_beside_the_file(tmp_path: Path) -> None:
    file = GltfFile()
    (tmp_path / "tex 2").mkdir()
    (tmp_path / "tex 2" / "my wood.png").write_bytes(encoded(QUARTERS))
    file.add("images", {"uri": "tex%202/my%20wood.png"})
    texture = file.add("textures", {"source": 0})
    square(file, file.material(baseColorTexture={"index": texture}), TEXCOORD_0=UV)
    mesh = load_mesh(file.save_gltf(tmp_path / "m.gltf"))
    assert centre_color(mesh, 0.9, 0.1) == [0, 255, 0]


def test_primitives_with_one_image_have_one_texture(tmp_path: Path) -> None:
    file = GltfFile()
    texture = file.image(QUARTERS)
    for _ in range(3):
        square(file, file.material(baseColorTexture={"index": texture}), TEXCOORD_0=UV)
    mesh = read(file, tmp_path)
    assert mesh.texturing is not None
    assert len(mesh.texturing.textures) == 1


def test_large_textures_are_reduced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tall = np.zeros((4100, 10, 3), np.uint8)
    tall[:2050] = 200
    for encoding in ("PNG", "JPEG"):
        pixels = images.read_pixels(encoded(tall, encoding))
        assert pixels.shape == (2048, 5, 3)
        np.testing.assert_allclose(pixels.mean(axis=(1, 2))[[0, 1000, 1040, 2047]], [200, 200, 0, 0], atol=3)
    monkeypatch.setattr(images, "_MAX_PIXELS", 40_000)
    with pytest.raises(ValueError, match="too large: 10 x 4100 pixels"):
        images.read_pixels(encoded(tall))


def test_many_textures_are_reduced_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_BUDGET", 1000)
    file = GltfFile()
    for _ in range(2):
        texture = file.image(np.zeros((4, 600, 3), np.uint8))
        square(file, file.material(baseColorTexture={"index": texture}), TEXCOORD_0=UV)
    mesh = read(file, tmp_path)
    assert mesh.texturing is not None
    assert [texture.pixels.shape[1] for texture in mesh.texturing.textures] == [600, 512]


def test_grey_images_of_sixteen_bits(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.full((2, 2), 128 * 257, np.uint16)).save(tmp_path / "grey.png")
    assert images.read_pixels(tmp_path / "grey.png").tolist() == [[[128] * 3] * 2] * 2


def test_materials_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match=r"materials\[3\] of 0"):
        read(square(GltfFile(), 3), tmp_path)
    file = square(GltfFile(), COLOR_0=np.ones((3, 3)))
    with pytest.raises(MeshError, match="the numbers of colours and vertices differ"):
        read(file, tmp_path)


@pytest.mark.real
def test_the_same_colours_as_trimesh_on_files_that_both_read(real_data: Path) -> None:
    import trimesh

    for path in sorted((real_data / "dev").rglob("*.glb"))[:4]:
        mesh = bake(load_mesh(path))
        theirs = []
        for part in trimesh.load_scene(path, process=False).dump():
            factor = np.asarray(part.visual.material.baseColorFactor)[:3] / 255
            theirs.append(np.tile(srgb(factor), (len(part.faces), 1)))
        assert mesh.colors is not None
        ours = mesh.colors[mesh.faces].mean(axis=1)
        both = [np.unique(rows.round(2), axis=0, return_counts=True) for rows in (ours, np.vstack(theirs))]
        assert both[0][1].tolist() == both[1][1].tolist()
        np.testing.assert_allclose(both[0][0], both[1][0], atol=0.021)


def test_an_obj_file_and_the_glb_that_trimesh_makes_of_it_show_the_same(tmp_path: Path) -> None:
    import trimesh

    (tmp_path / "t.png").write_bytes(encoded(QUARTERS))
    (tmp_path / "m.mtl").write_text("newmtl t\nKd 1 1 1\nmap_Kd t.png\n")
    text = "mtllib m.mtl\nusemtl t\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"
    text += "vt 0.1 0.1\nvt 0.9 0.1\nvt 0.9 0.9\nvt 0.1 0.9\nf 1/1 2/2 3/3\nf 1/1 3/3 4/4\n"
    (tmp_path / "m.obj").write_text(text)
    trimesh.load_scene(tmp_path / "m.obj").export(tmp_path / "m.glb")
    for path in (tmp_path / "m.obj", tmp_path / "m.glb"):
        mesh = bake(load_mesh(path))
        assert mesh.colors is not None
        shown = {
            (*place, *color)
            for place, color in zip(
                mesh.vertices[:, :2].round().tolist(), mesh.colors.round().tolist(), strict=True
            )
        }
        assert shown == {(0, 0, 0, 0, 1), (1, 0, 1, 1, 1), (1, 1, 0, 1, 0), (0, 1, 1, 0, 0)}, path


def test_a_coloured_cube_with_instances(tmp_path: Path) -> None:
    """Colours follow the vertices of every instance."""
    file = GltfFile()
    primitive = file.primitive(CUBE, CUBE_FACES, COLOR_0=np.where(CUBE > 0, 1.0, 0.0))
    attributes = {"TRANSLATION": file.accessor(np.array([[0, 0, 0], [3, 0, 0]], "<f4"))}
    file.node(mesh=file.mesh(primitive), extensions={"EXT_mesh_gpu_instancing": {"attributes": attributes}})
    mesh = read(file, tmp_path)
    assert mesh.colors is not None
    np.testing.assert_allclose(mesh.colors, np.tile(CUBE > 0, (2, 1)), atol=1e-6)
