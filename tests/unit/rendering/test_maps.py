"""Depth, normals and ids per pixel."""

from __future__ import annotations

import numpy as np
import pytest

from occnet_lib.geometry.cameras import choy_cameras, intrinsics, look_at_origin
from occnet_lib.rendering import pyrender_backend
from occnet_lib.rendering.views import render_views
from occnet_lib.types import DEPTH_STEP, Mesh
from tests.support.rendered_solids import box, config, join, sphere

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
