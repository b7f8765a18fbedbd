"""Resampling of images."""

from __future__ import annotations

import numpy as np
import torch

from occnet_lib.networks import images
from occnet_lib.networks.images import encoder_input


def test_encoder_input_scales_and_resizes():
    images = torch.randint(0, 256, (2, 50, 70, 3), dtype=torch.uint8)
    plain = encoder_input(images[:, :, :50], 50)
    torch.testing.assert_close(plain, images[:, :, :50].permute(0, 3, 1, 2).float() / 255)
    resized = encoder_input(images, 25)
    assert resized.shape == (2, 3, 25, 25)
    assert resized.is_contiguous(memory_format=torch.channels_last)
    flat = encoder_input(torch.full((1, 137, 137, 3), 51, dtype=torch.uint8), 64)
    torch.testing.assert_close(flat, torch.full((1, 3, 64, 64), 0.2))


def test_encoder_input_is_pillows_resize():
    from PIL import Image

    rng = np.random.default_rng(0)
    image = np.kron(rng.integers(0, 256, (14, 14, 3)), np.ones((10, 10, 1))).astype(np.uint8)[:137, :137]
    for size in (64, 224):
        expected = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)) / 255
        ours = encoder_input(torch.from_numpy(image.copy())[None], size)[0].permute(1, 2, 0).numpy()
        np.testing.assert_allclose(ours, expected, atol=1.01 / 255)


def test_resizing_in_8_bits_is_that_in_floats_but_for_rounding(monkeypatch):
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8))
    for size in (24, 56):
        rounded = encoder_input(pixels, size)
        with monkeypatch.context() as patch:
            patch.setattr(images, "_in_8_bits", lambda pixels: False)
            exact = encoder_input(pixels, size)
        assert not torch.equal(rounded, exact)
        torch.testing.assert_close(rounded, exact, atol=1.01 / 255, rtol=0)
