"""Both renderers against closed forms and against each other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from occnet_lib.config import ViewsConfig
from occnet_lib.errors import DependencyError
from occnet_lib.geometry.cameras import choy_cameras, intrinsics, look_at_origin
from occnet_lib.rendering import pyrender_backend, raycast
from occnet_lib.rendering.looks import Lights, everyday_looks
from occnet_lib.rendering.views import block_sums, box_filter, choose_renderer, render_views
from occnet_lib.types import DEPTH_STEP, Mesh


@pytest.fixture(params=["pyrender", "raycast"])
def renderer(request: pytest.FixtureRequest) -> str:
    if request.param == "pyrender" and not pyrender_backend.available(128):
        pytest.skip("no OpenGL: neither EGL nor OSMesa works")
    return str(request.param)


def config(renderer: str, **values: Any) -> ViewsConfig:
    return ViewsConfig.model_validate({"renderer": renderer, "image_size": 64, "supersampling": 2} | values)


def box(low: Any, high: Any, color: Any = None) -> Mesh:
    low, high = np.asarray(low, float), np.asarray(high, float)
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))], np.int32)
    colors = None if color is None else np.tile(np.float32(color), (8, 1))
    return Mesh(low + corners * (high - low), faces, colors)


def join(*meshes: Mesh) -> Mesh:
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    faces = [mesh.faces + start for mesh, start in zip(meshes, starts, strict=False)]
    grey = [np.full(mesh.vertices.shape, 0.7, np.float32) for mesh in meshes]
    colors = [other if mesh.colors is None else mesh.colors for mesh, other in zip(meshes, grey, strict=True)]
    vertices = np.concatenate([mesh.vertices for mesh in meshes])
    return Mesh(vertices, np.concatenate(faces).astype(np.int32), np.concatenate(colors))


def sphere(radius: float) -> Mesh:
    n = 60
    theta, phi = np.meshgrid(np.linspace(0, np.pi, n), np.linspace(0, 2 * np.pi, 2 * n), indexing="ij")
    points = np.stack([np.sin(theta) * np.cos(phi), np.cos(theta), np.sin(theta) * np.sin(phi)], axis=-1)
    i, j = np.meshgrid(np.arange(n - 1), np.arange(2 * n - 1), indexing="ij")
    a = (i * 2 * n + j).ravel()
    upper, lower = np.stack([a, a + 1, a + 2 * n], 1), np.stack([a + 1, a + 2 * n + 1, a + 2 * n], 1)
    faces = np.concatenate([upper, lower])
    return Mesh(radius * points.reshape(-1, 3), faces.astype(np.int32))


def from_front(
    mesh: Mesh, config: ViewsConfig, distance: float = 2.0, focal: float = 137.0
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """One image from +z."""
    camera_mat = intrinsics(config.image_size, focal)[None]
    images, coverage, *_ = render_views(mesh, camera_mat, look_at_origin([[0.0, 0.0, distance]]), config)
    return images[0], coverage[0]


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


def test_light_comes_from_above(renderer: str) -> None:
    settings = config(renderer)
    white = box((-0.3, -0.3, -0.3), (0.3, 0.3, 0.3), (1, 1, 1))
    camera_mat = np.repeat(intrinsics(64, 137)[None], 3, axis=0)
    centres = [[0.5, 1.8, 0.5], [0.5, 0.0, 1.8], [0.5, -1.8, 0.5]]
    images, *_ = render_views(white, camera_mat, look_at_origin(centres), settings)
    above, side, below = (int(image[32, 32, 0]) for image in images)
    assert 250 > above > side + 20
    assert side > below + 20
    # Where two upright faces meet, they differ.
    edge, *_ = render_views(white, camera_mat[:1], look_at_origin([[0.9, 0.3, 1.6]]), settings)
    row = edge[0, 32, :, 0]
    assert len(np.unique(row[row < 255])) >= 2


def test_lamps_from_points_to_hemispheres() -> None:
    up, aside, below = np.eye(3)[1], np.eye(3)[0], -np.eye(3)[1]
    between = np.array([np.sqrt(0.5), np.sqrt(0.5), 0.0])
    normals, facing = np.stack([up, between, aside, below]), np.array([1.0, 0.5, 0.0, 1.0])

    def lit(softness: float, ambient: float = 0.0, headlight: float = 0.0) -> NDArray[np.float64]:
        lights = Lights(up[None], np.ones(1), np.array([softness]), 0.8, ambient, headlight)
        return lights.on(normals, facing)

    np.testing.assert_allclose(lit(0.0), 0.8 * np.array([1, np.sqrt(0.5), 0, 0]), atol=1e-12)
    np.testing.assert_allclose(lit(1.0), 0.8 * np.array([1, 0.5 + np.sqrt(0.125), 0.5, 0]), atol=1e-12)
    np.testing.assert_allclose(lit(0.0, 0.2)[3], 0.2)
    np.testing.assert_allclose(lit(0.0, 0.2, 0.5)[:3], [1.0, 0.75 * (0.2 + 0.8 * np.sqrt(0.5)), 0.1])


def test_everyday_light_stays_within_its_bounds() -> None:
    normals = sphere(1.0).vertices
    mesh = box((-0.3, -0.3, -0.3), (0.3, 0.3, 0.3))
    looks = everyday_looks(mesh, 200, np.random.default_rng(0), 0.0)
    assert {len(look.lights.directions) for look in looks} == {1, 2, 3}
    for look in looks:
        assert look.paint is None
        np.testing.assert_allclose(np.linalg.norm(look.lights.directions, axis=1), 1.0)
        light = look.lights.on(normals, np.ones(len(normals)))
        assert 0.1 < light.min() < light.max() < 1.1 + 1e-9


def test_paint_is_one_color_a_material() -> None:
    mesh = join(box((-1, -1, -1), (0, 0, 0), (1, 0, 0)), box((0, 0, 0), (1, 1, 1), (0, 1, 0)), sphere(0.3))
    mesh.colors[-1] = 0.1  # type: ignore[index]  # some faces of the sphere vary
    painted = [
        look.paint
        for look in everyday_looks(mesh, 40, np.random.default_rng(0), 0.6)
        if look.paint is not None
    ]
    assert 14 <= len(painted) <= 34
    for paint in painted:
        assert paint.shape == (len(mesh.faces), 3)
        assert paint.min() >= 0
        assert paint.max() <= 0.95
        assert len(np.unique(paint[:12], axis=0)) == 1
        assert 3 <= len(np.unique(paint, axis=0)) <= 4
    assert len(np.unique([paint[0] for paint in painted], axis=0)) == len(painted)


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


def test_ids_against_a_slow_twin() -> None:
    rng = np.random.default_rng(3)
    mesh = Mesh(rng.uniform(-0.4, 0.4, (36, 3)), np.arange(36, dtype=np.int32).reshape(12, 3))
    camera_mat, world_mat = intrinsics(24, 137)[None], look_at_origin([[0.9, 0.7, 1.0]])
    want = np.full((24, 24), -1)
    rotation, translation = world_mat[0, :, :3], world_mat[0, :, 3]
    for row in range(24):
        for column in range(24):
            ray = np.linalg.solve(camera_mat[0], [column + 0.5, row + 0.5, 1.0])
            nearest = np.inf
            for number, triangle in enumerate(mesh.triangles @ rotation.T + translation):
                # ray * depth = a + s (b - a) + t (c - a)
                a, b, c = triangle
                depth, s, t = np.linalg.solve(np.stack([ray, a - b, a - c], axis=1), a)
                if s >= 0 and t >= 0 and s + t <= 1 and 0 < depth < nearest:
                    nearest, want[row, column] = depth, number
    backends = [raycast.face_ids]
    if pyrender_backend.available(24):
        backends.append(pyrender_backend.face_ids)
    for face_ids in backends:
        (got,) = face_ids(mesh, camera_mat, world_mat, 24)
        assert got.dtype == np.int32
        assert (got == want).mean() > 0.99


EXTRA = ("depth", "mask", "normals")


def test_maps_of_a_sphere(renderer: str) -> None:
    """Depth and normals where the ray through a pixel's centre meets the sphere, mask the share of the pixel."""
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


