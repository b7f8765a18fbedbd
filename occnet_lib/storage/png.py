"""Images as PNG bytes, which is how they lie in shape files and shards; imported ones may be JPEG."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from occnet_lib.errors import DataError
from occnet_lib.records import Views


def encode(image: NDArray[np.uint8]) -> bytes:
    """PNG bytes of an (H, W, 3) uint8 sRGB image."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def decode(data: bytes) -> NDArray[np.uint8]:
    """The (H, W, 3) uint8 sRGB image of PNG or JPEG bytes; a grey one has three equal channels.

    Raises:
        DataError: the bytes are no image.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.array(image.convert("RGB"), dtype=np.uint8)
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises SyntaxError for broken PNG chunks
        raise DataError(f"{len(data)} bytes that should be an image are none") from error


@dataclass(frozen=True)
class EncodedViews:
    """`records.Views` with every image as PNG bytes."""

    images: tuple[bytes, ...]
    camera_mat: NDArray[np.float64]
    world_mat: NDArray[np.float64]
    loc: NDArray[np.float64]
    scale: float
    audit: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def encode(views: Views) -> EncodedViews:
        """Encode the images of `views`."""
        images = tuple(encode(image) for image in views.images)
        return EncodedViews(images, views.camera_mat, views.world_mat, views.loc, views.scale, views.audit)

    def decode(self) -> Views:
        """Decode the images.

        Raises:
            DataError: bytes that are no image.
        """
        images = np.stack([decode(data) for data in self.images])
        return Views(images, self.camera_mat, self.world_mat, self.loc, self.scale, self.audit)
