"""Contents of compressed files, with limits on the size, so that a small file cannot exhaust memory."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

MAX_BYTES = 2**31

# Maximum compression ratio: meshes do not reach it; zeros, as in decompression bombs, reach 1000.
MAX_RATIO = 200
_FREE_BYTES = 2**26  # any ratio is valid below this size

_CHUNK = 2**20


def content(path: Path) -> bytes:
    """The bytes of a file; those of a `.gz` file are decompressed.

    Raises:
        OSError: it cannot be read.
        ValueError: a damaged `.gz` file, or a decompressed size above the limits.
    """
    data = path.read_bytes()
    return decompress(data) if path.name.lower().endswith(".gz") else data


def decompress(data: bytes) -> bytes:
    """Decompress the members of a gzip file (RFC 1952).

    Raises:
        ValueError: damaged, truncated or larger than the limits.
    """
    return b"".join(_members(data))


def _members(data: bytes) -> Iterator[bytes]:
    done, at = 0, 0
    while at < len(data):
        decoder = zlib.decompressobj(wbits=31)
        while not decoder.eof:
            piece = data[at : at + _CHUNK]
            if not piece:
                raise ValueError("the compressed file is truncated")
            try:
                part = decoder.decompress(piece, _FREE_BYTES)
            except zlib.error as error:
                raise ValueError(f"the compressed file is damaged ({error})") from error
            at += len(piece) - len(decoder.unconsumed_tail) - len(decoder.unused_data)
            done += len(part)
            _check_size(done, at)
            yield part
        while at < len(data) and data[at] == 0:  # padding, as on tapes
            at += 1


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A file of a ZIP archive.

    Raises:
        ValueError: damaged, encrypted, compressed in an unknown way, or larger than the limits.
    """
    info = archive.getinfo(name)
    parts: list[bytes] = []
    done = 0
    try:
        with archive.open(info) as stream:
            while part := stream.read(_CHUNK):
                parts.append(part)
                done += len(part)
                _check_size(done, info.compress_size)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise ValueError(f"{name} in the archive cannot be read: {error}") from error
    return b"".join(parts)


def _check_size(size: int, compressed: int) -> None:
    if size > MAX_BYTES or (size > _FREE_BYTES and size > MAX_RATIO * compressed):
        raise ValueError(f"decompresses to more than {size / 2**20:.0f} MiB, too much for a mesh file")
