"""A results folder with two small networks, and photos drawn here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.support.image_network import write_checkpoint


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("app") / "results"
    write_checkpoint(folder / "train/onet/best.ckpt")
    write_checkpoint(folder / "train/small/best.ckpt", seed=1)
    return folder


def scene(plain: bool = True, shift: int = 0) -> Image.Image:
    """400 x 300 pixels: a red table with a hole below it, before a plain or a chequered background."""
    image = Image.new("RGB", (400, 300), (225, 228, 235))
    draw = ImageDraw.Draw(image)
    if not plain:
        board = np.indices((300, 400)).sum(axis=0) // 25 % 2
        image.paste(Image.fromarray((60 + 150 * board).astype(np.uint8)))
    draw.rectangle((110 + shift, 90, 290, 120), fill=(170, 40, 30))
    draw.rectangle((110 + shift, 121, 130 + shift, 220), fill=(120, 30, 20))
    draw.rectangle((270, 121, 290, 220), fill=(140, 35, 25))
    return image


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """plain.png and side.jpg are accepted, chequered.png is refused."""
    folder = tmp_path_factory.mktemp("photos")
    scene().save(folder / "plain.png")
    scene(shift=40).save(folder / "side.jpg", quality=92)
    scene(plain=False).save(folder / "chequered.png")
    return folder
