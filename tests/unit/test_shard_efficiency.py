"""The benchmark of parallel shards: the busiest worker, and efficiency from CPU seconds."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import preprocess
from benchmarks.preprocess import ShardRun


@pytest.mark.parametrize(("workers", "busiest"), [(1, 6.0), (2, 5.0), (3, 4.0), (9, 4.0)])
def test_each_shape_goes_to_the_worker_that_is_free_first(workers, busiest):
    assert preprocess.busiest_worker(np.array([1.0, 1.0, 3.0]), workers, 1.0) == busiest


def test_efficiency_counts_starts_slower_shapes_and_the_wait_for_the_last(tmp_path, monkeypatch, capsys):
    def run_shard(keys, root, place, workers):
        seconds = np.full(4, 1.0 if workers == 1 else 1.25)  # slower beside another one
        return ShardRun(9.0, seconds.sum() + 0.5 * workers, seconds, 0.5 * workers, 0.25)

    monkeypatch.setattr(preprocess, "run_shard", run_shard)
    preprocess.shard([tmp_path / "a" / f"{i}.obj" for i in range(4)], [1, 2], tmp_path, 2)
    one, two = capsys.readouterr().out.splitlines()
    assert "4.5 CPU s, of which shapes 4.0 (mean 1.00, median 1.00), start 0.5 each" in one
    assert "efficiency 100%" in one
    # 4.5 / (2 · (0.5 + 2 · 1.25)), and 64.5 / (2 · (0.5 + 32 · 1.25))
    assert "busiest worker 3.0; efficiency 75%, of 64 shapes 80%;" in two
