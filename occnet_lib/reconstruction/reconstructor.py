"""A trained network that reconstructs images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import ReconstructConfig
from occnet_lib.errors import ConfigError, DataError

from .expected_iou import calibration_of, expected_iou
from .extract import threshold_logit
from .face_features import FaceNormalPredictor
from .inference import batched_decoder, select_device
from .mise import mise_batch
from .reconstruct import CUBE_EDGE, ROTATED_CUBE_EDGE, Reconstruction, reconstruct, timed
from .several_images import agreement_of_fields

if TYPE_CHECKING:
    from torch import Tensor

    from occnet_lib.networks.folded import FoldedDecoder, TorchField
    from occnet_lib.storage.iou_calibration import IouCalibration

    from .refinement import FaceNormals

logger = logging.getLogger(__name__)
_ONET_THRESHOLD = 0.2
_ONET_VIEW_SIZE = 137
CAMERA_TO_UPRIGHT = np.diag([1.0, -1.0, -1.0])
"""Rotation between the camera's frame (x right, y down, z forward) and x right, y up, z towards the camera: the frame of
meshes that a `frame: camera` model reconstructs from an image with an unknown camera."""
_CPU_CHUNK = 4096  # points whose features fit a core's cache: twice as fast as 100,000 per call


class Reconstructor:
    """A checkpoint that reconstructs images.

    Args:
        checkpoint: network file (`networks.checkpoint`).
        config: the section `reconstruct`.
        as_is: do not frame images, whatever the network was trained with.
        graph: file of the graph network (`networks.face_normals`), for the refinements graph and both.

    Attributes:
        threshold: occupancy probability of the surface.
        framing: of the training images (`images.framing`): object or camera.
        view_size: edge of the training images in pixels.

    Raises:
        DataError: the checkpoint is missing or broken.
        ConfigError: a GPU is requested and none is available.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        config: ReconstructConfig,
        as_is: bool = False,
        graph: str | Path | None = None,
    ) -> None:
        from occnet_lib.networks.checkpoint import load_network
        from occnet_lib.networks.framing import framing_of

        self.config = config
        self.device = select_device(config.accelerator)
        self._network, self._options = load_network(checkpoint, self.device)
        self._network.requires_grad_(False)
        self.threshold = _threshold(config, self._options, checkpoint)
        self.framing = framing_of(self._options)[0]
        self.view_size = int(self._options.get("view_size", _ONET_VIEW_SIZE))
        self._graph = graph
        self._checkpoint, self._as_is = checkpoint, as_is
        if as_is:
            self._options = self._options | {"images": {"framing": "camera"}}

    @cached_property
    def calibration(self) -> IouCalibration | None:
        """The calibration of its expected IoU; None without one, and for images that are not framed as in training."""
        return None if self._as_is else calibration_of(self._checkpoint, self.threshold)

    @property
    def needs_cameras(self) -> bool:
        """Whether several images of one object need their cameras to be merged (`frame: camera`)."""
        return self._network.model.frame == "camera"

    def field(
        self, image: NDArray[np.uint8], rotation: NDArray[np.floating] = CAMERA_TO_UPRIGHT
    ) -> FoldedDecoder:
        """The field of an image (H, W, 3) uint8 sRGB on white.

        Images are encoded one by one, so that a result does not depend on the others of a batch.

        Args:
            image: the input image.
            rotation: (3, 3), from the frame of the points to that of the camera, only used by `frame: camera`
                models; for points of the unit frame the rotation in world_mat.
        """
        return self._folded(self._code(image), rotation)

    def _folded(self, code: Tensor, rotation: NDArray[np.floating]) -> FoldedDecoder:
        import torch

        from occnet_lib.networks.arrays import tensor_of

        chunk = _CPU_CHUNK if self.device == "cpu" else self.config.points_batch
        return self._network.fold(code, chunk, tensor_of(rotation, dtype=torch.float32))

    def _code(self, image: NDArray[np.uint8]) -> Tensor:
        """Code (1, c_dim) of one image."""
        import torch

        with torch.inference_mode():
            code = self._network.encode(self._input(image[None]))
        return code.clone()

    def _input(self, images: NDArray[np.uint8]) -> Tensor:
        """Encoder input (B, 3, size, size) of images (B, H, W, 3)."""
        from occnet_lib.networks.framing import network_input

        return network_input(images, self._options, self.device)

    def seen(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The encoder's input for an image (H, W, 3) as (size, size, 3) uint8 sRGB.

        An encoder of silhouettes derives outline and darkness from it.
        """
        pixels = self._input(image[None])[0].permute(1, 2, 0) * 255.0
        array: NDArray[np.uint8] = pixels.round().byte().cpu().numpy()
        return array

    def __call__(
        self,
        image: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
        rng: np.random.Generator,
        rotation: NDArray[np.floating] | None = None,
        normals: bool = False,
        drop_outliers: bool = False,
        expect_iou: bool = False,
    ) -> Reconstruction:
        """Reconstruct an object from one image or several.

        With a model of `frame: camera` the mesh is in the frame that `rotation` comes from (see `field`): by
        default the camera's, turned upright.

        Args:
            image: (H, W, 3) uint8 sRGB on white; or V of them, whose logits are averaged.
            rng: for the refinement.
            rotation: (3, 3) or (V, 3, 3).
            normals: whether to compute vertex normals.
            drop_outliers: leave out the images that disagree with the others (`Reconstruction.agreement`).
            expect_iou: whether to compute `Reconstruction.expected_iou`, for a mesh of the unit frame.

        Raises:
            ConfigError: several images for a model of the camera's frame, but no rotations; or the refinement needs the
                graph network.
        """
        from occnet_lib.networks.folded import MeanField

        images = [image] if isinstance(image, np.ndarray) and image.ndim == 3 else list(image)
        turned = rotation is None and self.needs_cameras
        if turned and len(images) > 1:
            raise ConfigError(
                "a model of `frame: camera` needs the cameras to bring several photos together",
                hint="give one photo, or use a model of `frame: unit`",
            )
        seconds: dict[str, float] = {}
        with timed(seconds, "encode"):
            turns = np.zeros((len(images), 3, 3)) + (CAMERA_TO_UPRIGHT if rotation is None else rotation)
            fields = [self.field(*pair) for pair in zip(images, turns, strict=True)]
        agreed = None
        if len(fields) > 1:
            with timed(seconds, "agreement"):
                agreed = agreement_of_fields(fields, threshold_logit(self.threshold))
            if drop_outliers and agreed.can_drop:
                fields = [field for i, field in enumerate(fields) if i not in agreed.outliers]
        field, expected = MeanField(fields), None
        if expect_iou and not turned and self.calibration:
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
        frame: Literal["unit", "camera"] = "camera" if turned else "unit"
        return replace(
            result, seconds=seconds | result.seconds, frame=frame, agreement=agreed, expected_iou=expected
        )

    def reconstruct_batch(
        self,
        images: Sequence[NDArray[np.uint8]],
        rngs: Sequence[np.random.Generator],
        rotations: NDArray[np.floating],
    ) -> list[Reconstruction]:
        """Reconstruct several objects from one image each; MISE evaluates all their points in the same calls.

        The logits equal those of single reconstructions up to rounding.

        Args:
            images: B of (H, W, 3) uint8 sRGB on white; their sizes may differ.
            rngs: B, for the refinement.
            rotations: (B, 3, 3) as in `field`.
        """
        import torch

        from occnet_lib.networks.arrays import tensor_of

        config, seconds, level = self.config, dict[str, float](), threshold_logit(self.threshold)
        turns = tensor_of(rotations, self.device, torch.float32)
        with timed(seconds, "encode"):
            codes = [self._code(image) for image in images]
        with timed(seconds, "mise"):
            resolutions = config.resolution0, config.upsampling_steps
            decoder = batched_decoder(self._network.decode, torch.cat(codes), turns)
            grids = mise_batch(decoder, len(codes), *resolutions, level, CUBE_EDGE, config.points_batch)
        mean_seconds = {step: spent / len(codes) for step, spent in seconds.items()}
        results = []
        for grid, code, rotation, rng in zip(grids, codes, rotations, rngs, strict=True):
            folded = self._folded(code, rotation) if _needs_gradient(config) else None
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
        return FaceNormalPredictor(self._graph, self.config.refinement, self.device)

    def logits(
        self, images: NDArray[np.uint8], rotations: NDArray[np.floating], points: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """Logits (V, N) of points (N, 3), unit frame, under each of several images of one shape.

        The images are encoded together. Decoders are not folded, which pays off only for more than some thousand points.

        Args:
            images: (V, H, W, 3) uint8 sRGB on white.
            rotations: (V, 3, 3) as in `field`.
            points: the same for all images.
        """
        import torch

        from occnet_lib.networks.arrays import tensor_of

        turns = tensor_of(rotations, self.device, torch.float32)
        at = tensor_of(np.asarray(points, dtype=np.float32), self.device)
        at = at.expand(len(images), -1, -1)
        step = max(
            1, (2 * _CPU_CHUNK if self.device == "cpu" else self.config.points_batch) // max(len(points), 1)
        )
        with torch.inference_mode():
            codes = self._network.encode(self._input(images))
            parts = [slice(k, k + step) for k in range(0, len(images), step)]
            logits = [self._network.decode(at[part], codes[part], turns[part]) for part in parts]
            array: NDArray[np.float32] = torch.cat(logits).float().cpu().numpy()
        return array


def _needs_gradient(config: ReconstructConfig) -> bool:
    """Whether the refinement needs the field's gradient."""
    if config.refinement == "gradient":
        return config.refine_steps > 0
    return config.refinement in ("graph", "both")


def _threshold(config: ReconstructConfig, options: dict[str, object], checkpoint: str | Path) -> float:
    """The configured threshold, or the one with the highest IoU on the validation set."""
    if not isinstance(config.threshold, str):
        return config.threshold
    value = options.get("val_threshold")
    if value is None:
        logger.warning(
            "%s was trained without validation shapes: its threshold is %g", checkpoint, _ONET_THRESHOLD
        )
        return _ONET_THRESHOLD
    if not isinstance(value, float) or not 0.0 < value < 1.0:
        raise DataError(f"has the threshold {value!r}", path=checkpoint, hint="set reconstruct.threshold=0.2")
    return value
