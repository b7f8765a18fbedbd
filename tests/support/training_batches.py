"""Batches for the tests of training."""

from __future__ import annotations

from occnet_lib.networks.images import encoder_input


def first_batches(loader, count: int) -> list:
    return [batch for _, batch in zip(range(count), loader, strict=False)]


def inputs(batch, size: int):
    return encoder_input(batch.images, size), batch.points.float()
