"""Network files."""

from __future__ import annotations

import pytest
import torch

from occnet_lib.config import ModelConfig
from occnet_lib.errors import DataError
from occnet_lib.networks.checkpoint import load_network, network_file, save_network
from occnet_lib.networks.occupancy_network import OccupancyNetwork
from tests.support.random_networks import shaken

SMALL = ModelConfig(hidden=16, c_dim=8, blocks=2)


def test_a_network_survives_its_file(tmp_path):
    network = OccupancyNetwork(SMALL).eval()
    shaken(network.decoder)  # the encoder's numbers would overflow
    path = tmp_path / "best.ckpt"
    options = {"model": SMALL.model_dump(), "train": {"image_size": 64}, "step": 3}
    save_network(path, network_file(network.state_dict(), options))
    torch.load(path, weights_only=True)
    loaded, read = load_network(path)
    assert read == options
    assert not loaded.training
    images, points = torch.rand(1, 3, 32, 32), torch.rand(1, 7, 3)
    torch.testing.assert_close(loaded(images, points), network(images, points), rtol=0, atol=0)


def test_broken_network_files_are_one_line_errors(tmp_path):
    path = tmp_path / "best.ckpt"
    with pytest.raises(DataError, match="no such file"):
        load_network(path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(DataError, match="not readable"):
        load_network(path)
    torch.save([1, 2], path)
    with pytest.raises(DataError, match="not a checkpoint"):
        load_network(path)
    torch.save({"model": {}}, path)
    with pytest.raises(DataError, match="not a network written by occnet"):
        load_network(path)
    content = network_file(OccupancyNetwork(SMALL).state_dict(), {"model": SMALL.model_dump()})
    torch.save(content | {"version": 99}, path)
    with pytest.raises(DataError, match="version 99"):
        load_network(path)
    torch.save(content | {"options": {"model": SMALL.model_dump() | {"hidden": 17}}}, path)
    with pytest.raises(DataError, match="do not match"):
        load_network(path)
    del content["state_dict"]["decoder.fc_p.bias"]
    torch.save(content, path)
    with pytest.raises(DataError, match="do not match"):
        load_network(path)


def test_a_folder_in_place_of_a_checkpoint_names_the_file(tmp_path):
    with pytest.raises(DataError, match=r"is a folder \(give the file in it, such as best.ckpt\)"):
        load_network(tmp_path)
