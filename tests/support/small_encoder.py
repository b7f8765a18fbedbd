"""Encoders of 6 thousand weights in place of ResNet-18's 11 million, for tests of what is around them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from torch import nn

from occnet_lib.networks import encoders


def backbone(name: str, pretrained: bool) -> tuple[nn.Module, int]:
    """As `encoders._backbone`, but small; in place of an EfficientNet, which drops layers at random, it drops channels."""
    chance = 0.0 if name.startswith("resnet") else 0.2

    def layer(channels: int, more: int) -> list[nn.Module]:
        return [
            nn.Conv2d(channels, more, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(more),
            nn.ReLU(),
        ]

    layers = [*layer(3, 8), *layer(8, 16), *layer(16, 32)]
    return nn.Sequential(*layers, nn.Dropout2d(chance), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 32


@contextmanager
def small_encoder() -> Iterator[None]:
    """Encoders that this process builds are small meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoders, "_backbone", backbone)
        yield
