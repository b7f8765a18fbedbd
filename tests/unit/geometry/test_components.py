"""Connected components."""

from __future__ import annotations

import numpy as np
import pytest

from occnet_lib.geometry.components import label_faces, remove_small_components
from occnet_lib.geometry.occupancy import contains
from occnet_lib.geometry.repair import check_watertight
from occnet_lib.types import Mesh
from tests.support.geometry_solids import box_mesh, join


def turned_inside_out(mesh: Mesh) -> Mesh:
    return Mesh(mesh.vertices, mesh.faces[:, ::-1])


def test_small_pieces_are_removed() -> None:
    big, speck = box_mesh((0, 0, 0), (1, 1, 1)), box_mesh((2, 0, 0), (0.01, 0.01, 0.01))
    clean, removed, filled = remove_small_components(join([speck, big]), 1e-5)
    assert (removed, filled) == (1, 0)
    assert check_watertight(clean).volume == pytest.approx(1.0)
    assert len(clean.vertices) == 8
    same, removed, filled = remove_small_components(join([speck, big]), 1e-7)
    assert (removed, filled) == (0, 0)
    assert len(same.faces) == 24


def test_hollows_are_filled_with_what_is_in_them() -> None:
    body, beside = box_mesh((0, 0, 0), (1, 1, 1)), box_mesh((1, 0, 0), (0.3, 0.3, 0.3))
    hollow = turned_inside_out(box_mesh((0.1, 0, 0), (0.6, 0.6, 0.6)))
    within, pocket = box_mesh((0.2, 0, 0), (0.2, 0.2, 0.2)), box_mesh((0.2, 0, 0), (0.05, 0.05, 0.05))
    clean, removed, filled = remove_small_components(
        join([within, turned_inside_out(pocket), body, hollow, pocket, beside]), 1e-6
    )
    assert (removed, filled) == (0, 2)
    assert label_faces(clean)[0] == 2
    assert check_watertight(clean).volume == pytest.approx(1.0 + 0.027)
    places = np.array([[0.2, 0, 0], [0.3, 0.2, 0.2], [0.45, 0, 0], [1, 0, 0]])
    assert contains(clean, places).all()
