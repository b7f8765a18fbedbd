"""Photos with cameras as views in the object's frame: an ellipsoid's, whose silhouettes are known; wrong cameras refused."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from occnet_lib.captures.capture import Capture, capture_of
from occnet_lib.captures.folders import holds_captures, photos_of
from occnet_lib.captures.photos import distorted, undistorted
from occnet_lib.config import check
from occnet_lib.errors import DataError
from occnet_lib.geometry.cameras import image_projection
from occnet_lib.networks.silhouette_labels import BACKGROUND, OBJECT, labels_of
from occnet_lib.storage.cameras import turned
from occnet_lib.training.visual_hull import in_hull
from tests.support import capture_photos as photos
from tests.support.silhouette_shapes import inside, silhouette

PIXELS = 64
CONFIG = check({"views": {"image_size": PIXELS}})


@cache
def shots(count: int = 8) -> list[np.ndarray]:
    return [photos.photo(camera) for camera in photos.cameras(count)]


@pytest.fixture
def folder(tmp_path) -> Path:
    photos.write_capture(tmp_path / "thing", seen=shots())
    return tmp_path / "thing"


def projections(capture: Capture, loc: np.ndarray, scale: float) -> list[np.ndarray]:
    """Of a frame into the views."""
    size = PIXELS, PIXELS
    return [image_projection(v.camera_mat, v.world_mat, loc, scale, *size) for v in capture.views]


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def assert_right(capture: Capture, centre: np.ndarray = photos.CENTRE) -> None:
    """The views' masks are the ellipsoid's silhouettes, and the hull in the capture's frame is about the ellipsoid."""
    unit = photos.RADII / photos.SCALE
    for view, projection in zip(capture.views, projections(capture, centre, photos.SCALE), strict=True):
        expected = silhouette(projection, PIXELS, np.zeros(3), unit)
        assert np.abs(view.mask / 255 - expected).mean() < 0.006
        assert iou(view.mask >= 128, expected >= 0.5) > 0.97
        assert (view.image[view.mask == 255].max(axis=-1) < 120).all()
    assert np.abs(capture.loc - centre).max() < 0.03 * photos.SCALE
    assert capture.scale == pytest.approx(photos.SCALE, rel=0.06)
    points = np.random.default_rng(0).uniform(-0.55, 0.55, (20_000, 3))
    labels = [labels_of(view.mask / np.float32(255)) for view in capture.views]
    hull = in_hull(points, labels, projections(capture, capture.loc, capture.scale))
    world = points * capture.scale + capture.loc
    assert iou(hull, inside(world, centre, photos.RADII)) > 0.85


class TestFrame:
    def test_photos_become_views_whose_masks_and_hull_are_those_of_the_object(self, folder):
        capture = capture_of(photos_of(folder), CONFIG)
        assert (len(capture.views), capture.notes) == (8, [])
        assert capture.explained > 0.97
        assert_right(capture)

    def test_camera_files_beside_the_photos_are_the_same(self, tmp_path):
        photos.write_camera_files(tmp_path)
        capture = capture_of(photos_of(tmp_path), CONFIG)
        assert_right(capture)
        assert np.allclose(capture.loc, photos.CENTRE)  # stated in the files
        assert capture.scale == photos.SCALE

    def test_a_world_with_z_up_is_turned(self, folder):
        frames = photos.write_capture(folder, seen=shots())
        turned = [f | {"transform_matrix": (photos.Z_UP @ f["transform_matrix"]).tolist()} for f in frames]
        photos.write_frames(folder, turned)
        with pytest.raises(DataError, match=r"about \+z of the cameras' world.*set dataset.up: z"):
            capture_of(photos_of(folder), CONFIG)
        assert_right(
            capture_of(photos_of(folder), check({"views": {"image_size": PIXELS}, "dataset": {"up": "z"}}))
        )

    @pytest.mark.parametrize(("degrees", "noted"), [(5.0, False), (35.0, True)])
    def test_a_tilted_world_is_noted(self, folder, degrees, noted):
        frames = photos.write_capture(folder, seen=shots())
        turn = np.eye(4)
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        turn[:2, :2] = [[c, -s], [s, c]]
        photos.write_frames(
            folder, [f | {"transform_matrix": (turn @ f["transform_matrix"]).tolist()} for f in frames]
        )
        notes = capture_of(photos_of(folder), CONFIG).notes
        assert [note.partition(" of their")[0] for note in notes] == [
            "the cameras are level about a direction 35° from y"
        ] * noted

    def test_the_unit_of_the_world_does_not_matter(self, folder):
        frames = photos.write_capture(folder, seen=shots())
        matrices = [np.array(f["transform_matrix"]) for f in frames]
        for matrix in matrices:
            matrix[:3, 3] *= 1000
        pairs = zip(frames, matrices, strict=True)
        photos.write_frames(folder, [f | {"transform_matrix": m.tolist()} for f, m in pairs])
        capture = capture_of(photos_of(folder), CONFIG)
        assert_right(
            capture._replace(
                loc=capture.loc / 1000, scale=capture.scale / 1000, views=rescaled(capture.views)
            )
        )

    def test_a_given_box_is_the_frame(self, folder):
        box = photos.CENTRE, 1.25 * photos.SCALE
        capture = capture_of(photos_of(folder), CONFIG, box)
        assert (capture.loc.tolist(), capture.scale) == (box[0].tolist(), box[1])
        with pytest.raises(DataError, match="is the given box that of the object"):
            capture_of(photos_of(folder), CONFIG, (photos.CENTRE + photos.SCALE, photos.SCALE))
        for size, hull in ((0.6, "1.[6-9]"), (2.0, "0.5")):
            with pytest.raises(DataError, match=f"has {hull}. of the edge of the object's box"):
                capture_of(photos_of(folder), CONFIG, (photos.CENTRE, size * photos.SCALE))


