"""Several images of one object: IoU of the merged field, gain, intervals, and whether an intruder is named."""

from __future__ import annotations

import numpy as np
import pytest

from occnet_lib.config import Config
from occnet_lib.errors import DataError, ImageError
from occnet_lib.evaluation.merged import COLUMNS, merged_columns, summarise_merged
from occnet_lib.evaluation.photo_metrics import evaluate_photos, write_photos
from occnet_lib.evaluation.view_metrics import another, evaluate_views
from occnet_lib.rendering.photographs import photograph
from occnet_lib.storage.packs import Shard, write_shard
from occnet_lib.storage.tables import read_rows, write_rows
from occnet_lib.types import Views
from tests.unit.evaluation.test_photo_metrics import pack

from .test_evaluate import PackedShape, packed

POINTS = np.random.default_rng(0).uniform(-0.55, 0.55, (20_000, 3))
OCCUPIED = np.linalg.norm(POINTS, axis=1) < 0.3


def ball(radius: float, x: float = 0.0, points: np.ndarray = POINTS) -> np.ndarray:
    return 10 * (radius - np.linalg.norm(points - np.array([x, 0, 0]), axis=1))


def test_sets_are_consecutive_and_their_logits_averaged():
    fields = [ball(0.24), ball(0.36), ball(0.3)]
    rows = merged_columns(fields, OCCUPIED, 0.0, (2, 3, 5))
    # Errors of opposite sign cancel; the third set is of the last view and the first.
    pairs = [1.0, (0.3 / 0.33) ** 3, (0.27 / 0.3) ** 3]
    assert [row["iou_2"] for row in rows] == pytest.approx(pairs, abs=0.03)
    assert [row["iou_3"] for row in rows] == [1, 1, 1]
    assert set(rows[0]) == {"iou_2", "named_2", "iou_3", "named_3"}  # there are no five, and no intruder
    assert {row[name] for row in rows for name in ("named_2", "named_3")} == {0}
    assert merged_columns(fields, OCCUPIED, 0.0, ()) == [{}, {}, {}]


def test_an_intruder_takes_the_last_place_of_a_set():
    fields = [ball(0.3), ball(0.29), ball(0.3)]
    far = merged_columns(fields, OCCUPIED, 0.0, (2, 3), ball(0.2, 0.35))
    assert [(row["intruder_2"], row["intruder_3"]) for row in far] == [(1, 1)] * 3
    like = merged_columns(fields, OCCUPIED, 0.0, (2, 3), ball(0.3))
    assert [(row["intruder_2"], row["intruder_3"]) for row in like] == [(0, 0)] * 3
    one_wrong = merged_columns([*fields[:2], ball(0.2, 0.35)], OCCUPIED, 0.0, (3,))
    assert [row["named_3"] for row in one_wrong] == [1, 1, 1]


def test_a_set_lacks_what_is_refused():
    rows = merged_columns([ball(0.3), None, ball(0.24), None], OCCUPIED, 0.0, (2, 3))
    assert [row["iou_2"] for row in rows] == pytest.approx([1, 0.8**3, 0.8**3, 1], abs=0.03)
    nothing = merged_columns([None, None], OCCUPIED, 0.0, (2,), ball(0.3))
    assert nothing == [{"iou_2": 0.0, "named_2": 0}] * 2


def rows_of(ious: dict[str, tuple[list[float], list[float]]]) -> list[dict[str, object]]:
    """Rows of views: of each shape the IoU of single views and of pairs."""
    return [
        {"model": "net", "category": name[0], "id": name, "view": view, "iou": one}
        | {"iou_2": two, "named_2": 0, "intruder_2": 1}
        for name, (ones, twos) in ious.items()
        for view, (one, two) in enumerate(zip(ones, twos, strict=True))
    ]


