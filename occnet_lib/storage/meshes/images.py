"""Reading the images of textures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image


def read_pixels(source: Path | bytes) -> NDArray[np.uint8]:
    """Pixels of an image file or of its bytes; transparency is dropped.

    Returns:
        (H, W, 3) uint8 sRGB, the first row at the top.

    Raises:
        ValueError: not an image, damaged, or larger than Pillow's limit; the message is one short line.
    """
    from PIL import Image

    try:
        with Image.open(source if isinstance(source, Path) else io.BytesIO(source)) as image:
            return _rgb(image)
    except Image.UnidentifiedImageError as error:
        raise ValueError("not an image of a known format") from error
    except (Image.DecompressionBombError, MemoryError) as error:
        raise ValueError("the image is too large") from error
    except Exception as error:  # decoders raise anything at all for a damaged file
        raise ValueError(f"damaged: {' '.join(str(error).split()) or type(error).__name__}") from error


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):  # 16 bits, which Pillow clips at 255
        grey = np.clip(np.asarray(image, np.float64) / 257, 0, 255)
    elif image.mode == "F":
        grey = np.clip(np.nan_to_num(np.asarray(image, np.float64)) * 255, 0, 255)
    else:
        return np.asarray(image.convert("RGB"), np.uint8)
    return np.repeat(np.round(grey).astype(np.uint8)[..., None], 3, axis=2)
