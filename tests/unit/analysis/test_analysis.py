"""Statistics, projections and embeddings of small packs of demo shapes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from occnet_lib.analysis import embeddings, projections, statistics
from occnet_lib.config import AnalyseConfig
from occnet_lib.errors import DataError
from occnet_lib.storage.packs import Shard, write_shard
from occnet_lib.storage.tables import read_rows
from tests.support.demo_results import IMAGE_SIZE, POINTS, VIEWS, packed, write_packs


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_packs(tmp_path_factory.mktemp("pack"))


class TestStatistics:
    def test_rows_are_the_shapes_own_numbers(self, packs, tmp_path) -> None:
        statistics.write_statistics(packs, tmp_path / "statistics.csv")
        rows = read_rows(tmp_path / "statistics.csv")
        assert list(rows[0]) == list(statistics.COLUMNS)
        groups = [(c, s) for c in ("car", "chair", "all") for s in ("train", "val", "test")]
        assert [(row["category"], row["split"]) for row in rows] == groups
        row = rows[groups.index(("chair", "test"))]
        shapes = [packed("chair", i) for i in (2, 3)]
        occupied = [shape.points.occupancies.mean() for shape in shapes]
        assert (row["shapes"], row["images"], row["points"]) == ("2", str(2 * VIEWS), str(2 * POINTS))
        assert float(row["occupied_mean"]) == pytest.approx(np.mean(occupied), rel=1e-5)
        assert float(row["occupied_sd"]) == pytest.approx(abs(occupied[0] - occupied[1]) / 2**0.5, rel=1e-4)
        assert float(row["faces_mean"]) == np.mean([len(s.watertight.mesh.faces) for s in shapes])
        heights = [np.ptp(s.watertight.mesh.vertices[:, 1]) for s in shapes]
        assert float(row["extent_y"]) == pytest.approx(np.mean(heights), rel=1e-5)
        assert float(row["scale_mean"]) == pytest.approx(
            np.mean([s.watertight.scale for s in shapes]), rel=1e-5
        )

    def test_all_rows_count_every_category(self, packs) -> None:
        rows = statistics.table(packs)
        for split in ("train", "val", "test"):
            parts = [r["shapes"] for r in rows if r["split"] == split and r["category"] != "all"]
            assert [r["shapes"] for r in rows if r["split"] == split and r["category"] == "all"] == [
                sum(parts)
            ]
        assert float(next(r for r in rows if r["split"] == "val")["occupied_sd"]) == 0, (
            "one shape spreads nothing"
        )

    def test_an_empty_shard_has_no_rows_but_a_header(self, tmp_path) -> None:
        write_shard(tmp_path / "val-000.h5", [], "val-000", "val")
        statistics.write_statistics([tmp_path / "val-000.h5"], tmp_path / "s.csv")
        assert (tmp_path / "s.csv").read_text().strip() == ",".join(statistics.COLUMNS)

    def test_a_missing_shard_is_named(self, tmp_path) -> None:
        with pytest.raises(DataError, match=r"gone\.h5"):
            statistics.table([tmp_path / "gone.h5"])


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
        found = [(shard.keys[i].name, view) for shard, i, view in projections.chosen(packs[::-1], 2)]
        assert found == [
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


def blobs(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Three clusters in eight dimensions far apart from each other, and their labels."""
    label = np.arange(count) % 3
    return 10 * np.eye(8)[label] + rng.normal(0, 0.3, (count, 8)), label


