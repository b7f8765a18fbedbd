"""A small network that needs no training: its field is nearly a ball whose shape depends on the image."""

from __future__ import annotations

from pathlib import Path

import torch

from occnet_lib.config import ModelConfig
from occnet_lib.networks.checkpoint import network_file, save_network
from occnet_lib.networks.occupancy_network import OccupancyNetwork

MODEL = ModelConfig(encoder="resnet10", decoder="fc", hidden=32, c_dim=8, blocks=1)


def write_checkpoint(path: Path, seed: int = 0, **options: object) -> Path:
    """Write best.ckpt of a network whose logits are size - 30 · mean |direction · p| + a term of image and point."""
    torch.manual_seed(seed)
    network = OccupancyNetwork(MODEL, pretrained=False)
    with torch.no_grad():
        half = torch.nn.functional.normalize(torch.randn(16, 3), dim=1)
        network.decoder.fc_p.weight.copy_(torch.cat([half, -half]))
        network.decoder.fc_p.bias.zero_()
        for block in network.decoder.blocks:
            block.fc_c.weight.normal_(0.0, 0.03)
            block.fc_c.bias.zero_()
            block.fc_1.bias.zero_()
        network.decoder.fc_out.weight.fill_(-30 / 16)
        network.decoder.fc_out.bias.fill_(5.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    described = {"model": MODEL.model_dump(mode="json"), "train": {"image_size": 32}, "val_threshold": 0.35}
    save_network(path, network_file(network.eval().state_dict(), described | options))
    return path
