"""Points projected onto their images, and the audit of it."""

from __future__ import annotations

import numpy as np

from occnet_lib.analysis import projections
from occnet_lib.config import AnalyseConfig
from occnet_lib.storage.packs import Shard, write_shard
from occnet_lib.storage.tables import read_rows
from tests.support.demo_results import IMAGE_SIZE, VIEWS


class TestProjections:
    def test_points_fall_on_the_silhouette(self, packs) -> None:
        shard = Shard(packs[2])
        for i in range(len(shard)):
            for view in range(VIEWS):
                shown = projections.projection(shard, i, view)
                audit = shown.audit()
                assert audit["surface_inside"] > 0.98, audit
                assert audit["occupied_inside"] > 0.99, audit
                assert audit["covered"] > 0.8, audit
                assert (shown.surface_depth > 0.3).all()

    def test_the_audit_notices_a_wrong_camera_frame_and_image(self, packs) -> None:
        shard = Shard(packs[2])
        right = projections.projection(shard, 2, 0)
        mirrored = right.surface_uv * [-1, 1] + [IMAGE_SIZE, 0]
        shifted = right.surface_uv + np.array([0.25 * IMAGE_SIZE, 0])
        away = right.surface_uv + np.array([10 * IMAGE_SIZE, 0])
        for uv in (mirrored, shifted, away):
            wrong = projections.Projection(**{**vars(right), "surface_uv": uv}).audit()
            assert wrong["surface_inside"] < right.audit()["surface_inside"] - 0.1
        assert projections.Projection(**{**vars(right), "surface_uv": away}).audit()["covered"] == 0

    def test_the_audit_of_an_empty_image_or_no_points_is_zero(self, packs) -> None:
        right = projections.projection(Shard(packs[2]), 0, 0)
        blank = projections.Projection(**{**vars(right), "image": np.full_like(right.image, 255)})
        assert blank.audit() == {"surface_inside": 0, "occupied_inside": 0, "covered": 0}
        none = projections.Projection(**{**vars(right), "occupied_uv": np.zeros((0, 2))})
        assert none.audit()["occupied_inside"] == 0

    def test_first_shapes_by_name_and_different_views(self, packs) -> None:
        actual = [(shard.keys[i].name, view) for shard, i, view in projections.chosen(packs[::-1], 2)]
        assert actual == [
            ("car/car_0000", 0),
            ("car/car_0001", 1),
            ("chair/chair_0000", 0),
            ("chair/chair_0001", 1),
        ]

    def test_files(self, packs, tmp_path) -> None:
        from PIL import Image

        config = AnalyseConfig(projections=1)
        projections.write_projections(packs[2:], config, tmp_path / "a")
        projections.write_projections(packs[2:], config, tmp_path / "b")
        rows = read_rows(tmp_path / "a" / "projections.csv")
        assert [row["file"] for row in rows] == ["car_car_0002.png", "chair_chair_0002.png"]
        assert all(float(row["surface_inside"]) > 0.98 for row in rows)
        for row in rows:
            path = tmp_path / "a" / row["file"]
            assert path.read_bytes() == (tmp_path / "b" / row["file"]).read_bytes()
            image = np.asarray(Image.open(path).convert("RGB"))
            assert len(np.unique(image.reshape(-1, 3), axis=0)) > 100

    def test_no_shapes_no_figures(self, tmp_path) -> None:
        write_shard(tmp_path / "test-000.h5", [], "test-000", "test")
        projections.write_projections([tmp_path / "test-000.h5"], AnalyseConfig(), tmp_path / "out")
        assert read_rows(tmp_path / "out" / "projections.csv") == []
