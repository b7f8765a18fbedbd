"""Textures and vertex colours in images, against analytic projections, supersampled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from occnet_lib.config import ViewsConfig
from occnet_lib.geometry.cameras import choy_cameras, intrinsics, look_at_origin
from occnet_lib.geometry.colors import linear_to_srgb, srgb_to_linear
from occnet_lib.geometry.normalise import unit_cube
from occnet_lib.geometry.textures import bake
from occnet_lib.rendering import pyrender_backend
from occnet_lib.rendering.mipmaps import Pyramid
from occnet_lib.rendering.surface_colors import varying_faces
from occnet_lib.rendering.views import render_views
from occnet_lib.stages import views
from occnet_lib.storage.meshes import load_mesh
from occnet_lib.types import Mesh, Texture, Texturing

SIZE, SAMPLES = 64, 2
FRONT, OBLIQUE = [[0.0, 0.0, 1.6]], [[1.0, 0.35, 0.55]]


@pytest.fixture(params=["pyrender", "raycast"])
def renderer(request: pytest.FixtureRequest) -> str:
    if request.param == "pyrender" and not pyrender_backend.available(SAMPLES * SIZE):
        pytest.skip("no OpenGL: neither EGL nor OSMesa works")
    return str(request.param)


def square(*textures: Texture, uv_from: float = 0.0, uv_to: float = 1.0, colors: Any = None) -> Mesh:
    """The square [-0.5, 0.5]² at z = 0 with its upper left corner at (uv_from, uv_from)."""
    corners = np.array([[-0.5, 0.5, 0], [-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0]])
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    at = np.float32([[0, 0], [0, 1], [1, 1], [1, 0]]) * (uv_to - uv_from) + np.float32(uv_from)
    texturing = Texturing(at[faces], np.zeros(2, np.int32), textures) if textures else None
    return Mesh(corners, faces, None if colors is None else np.float32(colors), texturing)


def image_of(
    mesh: Mesh, place: Any = FRONT, renderer: str = "raycast", size: int = SIZE
) -> NDArray[np.int64]:
    settings = ViewsConfig(renderer=renderer, image_size=size, supersampling=SAMPLES)
    images, *_ = render_views(mesh, intrinsics(size, 149.84375)[None], look_at_origin(place), settings)
    return images[0].astype(int)


def lit(color: Any, place: Any = FRONT) -> NDArray[np.float64]:
    """Bytes of a linear colour under the light that the white square has."""
    white = image_of(square(colors=np.ones((4, 3))), place).min()
    return linear_to_srgb(np.float32(color)).astype(float) * white


def checkerboard(size: int, cells: int) -> Texture:
    row, column = np.indices((size, size)) * cells // size
    even = (row + column) % 2 == 0
    return Texture(np.where(even[..., None], np.uint8([250, 200, 20]), np.uint8([10, 30, 120])))


def gradient(size: int) -> Texture:
    row, column = np.indices((size, size)) * 255 // (size - 1)
    return Texture(np.stack([row, column, 255 - row], axis=-1).astype(np.uint8), ("clamp", "clamp"))


def projected(texture: Texture, place: Any, fine: int = 8) -> NDArray[np.float64]:
    """The image of the textured square, of `fine`² rays a sample that each see the pixel they meet; NaN beside it."""
    world_mat, count = look_at_origin(place)[0], SIZE * SAMPLES * fine
    grid = (np.arange(count) + 0.5) / (SAMPLES * fine)
    pixels = np.stack([*np.meshgrid(grid, grid), np.ones((count, count))], axis=-1)
    rays = pixels @ np.linalg.inv(intrinsics(SIZE, 149.84375)).T @ world_mat[:, :3]
    origin = -world_mat[:, :3].T @ world_mat[:, 3]
    point = origin - rays * (origin[2] / rays[..., 2])[..., None]
    u, v = point[..., 0] + 0.5, 0.5 - point[..., 1]
    inside = (np.abs(point[..., :2]) < 0.5).all(axis=-1)
    height, width = texture.pixels.shape[:2]
    row, column = (np.clip(x * n, 0, n - 1).astype(int) for x, n in ((v, height), (u, width)))
    linear = srgb_to_linear(texture.pixels[row, column] / np.float32(255))
    linear[~inside] = np.nan
    blocks = linear.reshape(SIZE * SAMPLES, fine, SIZE * SAMPLES, fine, 3).mean(axis=(1, 3))
    samples = lit(blocks, place)
    return samples.reshape(SIZE, SAMPLES, SIZE, SAMPLES, 3).mean(axis=(1, 3))


@pytest.mark.parametrize("place", [FRONT, OBLIQUE])
@pytest.mark.parametrize(
    ("texture", "mean", "most"), [(checkerboard(256, 6), 4.0, 50.0), (gradient(300), 0.6, 2.5)]
)
def test_image_is_the_projected_texture(texture: Texture, place: Any, mean: float, most: float) -> None:
    want = projected(texture, place)
    inside = np.isfinite(want).all(axis=-1)
    assert inside.sum() > 500
    for renderer in ["raycast"] + ["pyrender"] * pyrender_backend.available(SAMPLES * SIZE):
        error = np.abs(image_of(square(texture), place, renderer)[inside] - want[inside])
        assert error.mean() < mean
        assert error.max() < most


@pytest.mark.parametrize("shape", [(64, 64), (37, 90), (1, 13), (5, 1)])
def test_every_level_has_the_mean_of_the_image_in_linear_light(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    pyramid = Pyramid.of(Texture(pixels))
    mean = srgb_to_linear(pixels / np.float32(255)).mean(axis=(0, 1))
    assert tuple(pyramid.levels[0]) == (0, *shape)
    assert tuple(pyramid.levels[-1, 1:]) == (1, 1)
    for offset, height, width in pyramid.levels[1:]:
        level = pyramid.small[offset : offset + height * width] / 65535
        np.testing.assert_allclose(level.mean(axis=0), mean, atol=1e-4)


def test_from_far_a_texture_is_its_mean_in_linear_light(renderer: str) -> None:
    red = np.random.default_rng(1).random((400, 400, 1)) < 0.3
    pixels = np.where(red, np.uint8([255, 0, 40]), np.uint8([0, 60, 40]))
    mean = srgb_to_linear(pixels / np.float32(255)).mean(axis=(0, 1))
    far = [[0.0, 0.0, 12.0]]
    image = image_of(square(Texture(pixels)), far, renderer)
    np.testing.assert_allclose(image[32, 32], lit(mean, far), atol=1.5)
    # And so are many repetitions of a small one.
    image = image_of(square(checkerboard(16, 2), uv_to=400.0), FRONT, renderer)
    mean = srgb_to_linear(checkerboard(16, 2).pixels / np.float32(255)).mean(axis=(0, 1))
    np.testing.assert_allclose(image[32, 32], lit(mean), atol=1.5)


@pytest.mark.parametrize("wrap", ["repeat", "clamp", "mirror"])
def test_outside_of_the_image_a_texture_goes_on_as_its_wrapping_says(wrap: Any) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (4, 4, 3), dtype=np.uint8).repeat(2, 0).repeat(2, 1)
    modes: dict[Any, Any] = {"repeat": "wrap", "clamp": "edge", "mirror": "symmetric"}
    row = np.pad(pixels, ((16, 16), (0, 0), (0, 0)), mode=modes[wrap])
    both = np.pad(row, ((0, 0), (16, 16), (0, 0)), mode="edge")
    got = image_of(square(Texture(pixels, ("clamp", wrap)), uv_from=-2.0, uv_to=3.0))
    want = image_of(square(Texture(both, ("clamp", "clamp"))))
    assert np.ptp(want) > 100
    within = slice(12, 52)  # at the rim `repeat` blends with the other side
    np.testing.assert_allclose(got[within, within], want[within, within], atol=1)


def test_vertex_colors_are_interpolated_in_linear_light_and_multiply_the_texture(renderer: str) -> None:
    ends = np.array([[1, 0.5, 0], [1, 0.5, 0], [0, 0.5, 1], [0, 0.5, 1]])
    image = image_of(square(colors=ends), FRONT, renderer)
    left, right = (srgb_to_linear(np.float32(end)) for end in (ends[0], ends[2]))
    scale = 149.84375 * SIZE / 137 / FRONT[0][2]
    for column in (12, 20, 31, 40, 52):
        there = 0.5 + (column + 0.5 - SIZE / 2) / scale
        want = lit(left + there * (right - left))
        np.testing.assert_allclose(image[[10, 32, 50], column], np.tile(want, (3, 1)), atol=2)
    half = Texture(np.full((2, 2, 3), 188, np.uint8))  # a half in linear light
    product = srgb_to_linear(np.float32(188 / 255)) * (left + right) / 2
    image = image_of(square(half, colors=ends), FRONT, renderer)
    np.testing.assert_allclose(image[32, 31:33].mean(axis=0), lit(product), atol=1.5)


def test_faces_of_one_color_look_the_same_beside_textures(renderer: str) -> None:
    """One texture of three, plain colours and grey on one mesh; plain faces are exactly as without textures."""
    colors = np.random.default_rng(3).random((5, 3)).astype(np.float32)
    sheets = [square() for _ in range(5)]
    vertices = np.concatenate(
        [sheet.vertices * 0.2 + [0.3 * (i - 2), 0, 0] for i, sheet in enumerate(sheets)]
    )
    faces = np.concatenate([sheet.faces + 4 * i for i, sheet in enumerate(sheets)]).astype(np.int32)
    plain = Mesh(vertices, faces, np.repeat(colors, 4, axis=0))
    assert not varying_faces(plain).any()
    flats = [
        Texture(np.full((3, 3, 3), value, np.uint8)) for value in ((255, 0, 0), (0, 255, 0), (0, 0, 255))
    ]
    index = np.repeat(np.int32([2, -1, 0, 1, -1]), 2)
    texturing = Texturing(np.zeros((10, 3, 2), np.float32), index, tuple(flats))
    mesh = replace(plain, texturing=texturing)
    np.testing.assert_array_equal(varying_faces(mesh), index >= 0)
    one, two = image_of(plain, FRONT, renderer), image_of(mesh, FRONT, renderer)
    columns = 32 + np.array([-2, -1, 0, 1, 2]) * 0.3 * 149.84375 * SIZE / 137 / 1.6
    seen = two[31, columns.astype(int)]
    np.testing.assert_array_equal(seen[[1, 4]], one[31, columns.astype(int)][[1, 4]])
    for i, channel in ((0, 2), (2, 0), (3, 1)):
        want = np.zeros(3)
        want[channel] = one[31, columns.astype(int)][i, channel]
        np.testing.assert_allclose(seen[i], want, atol=1)
    grey = replace(mesh, colors=None)
    assert len(set(image_of(grey, FRONT, renderer)[31, int(columns[1])])) == 1
    np.testing.assert_allclose(bake(grey).colors[4:8], 0.7, atol=1e-6)  # type: ignore[index]


def test_faces_without_area_and_coordinates_that_are_not_finite() -> None:
    mesh = square(checkerboard(32, 4))
    assert mesh.texturing is not None
    uv = np.concatenate([mesh.texturing.uv, mesh.texturing.uv])
    uv[1, 0], uv[1, 1, 0], uv[2] = np.nan, np.inf, np.float32(3e38)
    faces = np.concatenate([mesh.faces, [[0, 0, 2], [1, 1, 1]]]).astype(np.int32)
    vertices = np.concatenate([mesh.vertices, [[0.0, 0.0, 0.5], [0.5, 0.0, 0.5]]])
    # Edge-on: the plane of the last face passes through the camera.
    faces = np.concatenate([faces, [[0, 2, 4]], [[4, 5, 5]]]).astype(np.int32)
    texturing = Texturing(np.concatenate([uv, uv[:2]]), np.zeros(6, np.int32), mesh.texturing.textures)
    for place in (FRONT, OBLIQUE, [[0.9, 0.9, 0.9]]):
        image = image_of(Mesh(vertices, faces, None, texturing), place)
        assert image.min() < 255


def test_both_renderers_give_the_same_colors() -> None:
    if not pyrender_backend.available(2 * ViewsConfig().image_size):
        pytest.skip("no OpenGL: neither EGL nor OSMesa works")
    mesh = framed_box()
    cameras = choy_cameras(6, np.random.default_rng(0), ViewsConfig())
    one, two = (
        render_views(mesh, *cameras, ViewsConfig(renderer=name))[0] for name in ("pyrender", "raycast")
    )
    assert np.abs(one.astype(int) - two).mean() < 0.3


def framed_box() -> Mesh:
    """A cube whose sides all show a dark frame with an orange middle: dark at every corner."""
    pixels = np.full((128, 128, 3), 8, np.uint8)
    pixels[16:-16, 16:-16] = (240, 140, 20)
    vertices = (np.indices((2, 2, 2)).reshape(3, -1).T - 0.5) / np.sqrt(3)
    quads = np.array([(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)])
    faces = quads[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3).astype(np.int32)
    corners = np.float32([[0, 0], [0, 1], [1, 1], [1, 0]])[[[0, 1, 2], [0, 2, 3]]]
    uv = np.tile(corners, (6, 1, 1))
    return Mesh(vertices, faces, None, Texturing(uv, np.zeros(12, np.int32), (Texture(pixels),)))


def test_a_screen_with_a_dark_frame_is_bright_in_every_view(tmp_path: Path) -> None:
    from PIL import Image

    mesh = framed_box()
    assert mesh.texturing is not None
    Image.fromarray(mesh.texturing.textures[0].pixels).save(tmp_path / "screen.png")
    (tmp_path / "model.mtl").write_text("newmtl screen\nKd 1 1 1\nmap_Kd screen.png\n")
    lines = ["mtllib model.mtl", "usemtl screen"]
    lines += [f"v {x} {y} {z}" for x, y, z in mesh.vertices]
    lines += [f"vt {u} {1 - v}" for u, v in mesh.texturing.uv.reshape(-1, 2)]
    for number, corners in enumerate(mesh.faces + 1):
        lines.append("f " + " ".join(f"{v}/{3 * number + k + 1}" for k, v in enumerate(corners)))
    (tmp_path / "model.obj").write_text("\n".join(lines) + "\n")
    unit, _, _ = unit_cube(load_mesh(tmp_path / "model.obj"))
    images = views.run(unit, ViewsConfig(renderer="raycast", image_size=64), np.random.default_rng(0)).images
    red, green, blue = np.moveaxis(images.astype(int), -1, 0)
    orange = (red > 90) & (red > 1.4 * green) & (green > 2 * blue)
    seen = (images < 250).any(axis=-1)
    fraction = orange.sum(axis=(1, 2)) / seen.sum(axis=(1, 2))
    assert len(fraction) == 24
    assert (fraction > 0.4).all()
