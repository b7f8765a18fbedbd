"""A trained network as fields: photo to reconstruction."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import ReconstructConfig
from occnet_lib.errors import ConfigError, DataError

from .extract import threshold_logit
from .mise import BatchOccupancyFn, mise_batch
from .reconstruct import CUBE_EDGE, ROTATED_CUBE_EDGE, Reconstruction, reconstruct, timed
from .several_images import agreement_of_fields

if TYPE_CHECKING:
    from torch import Tensor

    from occnet_lib.networks.folded import FoldedDecoder

logger = logging.getLogger(__name__)
_ONET_THRESHOLD = 0.2
_ONET_VIEW_SIZE = 137
CAMERA_TO_UPRIGHT = np.diag([1.0, -1.0, -1.0])
"""What turns the camera's frame (x right, y down, z forward) into x right, y up, z towards the camera, and back:
the frame of what a `frame: camera` model sees in a photo whose camera nobody knows."""
_ROW = 2048  # points of a shape that is asked for together with others
_CPU_CHUNK = 4096  # points whose features stay in a core's cache: twice as fast as 100,000 at once


class Reconstructor:
    """A checkpoint that reconstructs pictures.

    Args:
        checkpoint: network file (`networks.checkpoint`).
        config: the section `reconstruct`.
        as_is: show the network images as they are, whatever it was trained with.

    Attributes:
        threshold: occupancy probability of the surface that is used.
        framing: of the images that the network was trained with (`images.framing`): object or camera.
        view_size: pixels along the edge of these.

    Raises:
        DataError: the checkpoint is missing or broken.
        ConfigError: a GPU is asked for and there is none.
    """

    def __init__(self, checkpoint: str | Path, config: ReconstructConfig, as_is: bool = False) -> None:
        from occnet_lib.networks.checkpoint import load_network
        from occnet_lib.networks.framing import framing_of

        self.config = config
        self.device = _device(config.accelerator)
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

    def field(
        self, image: NDArray[np.uint8], rotation: NDArray[np.floating] = CAMERA_TO_UPRIGHT
    ) -> FoldedDecoder:
        """The field of a picture (H, W, 3) uint8 sRGB on white.

        Pictures are encoded one by one, so that a result does not depend on its neighbours.

        Args:
            image: the picture.
            rotation: (3, 3), frame of the points to the picture's camera; only `frame: camera` models look
                at it. That of world_mat for points of the unit frame.
        """
        return self._folded(self._code(image), rotation)

    def _folded(self, code: Tensor, rotation: NDArray[np.floating]) -> FoldedDecoder:
        import torch

        from occnet_lib.networks.arrays import tensor_of

        chunk = _CPU_CHUNK if self.device == "cpu" else self.config.points_batch
        return self._network.fold(code, chunk, tensor_of(rotation, dtype=torch.float32))

    def _code(self, image: NDArray[np.uint8]) -> Tensor:
        """(1, c_dim) of one picture."""
        import torch

        with torch.inference_mode():
            code = self._network.encode(self._input(image[None]))
        return code.clone()

    def _input(self, images: NDArray[np.uint8]) -> Tensor:
        """(B, 3, size, size) of pictures (B, H, W, 3)."""
        from occnet_lib.networks.framing import network_input

        return network_input(images, self._options, self.device)

    def seen(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What the encoder sees of an image (H, W, 3): (size, size, 3) uint8 sRGB.

        An encoder of silhouettes takes outline and darkness from it.
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
    ) -> Reconstruction:
        """Reconstruct a picture, or one object from several.

        With a model of `frame: camera` the mesh is in the frame that `rotation` comes from (see `field`): by
        default the camera's, turned upright.

        Args:
            image: (H, W, 3) uint8 sRGB on white; or V of them, whose fields' logits are averaged.
            rng: for the refinement.
            rotation: (3, 3) or (V, 3, 3).
            normals: whether vertex normals are wanted.
            drop_outliers: leave out the images that disagree with the others (`Reconstruction.agreement`).

        Raises:
            ConfigError: several pictures for a model of the camera's frame, but no rotations.
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
        field = MeanField(fields)
        result = reconstruct(
            partial(field.on_array, level=threshold_logit(self.threshold)),
            self.config,
            threshold=self.threshold,
            refine_field=field.with_gradient,
            low_precision=partial(field.with_gradient, low_precision=True),
            rng=rng,
            device=self.device,
            normals=normals,
            # The shape's own cube stands in the camera's frame at an angle that nobody knows.
            box=ROTATED_CUBE_EDGE if turned else CUBE_EDGE,
        )
        frame: Literal["unit", "camera"] = "camera" if turned else "unit"
        return replace(result, seconds=seconds | result.seconds, frame=frame, agreement=agreed)

    def reconstruct_batch(
        self,
        images: Sequence[NDArray[np.uint8]],
        rngs: Sequence[np.random.Generator],
        rotations: NDArray[np.floating],
    ) -> list[Reconstruction]:
        """Reconstruct several objects from a picture each; MISE asks for the points of all in the same calls.

        One by one the logits would be the same but for rounding.

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
            asked = batched_decoder(self._network.decode, torch.cat(codes), turns)
            grids = mise_batch(asked, len(codes), *resolutions, level, CUBE_EDGE, config.points_batch)
        share = {step: spent / len(codes) for step, spent in seconds.items()}
        results = []
        for grid, code, rotation, rng in zip(grids, codes, rotations, rngs, strict=True):
            field = self._folded(code, rotation).with_gradient if config.refine_steps else None
            results.append(
                reconstruct(
                    grid,
                    config,
                    threshold=self.threshold,
                    refine_field=field,
                    low_precision=partial(field, low_precision=True) if field else None,
                    rng=rng,
                    device=self.device,
                )
            )
        return [replace(result, seconds=share | result.seconds) for result in results]

    def logits(
        self, images: NDArray[np.uint8], rotations: NDArray[np.floating], points: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """Logits (V, N) of points (N, 3), unit frame, under each of several pictures of one shape.

        The pictures are encoded together. Nothing is folded: for some thousand points that does not pay.

        Args:
            images: (V, H, W, 3) uint8 sRGB on white.
            rotations: (V, 3, 3) as in `field`.
            points: the same for all pictures.
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
            found = [self._network.decode(at[part], codes[part], turns[part]) for part in parts]
            array: NDArray[np.float32] = torch.cat(found).float().cpu().numpy()
        return array


