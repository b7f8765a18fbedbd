"""A trained network that reconstructs images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import ReconstructConfig
from occnet_lib.errors import ConfigError
from occnet_lib.geometry.agreement import Agreement, agreement
from occnet_lib.geometry.cameras import rotations_of

from .expected_iou import calibration_of, expected_iou
from .extract import threshold_logit
from .face_features import FaceNormalPredictor
from .inference import batched_decoder
from .mise import mise_batch
from .reconstruct import CUBE_EDGE, ROTATED_CUBE_EDGE, Reconstruction, reconstruct, timed
from .surface_uncertainty import with_uncertainty
from .trained_network import CAMERA_TO_UPRIGHT, TrainedNetwork

if TYPE_CHECKING:
    from occnet_lib.networks.folded import TorchField
    from occnet_lib.storage.iou_calibration import IouCalibration

    from .refinement import FaceNormals


class Reconstructor(TrainedNetwork):
    """A checkpoint that reconstructs images.

    Args:
        checkpoint, config, as_is: as `TrainedNetwork`.
        graph: file of the graph network (`networks.face_normals`), for the refinements graph and both.

    Raises:
        ConfigError, DataError: as `TrainedNetwork`; the graph network is missing, broken or of another network.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        config: ReconstructConfig,
        as_is: bool = False,
        graph: str | Path | None = None,
    ) -> None:
        super().__init__(checkpoint, config, as_is)
        self._graph = graph
        self._checkpoint, self._as_is = checkpoint, as_is
        if graph is not None and config.refinement in ("graph", "both"):
            _ = self._face_normals  # what is wrong with the file is said before the first image

    @cached_property
    def calibration(self) -> IouCalibration | None:
        """The calibration of its expected IoU; None without one, and for images that are not framed as in training."""
        return None if self._as_is else calibration_of(self._checkpoint, self.threshold)

    def __call__(
        self,
        image: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
        rng: np.random.Generator,
        rotation: NDArray[np.floating] | None = None,
        normals: bool = False,
        drop_outliers: bool = False,
        projection: NDArray[np.floating] | None = None,
        expect_iou: bool = False,
        uncertainty: bool = False,
    ) -> Reconstruction:
        """Reconstruct an object from one image or several.

        With a model of `frame: camera` the mesh is in the frame that `rotation` comes from (see `field`): by
        default the unit frame, by the predicted camera, or if the model predicts none the camera's, turned upright.

        Args:
            image: (H, W, 3) uint8 sRGB on white; or V of them, whose logits are averaged.
            rng: for the refinement.
            rotation: (3, 3) or (V, 3, 3).
            normals: whether to compute vertex normals.
            drop_outliers: leave out the images that disagree with the others (`Reconstruction.agreement`).
            projection: (3, 4) or (V, 3, 4) as in `field`.
            expect_iou: whether to compute `Reconstruction.expected_iou`. The calibration is that of given cameras, so a
                model that needs cameras has none without them.
            uncertainty: whether to compute `Reconstruction.uncertainty` and colour the mesh by it.

        Raises:
            ConfigError: several images for a model of the camera's frame, but no rotations; or the refinement needs the
                graph network; no projection, as in `field`.
        """
        from occnet_lib.networks.folded import MeanField

        images = [image] if isinstance(image, np.ndarray) and image.ndim == 3 else list(image)
        calibrated = rotation is not None or not self.needs_cameras
        calibrated &= projection is not None or not self.needs_projections
        calibrated &= not self.config.fit
        if self.needs_cameras and self.predicts_cameras and rotation is None:
            rotation = np.stack([rotations_of(self.cameras(each[None]).projections[0, 0]) for each in images])
        turned = rotation is None and self.needs_cameras
        if turned and len(images) > 1:
            raise ConfigError(
                "a model of `frame: camera` needs the cameras to bring several photos together",
                hint="give one photo, or use a model of `frame: unit`",
            )
        seconds: dict[str, float] = {}
        with timed(seconds, "encode"):
            turns = np.zeros((len(images), 3, 3)) + (CAMERA_TO_UPRIGHT if rotation is None else rotation)
            cameras = [None] * len(images) if projection is None else list(np.reshape(projection, (-1, 3, 4)))
            fields = [self.field_of_view(*view) for view in zip(images, turns, cameras, strict=True)]
        agreed = None
        if len(fields) > 1:
            with timed(seconds, "agreement"):
                agreed = agreement_of_fields(fields, threshold_logit(self.threshold))
            if drop_outliers and agreed.can_drop:
                fields = [field for i, field in enumerate(fields) if i not in agreed.outliers]
        field, expected = MeanField(fields), None
        if expect_iou and calibrated and self.calibration:
            with timed(seconds, "confidence"):
                expected = expected_iou(field, self.calibration, len(fields))
        result = reconstruct(
            partial(field.on_array, level=threshold_logit(self.threshold)),
            self.config,
            threshold=self.threshold,
            refine_field=field.with_gradient,
            low_precision=partial(field.with_gradient, low_precision=True),
            face_normals=self._normals_of(field),
            rng=rng,
            device=self.device,
            normals=normals,
            # The orientation of the shape's cube in the camera's frame is unknown.
            box=ROTATED_CUBE_EDGE if turned else CUBE_EDGE,
        )
        if uncertainty and len(result.mesh.faces):
            with timed(seconds, "uncertainty"):
                result = with_uncertainty(result, field, threshold_logit(self.threshold))
        frame: Literal["unit", "camera"] = "camera" if turned else "unit"
        return replace(
            result, seconds=seconds | result.seconds, frame=frame, agreement=agreed, expected_iou=expected
        )

    def reconstruct_batch(
        self,
        images: Sequence[NDArray[np.uint8]],
        rngs: Sequence[np.random.Generator],
        rotations: NDArray[np.floating],
        projections: NDArray[np.floating] | None = None,
    ) -> list[Reconstruction]:
        """Reconstruct several objects from one image each; MISE evaluates all their points in the same calls.

        The logits equal those of single reconstructions up to rounding.

        Args:
            images: B of (H, W, 3) uint8 sRGB on white; their sizes may differ.
            rngs: B, for the refinement.
            rotations: (B, 3, 3) as in `field`.
            projections: (B, 3, 4) as in `field`.
        """
        import torch

        from occnet_lib.networks.arrays import tensor_of

        if projections is None and self.averages_poses:
            return [self(*each) for each in zip(images, rngs, rotations, strict=True)]
        config, seconds, level = self.config, dict[str, float](), threshold_logit(self.threshold)
        turns = tensor_of(rotations, self.device, torch.float32)
        with timed(seconds, "encode"):
            given = [None] * len(images) if projections is None else list(projections)
            features = [self._fitted(*view) for view in zip(images, rotations, given, strict=True)]
            cameras = [
                self._projections(image[None], None if projections is None else projections[i : i + 1])
                for i, image in enumerate(images)
            ]
        with timed(seconds, "mise"):
            resolutions = config.resolution0, config.upsampling_steps
            codes, *maps = (torch.cat(of_images) for of_images in zip(*features, strict=True))
            known = [camera for camera in cameras if camera is not None]
            inputs = (codes, turns, torch.cat(known), *maps) if known else (codes, turns)
            decoder = batched_decoder(self._network.decode, *inputs)
            grids = mise_batch(decoder, len(codes), *resolutions, level, CUBE_EDGE, config.points_batch)
        mean_seconds = {step: spent / len(codes) for step, spent in seconds.items()}
        results = []
        for grid, own, rotation, camera, rng in zip(grids, features, rotations, cameras, rngs, strict=True):
            folded = None
            if _needs_gradient(config):
                folded = self._folded(own, rotation, None if camera is None else camera[0])
            field = folded.with_gradient if folded else None
            results.append(
                reconstruct(
                    grid,
                    config,
                    threshold=self.threshold,
                    refine_field=field,
                    low_precision=partial(field, low_precision=True) if field else None,
                    face_normals=self._normals_of(folded) if folded else None,
                    rng=rng,
                    device=self.device,
                )
            )
        return [replace(result, seconds=mean_seconds | result.seconds) for result in results]

    def _normals_of(self, field: TorchField) -> FaceNormals | None:
        """Predicted face normals of meshes of a field, if the refinement needs them."""
        if self.config.refinement not in ("graph", "both"):
            return None
        level = threshold_logit(self.threshold)
        return partial(self._face_normals, field.with_gradient, level=level)

    @cached_property
    def _face_normals(self) -> FaceNormalPredictor:
        return FaceNormalPredictor(self._graph, self.config.refinement, self.device, self._options)


def _needs_gradient(config: ReconstructConfig) -> bool:
    """Whether the refinement needs the field's gradient."""
    if config.refinement == "gradient":
        return config.refine_steps > 0
    return config.refinement in ("graph", "both")


_POINTS = 2**13  # a power of two, for Sobol's sequence


def agreement_of_fields(fields: Sequence[TorchField], level: float) -> Agreement:
    """How far fields of the unit frame agree, at quasi-random points of the cube (Sobol 1967).

    Args:
        fields: at least two.
        level: logit above which a point is inside.
    """
    from scipy.stats.qmc import Sobol

    points = CUBE_EDGE * (Sobol(3, scramble=False).random(_POINTS) - 0.5)
    return agreement(np.stack([field.on_array(points) for field in fields]), level)