class TestEmbeddings:
    def test_neighbours_stay_neighbours(self) -> None:
        features, label = blobs(60, np.random.default_rng(0))
        layout = embeddings.tsne(features, 10, 0)
        assert layout.shape == (60, 2)
        distance = np.linalg.norm(layout[:, None] - layout[None], axis=-1) + 1e9 * np.eye(60)
        assert (label[distance.argmin(1)] == label).all()

    def test_the_same_whatever_the_number_of_threads(self) -> None:
        from threadpoolctl import threadpool_limits

        features, _ = blobs(40, np.random.default_rng(1))
        with threadpool_limits(2):
            two = embeddings.tsne(features, 30, 7)
        with threadpool_limits(1):
            one = embeddings.tsne(features, 30, 7)
        np.testing.assert_array_equal(one, two)

    @pytest.mark.parametrize("count", [0, 1, 2, 3])
    def test_few_points_are_principal_components(self, count) -> None:
        features = np.random.default_rng(2).normal(size=(count, 5))
        layout = embeddings.tsne(features, 30, 0)
        assert layout.shape == (count, 2)
        between = np.linalg.norm(features[:, None] - features[None], axis=-1)
        np.testing.assert_allclose(
            np.linalg.norm(layout[:, None] - layout[None], axis=-1), between, atol=1e-9
        )

    @pytest.mark.parametrize("shape", [(4, 6), (30, 1), (12, 2)])
    def test_odd_sizes(self, shape) -> None:
        layout = embeddings.tsne(np.random.default_rng(3).normal(size=shape), 30, 0)
        assert layout.shape == (shape[0], 2)
        assert np.isfinite(layout).all()

    def test_equal_features_lie_on_one_spot(self) -> None:
        np.testing.assert_allclose(embeddings.tsne(np.ones((20, 4)), 30, 0), 0, atol=1e-12)

    @pytest.mark.parametrize("features", [np.full((5, 2), np.nan), np.zeros(5)])
    def test_no_features(self, features) -> None:
        with pytest.raises(DataError, match="finite"):
            embeddings.tsne(features, 30, 0)

    def test_every_row_is_the_code_of_its_image(self, packs) -> None:
        calls = []

        def features(images):
            assert images.dtype == np.uint8
            calls.append(len(images))
            return images.reshape(len(images), -1)[:, ::997].astype(np.float32)

        names, codes = embeddings.embed(features, packs[1:], AnalyseConfig(embedding_views=2), 0)
        assert [(key.name, view) for key, view in names][:4] == [
            ("car/car_0001", 0),
            ("car/car_0001", 1),
            ("car/car_0002", 0),
            ("car/car_0002", 1),
        ]
        assert sum(calls) == len(names) == len(codes) == 12
        shards = {key.name: (shard, i) for shard in map(Shard, packs[1:]) for i, key in enumerate(shard.keys)}
        for (key, view), code in zip(names, codes, strict=True):
            shard, i = shards[key.name]
            np.testing.assert_array_equal(code, features(shard.image(i, view)[None])[0])

    def test_batches_and_limits(self, packs, monkeypatch) -> None:
        monkeypatch.setattr(embeddings, "_BATCH", 4)
        sizes = []

        def features(images):
            sizes.append(len(images))
            return np.zeros((len(images), 3))

        names, codes = embeddings.embed(
            features, packs, AnalyseConfig(embedding_views=99, embedding_shapes=3), 0
        )
        assert len(names) == len(codes) == 3 * VIEWS
        assert sizes == [4, 4, 1]
        assert len({key.name for key, _ in names}) == 3

    def test_table(self, packs, tmp_path) -> None:
        rng = np.random.default_rng(0)
        table = tmp_path / "embedding_onet.csv"
        embeddings.write_embedding(
            lambda images: rng.normal(size=(len(images), 6)), packs, AnalyseConfig(), 0, table
        )
        rows = read_rows(table)
        assert list(rows[0]) == list(embeddings.COLUMNS)
        assert len(rows) == 8 * VIEWS
        assert {row["split"] for row in rows} == {"train", "val", "test"}
        assert len({(row["x"], row["y"]) for row in rows}) == len(rows)

    def test_a_corrupt_shard_is_named(self, packs, tmp_path) -> None:
        broken = tmp_path / "test-000.h5"
        shutil.copy(packs[2], broken)
        broken.write_bytes(broken.read_bytes()[:2000])
        with pytest.raises(DataError, match=r"test-000\.h5"):
            embeddings.embed(lambda images: images, [broken], AnalyseConfig(), 0)
