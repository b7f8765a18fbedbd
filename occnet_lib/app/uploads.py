"""Limits and names of uploaded photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from occnet_lib.errors import ImageError

MOST_PHOTOS = 12
"""Photos of one object."""
MOST_BYTES = 40_000_000
"""Bytes of one photo."""
_LONGEST_NAME = 200  # bytes; file systems allow 255, and meshes have other suffixes


def photo_name(name: str) -> str:
    """The name of an uploaded file without folders, control characters and excess length.

    The stem is kept where possible, because the refinement's random numbers depend on it as on the command line.
    """
    last = PurePosixPath(name.replace("\\", "/")).name
    clean = "".join(c for c in last if c.isprintable()).encode("utf-8", "ignore")
    if len(clean) > _LONGEST_NAME:
        stem, dot, suffix = clean.rpartition(b".")
        end = dot + suffix if stem and len(suffix) < 8 else b""
        clean = clean[: _LONGEST_NAME - len(end)] + end
    text = clean.decode("utf-8", "ignore").strip()
    return text if text.strip(".") else "photo"


def check_uploads(sizes: Sequence[int]) -> None:
    """Refuse too many photos of one object, or too large a file.

    Args:
        sizes: bytes of each file.

    Raises:
        ImageError: a limit is exceeded.
    """
    if len(sizes) > MOST_PHOTOS:
        raise ImageError(
            f"{len(sizes)} photos of one object, more than {MOST_PHOTOS}",
            hint="remove some; the command line has no limit",
        )
    if sizes and max(sizes) > MOST_BYTES:
        raise ImageError(
            f"a file has {max(sizes) / 1e6:.0f} MB, more than {MOST_BYTES / 1e6:.0f}", hint="save it smaller"
        )
