"""t-SNE of embeddings."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from occnet_lib.analysis import embeddings
from occnet_lib.config import AnalyseConfig
from occnet_lib.errors import DataError
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.tables import read_rows
from tests.support.demo_results import VIEWS


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
