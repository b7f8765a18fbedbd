"""Reading of texture images."""

from __future__ import annotations

import io
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from occnet_lib.types import Texture

from .side_files import find_side_file

if TYPE_CHECKING:
    from PIL import Image

MAX_EDGE = 2048  # pixels; larger textures are reduced to it
SMALL_EDGE = 512  # for the textures of a file that has many

_BUDGET = 2**26  # pixels of all textures of a file, beyond which they are reduced further
_MAX_PIXELS = 2**27  # 0.5 GB while decoding


class ImageReader:
    """Reader of the textures of one mesh file, which reduces further textures when their total size is large."""

    def __init__(self) -> None:
        self._pixels = 0

    def read(self, source: Path | bytes) -> NDArray[np.uint8]:
        """As `read_pixels`."""
        pixels = read_pixels(source, MAX_EDGE if self._pixels < _BUDGET else SMALL_EDGE)
        self._pixels += pixels.shape[0] * pixels.shape[1]
        return pixels

    def beside(self, folder: Path, name: str) -> Texture:
        """The texture that `name` in a file of `folder` refers to (`find_side_file`); raises as `read_pixels`."""
        path = find_side_file(folder, name)
        if path is None:
            raise ValueError("no such file")
        return Texture(self.read(path))


class TextureReader(ImageReader):
    """Reader of the textures of one mesh file, each once; lines about those that cannot be read are added to `unread`."""

    def __init__(self, unread: list[str]) -> None:
        super().__init__()
        self._unread, self._textures = unread, dict[Hashable, Texture | None]()

    def texture(self, key: Hashable, name: str, load: Callable[[], Texture]) -> Texture | None:
        """The texture that `load` reads, unless one of this key was read; None if it cannot be read.

        Args:
            key: what distinguishes textures of the file.
            name: its name in messages.
            load: raises OSError or ValueError.
        """
        if key not in self._textures:
            try:
                self._textures[key] = load()
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                self._unread.append(f"texture {name}: {reason}")
                self._textures[key] = None
        return self._textures[key]


def read_pixels(source: Path | bytes, max_edge: int = MAX_EDGE) -> NDArray[np.uint8]:
    """Pixels of an image file or of its bytes; transparency is dropped.

    Args:
        source: any format that Pillow reads.
        max_edge: maximum length of the longer edge in pixels; larger images are reduced.

    Returns:
        (H, W, 3) uint8 sRGB, the first row at the top.

    Raises:
        ValueError: not an image, damaged, or too large; the message is one short line.
    """
    from PIL import Image

    try:
        with Image.open(source if isinstance(source, Path) else io.BytesIO(source)) as image:
            if image.width * image.height <= _MAX_PIXELS:
                return _reduced(image, max_edge)
            size = f"{image.width} x {image.height}"
    except Image.UnidentifiedImageError as error:
        raise ValueError("not an image of a known format") from error
    except (Image.DecompressionBombError, MemoryError) as error:
        raise ValueError("the image is too large") from error
    except Exception as error:  # decoders raise any exception for a damaged file
        raise ValueError(f"damaged: {' '.join(str(error).split()) or type(error).__name__}") from error
    raise ValueError(f"the image is too large: {size} pixels")


def _reduced(image: Image.Image, max_edge: int) -> NDArray[np.uint8]:
    from PIL import Image

    if max(image.size) > max_edge:
        image.draft(None, (2 * max_edge,) * 2)  # a JPEG is decoded at a fraction, not below this size
    rgb = image if image.mode == "RGB" else _as_rgb(image)  # no second copy of large images
    if max(rgb.size) > max_edge:
        scale = max_edge / max(rgb.size)
        width, height = (max(1, round(edge * scale)) for edge in rgb.size)
        rgb = rgb.resize((width, height), Image.Resampling.BOX)
    return np.asarray(rgb, np.uint8)


def _as_rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits, which Pillow clips at 255
        grey = np.clip(np.asarray(image, np.float32) / 257, 0, 255)
    elif image.mode == "F":
        grey = np.clip(np.nan_to_num(np.asarray(image, np.float32)) * 255, 0, 255)
    else:
        return image.convert("RGB")
    return Image.fromarray(np.round(grey).astype(np.uint8)).convert("RGB")
