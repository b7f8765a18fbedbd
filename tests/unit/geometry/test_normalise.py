"""Into the unit cube and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from occnet_lib.errors import MeshError
from occnet_lib.geometry.normalise import bounding_box, unit_cube
from occnet_lib.types import Mesh
from tests.support.geometry_solids import box_mesh


def test_a_box_fills_the_cube_along_its_longest_edge() -> None:
    unit, loc, scale = unit_cube(box_mesh((10, -4, 2), (1, 5, 2)))
    assert scale == 5.0
    np.testing.assert_array_equal(loc, [10, -4, 2])
    np.testing.assert_allclose(bounding_box(unit), [[-0.1, -0.5, -0.2], [0.1, 0.5, 0.2]])


def test_unused_vertices_do_not_shift_the_frame() -> None:
    box = box_mesh((0, 0, 0), (1, 2, 1))
    stray = Mesh(
        np.concatenate([[[1e9, np.nan, 0]], box.vertices, [[np.inf, 0, 0]]]),
        box.faces + 1,
        np.linspace(0, 1, 30, dtype=np.float32).reshape(10, 3),
    )
    unit, loc, scale = unit_cube(stray)
    assert scale == 2.0
    assert not loc.any()
    assert len(unit.vertices) == 8
    assert unit.colors is not None
    np.testing.assert_array_equal(unit.colors, stray.colors[1:9])
    np.testing.assert_allclose(unit.triangles, box.triangles / 2)


@settings(deadline=None, max_examples=30)
@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_back_to_the_source(shift: float, size: float) -> None:
    mesh = box_mesh((shift, 0, -shift), (size, size / 3, size / 7))
    unit, loc, scale = unit_cube(mesh)
    np.testing.assert_allclose(
        unit.transformed(loc, scale).vertices, mesh.vertices, atol=1e-9 * (abs(shift) + size)
    )
    cloud = Mesh(np.random.default_rng(0).normal(size=(5, 3)), mesh.faces)
    back = cloud.transformed(loc, scale).to_unit(loc, scale)
    np.testing.assert_allclose(back.vertices, cloud.vertices, atol=1e-9 * (1 + abs(shift) / size))


@pytest.mark.parametrize(
    ("vertices", "faces", "words"),
    [
        (np.zeros((3, 3)), np.zeros((0, 3)), "no faces"),
        (np.ones((3, 3)), [[0, 1, 2]], "no extent"),
        ([[0, 0, 0], [1, np.nan, 0], [0, 1, 0]], [[0, 1, 2]], "not finite"),
        ([[0, 0, 0], [1, np.inf, 0], [0, 1, 0]], [[0, 1, 2]], "not finite"),
        (np.eye(3), [[0, 1, 3]], "outside 0..2"),
        (np.eye(3), [[0, 1, -1]], "outside 0..2"),
        ([[-1.7e308, 0, 0], [1.7e308, 1, 0], [0, 1, 0]], [[0, 1, 2]], "too large"),
    ],
)
def test_what_has_no_frame_is_one_line(vertices: object, faces: object, words: str) -> None:
    mesh = Mesh(np.asarray(vertices, dtype=np.float64), np.asarray(faces, dtype=np.int32))
    with pytest.raises(MeshError, match=words):
        unit_cube(mesh)
