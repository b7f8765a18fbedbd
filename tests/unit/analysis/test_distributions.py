"""Geometry of analytic shapes, colours of images, and mean shapes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from occnet_lib import cli
from occnet_lib.analysis import distributions
from occnet_lib.analysis.distributions import color, mean_views
from occnet_lib.geometry.measures import Geometry, geometry
from occnet_lib.storage.packs import Shard, write_shard
from occnet_lib.storage.tables import read_rows
from occnet_lib.types import Mesh
from tests.support.demo_results import packed


def box(size: tuple[float, float, float], centre: tuple[float, float, float] = (0, 0, 0)) -> Mesh:
    corners = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [part for a, b, c, d in quads for part in ((a, b, c), (a, c, d))]
    return Mesh(corners * size + np.array(centre), np.array(faces, np.int32))


def both(one: Mesh, two: Mesh) -> Mesh:
    faces = np.concatenate([one.faces, two.faces + np.int32(len(one.vertices))])
    return Mesh(np.concatenate([one.vertices, two.vertices]), faces)


def measured(mesh: Mesh) -> Geometry:
    return geometry(mesh, np.random.default_rng(0))


class TestGeometry:
    def test_a_box(self) -> None:
        made = measured(box((1.0, 0.6, 0.4), (0.05, -0.1, 0.02)))
        assert made[:3] == pytest.approx((1.0, 0.6, 0.4))
        assert made.volume == pytest.approx(0.24)
        assert made.area == pytest.approx(2 * (0.6 + 0.4 + 0.24))
        assert made.components == 1
        assert made[-3:] == pytest.approx((0, 0, 0), abs=1e-6), "symmetric at all three planes"

    @pytest.mark.parametrize(("thick", "thin"), [(0.1, 0.0), (0.02, 1.0)])
    def test_thickness_of_a_plate(self, thick: float, thin: float) -> None:
        made = measured(box((1.0, thick, 1.0)))
        assert made.thickness == pytest.approx(thick, rel=1e-4)
        sides = 4 * thick / (2 + 4 * thick)  # of the area: these are 1 thick
        assert made.thin == pytest.approx(thin * (1 - sides), abs=0.05)

    def test_a_wall_thinner_than_the_offset_of_the_rays_is_thin(self) -> None:
        plate, far = box((1.0, 5e-5, 1.0)), box((1.0, 5e-5, 1.0), (0, -0.5, 0))
        made = measured(both(plate, far))
        assert made.thickness == 0, "not the distance to the other plate"
        assert made.thin > 0.98

    def test_two_boxes_have_two_components_and_no_symmetry_across(self) -> None:
        made = measured(both(box((1, 0.2, 0.2)), box((0.2, 0.2, 0.2), (0.4, 0.5, 0))))
        assert made.components == 2
        assert made.volume == pytest.approx(0.048)
        assert made.mirror_z < 1e-6
        assert made.mirror_x > 0.03
        assert made.mirror_y > 0.03

    def test_a_hollow_is_no_component(self) -> None:
        made = measured(both(box((1, 1, 1)), box((0.8, 0.8, 0.8)).flipped()))
        assert made.components == 1
        assert made.volume == pytest.approx(1 - 0.8**3)
        assert made.thickness == pytest.approx(0.1, rel=1e-3), "of the wall"

    def test_an_open_mesh_has_no_volume(self) -> None:
        whole = box((1, 1, 1))
        made = measured(Mesh(whole.vertices, whole.faces[2:]))
        assert made.area == pytest.approx(5)
        assert np.isnan([made.volume, made.components, made.thickness, made.thin]).all()

    @pytest.mark.parametrize("mesh", [Mesh.empty(), Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]], np.int32))])
    def test_nothing_of_a_mesh_without_area(self, mesh: Mesh) -> None:
        assert np.isnan(measured(mesh)).all()


class TestColor:
    def test_only_pixels_of_the_object_count(self) -> None:
        image = np.full((8, 8, 3), 255, np.uint8)
        image[:3, :3] = (102, 51, 0)  # also in a corner
        assert color(image) == pytest.approx((0.4, 1.0))
        mask = np.zeros((8, 8), np.float32)
        mask[0, 0] = mask[5, 5] = 1
        assert color(image, mask) == pytest.approx((0.7, 0.5))

    def test_nothing_without_a_plain_background(self) -> None:
        noise = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
        assert np.isnan(color(noise)).all()
        assert np.isnan(color(np.full((8, 8, 3), 9, np.uint8))).all()


def test_mean_views_look_from_front_right_and_top() -> None:
    mean = np.zeros((4, 4, 4))
    mean[3, 2, 0] = 0.4  # right, above the middle, at the back
    mean[3, 2, 1] = 1.0
    views = mean_views(mean)
    step = len(views) // 4
    front, side, top = (255 - part[::step, ::step].astype(int) for part in np.split(views, 3, axis=1))
    assert front[1, 3] == 255
    assert (side[1, 3], side[1, 2]) == (102, 255), "the back is to the right of who looks from +x"
    assert (top[0, 3], top[1, 3]) == (102, 255)
    assert [np.count_nonzero(part) for part in (front, side, top)] == [1, 2, 2]


def test_the_job_writes_a_row_a_shape_and_mean_shapes(packs, tmp_path) -> None:
    config, folder = tmp_path / "config.yaml", packs[0].parent
    config.write_text("{}")
    for out in ("a", "b"):
        assert not cli.main(
            ["job", "distributions", str(folder), "--config", str(config), "--out", str(tmp_path / out)]
        )
    rows = read_rows(tmp_path / "a" / "shapes.csv")
    assert tuple(rows[0]) == distributions.COLUMNS
    assert (tmp_path / "a" / "shapes.csv").read_bytes() == (tmp_path / "b" / "shapes.csv").read_bytes()
    names = [(key.name, shard.split) for shard in map(Shard, packs) for key in shard.keys]
    assert sorted((f"{row['category']}/{row['id']}", row["split"]) for row in rows) == sorted(names)
    mesh = packed("chair", 2).watertight.mesh
    row = next(row for row in rows if row["id"] == packed("chair", 2).key.id and row["category"] == "chair")
    assert float(row["volume"]) == pytest.approx(mesh.volume, rel=1e-3)
    assert 0 < float(row["brightness"]) < 1
    assert not list((tmp_path / "a").glob("*.png")), "these shapes have no voxels"


def test_mean_shapes_of_categories_and_splits(tmp_path) -> None:
    shapes = []
    for i, width in enumerate((2, 4)):
        shape = packed("car", i)
        voxels = np.zeros((8, 8, 8), bool)
        voxels[:width] = True
        shapes.append(replace(shape, points=replace(shape.points, voxels=voxels)))
    write_shard(tmp_path / "train-000.h5", shapes, "train-000", "train")
    distributions.write_distributions([tmp_path / "train-000.h5"], 0, tmp_path / "out")
    assert [path.name for path in tmp_path.glob("out/*.png")] == ["mean_car_train.png"]
    front = np.split(np.asarray(Image.open(tmp_path / "out" / "mean_car_train.png")), 3, axis=1)[0]
    assert front[0, :: len(front) // 8].tolist() == [0, 0, 128, 128, 255, 255, 255, 255]
