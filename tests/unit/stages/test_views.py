"""The views stage: frame, cameras, audit."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from occnet_lib.config import ViewsConfig
from occnet_lib.errors import MeshError
from occnet_lib.geometry import vertex_clustering
from occnet_lib.geometry.cameras import project
from occnet_lib.geometry.normalise import unit_cube
from occnet_lib.geometry.sampling import sample_surface
from occnet_lib.stages import views
from occnet_lib.storage.meshes import load_mesh
from occnet_lib.types import Mesh, Views
from tests.support.geometry_solids import sphere
from tests.support.storage_shapes import OCTAHEDRON

STRETCHED = Mesh(OCTAHEDRON.vertices * [1.0, 0.6, 0.3], OCTAHEDRON.faces)


def config(**values: Any) -> ViewsConfig:
    return ViewsConfig.model_validate({"renderer": "raycast", "image_size": 64, "count": 4} | values)


def run(mesh: Mesh = STRETCHED, seed: int = 0, surface: Any = None, **values: Any) -> Views:
    return views.run(mesh, config(**values), np.random.default_rng(seed), surface)


def test_view_frame_has_the_diagonal_one() -> None:
    result = run()
    assert result.scale == pytest.approx(1 / np.sqrt(1 + 0.36 + 0.09))
    np.testing.assert_array_equal(result.loc, 0)
    assert result.images.shape == (4, 64, 64, 3)
    assert (result.images.dtype, result.camera_mat.shape, result.world_mat.shape) == (
        np.uint8,
        (4, 3, 3),
        (4, 3, 4),
    )
    distance = np.linalg.norm(result.world_mat[:, :, 3], axis=1)
    assert ((distance >= 1.75 * 0.65) & (distance <= 1.75 * 0.95)).all()


def test_same_generator_same_views() -> None:
    one, two, other = run(), run(), run(seed=1)
    np.testing.assert_array_equal(one.images, two.images)
    np.testing.assert_array_equal(one.world_mat, two.world_mat)
    assert not np.array_equal(one.world_mat, other.world_mat)


def test_too_many_faces_are_thinned_out_for_every_caller(
    monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    ball = sphere(4).mesh
    monkeypatch.setattr(vertex_clustering, "decimate", partial(vertex_clustering.decimate, max_faces=1000))
    with caplog.at_level("INFO"):
        assert run(ball, count=1).images.min() < 255
    assert f"{len(ball.faces)} faces decimated" in caplog.text


def test_audit_of_a_surface_that_fits_and_of_one_that_does_not() -> None:
    surface, *_ = sample_surface(STRETCHED, 3000, np.random.default_rng(1))
    good = run(surface=surface).audit
    assert good["inside"] == 1.0
    assert good["renderer"] == "raycast"
    assert 0.5 < good["background"] < 1.0
    assert good["covered"] > 0.99
    # Turned by 90°: x and z exchanged.
    wrong = run(surface=surface[:, ::-1]).audit
    assert wrong["inside"] < 0.9
    # A part of the shape leaves the rest of the silhouettes without points.
    part = run(surface=surface[surface[:, 0] > 0.1]).audit
    assert part["inside"] == 1.0
    assert 0.2 < part["covered"] < 0.8
    assert not {"inside", "covered"} & set(run().audit)


def test_silhouette_agreement_against_a_slow_reference() -> None:
    rng = np.random.default_rng(2)
    points = rng.uniform(-0.6, 0.6, (300, 3))
    result = run(count=2)
    coverage = (result.images < 255).any(axis=3).astype(np.float32)
    hits = total = explained = 0
    for camera_mat, world_mat, covered in zip(result.camera_mat, result.world_mat, coverage, strict=True):
        uv, _ = project(points, camera_mat, world_mat, result.loc, result.scale)
        met = np.zeros((64, 64), dtype=bool)
        for u, v in uv:
            if 0 <= u < 64 and 0 <= v < 64:
                total += 1
                row, column = int(v), int(u)
                near = slice(max(row - 1, 0), row + 2), slice(max(column - 1, 0), column + 2)
                hits += bool(covered[near].any())
                met[near] = True
        explained += int((met & (covered > 0)).sum())
    assert 0 < hits < total
    inside, fraction = views.silhouette_agreement(result, coverage, points)
    assert inside == pytest.approx(hits / total)
    assert fraction == pytest.approx(explained / coverage.sum())
    assert 0.1 < fraction < 0.99


def test_points_behind_the_camera_and_beside_the_image_do_not_count() -> None:
    result = run(count=1)
    camera = -result.world_mat[0, :, :3].T @ result.world_mat[0, :, 3]
    behind = 1.5 * camera[None] / result.scale
    coverage = np.zeros((1, 64, 64), np.float32)
    assert views.silhouette_agreement(result, coverage, behind) == (1.0, 1.0)
    assert views.silhouette_agreement(result, coverage, np.zeros((1, 3))) == (0.0, 1.0)


def test_what_cannot_be_seen_is_an_error() -> None:
    sliver = Mesh(np.array([[-0.5, 0, 0], [0.5, 0, 0], [0.1, 1e-9, 0]]), np.array([[0, 1, 2]], np.int32))
    with pytest.raises(MeshError, match="too thin or too small"):
        run(sliver)


def test_colors_reach_the_images() -> None:
    red = replace(STRETCHED, colors=np.tile(np.float32([1, 0, 0]), (6, 1)))
    images = run(red).images
    seen = images[(images < 255).any(axis=3)].astype(int)
    assert (seen[:, 1] == seen[:, 2]).all()
    assert np.median(seen[:, 0] - seen[:, 1]) > 60


@pytest.mark.parametrize(
    "values",
    [{"elevation": (30.0, 25.0)}, {"distance": (0.9, 0.6)}, {"distance": (0.2, 0.9)}, {"max_distance": 0.7}],
)
def test_cameras_that_cannot_be(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config(**values)


def test_everyday_views_stand_in_their_silhouettes_and_repeat() -> None:
    surface, *_ = sample_surface(STRETCHED, 6000, np.random.default_rng(1))
    red = replace(STRETCHED, colors=np.tile(np.float32([0.9, 0.1, 0.1]), (6, 1)))
    everyday: dict[str, Any] = {"protocol": "everyday", "count": 12}
    result = run(red, surface=surface, **everyday)
    assert result.audit["inside"] == 1.0
    assert result.audit["covered"] > 0.97
    again, other = run(red, **everyday), run(red, seed=1, **everyday)
    np.testing.assert_array_equal(result.images, again.images)
    np.testing.assert_array_equal(result.world_mat, again.world_mat)
    assert not np.array_equal(result.world_mat, other.world_mat)
    for image in result.images:
        seen = (image < 255).any(axis=-1)
        longest = max(np.ptp(np.flatnonzero(seen.any(axis=axis))) + 1 for axis in (0, 1))
        assert 0.5 * 64 - 2 <= longest <= 0.95 * 64 + 2
        assert not seen[[0, -1]].any()
        assert not seen[:, [0, -1]].any()
    # Lights differ: so does the brightness of what is red throughout.
    brightness = [image[(image < 250).any(axis=-1)].mean() for image in result.images]
    assert np.ptp(brightness) > 15


def test_paint_replaces_colors_in_its_fraction_of_views() -> None:
    red = replace(STRETCHED, colors=np.tile(np.float32([0.9, 0.0, 0.0]), (6, 1)))
    kept, some = (
        run(red, protocol="everyday", count=40, everyday={"paint": paint}).images for paint in (0.0, 0.5)
    )

    def plain(image: Any) -> bool:
        """Nothing but shades of red, and its mixtures with white."""
        return bool((np.abs(image[..., 1].astype(int) - image[..., 2]) <= 1).all())

    assert all(plain(image) for image in kept)
    assert 10 <= sum(plain(image) for image in some) <= 30


@pytest.mark.parametrize(
    "values",
    [
        {"elevation": (30.0, 20.0)},
        {"elevation": (0.0, 100.0)},
        {"lens": (85.0, 24.0)},
        {"fill": (0.5, 1.1)},
        {"fill": (0.0, 0.5)},
        {"roll": -1.0},
        {"paint": 2.0},
    ],
)
def test_everyday_ranges_that_cannot_be(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config(everyday=values)


def test_depth_of_everyday_views_fits_its_sixteen_bits() -> None:
    with pytest.raises(ValidationError, match=r"lower everyday.lens below 54"):
        config(protocol="everyday", extra=("depth",))
    config(extra=("depth",))
    result = run(protocol="everyday", count=24, extra=("depth",), everyday={"lens": (24.0, 54.0)})
    assert 0 < result.extra["depth"].max() < 2**16 - 1


@pytest.mark.real
@pytest.mark.parametrize("name", ["chair/kenney_chairDesk/model.obj", "car/pm_sedan/model.obj"])
def test_real_meshes_stand_in_their_silhouettes(real_data: Path, name: str) -> None:
    mesh, _, _ = unit_cube(load_mesh(real_data / "dev" / name))
    surface, *_ = sample_surface(mesh, 2000, np.random.default_rng(0))
    result = views.run(mesh, ViewsConfig(renderer="auto", count=6), np.random.default_rng(0), surface)
    assert result.audit["inside"] > 0.999
    # Upright: the sky side of both is lit more than the ground side.
    rows = np.arange(137)[None, :, None]
    mask = (result.images < 255).any(axis=3)
    assert mask.any(axis=(1, 2)).all()
    assert 40 < (mask * rows).sum() / mask.sum() < 97
