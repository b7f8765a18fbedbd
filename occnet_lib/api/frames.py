"""Mesh files in the unit frame: what the file states about its own frame, and what follows where it states nothing."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import Config
from occnet_lib.errors import EmptyMeshError, MeshError
from occnet_lib.types import Mesh

if TYPE_CHECKING:
    from occnet_lib.storage.meshes import MeshFrame

logger = logging.getLogger(__name__)
# Where a mesh in the unit frame ends: closing thickens it, at 32 samples by a tenth, or loses small parts.
_MOST_EXTENT, _LEAST_EDGE = 0.75, 0.05
FRAME_MISMATCH = 0.5  # between the ends of two meshes' boxes, in longest edges of the true one


class UnitMesh(NamedTuple):
    """A mesh file in the unit frame.

    Attributes:
        mesh: unit frame.
        loc, scale: (3,) and float; `x_source = scale * x_unit + loc`, the source frame being y-up.
        frame: what the file says about its frame; None where it says nothing: its own box is the unit cube then.
    """

    mesh: Mesh
    loc: NDArray[np.float64]
    scale: float
    frame: MeshFrame | None

    def describe(self, config: Config) -> str:
        """Which frame was taken, for the line that a command prints."""
        if self.frame is None:
            why = "dataset.up" if self.mesh.up == config.dataset.up else "as the file says"
            return f"frame: its own bounding box, {self.mesh.up} up ({why})"
        return f"frame: {self.frame.frame}, {self.frame.up} up, as the file says"


def unit_mesh(path: Path, config: Config) -> UnitMesh:
    """Read a mesh file and bring it into the unit frame: that of the raw mesh, where the file says it (`meshes.frame`).

    Raises:
        MeshError: as `load_mesh`; the frame that the file says does not fit its vertices.
    """
    from occnet_lib.geometry.normalise import unit_cube
    from occnet_lib.storage.meshes import load_mesh, read_frame

    mesh, frame = load_mesh(path, config.dataset.up), read_frame(path)
    if frame is None:
        return UnitMesh(*unit_cube(mesh), None)
    if frame.frame == "source" and frame.up != config.dataset.up:
        text = (
            "%s is %s up, as it says itself, not %s (dataset.up): views agree if its raw mesh is read so, too"
        )
        logger.warning(text, path, frame.up, config.dataset.up)
    loc, scale = np.array(frame.loc), frame.scale
    if frame.frame == "source":
        mesh = mesh.to_unit(loc, scale)
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    far = max(-low.min(), high.max()) > _MOST_EXTENT or (high - low).max() < _LEAST_EDGE
    if frame.frame != "camera" and far:
        hint = f"was it changed since? remove `{frame.text()}` from it, and its own bounding box counts"
        raise MeshError("its vertices are not where its header says they are", path=path, hint=hint)
    return UnitMesh(replace(mesh, up="y"), loc, scale, frame)


def solid_mesh(path: Path, config: Config) -> UnitMesh:
    """As `unit_mesh`, of a mesh that must be closed; one whose faces point inward is turned, with a warning.

    Raises:
        MeshError: it is not closed.
    """
    return solid_unit_mesh(unit_mesh(path, config), path)


def solid_unit_mesh(unit: UnitMesh, source: Path | str) -> UnitMesh:
    """As `solid_mesh`, of a mesh that was read already; `source` names it in messages."""
    from occnet_lib.geometry.orientation import orient_outward

    solid = orient_outward(unit.mesh)
    if solid.defect:
        command = f"run `occnet watertight {source} -o …` first"
        hint = command if isinstance(source, Path) else "close it with `watertight` first"
        raise MeshError(solid.note, path=source, hint=hint)
    if solid.note:
        logger.warning("%s %s", source, solid.note)
    return unit._replace(mesh=solid.mesh)


def prediction_mesh(path: Path, truth: UnitMesh, config: Config) -> Mesh | None:
    """The predicted mesh in the unit frame of the truth; None where it has no surface.

    Where both files say their frames, these count; a prediction that says the unit frame is in it, whatever the truth
    says. Else the prediction is in the same frame as the truth.
    """
    from occnet_lib.storage.meshes import load_mesh, read_frame

    own = read_frame(path)
    if own and own.frame == "camera":
        logger.warning("%s is in the camera's frame, in which no true mesh is", path)
    try:
        if own and (truth.frame or own.frame == "unit"):
            return unit_mesh(path, config).mesh
        mesh = load_mesh(path, truth.frame.up if truth.frame else config.dataset.up)
    except EmptyMeshError as error:
        logger.debug("%s", error)
        return None
    in_unit = truth.frame is not None and truth.frame.frame == "unit"
    return mesh if in_unit else mesh.to_unit(truth.loc, truth.scale)


def warn_if_apart(name: str, predicted: Mesh, true_name: str, truth: Mesh) -> None:
    """Warn of a prediction and a ground truth whose bounding boxes differ by more than two frames of one shape do."""
    one, two = (
        np.stack([mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)]) for mesh in (predicted, truth)
    )
    if np.abs(one - two).max() > FRAME_MISMATCH:
        text = "%s and %s seem to be in different frames: one's box ends more than half of its size from the other's "
        hint = "(`occnet watertight --frame unit` gives the one of predictions)"
        logger.warning(text + hint, name, true_name)
