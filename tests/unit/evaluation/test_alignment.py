"""Alignment: known transforms are recovered, within what each mode may change, and never at a loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from occnet_lib.evaluation.alignment import align
from occnet_lib.geometry.normalise import unit_cube
from occnet_lib.geometry.occupancy import surface_distance
from occnet_lib.geometry.similarity import IDENTITY, Similarity
from occnet_lib.types import Mesh


def boxes(*parts: tuple[tuple[float, ...], tuple[float, ...]]) -> trimesh.Trimesh:
    """A box of each extent at each place."""
    return trimesh.util.concatenate(
        [trimesh.creation.box(extent).apply_translation(at) for extent, at in parts]
    )


def unit(mesh: trimesh.Trimesh) -> Mesh:
    return unit_cube(Mesh(np.asarray(mesh.vertices, float), np.asarray(mesh.faces, np.int32)))[0]


SHAPES = {
    "asymmetric": unit(
        boxes(
            ((1, 0.3, 0.2), (0, 0, 0)),
            ((0.2, 0.7, 0.3), (0.4, 0.4, 0.1)),
            ((0.1, 0.1, 0.6), (-0.3, 0.1, 0.3)),
        )
    ),
    "box": unit(boxes(((1, 0.6, 0.3), (0, 0, 0)))),
    "cube": unit(boxes(((1, 1, 1), (0, 0, 0)))),
    "table": unit(
        boxes(
            ((1, 0.1, 1), (0, 0.5, 0)),
            *(((0.1, 1, 0.1), (x, 0, z)) for x in (-0.4, 0.4) for z in (-0.4, 0.4)),
        )
    ),
    "torus": unit(trimesh.creation.torus(0.4, 0.12)),
}
UP = np.array([0.0, 1.0, 0.0])
TRANSFORMS = {
    "scale": Similarity(37.0, np.eye(3), np.array([5.0, -80.0, 12.0])),
    "yaw": Similarity(0.02, Rotation.from_rotvec(2.1 * UP).as_matrix(), np.array([0.3, 0.2, -0.5])),
    "icp": Similarity(1.0, Rotation.from_rotvec([1.9, -0.7, 1.1]).as_matrix(), np.array([1.0, 2.0, -3.0])),
    "similarity": Similarity(9.0, Rotation.from_rotvec([0.4, 2.2, -1.5]).as_matrix(), np.array([40.0, 1, 7])),
}


def moved(mesh: Mesh, transform: Similarity) -> Mesh:
    return replace(mesh, vertices=transform.apply(mesh.vertices))


def largest_distance(a: Mesh, b: Mesh) -> float:
    return max(surface_distance(a, b.vertices).max(), surface_distance(b, a.vertices).max())


@pytest.mark.parametrize("mode", TRANSFORMS)
@pytest.mark.parametrize("name", SHAPES)
def test_known_transforms_are_recovered(name, mode):
    shape = SHAPES[name]
    prediction = moved(shape, TRANSFORMS[mode])
    result = align(prediction, shape, mode, np.random.default_rng(0))
    aligned = moved(prediction, result.transform)
    assert largest_distance(aligned, shape) < 1e-3
    assert result.criterion < 1e-4 < result.criterion_before
    if name == "asymmetric":  # one transform only
        np.testing.assert_allclose(aligned.vertices, shape.vertices, atol=1e-3)


@pytest.mark.parametrize("mode", TRANSFORMS)
def test_a_mode_changes_only_what_it_may(mode):
    """A prediction that no mode but `similarity` can bring to the ground truth, since its up axis differs."""
    tilted = Similarity(3.0, Rotation.from_rotvec([1.2, 0, 0]).as_matrix(), np.ones(3))
    shape = SHAPES["asymmetric"]
    transform = align(moved(shape, tilted), shape, mode, np.random.default_rng(0)).transform
    assert (transform.scale == pytest.approx(1)) == (mode == "icp")
    assert (transform.angle < 1e-4) == (mode == "scale")
    assert (transform.rotation[1, 1] == pytest.approx(1)) == (mode in ("scale", "yaw"))
    np.testing.assert_allclose(transform.rotation @ transform.rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(transform.rotation) == pytest.approx(1)


@pytest.mark.parametrize("mode", [*TRANSFORMS, "none"])
def test_the_criterion_never_rises(mode):
    """Shapes that do not fit each other."""
    result = align(SHAPES["torus"], SHAPES["asymmetric"], mode, np.random.default_rng(0))
    assert result.criterion <= result.criterion_before * 1.002
    if mode == "none":
        assert result.transform is IDENTITY
        assert result.criterion == result.criterion_before


@pytest.mark.parametrize("mode", TRANSFORMS)
def test_a_symmetric_shape_in_place_stays_there(mode):
    """Of equally good transforms the one without rotation is taken."""
    transform = align(SHAPES["cube"], SHAPES["cube"], mode, np.random.default_rng(0)).transform
    np.testing.assert_allclose(transform.matrix, np.eye(4), atol=1e-4)


def test_the_same_seed_gives_the_same_transform():
    shape, prediction = SHAPES["table"], moved(SHAPES["torus"], TRANSFORMS["similarity"])
    one, two = (align(prediction, shape, "similarity", np.random.default_rng(7)) for _ in range(2))
    assert (one.transform.matrix == two.transform.matrix).all()
    assert one.criterion == two.criterion


def test_a_noisy_part_of_a_shape_comes_to_its_place():
    """A prediction without a part, remeshed and with noise: its moments are not those of the ground truth."""
    shape = SHAPES["asymmetric"]
    part = trimesh.Trimesh(shape.vertices, shape.faces[:24]).subdivide_to_size(0.05)
    noise = np.random.default_rng(1).normal(scale=0.004, size=part.vertices.shape)
    prediction = moved(Mesh(part.vertices + noise, part.faces.astype(np.int32)), TRANSFORMS["similarity"])
    result = align(prediction, shape, "similarity", np.random.default_rng(0))
    aligned = result.transform.apply(prediction.vertices)
    assert np.linalg.norm(aligned - part.vertices, axis=1).mean() < 0.03
