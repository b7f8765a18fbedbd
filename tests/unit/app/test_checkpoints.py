"""Which networks the page offers."""

from __future__ import annotations

import pytest

from occnet_lib.app.checkpoints import Networks, find_checkpoints
from occnet_lib.config import ReconstructConfig
from occnet_lib.errors import DataError
from tests.support.small_encoder import small_encoder


def test_a_results_folder_a_run_and_a_file(results, tmp_path, monkeypatch):
    files = {name: results / f"train/{name}/best.ckpt" for name in ("onet", "small")}
    assert find_checkpoints(results) == find_checkpoints(results / "train") == files
    assert find_checkpoints(results / "train/small") == {"small": files["small"]}
    assert find_checkpoints(files["onet"]) == {"onet": files["onet"]}
    monkeypatch.chdir(results / "train/onet")
    assert list(find_checkpoints(".")) == list(find_checkpoints("best.ckpt")) == ["onet"]
    with pytest.raises(DataError, match="has no trained network"):
        find_checkpoints(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        find_checkpoints(tmp_path / "none")


def test_networks_are_loaded_once_and_unknown_ones_refused(results):
    networks, config = Networks(find_checkpoints(results)), ReconstructConfig()
    first = networks.load("onet", config)
    assert networks.load("small", config) is not first
    assert networks.load("onet", config) is first
    assert networks.load("onet", ReconstructConfig(threshold=0.5)).threshold == 0.5
    with pytest.raises(DataError, match=r"no model '\.\./x' \(choose one of onet, small\)"):
        networks.load("../x", config)


def test_a_broken_checkpoint_is_one_line(tmp_path):
    with small_encoder():
        (tmp_path / "best.ckpt").write_bytes(b"PK\x03\x04 not a checkpoint")
        with pytest.raises(DataError, match="not readable as a checkpoint"):
            Networks(find_checkpoints(tmp_path)).load(tmp_path.name, ReconstructConfig())
