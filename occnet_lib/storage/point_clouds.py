"""Points at which a network was queried, as PLY files: occupancy probability, ground truth, and colours of the error."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import DataError
from occnet_lib.storage.atomic import write_bytes

from .meshes.frame import MeshFrame
from .meshes.ply_elements import Lists, read_elements

OUTCOMES = {
    "true negative": (0.78, 0.78, 0.78),
    "true positive": (0.0, 0.62, 0.45),
    "false positive": (0.84, 0.37, 0.0),
    "false negative": (0.0, 0.45, 0.70),
}
"""Outcomes by number, predicted + 2 * (predicted differs from the ground truth) as in `QueriedPoints.outcomes`, and their
sRGB colours (Okabe and Ito 2008, distinguishable by all kinds of colour vision)."""

_VERTEX = np.dtype(
    [(name, "<f4") for name in ("x", "y", "z")]
    + [(name, "u1") for name in ("red", "green", "blue")]
    + [("probability", "<f4"), ("predicted", "u1"), ("occupied", "u1")]
)
_NAMES = {"<f4": "float", "|u1": "uchar"}


class QueriedPoints(NamedTuple):
    """Points of the unit frame at which a network was queried.

    Attributes:
        points: (N, 3) float32.
        probability: (N,) float32 occupancy probability.
        predicted: (N,) bool, whether it is above the network's threshold.
        occupied: (N,) bool, of the ground truth.
    """

    points: NDArray[np.float32]
    probability: NDArray[np.float32]
    predicted: NDArray[np.bool_]
    occupied: NDArray[np.bool_]

    @property
    def outcomes(self) -> NDArray[np.uint8]:
        """(N,) numbers of `OUTCOMES`: 0 true negative, 1 true positive, 2 false positive, 3 false negative."""
        wrong = self.predicted != self.occupied
        return np.where(wrong, np.where(self.predicted, 2, 3), self.predicted).astype(np.uint8)

    def counts(self) -> dict[str, int]:
        """Number of points of each of `OUTCOMES`."""
        return dict(zip(OUTCOMES, np.bincount(self.outcomes, minlength=4).tolist(), strict=True))


def write_points(cloud: QueriedPoints, path: Path, frame: MeshFrame) -> None:
    """Write a binary PLY: x, y, z, the colour of the outcome, probability, predicted, occupied; atomically.

    Args:
        cloud: points of the unit frame.
        path: file to write.
        frame: written into the file as in meshes.
    """
    vertices = np.zeros(len(cloud.points), _VERTEX)
    for axis, name in enumerate("xyz"):
        vertices[name] = cloud.points[:, axis]
    palette = np.round(255 * np.array(list(OUTCOMES.values()))).astype(np.uint8)
    for channel, name in enumerate(("red", "green", "blue")):
        vertices[name] = palette[cloud.outcomes, channel]
    vertices["probability"] = cloud.probability
    vertices["predicted"], vertices["occupied"] = cloud.predicted, cloud.occupied
    properties = [f"property {_NAMES[_VERTEX[name].str]} {name}" for name in _VERTEX.names or ()]
    header = ["ply", "format binary_little_endian 1.0", f"comment {frame.text()}"]
    header += [f"element vertex {len(vertices)}", *properties, "end_header", ""]
    write_bytes(path, "\n".join(header).encode() + vertices.tobytes())


def read_points(path: Path) -> QueriedPoints:
    """Read a file of `write_points`.

    Raises:
        DataError: the file is missing, damaged, or of something else.
    """
    try:
        vertex = read_elements(path.read_bytes())[0]["vertex"]
        columns = {name: vertex[name] for name in _VERTEX.names or ()}
    except (OSError, ValueError, KeyError) as error:
        hint = "delete it and run analyse again"
        raise DataError(f"not a file of queried points: {error}", path=path, hint=hint) from None
    arrays = {name: np.asarray(column) for name, column in columns.items() if not isinstance(column, Lists)}
    if len(arrays) < len(columns):
        raise DataError("not a file of queried points: a column is a list", path=path)
    points = np.stack([arrays[axis] for axis in "xyz"], axis=1).astype(np.float32)
    flags = (arrays[name].astype(bool) for name in ("predicted", "occupied"))
    return QueriedPoints(points, arrays["probability"].astype(np.float32), *flags)
