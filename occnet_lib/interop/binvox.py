"""Voxel grids in binvox files (Min, "binvox", 2004; ONet's model.binvox, from Choy et al. 2016).

Own code: trimesh's reader and writer take 5 and 17 times as long for 32³ voxels and location voxel centres at the corners of
the grid, which is not what binvox defines.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from occnet_lib.errors import DataError

_MAGIC = b"#binvox 1\n"
_MAX_RUN = 255  # the length of a run is one byte


def encode(voxels: NDArray[np.bool_], loc: ArrayLike, scale: float) -> bytes:
    """The content of a binvox file.

    Voxels are stored in the order x, z, y (y changes fastest) as pairs of value and run length. The header gives
    their positions: the centre of voxel i is at scale * (i + 0.5) / R + translate.

    Args:
        voxels: (R, R, R) bool, indexed [x, y, z], of the unit cube.
        loc, scale: (3,) and float, unit frame to the frame of the header.
    """
    corner = np.asarray(loc, dtype=np.float64) - scale / 2.0
    header = "dim {0} {0} {0}\ntranslate {1!r} {2!r} {3!r}\nscale {4!r}\ndata\n".format(
        len(voxels), *corner.tolist(), float(scale)
    )
    flat = voxels.transpose(0, 2, 1).reshape(-1).view(np.uint8)
    starts = np.flatnonzero(np.diff(flat, prepend=255))
    lengths = np.diff(starts, append=len(flat))
    # A run is divided into pieces of 255; the last has the remainder.
    pieces = -(-lengths // _MAX_RUN)
    counts = np.full(pieces.sum(), _MAX_RUN)
    counts[np.cumsum(pieces) - 1] = lengths - _MAX_RUN * (pieces - 1)
    pairs = np.stack([np.repeat(flat[starts], pieces), counts], axis=1).astype(np.uint8)
    return _MAGIC + header.encode() + pairs.tobytes()


def decode(data: bytes, path: Path | None = None) -> NDArray[np.bool_]:
    """(R, R, R) bool, indexed [x, y, z], from the content of a binvox file. The grid is taken to be the unit cube.

    Raises:
        DataError: not a binvox file, not cubic or truncated; `path` is that of the file.
    """
    match = re.match(rb"#binvox 1\s*\n(?:[^\n]*\n){0,8}?data\n", data)
    dims = re.search(rb"^dim (\d+) (\d+) (\d+)\s*$", data[: match.end()], re.MULTILINE) if match else None
    if match is None or dims is None:
        raise DataError("not a binvox file", path=path)
    edges = {int(edge) for edge in dims.groups()}
    if len(edges) > 1:
        raise DataError("the grid is not a cube", path=path)
    edge = edges.pop()
    pairs = np.frombuffer(data, np.uint8, offset=match.end())
    values, counts = pairs[: len(pairs) // 2 * 2].reshape(-1, 2).T
    if counts.sum(dtype=np.int64) != edge**3:
        raise DataError(f"{counts.sum(dtype=np.int64)} voxels instead of {edge}³", path=path)
    grid = np.repeat(values != 0, counts).reshape(edge, edge, edge)
    return np.ascontiguousarray(grid.transpose(0, 2, 1))
