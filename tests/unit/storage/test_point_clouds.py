"""PLY files of queried points."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from occnet_lib.errors import DataError
from occnet_lib.storage.meshes import MeshFrame, read_frame
from occnet_lib.storage.point_clouds import OUTCOMES, QueriedPoints, read_points, write_points

FRAME = MeshFrame("unit", "y", (1.0, 2.0, 3.0), 4.0)


def cloud(count: int) -> QueriedPoints:
    rng = np.random.default_rng(count)
    predicted, occupied = rng.random((2, count)) < 0.5
    return QueriedPoints(
        rng.random((count, 3), np.float32), rng.random(count, np.float32), predicted, occupied
    )


@pytest.mark.parametrize("count", [0, 1, 50])
def test_a_file_comes_back_with_its_frame(tmp_path, count) -> None:
    path, points = tmp_path / "a" / "points.ply", cloud(count)
    write_points(points, path, FRAME)
    for column, expected in zip(read_points(path), points, strict=True):
        assert column.dtype == expected.dtype
        np.testing.assert_array_equal(column, expected)
    assert read_frame(path) == FRAME


def test_another_reader_sees_points_in_the_colours_of_their_outcomes(tmp_path) -> None:
    points = cloud(60)
    write_points(points, tmp_path / "points.ply", FRAME)
    read = trimesh.load(tmp_path / "points.ply")
    np.testing.assert_array_equal(read.vertices, points.points)
    colors = np.array(list(OUTCOMES.values()))
    names = {(False, False): 0, (True, True): 1, (True, False): 2, (False, True): 3}
    outcome = [names[pair] for pair in zip(points.predicted.tolist(), points.occupied.tolist(), strict=True)]
    np.testing.assert_allclose(np.asarray(read.colors)[:, :3] / 255, colors[outcome], atol=1 / 255)


@pytest.mark.parametrize("content", [b"", b"ply\n", b"no points", None])
def test_other_files_are_one_line(tmp_path, content) -> None:
    path = tmp_path / "points.ply"
    if content is None:
        trimesh.creation.box().export(path)
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match="not a file of queried points"):
        read_points(path)
    with pytest.raises(DataError, match="not a file of queried points"):
        read_points(tmp_path / "missing.ply")