def rescaled(views):
    """Views of a world a thousand times smaller."""
    scale = np.array([1, 1, 1, 1e-3])
    return [view._replace(world_mat=view.world_mat * scale) for view in views]


class TestWrongCameras:
    def refused(self, folder: Path, change) -> str:
        frames = photos.write_capture(folder, seen=shots())
        matrices = [change(np.array(f["transform_matrix"])) for f in frames]
        pairs = zip(frames, matrices, strict=True)
        photos.write_frames(folder, [f | {"transform_matrix": m.tolist()} for f, m in pairs])
        with pytest.raises(DataError) as caught:
            capture_of(photos_of(folder), CONFIG)
        return str(caught.value)

    def test_axes_of_opencv_are_named(self, folder):
        assert "axes are OpenCV's" in self.refused(folder, lambda pose: pose @ photos.FLIP)

    def test_inverted_poses_are_named(self, folder):
        assert "are world to camera where camera to world is expected" in self.refused(folder, np.linalg.inv)

    def test_poses_of_another_order_of_photos_are_refused(self, folder):
        frames = photos.write_capture(folder, seen=shots())
        poses = [f["transform_matrix"] for f in frames]
        order = [3, 0, 6, 1, 7, 2, 5, 4]
        photos.write_frames(
            folder, [f | {"transform_matrix": poses[i]} for f, i in zip(frames, order, strict=True)]
        )
        with pytest.raises(DataError, match=r"contradict each other: only .* of the silhouettes"):
            capture_of(photos_of(folder), CONFIG)

    def test_one_wrong_camera_costs_its_photo_alone(self, folder, caplog):
        frames = photos.write_capture(folder, seen=shots())
        frames[2]["transform_matrix"] = frames[5]["transform_matrix"]
        photos.write_frames(folder, frames)
        capture = capture_of(photos_of(folder), CONFIG)
        assert capture.notes == ["02.png: its silhouette contradicts those of the other photos"]
        assert "02.png: left out" in caplog.text
        assert len(capture.views) == 7
        assert_right(capture)

    def test_inexact_cameras_get_a_margin_without_labels(self, folder):
        rng = np.random.default_rng(0)
        frames = photos.write_capture(folder, seen=shots())
        for f in frames:
            f["cx"] += rng.normal(0, 2.5)
            f["cy"] += rng.normal(0, 2.5)
        photos.write_frames(folder, frames)
        capture = capture_of(photos_of(folder), CONFIG)
        assert "agree only up to" in capture.notes[-1]
        labels = labels_of(capture.views[0].mask / np.float32(255))
        near = np.flatnonzero((labels == OBJECT).any(axis=0))[0]
        assert (labels[:, near - 1] != BACKGROUND).any()
        assert (labels[:, near - 6] == BACKGROUND).all()

    def test_photos_from_one_direction_are_refused(self, folder):
        frames = photos.write_capture(folder, seen=shots())
        photos.write_frames(folder, [frames[0] | {"file_path": f["file_path"]} for f in frames[:4]])
        with pytest.raises(DataError, match="nearly one direction"):
            capture_of(photos_of(folder), CONFIG)


