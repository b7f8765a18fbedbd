"""Materials of OBJ files (MTL)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from occnet_lib.types import Texture, Wrap

from .images import ImageReader
from .side_files import joined_lines, split_map_options


@dataclass(frozen=True)
class TextureMap:
    """A `map_Kd` statement.

    Attributes:
        folder: that of the MTL file.
        name: of the image file, as in the material.
        scale, offset: texture coordinates are `scale * uv + offset` (v upwards).
        base, gain: a pixel in [0, 1] becomes `base + gain * pixel`.
        clamp: whether the image is not repeated outside [0, 1].
    """

    folder: Path
    name: str
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    base: float = 0.0
    gain: float = 1.0
    clamp: bool = False


@dataclass(frozen=True)
class Material:
    """The diffuse part of a material.

    Attributes:
        color: (3,) float32 sRGB in [0, 1], or None.
        texture: its `map_Kd`, or None.
        unread: an unsupported statement among them, or "".
    """

    color: NDArray[np.float32] | None = None
    texture: TextureMap | None = None
    unread: str = ""


def parse_mtl(data: bytes, folder: Path) -> dict[bytes, Material]:
    """Materials of an MTL file in `folder` by name.

    `d`, `Tr` and `map_d` (opacity) are not used: every face is opaque.
    """
    materials: dict[bytes, Material] = {}
    name: bytes | None = None
    for line in re.split(rb"[\r\n]+", joined_lines(data)):
        keyword, _, rest = line.strip().replace(b"\t", b" ").partition(b" ")
        rest = rest.strip()
        word = keyword.lower()
        if word == b"newmtl":
            name = rest
            materials[name] = Material()
        elif name is not None and word in (b"kd", b"map_kd") and rest:
            materials[name] = _with_statement(materials[name], word, os.fsdecode(rest), folder)
    return materials


def _with_statement(material: Material, word: bytes, text: str, folder: Path) -> Material:
    try:
        if word == b"kd":
            return replace(material, color=_color(text))
        return replace(material, texture=parse_map(text, folder))
    except ValueError:
        return replace(material, unread=f"{'Kd' if word == b'kd' else 'map_Kd'} {text} is not supported")


def parse_map(text: str, folder: Path) -> TextureMap:
    """Parse the arguments of `map_Kd`: options, then a file name.

    Raises:
        ValueError: an option without its numbers.
    """
    options, name = split_map_options(text)
    scale = [*map(float, options.get("-s", [])), 1.0, 1.0]
    offset = [*map(float, options.get("-o", [])), 0.0, 0.0]
    base, gain = map(float, options.get("-mm", ["0", "1"]))
    clamp = options.get("-clamp") == ["on"]
    return TextureMap(folder, name, (scale[0], scale[1]), (offset[0], offset[1]), base, gain, clamp)


def load_texture(of: TextureMap, images: ImageReader) -> Texture:
    """The image of a material.

    Raises:
        ValueError: it does not exist or cannot be read.
    """
    pixels = images.beside(of.folder, of.name).pixels
    if (of.base, of.gain) != (0.0, 1.0):
        values = 255 * of.base + of.gain * np.arange(256)
        pixels = np.clip(np.round(values), 0, 255).astype(np.uint8)[pixels]
    wrap: Wrap = "clamp" if of.clamp else "repeat"
    return Texture(pixels, (wrap, wrap))


def _color(text: str) -> NDArray[np.float32]:
    """Colour of a `Kd` statement.

    Raises:
        ValueError: a spectral curve, CIE XYZ or a malformed number.
    """
    words = text.split()[:3]
    values = np.array([float(word) for word in words] * (3 if len(words) == 1 else 1), np.float32)
    if len(values) != 3 or not np.isfinite(values).all():
        raise ValueError(text)
    if values.max() > 1 and (values == np.round(values)).all():
        values = values / np.float32(255)  # some programs write bytes
    return np.asarray(np.clip(values, 0, 1), np.float32)
