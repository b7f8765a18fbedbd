"""Field to closed mesh: MISE, marching cubes, simplification, refinement."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import ReconstructConfig
from occnet_lib.errors import ConfigError, MeshError
from occnet_lib.geometry.simplify import simplify, simplify_within
from occnet_lib.storage.meshes import MeshFrame, save_mesh
from occnet_lib.types import Mesh, Status

from . import extract
from .mise import MiseResult, OccupancyFn, mise
from .refine import refine
from .refinement import defects, refined

if TYPE_CHECKING:
    from occnet_lib.geometry.agreement import Agreement
    from occnet_lib.storage.iou_calibration import ExpectedIou

    from .refine import FieldWithGradient, Refined
    from .refinement import FaceNormals

logger = logging.getLogger(__name__)
CUBE_EDGE = 1.1  # edge of MISE's cube, which holds the training points (ONet: 1 + padding)
_MANY_FACES = 1.25  # times `simplify.faces`, above which a mesh becomes `warn`
ROTATED_CUBE_EDGE = CUBE_EDGE * 3**0.5  # edge of the cube that holds the same cube in any rotation


@dataclass(frozen=True)
class Reconstruction:
    """The reconstructed mesh of a field.

    Attributes:
        mesh: closed, outward, in `frame`; without faces where the field has no surface.
        frame: unit; or camera (x right, y up, z towards the camera), of a `frame: camera` model whose camera is unknown.
        status: ok; warn where the mesh has many more faces than `simplify.faces`, or defects that limit a refinement by face
            normals; failed where there is no surface.
        reason: why the status is not ok.
        seconds: CPU seconds by step.
        points: number of points at which MISE evaluated the field.
        loss_before, loss_after: of the refinement by gradient; NaN without it.
        refined: whether that refinement lowered its loss (else its result is discarded), or the vertices followed face
            normals.
        normals: (V, 3) float32 unit vertex normals of the field, if requested.
        agreement: how far the fields of several images agree; None for one image.
        expected_iou: calibrated, if requested and the checkpoint has a calibration.
        uncertainty: (V,) float32 half-width of the band of the surface, in edges of the unit cube
            (`surface_uncertainty.with_uncertainty`).
    """

    mesh: Mesh
    status: Status = "ok"
    reason: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    points: int = 0
    loss_before: float = float("nan")
    loss_after: float = float("nan")
    refined: bool = False
    normals: NDArray[np.float32] | None = None
    frame: Literal["unit", "camera"] = "unit"
    agreement: Agreement | None = None
    expected_iou: ExpectedIou | None = None
    uncertainty: NDArray[np.float32] | None = None

    def save(self, path: str | Path) -> None:
        """Write the mesh with its normals and its frame as OBJ, PLY, GLB, STL or OFF, by its suffix (storage.meshes).

        Raises:
            MeshError: the mesh is empty, or the format cannot be written.
            DataError: the disk is full.
        """
        if len(self.mesh.faces) == 0:
            raise MeshError(self.reason or "there is no surface", path=path)
        save_mesh(self.mesh, path, self.normals, MeshFrame(self.frame))


def reconstruct(
    field: OccupancyFn | MiseResult,
    config: ReconstructConfig,
    *,
    threshold: float | None = None,
    refine_field: FieldWithGradient | None = None,
    low_precision: FieldWithGradient | None = None,
    face_normals: FaceNormals | None = None,
    rng: np.random.Generator,
    device: str = "cpu",
    normals: bool = False,
    box: float = CUBE_EDGE,
) -> Reconstruction:
    """The surface of a field as a closed mesh.

    Args:
        field: points (N, 3) float32 of the unit frame to logits (N,); or the result of MISE.
        config: the section `reconstruct`.
        threshold: occupancy probability of the surface; by default that of the configuration.
        refine_field: the same field for tensors, with its gradient; None: no refinement by gradient.
        low_precision: an approximation of `refine_field` for most refinement steps.
        face_normals: corrected normals of the mesh's faces, for the refinements graph and both.
        rng: randomness of the refinement.
        device: torch device of `refine_field`.
        normals: whether to compute vertex normals from `refine_field`.
        box: edge of the cube around the origin that MISE covers.

    Returns:
        The mesh; for a field without a surface an empty one with status `failed`.

    Raises:
        ConfigError: the threshold is `validation` and none is given, or the refinement needs `face_normals`.
        DataError: the field returns NaN.
    """
    threshold = _number(config) if threshold is None else threshold
    seconds: dict[str, float] = {}
    level = extract.threshold_logit(threshold)
    if isinstance(field, MiseResult):
        grid = field
    else:
        with timed(seconds, "mise"):
            grid = mise(field, config.resolution0, config.upsampling_steps, level, box, config.points_batch)
    with timed(seconds, "extract"):
        mesh = extract.surface(grid.logits, level, box)
    if len(mesh.faces) == 0:
        reason = f"no surface: the occupancy is nowhere above {threshold:.3g}"
        return Reconstruction(mesh, "failed", reason, seconds, points=grid.evaluated)
    with timed(seconds, "simplify"):
        if config.simplify.error is not None:
            mesh = simplify_within(mesh, config.simplify.error)
        elif config.simplify.faces is not None:
            mesh = simplify(mesh, config.simplify.faces)
    gradient = refine_field is not None and config.refine_steps > 0
    is_refined = config.refinement != "none" and (config.refinement != "gradient" or gradient)
    with timed(seconds, "refine") if is_refined else nullcontext():
        result = refined_by(
            mesh, config, threshold, refine_field, low_precision, face_normals, rng=rng, device=device
        )
    directions = None
    if refine_field is not None and normals:
        with timed(seconds, "normals"):
            directions = field_normals(refine_field, result.mesh, device)
    reason = _too_many_faces(len(result.mesh.faces), config)
    if config.refinement not in ("gradient", "none") and (limits := defects(mesh)):
        reason = "; ".join(filter(None, (reason, f"face normals have less effect: {limits}")))
    return Reconstruction(
        mesh=result.mesh,
        status="warn" if reason else "ok",
        reason=reason,
        normals=directions,
        seconds=seconds,
        points=grid.evaluated,
        loss_before=result.loss_before,
        loss_after=result.loss_after,
        refined=result.improved,
    )


def refined_by(
    mesh: Mesh,
    config: ReconstructConfig,
    threshold: float,
    refine_field: FieldWithGradient | None = None,
    low_precision: FieldWithGradient | None = None,
    face_normals: FaceNormals | None = None,
    *,
    rng: np.random.Generator,
    device: str = "cpu",
) -> Refined:
    """A simplified mesh after `config.refinement`; arguments and errors as `reconstruct`."""
    towards_field = None
    if refine_field is not None and config.refine_steps:
        towards_field = partial(
            refine,
            refine_field,
            threshold=threshold,
            low_precision=low_precision,
            steps=config.refine_steps,
            rate=config.refine_rate,
            normal_weight=config.refine_normals,
            rng=rng,
            device=device,
        )
    return refined(mesh, config.refinement, towards_field, face_normals)


def _too_many_faces(faces: int, config: ReconstructConfig) -> str:
    """The warning for a mesh with many more faces than its target; empty where there is no reason for one."""
    target = config.simplify.faces
    if target is None or config.simplify.error is not None or faces <= _MANY_FACES * target:
        return ""
    return f"{faces} faces, more than reconstruct.simplify.faces {target}: fewer would open the mesh or change its shape"


def _number(config: ReconstructConfig) -> float:
    """The threshold of the configuration."""
    if isinstance(config.threshold, str):
        raise ConfigError(
            "reconstruct.threshold is `validation`, which needs a checkpoint", hint="give a number"
        )
    return config.threshold


@contextmanager
def timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    """Record the CPU seconds of the block under a name."""
    start = process_time()
    yield
    seconds[step] = process_time() - start


def field_normals(field: FieldWithGradient, mesh: Mesh, device: str = "cpu") -> NDArray[np.float32]:
    """(V, 3) float32 unit normals: against the gradient of the logits (Mescheder et al. 2019, section 3.3).

    The gradient of a ReLU network is piecewise constant. Where it vanishes or points into the mesh, the area-weighted mean
    normal of the vertex's faces is used instead.

    Args:
        field: logits and their gradient.
        mesh: its surface.
        device: torch device of the field.
    """
    import torch

    from occnet_lib.networks.arrays import tensor_of

    points = tensor_of(mesh.vertices, device, torch.float32)
    outward = -field(points)[1].cpu().numpy()
    length = np.linalg.norm(outward, axis=1, keepdims=True)
    outward = outward / np.where(length > 0, length, 1.0)
    of_faces = mesh.vertex_normals.astype(np.float32)
    good = np.isfinite(outward).all(axis=1) & ((outward * of_faces).sum(axis=1) > 0)
    return np.where(good[:, None], outward, of_faces).astype(np.float32)
