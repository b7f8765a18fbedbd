"""The frame of a mesh file, written into the file, so that later commands do not have to guess it.

A file in the source frame has the axes, scale and position of the raw mesh; one in the unit frame is y-up. A reader cannot
distinguish them, so the frame is written as a comment in PLY, OBJ and OFF, in the header of STL, and under `asset.extras`
in GLB. The text is `occnet <frame> <up> <loc x> <loc y> <loc z> <scale>`.
"""

from __future__ import annotations

import json
import math
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from occnet_lib.errors import MeshError

Up = Literal["x", "y", "z"]
Frame = Literal["source", "unit", "camera"]

# Rotations that turn the up axis to +y.
TURNS = {
    "x": np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
    "y": np.eye(3),
    "z": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]]),
}

_HEAD = 4096  # bytes in which a text file has its comment
_STL_HEADER = 80
_TEXT = re.compile(rb"\boccnet (%s)((?: [^\s\"]+)+)" % "|".join(get_args(Frame)).encode())
_RECONSTRUCTION = b"comment occnet: closed, outward, unit cube frame, +y up\n"  # of version 0.1


@dataclass(frozen=True)
class MeshFrame:
    """The frame of the vertices of a mesh file.

    Attributes:
        frame: source: axes, scale and position of the raw mesh; unit: the unit cube; camera: the camera frame.
        up: the up axis of the file's vertices; y in the unit and the camera frame.
        loc, scale: of the raw mesh after its up axis was turned to +y: `x_source = scale * x_unit + loc`. In every
            frame those of the source.
    """

    frame: Frame
    up: Up = "y"
    loc: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0

    def text(self, most: int = 0) -> str:
        """One line of at most `most` characters (0: unlimited)."""
        numbers = [float(number) for number in (*self.loc, self.scale)]
        exact, short = (
            " ".join(["occnet", self.frame, self.up, *words])
            for words in (map(repr, numbers), (f"{number:.9g}" for number in numbers))
        )
        return short if most and len(exact) > most else exact


def marked(data: bytes, suffix: str, frame: MeshFrame) -> bytes:
    """The bytes of a mesh file (`.ply`, `.obj`, `.off`, `.stl`, `.glb`) with the frame in it."""
    if suffix == ".stl":
        text = frame.text(_STL_HEADER).encode()
        return text.ljust(_STL_HEADER) + data[_STL_HEADER:]  # vertices are float32: nine digits are exact
    if suffix == ".glb":
        return _marked_glb(data, frame)
    first, line_end, rest = data.partition(b"\n")
    text = frame.text().encode()
    if suffix == ".obj":
        return b"# " + text + b"\n" + data
    if suffix == ".off":
        return first + line_end + b"# " + text + b"\n" + rest
    kind, _, rest = rest.partition(b"\n")  # of PLY: `ply`, `format …`
    return first + line_end + kind + b"\ncomment " + text + b"\n" + rest


def read_frame(path: str | Path) -> MeshFrame | None:
    """The frame that is written in a mesh file; None if there is none.

    Raises:
        MeshError: the frame is invalid.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            if head[:4] == b"glTF" and len(head) >= 20:
                head += file.read(max(0, struct.unpack_from("<I", head, 12)[0] + 20 - _HEAD))
        if head[:2] == b"\x1f\x8b":
            head = zlib.decompressobj(wbits=31).decompress(head, _HEAD)
    except (OSError, MemoryError, OverflowError, zlib.error):  # the readers report the error
        return None
    if head[:3] == b"ply":
        head = head.partition(b"end_header")[0]
    if _RECONSTRUCTION in head:
        return MeshFrame("unit")
    match = _TEXT.search(head)
    return None if match is None else _parsed(match[0].decode("latin-1"), path)


def _parsed(text: str, path: Path) -> MeshFrame:
    _, frame, up, *rest = text.split()
    try:
        x, y, z, scale = map(float, rest)
    except ValueError:
        x = y = z = scale = math.nan
    if up not in get_args(Up) or not all(map(math.isfinite, (x, y, z))) or not 0 < scale < math.inf:
        message = f"invalid frame in its header: {text}"
        raise MeshError(message, path=path, hint="remove that comment to use its bounding box")
    return MeshFrame(frame, up, (x, y, z), scale)  # type: ignore[arg-type]  # one of the literals


def _marked_glb(data: bytes, frame: MeshFrame) -> bytes:
    """Write the frame under `asset.extras` of the JSON part, which is padded to four bytes."""
    length = struct.unpack_from("<I", data, 12)[0]
    tree: dict[str, Any] = json.loads(data[20 : 20 + length])
    tree.setdefault("asset", {}).setdefault("extras", {})["frame"] = frame.text()
    text = json.dumps(tree, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    rest = data[20 + length :]
    header = struct.pack("<4sII", b"glTF", 2, 20 + len(text) + len(rest))
    return header + struct.pack("<I4s", len(text), b"JSON") + text + rest
