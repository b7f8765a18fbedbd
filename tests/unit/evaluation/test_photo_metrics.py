"""Photos by another renderer, and what a network makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from occnet_lib.config import Config
from occnet_lib.errors import DataError, ImageError
from occnet_lib.evaluation.photo_metrics import CAMERAS, evaluate_photos, write_photos
from occnet_lib.evaluation.view_metrics import spread
from occnet_lib.geometry.cameras import rotations_of
from occnet_lib.rendering.photographs import SIZE, photograph
from occnet_lib.storage.packs import PackedShape, Shard, write_shard
from occnet_lib.storage.tables import read_rows
from occnet_lib.types import Mesh, PointSamples, ShapeKey, Views, Watertight


def box(lengths=(1.0, 0.6, 0.4)) -> Mesh:
    corners = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1], indexing="ij")).reshape(3, -1).T
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    triangles = [(a, b, c) for a, b, c, d in faces] + [(a, c, d) for a, b, c, d in faces]
    return Mesh(corners * np.array(lengths) / 2, np.array(triangles, np.int32))


def test_photos_show_the_object_under_everyday_cameras():
    images, cameras = photograph(box(), 12, np.random.default_rng(0))
    rotations = np.stack([camera.rotation for camera in cameras])
    assert images.shape == (12, SIZE, SIZE, 4)
    np.testing.assert_allclose(
        rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(3), (12, 1, 1)), atol=1e-9
    )
    opaque = images[..., 3] >= 128
    for mask in opaque:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        edge = max(np.ptp(rows), np.ptp(columns)) + 1
        assert 0.4 * SIZE < edge < 0.95 * SIZE
        assert rows.min() > 0
        assert columns.min() > 0
    assert 0 < (images[..., 3] % 255 > 0).mean() < 0.05  # edges alone are half covered
    shades = [np.unique(image[mask][:, :3], axis=0) for image, mask in zip(images, opaque, strict=True)]
    assert min(map(len, shades)) > 20  # light, noise
    assert len({tuple(np.median(part, axis=0)) for part in shades}) > 6
    again, _ = photograph(box(), 12, np.random.default_rng(0))
    np.testing.assert_array_equal(images, again)


def test_a_photo_is_where_its_camera_projects_the_mesh():
    """The box of its corners is that of the silhouette, up to the distortion of the lens."""
    mesh = box((1.0, 0.3, 0.05))
    images, cameras = photograph(mesh, 8, np.random.default_rng(3))
    for image, camera in zip(images, cameras, strict=True):
        at = np.c_[mesh.vertices, np.ones(8)] @ camera.projection.T
        expected = SIZE * at[:, :2] / at[:, 2:]
        rows, columns = (np.flatnonzero((image[..., 3] >= 128).any(axis)) for axis in (1, 0))
        for seen, corners in ((columns, expected[:, 0]), (rows, expected[:, 1])):
            assert seen.min() == pytest.approx(corners.min(), abs=3)
            assert seen.max() + 1 == pytest.approx(corners.max(), abs=3)


def pack(folder: Path, ids=("a", "b")) -> Path:
    rng, shapes = np.random.default_rng(0), []
    for name in ids:
        mesh = box() if name != "bare" else Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int32))
        points = rng.uniform(-0.55, 0.55, (800, 3)).astype(np.float16)
        inside = (np.abs(points) < np.array([0.5, 0.3, 0.2])).all(axis=1)
        few = points[:4]
        samples = PointSamples(points, inside, few, few, np.zeros((2, 2, 2), bool))
        views = Views(
            np.full((1, 8, 8, 3), 255, np.uint8), np.eye(3)[None], np.eye(3, 4)[None], np.zeros(3), 1.0
        )
        closed = Watertight(mesh, np.zeros(3), 1.0)
        shapes.append(PackedShape.of(ShapeKey("box", name), closed, samples, views))
    write_shard(folder / "test-0.h5", shapes, "test-0", "test")
    return folder / "test-0.h5"


def test_photos_are_measured_and_refused_ones_count_nothing(tmp_path):
    shard, config = pack(tmp_path), Config(evaluate={"photos": 3, "view_points": 400, "bootstrap": 0})
    write_photos(Shard(shard), photograph, 3, 7, tmp_path / "photos")
    files = sorted(path.name for path in (tmp_path / "photos" / "box" / "a").iterdir())
    assert files == ["0.png", "1.png", "2.png", CAMERAS]
    images = [np.asarray(Image.open(tmp_path / "photos" / "box" / name / "0.png")) for name in "ab"]
    assert images[0].shape == (SIZE, SIZE, 4)
    assert (images[0] != images[1]).any()

    def logits(photo, rotation, points):
        assert rotation.shape == (3, 3)
        if photo == tmp_path / "photos" / "box" / "b" / "1.png":
            raise ImageError("shows no object", path=photo)
        half = np.array([0.5, 0.3, 0.2]) * (1 if photo.stem != "2" else 0.0)
        return np.where((np.abs(points) < half).all(axis=1), 1.0, -1.0)

    args = logits, 0.0, shard, tmp_path / "photos", config, "net", tmp_path / "net.photos.csv"
    rows = evaluate_photos(*args)
    assert [row["iou"] for row in rows] == [1, 1, 0, 1, 0, 0]
    assert [row["status"] for row in rows] == ["ok"] * 4 + ["failed", "ok"]
    read = read_rows(tmp_path / "net.photos.csv")
    assert read[4]["reason"] == "shows no object"
    means = spread(read)
    assert means["net", "box", "a"]["iou_views"] == pytest.approx(2 / 3)

    def given(photo, rotation, points, projection):
        """Right only where the projection is that of the camera with the rotation."""
        np.testing.assert_allclose(rotations_of(projection), rotation, atol=1e-9)
        return logits(photo, rotation, points) * (1 if photo.stem == "0" else -1)

    rows = evaluate_photos(*args, given=given)
    assert [row["iou"] for row in rows] == [1, 1, 0, 1, 0, 0]
    assert [row["iou_given"] for row in rows[:2]] == [1, 0]
    assert rows[4]["iou_given"] == 0, "it is refused"
    place = tmp_path / "photos" / "box" / "a" / CAMERAS
    place.write_text(json.dumps({"rotations": json.loads(place.read_text())["rotations"]}))
    assert "iou_given" not in evaluate_photos(*args, given=given)[0], "of an earlier version"
    place.write_text("{}")
    with pytest.raises(DataError, match=r"cameras\.json.*damaged"):
        evaluate_photos(*args)


def test_shapes_without_a_mesh_have_no_photos(tmp_path):
    write_photos(Shard(pack(tmp_path, ("bare",))), photograph, 3, 7, tmp_path / "photos")
    place = tmp_path / "photos" / "box" / "bare"
    assert json.loads((place / CAMERAS).read_text()) == {"rotations": [], "projections": []}
