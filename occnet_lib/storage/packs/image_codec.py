"""Images as PNG bytes, as shape and pack files store them; imported ones may be JPEG."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from occnet_lib.errors import DataError
from occnet_lib.types import Views

# Names of the optional images of a view (types.Views.extra) and of their datasets.
EXTRA = {"depth": "depth", "mask": "mask", "normals": "normal_maps"}


def encode(image: NDArray[np.uint8]) -> bytes:
    """PNG bytes of an (H, W, 3) uint8 sRGB image, with a palette if it has at most 256 colours, as most have."""
    packed = image.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    colours, indices = np.unique(packed, return_inverse=True)
    if len(colours) > 256:
        return file_bytes(image)
    paletted = Image.fromarray(indices.reshape(packed.shape).astype(np.uint8))
    rgb = np.stack([colours >> 16, (colours >> 8) & 255, colours & 255], axis=1)
    paletted.putpalette(rgb.astype(np.uint8).tobytes())
    return file_bytes(paletted)


def file_bytes(image: Image.Image | NDArray[Any], kind: str = "PNG", **options: Any) -> bytes:
    """The content of an image file of this kind; `options` are those of Pillow's writer."""
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def decode(data: bytes) -> NDArray[np.uint8]:
    """The (H, W, 3) uint8 sRGB image of PNG or JPEG bytes; a grey one has three equal channels.

    Raises:
        DataError: the bytes are not an image.
    """
    with _reading(data) as image:
        return np.array(image.convert("RGB"), dtype=np.uint8)


def size(data: bytes) -> tuple[int, int]:
    """Width and height of PNG or JPEG bytes, without decoding them; raises as `decode`."""
    with _reading(data) as image:
        return image.size


def encode_extra(image: NDArray[Any]) -> bytes:
    """PNG bytes of an (H, W) uint16, (H, W) uint8 or (H, W, 3) uint8 array, lossless."""
    return encode(image) if image.ndim == 3 else file_bytes(image)


def decode_extra(data: bytes) -> NDArray[Any]:
    """The inverse of `encode_extra`; raises as `decode`."""
    with _reading(data) as image:
        if image.mode == "L":
            return np.array(image, dtype=np.uint8)
        if image.mode.startswith("I"):  # 16 bits
            return np.array(image).astype(np.uint16)
        return np.array(image.convert("RGB"), dtype=np.uint8)


@contextlib.contextmanager
def _reading(data: bytes) -> Iterator[Image.Image]:
    try:
        with Image.open(io.BytesIO(data)) as image:
            yield image
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises SyntaxError for broken PNG chunks
        raise DataError(f"{len(data)} bytes are not a readable image") from error


@dataclass(frozen=True)
class EncodedViews:
    """`types.Views` with images, depth, mask and normal maps as PNG bytes."""

    images: tuple[bytes, ...]
    camera_mat: NDArray[np.float64]
    world_mat: NDArray[np.float64]
    loc: NDArray[np.float64]
    scale: float
    audit: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, tuple[bytes, ...]] = field(default_factory=dict)

    @staticmethod
    def encode(views: Views) -> EncodedViews:
        """Encode the images of `views`."""
        images = tuple(encode(image) for image in views.images)
        extra = {word: tuple(encode_extra(image) for image in views.extra[word]) for word in views.extra}
        return EncodedViews(
            images, views.camera_mat, views.world_mat, views.loc, views.scale, views.audit, extra
        )
