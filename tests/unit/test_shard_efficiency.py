"""The benchmark of parallel shards: the busiest worker, and efficiency from CPU seconds."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import parallel
from benchmarks.parallel import ShardRun


@pytest.mark.parametrize(("workers", "busiest"), [(1, 6.0), (2, 5.0), (3, 4.0), (9, 4.0)])
def test_each_shape_goes_to_the_worker_that_is_free_first(workers, busiest):
    assert parallel.busiest_worker(np.array([1.0, 1.0, 3.0]), workers, 1.0) == busiest


def test_efficiency_counts_starts_libraries_slower_shapes_and_the_wait_for_the_last(
    tmp_path, monkeypatch, capsys
):
    def run_shard(keys, root, place, workers):
        seconds = np.full(4, 1.0 if workers == 1 else 1.25)  # slower beside another one
        seconds[:workers] += 0.75  # libraries
        return ShardRun(9.0, seconds.sum() + 0.5 * workers, seconds, 0.5 * workers, 0.25)

    monkeypatch.setattr(parallel, "run_shard", run_shard)
    parallel.shard([tmp_path / "a" / f"{i}.obj" for i in range(4)], [1, 2], tmp_path, 2)
    one, two, full = capsys.readouterr().out.splitlines()
    assert "5.2 CPU s, of which shapes 4.8 (mean 1.19, median 1.00), start 0.5 each" in one
    assert "efficiency 100%" in one
    assert "busiest worker 3.8; efficiency 70%" in two  # 5.25 / (2 · (0.5 + 0.75 + 2 · 1.25))
    # Of a worker's first shape, the 0.25 more cannot be separated from the libraries.
    assert "1.25 times its CPU s; libraries 1.0 CPU s" in full
    assert "of 64 shapes 79%" in full  # (0.5 + 1 + 64) / (2 · (0.5 + 1 + 32 · 1.25))
