"""The benchmark of camera errors: cameras between two, and the table of known fields."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import camera_errors
from occnet_lib.config import check
from occnet_lib.geometry.cameras import camera_centres, image_projection, intrinsics, look_at_origin
from occnet_lib.storage.packs import Shard
from tests.support.dotted_images import hull_shard


def camera(azimuth: float, elevation: float, distance: float, focal: float) -> np.ndarray:
    (world,) = look_at_origin(camera_centres([azimuth], [elevation], [distance]))
    return image_projection(intrinsics(137, focal), world, np.zeros(3), 1.0, 137, 137)


def test_a_camera_between_two_has_the_numbers_between_theirs():
    one, other = camera(350, 10, 2.0, 150.0), camera(30, 30, 2.0 * 1.21, 150.0 * 1.44)
    way = [camera_errors.between(one[None], other[None], fraction)[0] for fraction in (0.0, 0.5, 1.0)]
    # Half of the way between logarithms is the geometric mean.
    for own, expected in zip(way, (one, camera(10, 20, 2.2, 180.0), other), strict=True):
        np.testing.assert_allclose(own, expected, atol=1e-9)


def test_the_table_is_that_of_fields_that_are_right_by_the_true_camera_alone(tmp_path, monkeypatch, capsys):
    (tmp_path / "pack").mkdir()
    shard = Shard(hull_shard(tmp_path / "pack" / "test-000.h5", 2))
    models = {"onet": None, "plain": {"seeds": 2}, "posed": {"local": True, "pose": True, "seeds": 2}}
    (tmp_path / "config.json").write_text(check({"models": models}).model_dump_json())
    true = {shard.image(i, 0).tobytes(): shard.projection(i, 0, (40, 40)) for i in range(2)}
    occupied = {image: shard.points(i, 0, 100)[1] for i, image in enumerate(true)}

    class Known:
        """Half of the shape, or by the true camera all of it."""

        threshold = 0.5

        def __init__(self, checkpoint, config):
            assert (checkpoint.name, checkpoint.parents[1]) == ("best.ckpt", tmp_path / "train")

        def cameras(self, images):
            predicted = true[images[0].tobytes()].copy()
            predicted[0, 3] += (
                0.1 * predicted[2, 3]
            )  # the origin, their only surface point, by a tenth of the width
            return SimpleNamespace(projections=predicted[None, None])

        def cameras_with(self, images, given, parts):
            assert set(parts) >= {"azimuth", "elevation", "roll"}
            return given if "log_distance" in parts else self.cameras(images).projections[0]

        def logits(self, images, rotations, points, projections=None):
            inside = occupied[images[0].tobytes()].copy()
            right = projections is not None and np.allclose(projections[0], true[images[0].tobytes()])
            inside[np.flatnonzero(inside)[: 0 if right else inside.sum() // 2]] = False
            return np.where(inside, 1.0, -1.0)[None]

    monkeypatch.setattr(camera_errors, "Reconstructor", Known)
    arguments = ["--model", "posed", "--reference", "plain", "--points", "100", "--views", "1"]
    camera_errors.main([str(tmp_path), *arguments, "--fractions", "0", "0.5", "1"])
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert head == "| camera | d2D, mean px | IoU | minus plain, 2 seeds |"
    titles, *columns = zip(*(row.strip("| ").split(" | ") for row in rows), strict=True)
    d2d, ious, gains = ([float(cell.split()[0]) for cell in column] for column in columns)
    plain = np.mean([1 - (own.sum() // 2) / own.sum() for own in occupied.values()])
    parts = list(camera_errors.PARTS)
    assert list(titles) == [f"{part} of the predicted error" for part in ("0", "0.5", "1")] + parts
    assert d2d == pytest.approx([0, 2, 4, 4, 0], abs=0.06)
    assert ious == pytest.approx([1, plain, plain, plain, 1], abs=6e-4)
    assert gains == pytest.approx([1 - plain, 0, 0, 0, 1 - plain], abs=6e-4)
