"""Renderings of known shapes, the box filter and the choice of the renderer."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from occnet_lib.config import ViewsConfig
from occnet_lib.errors import DependencyError
from occnet_lib.geometry.cameras import choy_cameras, intrinsics, look_at_origin
from occnet_lib.rendering import pyrender_backend
from occnet_lib.rendering.views import block_sums, box_filter, choose_renderer, render_views
from occnet_lib.types import DEPTH_STEP, Mesh
from tests.support.rendered_solids import box, config, from_front, join, sphere


def test_silhouette_of_a_sphere_is_its_circle(renderer: str) -> None:
    settings = config(renderer)
    radius, distance, focal = 0.4, 2.0, settings.image_size
    _, coverage = from_front(sphere(radius), settings, distance)
    circle = focal * radius / np.sqrt(distance**2 - radius**2)
    assert coverage.sum() == pytest.approx(np.pi * circle**2, rel=0.01)
    rows, columns = np.indices(coverage.shape) + 0.5
    assert (coverage * rows).sum() / coverage.sum() == pytest.approx(32, abs=0.02)
    assert (coverage * columns).sum() / coverage.sum() == pytest.approx(32, abs=0.02)
    from_middle = np.hypot(rows - 32, columns - 32)
    assert (coverage[from_middle < circle - 1] == 1).all()
    assert (coverage[from_middle > circle + 1] == 0).all()


def test_pixels_are_where_the_camera_says(renderer: str) -> None:
    # At distance 2 and focal length 64 a length of 1/32 is one pixel: columns 30.5 to 42, rows 10 to 31.25.
    sheet = Mesh(
        np.array([[x / 32, y / 32, 0.0] for x, y in ((-1.5, 0.75), (10, 0.75), (10, 22), (-1.5, 22))]),
        np.array([[0, 1, 2], [0, 2, 3]], np.int32),
    )
    image, coverage = from_front(sheet, config(renderer, supersampling=4))
    columns = np.clip(np.minimum(np.arange(64) + 1, 42) - np.maximum(np.arange(64), 30.5), 0, 1)
    rows = np.clip(np.minimum(np.arange(64) + 1, 31.25) - np.maximum(np.arange(64), 10), 0, 1)
    np.testing.assert_allclose(coverage, rows[:, None] * columns[None], atol=1e-6)
    assert (image[coverage == 0] == 255).all()
    assert (image[coverage == 1] < 250).all()


def test_left_is_left_up_is_up_near_hides_far(renderer: str) -> None:
    mesh = join(
        box((-0.5, -0.5, -0.1), (0, 0.5, 0.1), (1, 0, 0)),
        box((0, -0.5, -0.1), (0.5, 0, 0.1), (0, 1, 0)),
        box((0, 0, -0.1), (0.5, 0.5, 0.1), (0, 0, 1)),
        box((-0.4, -0.4, 0.2), (-0.2, -0.2, 0.3), (0, 0, 0)),
        box((0.2, 0.2, -0.4), (0.3, 0.3, -0.3), (1, 1, 1)),
    )
    image, _ = from_front(mesh, config(renderer))
    near = {"left": image[25, 22], "low": image[40, 40], "high": image[22, 40]}
    assert np.argmax(near["left"]) == 0
    assert np.argmax(near["low"]) == 1
    assert np.argmax(near["high"]) == 2
    assert image[42, 21].max() == 0
    for value in near.values():
        assert np.sort(value)[:2].max() == 0


def test_both_windings_and_doubled_faces_look_the_same(renderer: str) -> None:
    mesh = join(box((-0.4, -0.3, -0.2), (0.1, 0.3, 0.2), (0.8, 0.5, 0.2)), sphere(0.25))
    cameras = choy_cameras(3, np.random.default_rng(0), config(renderer))
    want = render_views(mesh, *cameras, config(renderer))
    for faces in (mesh.faces[:, ::-1], np.concatenate([mesh.faces, mesh.faces[:, ::-1]])):
        other = Mesh(mesh.vertices, np.ascontiguousarray(faces), mesh.colors)
        got = render_views(other, *cameras, config(renderer))
        np.testing.assert_array_equal(got[0], want[0])
        np.testing.assert_array_equal(got[1], want[1])


def test_renderers_agree() -> None:
    if not pyrender_backend.available(274):
        pytest.skip("no OpenGL: neither EGL nor OSMesa works")
    rng = np.random.default_rng(2)
    for _ in range(3):
        lows = rng.uniform(-0.4, 0.2, (6, 3))
        mesh = join(*(box(low, low + rng.uniform(0.01, 0.3, 3), rng.random(3)) for low in lows), sphere(0.2))
        cameras = choy_cameras(4, rng, ViewsConfig())
        one, mask, *_ = render_views(mesh, *cameras, ViewsConfig(renderer="pyrender"))
        two, other, *_ = render_views(mesh, *cameras, ViewsConfig(renderer="raycast"))
        for a, b in zip(mask > 0.5, other > 0.5, strict=True):
            assert (a & b).sum() / (a | b).sum() >= 0.99
        assert np.abs(one.astype(int) - two).mean() < 0.5


def test_camera_within_the_bounding_box(renderer: str) -> None:
    room = box((-3, -3, -3), (3, 3, 3))
    _, coverage = from_front(room, config(renderer), distance=1.0)
    assert (coverage == 1).all()


@pytest.mark.parametrize("samples", [1, 2, 3, 5])
def test_box_filter_is_the_mean_of_blocks(samples: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (4 * samples, 4 * samples, 3), dtype=np.uint8)
    blocks = image.reshape(4, samples, 4, samples, 3).astype(float)
    np.testing.assert_array_equal(box_filter(image, samples), np.floor(blocks.mean(axis=(1, 3)) + 0.5))
    np.testing.assert_array_equal(block_sums(image, samples), blocks.sum(axis=(1, 3)))


def test_choice_without_opengl(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(size: int) -> None:
        raise ImportError("no library")

    pyrender_backend.available.cache_clear()
    pyrender_backend._renderer.cache_clear()
    monkeypatch.setattr(pyrender_backend, "_create", refuse)
    monkeypatch.setattr(pyrender_backend, "_platforms", lambda: ["osmesa"])
    monkeypatch.setenv("PYOPENGL_PLATFORM", "osmesa")
    modules = dict(sys.modules)
    try:
        assert choose_renderer("auto", 96)[0] == "raycast"
        assert choose_renderer("raycast", 96)[0] == "raycast"
        with pytest.raises(DependencyError, match=r"osmesa: ImportError no library .*raycast"):
            from_front(sphere(0.3), config("pyrender"))
    finally:
        sys.modules.update(modules)
        pyrender_backend.available.cache_clear()


EXTRA = ("depth", "mask", "normals")


def test_maps_of_a_sphere(renderer: str) -> None:
    """Depth and normals where the ray through a pixel's centre meets the sphere, mask the fraction of the pixel."""
    settings = config(renderer, extra=EXTRA, supersampling=3)
    radius, camera = 0.4, intrinsics(64, 149.84375)
    # From a skewed place: the frame of the normals is the camera's, not the view's.
    world_mat = look_at_origin([[0.9, 0.8, 1.1]])
    _, coverage, extra, _ = render_views(sphere(radius), camera[None], world_mat, settings)
    assert list(extra) == list(EXTRA)
    assert [values.dtype for values in extra.values()] == [np.uint16, np.uint8, np.uint8]
    depth, mask, normals = (values[0] for values in extra.values())
    np.testing.assert_array_equal(mask, np.round(255 * coverage[0]))
    centre = world_mat[0, :, 3]
    rows, columns = np.indices((64, 64))
    rays = np.stack([columns + 0.5, rows + 0.5, np.ones((64, 64))], axis=-1) @ np.linalg.inv(camera).T
    a, b, c = (rays**2).sum(axis=-1), rays @ centre, centre @ centre - radius**2
    root = b**2 - a * c
    inside = root > 0
    want = (b - np.sqrt(np.where(inside, root, 0))) / a
    clear = root > 0.02  # not at the rim, where the depth changes without end
    assert clear.sum() > 500
    assert (depth[root < -0.02] == 0).all()
    assert (normals[root < -0.02] == 0).all()
    np.testing.assert_allclose(depth[clear] * DEPTH_STEP, want[clear], atol=1e-3)
    true = (rays * want[..., None] - centre) / radius
    got = normals[clear].astype(float) - 128
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 127, rtol=0.01)
    got /= np.linalg.norm(got, axis=1, keepdims=True)
    angles = np.degrees(np.arccos(np.clip(np.einsum("pk,pk->p", got, true[clear]), -1, 1)))
    assert angles.max() < 4  # flat faces of 3°
    assert (got[:, 2] < 0).all()


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_depth_of_a_plane_is_exact_whatever_the_supersampling(renderer: str, samples: int) -> None:
    """Also with an even number of samples, of which none is at the pixel's centre."""
    sheet = Mesh(np.array([[-9.0, -9, -4], [9, -9, 2], [0, 18, 1]]), np.array([[0, 1, 2]], np.int32))
    settings = config(renderer, extra=("depth",), supersampling=samples, image_size=16)
    camera = intrinsics(16, 137)
    _, _, extra, _ = render_views(sheet, camera[None], look_at_origin([[0.0, 0.0, 2.0]]), settings)
    a, b, c = sheet.vertices * [1, -1, -1] + [0, 0, 2]  # in the camera's frame
    normal = np.cross(b - a, c - a)
    rows, columns = np.indices((16, 16)) + 0.5
    rays = np.stack([columns, rows, np.ones((16, 16))], axis=-1) @ np.linalg.inv(camera).T
    want = normal @ a / (rays @ normal)
    assert ((want > 0) & (want < 4)).all()
    np.testing.assert_allclose(extra["depth"][0] * DEPTH_STEP, want, atol=0.51 * DEPTH_STEP)


def test_maps_of_both_renderers_agree() -> None:
    if not pyrender_backend.available(128):
        pytest.skip("no OpenGL: neither EGL nor OSMesa works")
    mesh = join(box((-0.4, -0.3, -0.2), (0.1, 0.3, 0.2)), sphere(0.25))
    cameras = choy_cameras(3, np.random.default_rng(0), config("raycast"))
    one, two = (
        render_views(mesh, *cameras, config(name, extra=EXTRA))[2] for name in ("pyrender", "raycast")
    )
    for a, b in zip(one["mask"] > 127, two["mask"] > 127, strict=True):
        assert (a & b).sum() / (a | b).sum() >= 0.99
    both = (one["depth"] > 0) & (two["depth"] > 0)
    assert np.mean(np.abs(one["depth"][both].astype(int) - two["depth"][both]) <= 2) > 0.98
    assert np.mean((np.abs(one["normals"][both].astype(int) - two["normals"][both]) <= 1).all(axis=-1)) > 0.98
