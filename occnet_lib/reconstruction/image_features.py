"""A trained network, its cameras and what its encoder makes of images."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import ReconstructConfig
from occnet_lib.errors import ConfigError, DataError

from .extract import threshold_logit
from .inference import select_device
from .reconstruct import CUBE_EDGE

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)
_ONET_THRESHOLD = 0.2
_ONET_VIEW_SIZE = 137
_FITTED_PIXELS = 4096  # of each label, from which the rays of a fit are chosen
CPU_CHUNK = 4096  # points whose features fit a core's cache: twice as fast as 100,000 per call


class PredictedCameras(NamedTuple):
    """The likeliest cameras of V images, the likeliest first.

    Attributes:
        projections: (V, K, 3, 4) float64, of the unit frame into the images (`geometry.cameras.image_projection`).
        probabilities: (V, K) float64; they sum to 1.
    """

    projections: NDArray[np.float64]
    probabilities: NDArray[np.float64]


class ImageFeatures:
    """A checkpoint, its cameras and features of images.

    Args:
        checkpoint: network file (`networks.checkpoint`).
        config: the section `reconstruct`.
        as_is: do not frame images, whatever the network was trained with.

    Attributes:
        threshold: occupancy probability of the surface.
        framing: of the training images (`images.framing`): object or camera.
        view_size: edge of the training images in pixels.

    Raises:
        DataError: the checkpoint is missing or broken.
        ConfigError: a GPU is requested and none is available.
    """

    def __init__(self, checkpoint: str | Path, config: ReconstructConfig, as_is: bool = False) -> None:
        from occnet_lib.networks.checkpoint import load_network
        from occnet_lib.networks.framing import framing_of

        self.config = config
        self.device = select_device(config.accelerator)
        self._network, self._options = load_network(checkpoint, self.device)
        self._network.requires_grad_(False)
        self.threshold = _threshold(config, self._options, checkpoint)
        self.framing = framing_of(self._options)[0]
        self.view_size = int(self._options.get("view_size", _ONET_VIEW_SIZE))
        if as_is:
            self._options = self._options | {"images": {"framing": "camera"}}

    @property
    def needs_cameras(self) -> bool:
        """Whether several images of one object need their cameras to be merged (`frame: camera`)."""
        return self._network.model.frame == "camera"

    @property
    def needs_projections(self) -> bool:
        """Whether every image needs its camera (`local: true`), given or predicted."""
        return self._network.model.local

    @property
    def predicts_cameras(self) -> bool:
        """Whether the network predicts cameras of images (`pose: true`)."""
        return self._network.model.pose

    @property
    def uses_given_cameras(self) -> bool:
        """Whether given cameras of images change the field or its frame."""
        return self.needs_cameras or self.needs_projections or self.config.fit > 0

    def check_given_cameras(self) -> None:
        """Warn if given cameras of images change nothing."""
        if not self.uses_given_cameras:
            logger.warning(
                "the given cameras have no effect: models of `frame: unit` without `local: true` use none, unless "
                "reconstruct.fit is above 0"
            )

    def cameras(self, images: NDArray[np.uint8], count: int = 1) -> PredictedCameras:
        """The `count` likeliest cameras of images (V, H, W, 3) uint8 sRGB on white, whose axes pass through their middles.

        Raises:
            ConfigError: the network predicts none.
        """
        if not self.predicts_cameras:
            raise ConfigError("this model predicts no cameras", hint="train one with `pose: true`")
        import torch

        from occnet_lib.networks.pose import projections_of
        from occnet_lib.networks.projection import principal_points, product

        assert self._network.pose is not None
        with torch.inference_mode():
            pose, probabilities = self._network.pose(self._input(images)).likeliest(count)
            matrices = self._input_matrices(images)
            into_input = projections_of(pose, principal_points(matrices).unsqueeze(1))
            into_images = product(torch.linalg.inv(matrices).unsqueeze(1), into_input)
        return PredictedCameras(into_images.double().cpu().numpy(), probabilities.double().cpu().numpy())

    def cameras_with(
        self, images: NDArray[np.uint8], projections: NDArray[np.floating], parts: Collection[str]
    ) -> NDArray[np.float64]:
        """Projections (V, 3, 4) with some parts of the likeliest predicted cameras and all else of given ones.

        Args:
            images: (V, H, W, 3) uint8 sRGB on white.
            projections: (V, 3, 4) into the images.
            parts: names of fields of `networks.pose.Pose`, which are predicted.
        """
        import torch

        from occnet_lib.networks.framing import input_projections
        from occnet_lib.networks.pose import pose_of, projections_of
        from occnet_lib.networks.projection import principal_points, product

        assert self._network.pose is not None
        with torch.inference_mode():
            pose, _ = self._network.pose(self._input(images)).likeliest(1)
            given = pose_of(input_projections(projections, images, self._options, self.device))
            mixed = given._replace(**{name: getattr(pose, name)[:, 0] for name in parts})
            matrices = self._input_matrices(images)
            into_input = projections_of(mixed, principal_points(matrices))
            return product(torch.linalg.inv(matrices), into_input).double().cpu().numpy()

    def _features(self, image: NDArray[np.uint8]) -> tuple[Tensor, ...]:
        """Code (1, c_dim) and maps (1, C, h, w) of one image."""
        import torch

        with torch.inference_mode():
            features = self._network.features(self._input(image[None]))
        return tuple(tensor.clone() for tensor in features)

    def _fitted(
        self,
        image: NDArray[np.uint8],
        rotation: NDArray[np.floating],
        projection: NDArray[np.floating] | None,
    ) -> tuple[Tensor, ...]:
        """Features of one image; with `reconstruct.fit` those whose silhouette is fitted to the image's.

        Raises:
            ConfigError: there is no camera to fit with.
        """
        features = self._features(image)
        if not self.config.fit:
            return features
        import torch

        from occnet_lib.networks.arrays import tensor_of
        from occnet_lib.networks.code_fit import fit_code
        from occnet_lib.networks.silhouette_labels import choose_pixels, coverage_of, labels_of

        if projection is None and self.predicts_cameras:
            projection = self.cameras(image[None]).projections[0, 0]
        if projection is None:
            raise ConfigError(
                "a fit to the image's silhouette needs its camera",
                hint="give it: --camera camera.json, take a model with `pose: true`, or set reconstruct.fit=0",
            )
        rng = np.random.default_rng(0)
        pixels = choose_pixels(labels_of(coverage_of(image)), projection, CUBE_EDGE, _FITTED_PIXELS, rng)
        if not (len(pixels.hits) and len(pixels.free)):
            text = "an image is not fitted to its silhouette: by its camera it shows no white background beside an object"
            logger.warning(text)
            return features
        return fit_code(
            self._network,
            features,
            pixels,
            projection,
            level=threshold_logit(self.threshold),
            steps=self.config.fit,
            edge=CUBE_EDGE,
            rotation=tensor_of(rotation, self.device, torch.float32)[None],
            into_input=self._projections(image[None], projection[None]),
        )

    def _all_features(
        self,
        images: NDArray[np.uint8],
        rotations: NDArray[np.floating],
        projections: NDArray[np.floating] | None,
    ) -> tuple[Tensor, ...]:
        """Codes (V, c_dim) and maps (V, C, h, w) of several images, encoded together unless each is fitted."""
        import torch

        if not self.config.fit:
            with torch.inference_mode():
                return self._network.features(self._input(images))
        cameras = [None] * len(images) if projections is None else list(projections)
        each = [self._fitted(*view) for view in zip(images, rotations, cameras, strict=True)]
        return tuple(torch.cat(tensors) for tensors in zip(*each, strict=True))

    def _projections(
        self, images: NDArray[np.uint8], projections: NDArray[np.floating] | None
    ) -> Tensor | None:
        """(B, 3, 4) projections into the encoder's input of those into images (B, H, W, 3); None if not needed."""
        from occnet_lib.networks.framing import input_projections

        if not self.needs_projections:
            return None
        if projections is None and self.predicts_cameras:
            projections = self.cameras(images).projections[:, 0]
        if projections is None:
            raise ConfigError(
                "a model with `local: true` needs the camera of every image",
                hint="give it: --camera camera.json",
            )
        return input_projections(projections, images, self._options, self.device)

    def _input(self, images: NDArray[np.uint8]) -> Tensor:
        """Encoder input (B, 3, size, size) of images (B, H, W, 3)."""
        from occnet_lib.networks.framing import network_input

        return network_input(images, self._options, self.device)

    def _input_matrices(self, images: NDArray[np.uint8]) -> Tensor:
        from occnet_lib.networks.framing import input_matrices

        return input_matrices(images, self._options, self.device)

    def seen(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The encoder's input for an image (H, W, 3) as (size, size, 3) uint8 sRGB.

        An encoder of silhouettes derives outline and darkness from it.
        """
        pixels = self._input(image[None])[0].permute(1, 2, 0) * 255.0
        array: NDArray[np.uint8] = pixels.round().byte().cpu().numpy()
        return array


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