def batched_decoder(decode: Callable[..., Tensor], *each: Tensor) -> BatchOccupancyFn:
    """Logits of points of several shapes in one call of a decoder.

    Args:
        decode: points (B, T, 3) and `each` of their shapes to logits (B, T), as `OccupancyNetwork.decode`.
        each: codes (B, c_dim), rotations (B, 3, 3), on the device where points are to be treated.
    """
    import torch

    def fields(points: NDArray[np.float32], shapes: NDArray[np.int64]) -> NDArray[np.float32]:
        owners, first, sizes = np.unique(shapes, return_index=True, return_counts=True)
        # Shapes ask for very different numbers of points: rows of a few, as many a shape as it takes.
        length = min(_ROW, int(sizes.max()))
        rows = -(-sizes // length)
        place = np.arange(len(points)) - np.repeat(first, sizes)
        at = np.repeat(np.cumsum(rows) - rows, sizes) + place // length, place % length
        padded = np.zeros((rows.sum(), length, 3), np.float32)
        padded[at] = points
        of_rows = np.repeat(owners, rows)
        with torch.inference_mode():
            asked = torch.from_numpy(padded).to(each[0].device)
            logits = decode(asked, *(values[of_rows] for values in each))
        found: NDArray[np.float32] = logits.float().cpu().numpy()[at]
        return found

    return fields


def encoder_features(
    checkpoint: str | Path, accelerator: Literal["auto", "cpu", "gpu"] = "auto"
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """The encoder of a checkpoint: pictures (B, H, W, 3) uint8 sRGB on white to codes (B, c_dim) float32.

    Raises:
        DataError: the checkpoint is missing or broken.
        ConfigError: a GPU is asked for and there is none.
    """
    import torch

    from occnet_lib.networks.checkpoint import load_network
    from occnet_lib.networks.framing import network_input

    device = _device(accelerator)
    network, options = load_network(checkpoint, device)

    def features(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            codes = network.encode(network_input(images, options, device))
        return np.asarray(codes.float().cpu().numpy())

    return features


@contextmanager
def one_thread() -> Iterator[None]:
    """Shards run side by side; and sums of several threads would differ in the last digit."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _device(accelerator: str) -> str:
    import torch

    there = torch.cuda.is_available()
    if accelerator == "gpu" and not there:
        raise ConfigError(
            "reconstruct.accelerator is gpu, but torch sees no CUDA device", hint="use auto or cpu"
        )
    return "cuda" if there and accelerator != "cpu" else "cpu"


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
