"""Random damage to files, for `benchmarks/fuzz.py`."""

from __future__ import annotations

import gzip
import io
import json
import re
import struct
import zipfile
import zlib
from typing import Any

import numpy as np

from benchmarks.fuzz_seeds import Files, archive

_NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    127,
    128,
    255,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32 - 1,
    10**9,
    2**40,
    2**63,
    -1,
    -2,
    -(2**31),
)
_WORDS = (b"nan", b"inf", b"-inf", b"1e308", b"1e-320", b"1e999", b"x", b"", b"0", b"#", b"\\", b"\xff\xfe")


def mutated(files: Files, rng: np.random.Generator) -> Files:
    """One file changed, most often the mesh file; a 1 in 30 stays as it is."""
    names = list(files)
    name = names[0] if len(names) == 1 or rng.random() < 0.75 else str(rng.choice(names[1:]))
    data = files[name]
    if rng.random() < 1 / 30:
        return files
    if name.endswith(".gz") and rng.random() < 0.7:
        return {**files, name: gzip.compress(_changed(gzip.decompress(data), rng), mtime=0)}
    if name.endswith(".3mf") and rng.random() < 0.8:
        with zipfile.ZipFile(io.BytesIO(data)) as opened:
            members = {member: opened.read(member) for member in opened.namelist()}
        member = str(rng.choice(list(members)))
        return {**files, name: archive({**members, member: _changed(members[member], rng)})}
    if name.endswith(".glb") and rng.random() < 0.8:
        return {**files, name: _changed_glb(data, rng)}
    if name.endswith(".png") and rng.random() < 0.5:
        return {**files, name: _changed_png(data, rng)}
    return {**files, name: _changed(data, rng)}


def _changed(data: bytes, rng: np.random.Generator) -> bytes:
    for _ in range(int(rng.choice([1, 1, 1, 2, 5]))):
        change = (_flip, _flip, _cut, _count, _count, _count, _double, _remove, _exchange, _word)[
            rng.integers(10)
        ]
        data = change(data, rng) if data else data
    return data


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    array = np.frombuffer(data, np.uint8).copy()
    for at in rng.integers(0, len(array), int(rng.choice([1, 2, 8, 40]))):
        array[at] = rng.integers(256) if rng.random() < 0.5 else array[at] ^ (1 << rng.integers(8))
    return array.tobytes()


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(0, len(data)))]


def _count(data: bytes, rng: np.random.Generator) -> bytes:
    """Another number in the text, or another integer in the bytes."""
    value = int(_NUMBERS[rng.integers(len(_NUMBERS))])
    numbers = list(re.finditer(rb"-?\d+(?:\.\d+)?", data[:100_000]))
    if numbers and rng.random() < 0.7:
        match = numbers[rng.integers(len(numbers))]
        return data[: match.start()] + str(value).encode() + data[match.end() :]
    width = int(rng.choice([1, 2, 4, 8]))
    raw = (value % 2 ** (8 * width)).to_bytes(width, "little" if rng.random() < 0.7 else "big")
    at = int(rng.integers(0, len(data)))
    return data[:at] + raw + data[at + width :]


def _span(data: bytes, rng: np.random.Generator) -> tuple[int, int]:
    start = int(rng.integers(0, len(data)))
    return start, min(len(data), start + int(rng.choice([1, 4, 16, 100, 1000])))


def _double(data: bytes, rng: np.random.Generator) -> bytes:
    start, end = _span(data, rng)
    return data[:end] + data[start:end] * int(rng.choice([1, 1, 3, 50])) + data[end:]


def _remove(data: bytes, rng: np.random.Generator) -> bytes:
    start, end = _span(data, rng)
    return data[:start] + data[end:]


def _exchange(data: bytes, rng: np.random.Generator) -> bytes:
    """A piece over another place."""
    start, end = _span(data, rng)
    at = int(rng.integers(0, len(data)))
    return data[:at] + data[start:end] + data[at + end - start :]


def _word(data: bytes, rng: np.random.Generator) -> bytes:
    """Another word in the text."""
    words = list(re.finditer(rb"[^\s\"<>=,]+", data[:100_000]))
    if not words:
        return data
    match = words[rng.integers(len(words))]
    word = _WORDS[rng.integers(len(_WORDS))] if rng.random() < 0.7 else words[rng.integers(len(words))][0]
    return data[: match.start()] + word + data[match.end() :]


def _changed_glb(data: bytes, rng: np.random.Generator) -> bytes:
    """JSON or binary part changed, with the lengths as they are then."""
    length = struct.unpack_from("<I", data, 12)[0]
    text, binary = data[20 : 20 + length], data[28 + length :]
    if rng.random() < 0.5:
        text = _changed_json(text, rng) if rng.random() < 0.6 else _changed(text, rng)
    else:
        binary = _changed(binary, rng)
    text, binary = text + b" " * (-len(text) % 4), binary + b"\0" * (-len(binary) % 4)
    chunks = (
        struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    )
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def _changed_json(text: bytes, rng: np.random.Generator) -> bytes:
    """One value, which stays JSON: another number, another type, gone."""
    tree = json.loads(text)
    places: list[tuple[Any, Any]] = []
    stack = [tree]
    while stack:
        node = stack.pop()
        for key, value in list(node.items()) if isinstance(node, dict) else list(enumerate(node)):
            places.append((node, key))
            if isinstance(value, dict | list):
                stack.append(value)
    node, key = places[rng.integers(len(places))]
    if rng.random() < 0.2:
        del node[key]
    else:
        others: list[Any] = [
            *_NUMBERS,
            0.5,
            1e300,
            None,
            True,
            "x",
            "",
            [],
            {},
            [0],
            {"a": 1},
            [[]],
            "POSITION",
        ]
        node[key] = others[rng.integers(len(others))]
    return json.dumps(tree).encode()


def _changed_png(data: bytes, rng: np.random.Generator) -> bytes:
    """The header of an image, with the checksum as it is then."""
    header = bytearray(data[16:29])
    at = int(rng.integers(0, len(header)))
    header[at] = int(rng.integers(256))
    return data[:16] + bytes(header) + struct.pack(">I", zlib.crc32(data[12:16] + header)) + data[33:]