SCRIPT = """
import sys, hashlib, os
import numpy as np
from occnet_lib.config import ViewsConfig
from occnet_lib.geometry.cameras import choy_cameras
from occnet_lib.types import DEPTH_STEP, Mesh
from occnet_lib.rendering import pyrender_backend
size = 96
if not pyrender_backend.available(size):
    sys.exit(77)
rng = np.random.default_rng(0)
mesh = Mesh(rng.uniform(-.4, .4, (90, 3)), np.arange(90, dtype=np.int32).reshape(30, 3))
camera_mat, world_mat = choy_cameras(3, rng, ViewsConfig(image_size=size))
ids = np.stack(list(pyrender_backend.face_ids(mesh, camera_mat, world_mat, size)))
np.save(sys.argv[1], ids)
"""


@pytest.mark.parametrize("platform", ["egl", "osmesa"])
def test_platforms_give_exact_ids(platform: str, tmp_path: Path, project: Path) -> None:
    """EGL's multisampling must not mix the numbers of faces at edges."""
    environment = os.environ | {"PYOPENGL_PLATFORM": platform, "PYTHONPATH": str(project)}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "ids.npy")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode == 77:
        pytest.skip(f"{platform} does not work here")
    assert result.returncode == 0, result.stderr
    ids = np.load(tmp_path / "ids.npy")
    rng = np.random.default_rng(0)
    mesh = Mesh(rng.uniform(-0.4, 0.4, (90, 3)), np.arange(90, dtype=np.int32).reshape(30, 3))
    cameras = choy_cameras(3, rng, ViewsConfig(image_size=96))
    want = np.stack(list(raycast.face_ids(mesh, *cameras, 96)))
    assert (ids == want).mean() > 0.998