def test_the_gain_is_paired_shape_by_shape(tmp_path):
    config = Config.model_validate({"evaluate": {"bootstrap": 500, "merged": [2, 3]}})
    hard, easy = ([0.2, 0.3], [0.3, 0.35]), ([0.8, 0.9], [0.9, 0.92])
    rows = rows_of({"a1": hard, "a2": easy, "b1": hard, "b2": easy})
    write_rows(tmp_path / "views.csv", rows)
    one, two = summarise_merged("views", read_rows(tmp_path / "views.csv"), config)  # no row has three
    assert tuple(one) == tuple(two) or set(one) == set(two) == set(COLUMNS)
    assert (one["images"], two["images"], two["shapes"], two["source"]) == (1, 2, 4, "views")
    assert one["iou"] == pytest.approx(0.55)
    assert two["iou"] == pytest.approx((0.325 + 0.91) / 2)
    assert two["gain"] == pytest.approx(two["iou"] - one["iou"])
    assert one["gain"] == one["gain_low"] == one["gain_high"] == 0
    # Shapes differ by 0.6, their gains by 0.015: pairing makes the interval of the gain narrow.
    assert two["gain_high"] - two["gain_low"] < 0.02 < 0.3 < two["iou_high"] - two["iou_low"]
    assert two["gain_low"] <= two["gain"] <= two["gain_high"]
    assert (two["named"], two["intruder_named"]) == (0, 1)
    assert one["named"] == ""
    (_, alone) = summarise_merged("views", rows_of({"a1": hard, "b1": easy}), config)
    assert alone["gain_low"] == ""  # one shape a class
    assert summarise_merged("views", [{**row, "iou_2": ""} for row in rows], config) == []
    with pytest.raises(DataError, match=r"not a row of several images: .*x"):
        summarise_merged("views", [{**row, "iou_2": "x"} for row in rows], config)


def test_views_of_a_shard_are_merged_and_compared_with_another_shape(tmp_path):
    views = Views(
        np.full((3, 8, 8, 3), 255, np.uint8), np.zeros((3, 3, 3)), np.zeros((3, 3, 4)), np.zeros(3), 1.0
    )
    views.images[:] = 10 * np.arange(3).reshape(3, 1, 1, 1)  # an image's level is its view
    shapes = []
    for name, radius in (("chair/a", 0.4), ("chair/b", 0.1)):
        one = packed(name, radius)
        shapes.append(PackedShape.of(one.key, one.watertight, one.points, views))
    write_shard(tmp_path / "test-000.h5", shapes, "test-000", "test")
    calls = []

    def logits(images, rotations, points, projections):
        assert projections.shape == (len(images), 3, 4)
        calls.append(len(images))
        if len(images) == 1:  # the intruder
            return ball(0.15, 0.3, points.astype(float))[None]
        return np.stack([ball(0.4 - 0.002 * float(image.max()), 0, points.astype(float)) for image in images])

    config = Config.model_validate({"evaluate": {"view_points": 4000, "bootstrap": 0}})
    args = tmp_path / "test-000.h5", config, "net", tmp_path / "views.csv"
    rows = evaluate_views(logits, 0.0, *args, [2, 3])
    assert calls == [3, 1, 3, 1]
    assert rows[0]["iou_3"] == pytest.approx((0.38 / 0.4) ** 3, abs=0.04)
    assert rows[0]["intruder_3"] == 1
    assert {row["id"] for row in rows} == {"a", "b"}
    calls.clear()
    assert "iou_2" not in evaluate_views(logits, 0.0, *args)[0]
    assert calls == [3, 3]


def test_another_shape_is_never_the_same():
    drawn = {another(2, 4, 0, str(name)) for name in range(50)}
    assert drawn == {0, 1, 3}


def test_photos_are_merged_without_those_that_are_refused(tmp_path):
    shard = pack(tmp_path)
    write_photos(Shard(shard), photograph, 3, 7, tmp_path / "photos")

    def logits(photo, rotation, points):
        if (photo.parent.name, photo.stem) == ("b", "1"):
            raise ImageError("shows no object", path=photo)
        half = np.array([0.5, 0.3, 0.2])
        return np.where((np.abs(points) < half).all(axis=1), 1.0, -1.0)

    config = Config(evaluate={"photos": 3, "view_points": 400, "bootstrap": 0})
    args = tmp_path / "photos", config, "net", tmp_path / "net.photos.csv"
    rows = evaluate_photos(logits, 0.0, shard, *args, [2, 3])
    assert [row["iou"] for row in rows] == [1, 1, 1, 1, 0, 1]
    assert [row["iou_2"] for row in rows] == [row["iou_3"] for row in rows] == [1] * 6
    (_, two, three) = summarise_merged("photos", read_rows(tmp_path / "net.photos.csv"), config)
    assert two["gain"] == pytest.approx(1 / 6)
    assert three["images"] == 3
