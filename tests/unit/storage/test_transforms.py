"""transforms.json: fields and conventions of NeRF codes; what is missing or wrong is one line."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from occnet_lib.captures.photos import distorted
from occnet_lib.errors import DataError
from occnet_lib.storage.transforms import Frame, frame_of, image_of, read_frames, turned

POSE = [[1, 0, 0, 1.0], [0, 1, 0, 2.0], [0, 0, 1, 5.0], [0, 0, 0, 1]]
FRAME = {"file_path": "a.png", "transform_matrix": POSE, "fl_x": 100.0}
PHOTO = Path("a.png")


def test_the_pose_is_camera_to_world_in_the_axes_of_opengl():
    frame = frame_of(FRAME, PHOTO, (40, 30))
    rotation, offset = frame.world_mat[:, :3], frame.world_mat[:, 3]
    # The camera is at (1, 2, 5) and looks along -z, up is +y.
    assert np.allclose(rotation @ [1, 2, 5] + offset, 0)
    assert np.allclose(rotation @ [1, 2, 0] + offset, [0, 0, 5])
    assert np.allclose(rotation @ [1, 3, 0] + offset, [0, -1, 5])
    assert np.allclose(rotation @ [2, 2, 0] + offset, [1, 0, 5])


@pytest.mark.parametrize(
    ("values", "intrinsics", "size"),
    [
        ({}, (100, 100, 20, 15), (40, 30)),
        ({"fl_y": 110.0, "cx": 21, "cy": 14.5}, (100, 110, 21, 14.5), (40, 30)),
        ({"w": 400, "h": 300}, (100, 100, 200, 150), (400, 300)),
        ({"fl_x": 200.0, "camera_angle_x": 1.0}, (200, 200, 20, 15), (40, 30)),
    ],
)
def test_intrinsics(values, intrinsics, size):
    frame = frame_of(FRAME | values, PHOTO, (40, 30))
    assert (frame.intrinsics, frame.size) == (intrinsics, size)


def test_the_camera_of_a_turned_image_sees_a_point_at_its_turned_place():
    values = FRAME | {"fl_y": 110.0, "cx": 21, "cy": 14.5, "k1": 0.1, "k2": -0.02, "p1": 0.03, "p2": -0.05}
    frame = frame_of(values, PHOTO, (40, 30))
    point = np.array([1.3, 2.2, 0.5])

    def place(of: Frame) -> np.ndarray:
        x, y, z = of.world_mat[:, :3] @ point + of.world_mat[:, 3]
        fx, fy, cx, cy = of.intrinsics
        return distorted(np.array([x / z, y / z]), of.distortion) * (fx, fy) + (cx, cy)

    u, v = place(frame)
    assert np.allclose(place(turned(frame, 1)), (30 - v, u))
    assert np.allclose(place(turned(frame, 2)), (40 - u, 30 - v))
    assert np.allclose(place(turned(frame, 3)), (v, 40 - u))
    assert (turned(frame, 1).size, turned(frame, 2).size) == ((30, 40), (40, 30))


def test_an_angle_of_view_gives_the_focal_length():
    values = {key: value for key, value in FRAME.items() if key != "fl_x"} | {"camera_angle_x": math.pi / 2}
    assert frame_of(values, PHOTO, (40, 30)).intrinsics == pytest.approx((20, 20, 20, 15))
    values |= {"camera_angle_y": 2 * math.atan(0.5)}
    assert frame_of(values, PHOTO, (40, 30)).intrinsics == pytest.approx((20, 30, 20, 15))


def test_values_of_the_file_are_those_of_frames_without_their_own(tmp_path):
    path = tmp_path / "transforms.json"
    values = {"fl_x": 7, "k1": 0.1, "frames": [{"file_path": "a"}, {"file_path": "b", "fl_x": 8}]}
    path.write_text("\ufeff" + json.dumps(values), encoding="utf-8")  # a byte order mark, as on Windows
    assert [(f["fl_x"], f["k1"], f["file_path"]) for f in read_frames(path)] == [(7, 0.1, "a"), (8, 0.1, "b")]


def test_a_name_without_a_suffix_is_completed(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "0.1.jpg").touch()
    (tmp_path / "images" / "3.PNG").touch()
    assert image_of({"file_path": "./images/0.1"}, tmp_path) == tmp_path / "images" / "0.1.jpg"
    assert image_of({"file_path": "images\\0.1.jpg"}, tmp_path) == tmp_path / "images" / "0.1.jpg"
    assert image_of({"file_path": "images/3"}, tmp_path) == tmp_path / "images" / "3.PNG"
    assert image_of({"file_path": "images/2"}, tmp_path) == tmp_path / "images" / "2"
    for impossible in ("a" * 5000, "a\0b"):
        assert image_of({"file_path": impossible}, tmp_path) == tmp_path / impossible


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"camera_angle_x": 50.0, "fl_x": None}, "fl_x is not a finite number"),
        ({"fl_x": "100"}, "fl_x is not a finite number"),
        ({"fl_x": -1.0}, "fl_x must be above 0"),
        ({"w": 0, "h": 3}, "w and h must be above 0"),
        ({"w": 30, "h": 40}, "40 x 30 pixels, its camera 30 x 40.*EXIF"),
        ({"camera_model": "OPENCV_FISHEYE"}, "lens .OPENCV_FISHEYE. is not a perspective one"),
        ({"is_fisheye": True}, "lens .fisheye. is not"),
        ({"k4": 0.1}, "is not a perspective one"),
        ({"k1": float("nan")}, "k1 is not a finite number"),
        ({"k1": 10**400}, "k1 is not a finite number"),
        ({"fl_x": -(10**400)}, "fl_x is not a finite number"),
        ({"transform_matrix": None}, "not one of 4 x 4 finite numbers"),
        ({"transform_matrix": [[1, 2], [3, 4]]}, "not one of 4 x 4"),
        ({"transform_matrix": (2 * np.array(POSE)).tolist()}, "last row"),
        ({"transform_matrix": (np.diag([2.0, 2, 2, 1]) @ POSE).tolist()}, "are not a rotation"),
        ({"transform_matrix": (np.diag([-1.0, 1, 1, 1]) @ POSE).tolist()}, "are not a rotation"),
    ],
)
def test_what_is_wrong_is_one_line(values, message):
    with pytest.raises(DataError, match=message) as caught:
        frame_of(FRAME | values, PHOTO, (40, 30))
    assert str(caught.value).startswith("a.png: ")


def test_an_angle_in_degrees_is_noticed():
    values = {"transform_matrix": POSE, "camera_angle_x": 50.0}
    with pytest.raises(DataError, match="camera_angle_x is 50: it is in radians, below pi"):
        frame_of(values, PHOTO, (40, 30))
    with pytest.raises(DataError, match="has neither fl_x nor camera_angle_x"):
        frame_of({"transform_matrix": POSE}, PHOTO, (40, 30))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"frames": []}', '{"frames": [1]}'])
def test_a_file_without_frames_is_refused(tmp_path, text):
    path = tmp_path / "transforms.json"
    path.write_text(text)
    with pytest.raises(DataError, match=str(path)):
        read_frames(path)