class TestPhotos:
    def test_photos_that_cannot_be_used_are_named(self, folder, caplog):
        Image.new("RGB", (photos.EDGE, photos.EDGE), "white").save(folder / "images" / "01.png")
        (folder / "images" / "04.png").unlink()
        capture = capture_of(photos_of(folder), CONFIG)
        assert len(capture.views) == 6
        assert [note.partition(":")[0] for note in capture.notes] == ["01.png", "04"]
        assert "01.png: shows no object" in caplog.text
        assert "04: no such file" in caplog.text

    @pytest.mark.parametrize("of", ["stored", "shown"])
    @pytest.mark.parametrize(
        ("orientation", "every", "cut"), [(3, 1, 0), (3, 2, 10), (6, 1, 0), (6, 1, 10), (8, 3, 10)]
    )
    def test_cameras_of_photos_that_their_orientation_turns(self, tmp_path, of, orientation, every, cut):
        quarters = {6: 1, 3: 2, 8: 3}[orientation]
        exif, frames = Image.Exif(), []
        exif[0x0112] = orientation
        for i, (camera, image) in enumerate(zip(photos.cameras(8), shots(), strict=True)):
            shown = image[cut : photos.EDGE - cut]
            camera = replace(camera, height=photos.EDGE - 2 * cut)
            camera.camera_mat[1, 2] = photos.EDGE / 2 - 2 - cut
            is_turned = i % every == 0
            stored = np.rot90(shown, quarters if is_turned else 0)
            Image.fromarray(stored).save(tmp_path / f"{i}.png", exif=exif if is_turned else None)
            camera = turned(camera, 4 - quarters) if is_turned and of == "stored" else camera
            frames.append(photos.frame(camera, f"{i}.png"))
        photos.write_frames(tmp_path, frames)
        capture = capture_of(photos_of(tmp_path), CONFIG)
        assert_right(capture)
        count = len(range(0, 8, every))
        note = f"{count} photos are turned by their EXIF orientation; their cameras are taken to be those of the pixels"
        shape_says_it = cut and orientation != 3
        assert capture.notes == ([] if shape_says_it else [f"{note} as they are {of}"])
        views = [-view.world_mat[1, 1] for view in capture.views]
        assert min(views) > 0.4  # upright

    def test_a_photo_listed_twice_counts_once(self, folder, caplog):
        frames = photos.write_capture(folder, seen=shots())
        photos.write_frames(
            folder, [*frames, frames[2], frames[3] | {"transform_matrix": np.eye(4).tolist()}]
        )
        assert len(photos_of(folder)) == 8
        assert "thing: 02.png is the photo 02.png once more: left out" in caplog.text
        assert (
            "thing: 03.png is the photo 03.png once more, with another camera there: left out" in caplog.text
        )
        assert_right(capture_of(photos_of(folder), CONFIG))

    def test_two_photos_of_one_camera_file_count_once(self, tmp_path, caplog):
        photos.write_camera_files(tmp_path)
        Image.new("RGB", (photos.EDGE, photos.EDGE)).save(tmp_path / "05.webp")
        assert [photo.name for photo, _ in photos_of(tmp_path)] == [f"{i:02d}.png" for i in range(8)]
        assert "05.webp is the photo 05.png once more: left out" in caplog.text

    def test_masks_of_the_file_are_reported(self, folder, caplog):
        frames = photos.write_capture(folder, seen=shots())
        photos.write_frames(folder, [f | {"mask_path": "m.png"} for f in frames])
        photos_of(folder)
        assert "transforms.json: mask_path is not read; save masks as the transparency" in caplog.text

    @pytest.mark.parametrize("other", ["transforms_train.json", "sparse/0/cameras.txt"])
    def test_cameras_in_other_forms_are_named(self, folder, other):
        assert holds_captures(folder.parent)
        (folder / other).parent.mkdir(parents=True, exist_ok=True)
        (folder / "transforms.json").rename(folder / other)
        name = other.partition("/")[0]
        with pytest.raises(DataError, match=rf"thing/{name}: cameras are read from transforms.json only \("):
            holds_captures(folder.parent)

    def test_a_mirrored_photo_is_left_out(self, folder):
        exif = Image.Exif()
        exif[0x0112] = 5
        frames = photos.write_capture(folder, seen=[shot[10:-10] for shot in shots()])
        photos.write_frames(folder, [f | {"h": photos.EDGE - 20, "cy": f["cy"] - 10} for f in frames])
        with Image.open(folder / "images" / "02.png") as image:
            image.save(folder / "images" / "02.png", exif=exif)
        capture = capture_of(photos_of(folder), CONFIG)
        assert capture.notes == ["02.png: its EXIF orientation mirrors it"]
        assert_right(capture)

    def test_positions_beyond_all_arithmetic_are_one_line(self, folder):
        frames = photos.write_capture(folder, seen=shots())
        for f in frames:
            f["transform_matrix"] = [[*row[:3], row[3] * 1e170] for row in f["transform_matrix"][:3]]
        photos.write_frames(folder, frames)
        with np.errstate(over="ignore"), pytest.raises(DataError, match="no common point"):
            capture_of(photos_of(folder), CONFIG)

    def test_a_lens_without_an_inverse_is_named(self, folder):
        photos.write_frames(folder, photos.write_capture(folder, seen=shots()), k1=-500.0)
        with pytest.raises(DataError, match=r"its lens \(focal length 150, distortion \[-500"):
            capture_of(photos_of(folder), CONFIG)

    def test_cameras_in_the_folders_of_an_object_are_reported(self, folder, caplog):
        photos.write_frames(folder / "images", [])
        assert len(photos_of(folder)) == 8
        assert "has cameras, so those in its folders are not read (images)" in caplog.text

    def test_too_few_are_an_error(self, folder):
        frames = photos.write_capture(folder, seen=shots())
        photos.write_frames(folder, frames[:2])
        with pytest.raises(DataError, match="2 of 2 photos are usable, at least 3"):
            capture_of(photos_of(folder), CONFIG)

    def test_a_white_object_has_a_whole_mask(self, tmp_path):
        white = [np.dstack([np.full_like(image[..., :3], 255), image[..., 3]]) for image in shots()]
        photos.write_capture(tmp_path, seen=white)
        assert all(view.mask.max() == 255 for view in capture_of(photos_of(tmp_path), CONFIG).views)

    def test_an_object_that_is_cut_off_says_nothing_beyond_the_photo(self, folder):
        frames = photos.write_capture(folder, seen=shots())
        image = shots()[0]
        rows = np.flatnonzero(image[..., 3].any(axis=1))
        first = int(rows[0] + rows[-1]) // 2
        Image.fromarray(image[first:]).save(folder / "images" / "00.png")
        frames[0] |= {"cy": frames[0]["cy"] - first, "h": photos.EDGE - first}
        photos.write_frames(folder, frames)
        capture = capture_of(photos_of(folder), CONFIG)
        assert capture.notes == []
        assert_right(capture._replace(views=capture.views[1:]))
        assert (labels_of(capture.views[0].mask / np.float32(255))[0] != BACKGROUND).all()

    def test_lens_distortion_is_removed(self, folder):
        lens = {"k1": -0.35, "k2": 0.1, "p1": 0.01, "p2": -0.005}
        frames = photos.write_capture(folder, seen=[bent(image, lens) for image in shots()])
        photos.write_frames(folder, frames, **lens)
        assert_right(capture_of(photos_of(folder), CONFIG))
        photos.write_frames(folder, [replaced | {"k1": 0.0, "cx": 90.0} for replaced in frames])
        with pytest.raises(DataError, match="contradict"):
            capture_of(photos_of(folder), CONFIG)


def bent(image: np.ndarray, lens: dict[str, float]) -> np.ndarray:
    """A pinhole photo as a lens with distortion shows it."""
    from scipy.ndimage import map_coordinates

    camera_mat = photos.cameras(1)[0].camera_mat
    focal, centre = camera_mat[0, 0], camera_mat[:2, 2]
    steps = np.arange(photos.EDGE) + 0.5
    grid = np.stack(np.meshgrid(steps, steps), axis=-1)
    values = np.array([lens[key] for key in ("k1", "k2", "p1", "p2")] + [0.0])
    straight = undistorted((grid - centre) / focal, values) * focal + centre - 0.5
    planes = [
        map_coordinates(image[..., k].astype(float), (straight[..., 1], straight[..., 0]), order=1)
        for k in range(4)
    ]
    return np.stack(planes, axis=-1).round().astype(np.uint8)


def test_distortion_is_that_of_opencv_and_has_an_inverse():
    values = np.array([-0.2, 0.05, 0.001, -0.002, 0.01])
    places = np.random.default_rng(0).uniform(-0.6, 0.6, (50, 2))
    x, y = places[7]
    square = x * x + y * y
    radial = 1 - 0.2 * square + 0.05 * square**2 + 0.01 * square**3
    u = x * radial + 2 * 0.001 * x * y - 0.002 * (square + 2 * x * x)
    v = y * radial + 0.001 * (square + 2 * y * y) + 2 * -0.002 * x * y
    assert np.allclose(distorted(places, values)[7], [u, v])
    assert np.allclose(undistorted(distorted(places, values), values), places, atol=1e-6)
    assert np.isnan(undistorted(np.array([[5.0, 5.0]]), values)).all()
