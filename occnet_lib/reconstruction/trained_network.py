"""A trained network's fields of images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .image_features import CPU_CHUNK, ImageFeatures

if TYPE_CHECKING:
    from torch import Tensor

    from occnet_lib.networks.folded import FoldedDecoder, TorchField

CAMERA_TO_UPRIGHT = np.diag([1.0, -1.0, -1.0])
"""Rotation between the camera's frame (x right, y down, z forward) and x right, y up, z towards the camera: the frame of
meshes that a `frame: camera` model reconstructs from an image with an unknown camera."""


class TrainedNetwork(ImageFeatures):
    """A checkpoint and the fields of images; arguments, attributes and errors as `ImageFeatures`."""

    def field(
        self,
        image: NDArray[np.uint8],
        rotation: NDArray[np.floating] = CAMERA_TO_UPRIGHT,
        projection: NDArray[np.floating] | None = None,
    ) -> FoldedDecoder:
        """The field of an image (H, W, 3) uint8 sRGB on white.

        Images are encoded one by one, so that a result does not depend on the others of a batch.

        Args:
            image: the input image.
            rotation: (3, 3), from the frame of the points to that of the camera, only used by `frame: camera`
                models; for points of the unit frame the rotation in world_mat.
            projection: (3, 4), of the unit frame into the image (`storage.packs.Shard.projection`), which `local` models
                need; by default that of the predicted camera.

        Raises:
            ConfigError: there is no projection, and the model needs one.
        """
        features = self._fitted(image, rotation, projection)
        cameras = self._projections(image[None], None if projection is None else projection[None])
        return self._folded(features, rotation, None if cameras is None else cameras[0])

    def field_of_view(
        self,
        image: NDArray[np.uint8],
        rotation: NDArray[np.floating] = CAMERA_TO_UPRIGHT,
        projection: NDArray[np.floating] | None = None,
    ) -> TorchField:
        """The field that one image is reconstructed from: `field`, or `mean_field` where the network averages poses."""
        if projection is None and self.averages_poses:
            return self.mean_field(image, rotation)
        return self.field(image, rotation, projection)

    @property
    def averages_poses(self) -> bool:
        """Whether fields of images without given cameras are averaged over several hypotheses (`reconstruct.poses`).

        In the frame of a camera they are not: the hypotheses have different frames.
        """
        return (
            self.config.poses > 1
            and self.predicts_cameras
            and self.needs_projections
            and not self.needs_cameras
        )

    def mean_field(
        self, image: NDArray[np.uint8], rotation: NDArray[np.floating] = CAMERA_TO_UPRIGHT
    ) -> TorchField:
        """The mean probability of an image's field over the `reconstruct.poses` likeliest cameras, as `field`."""
        from occnet_lib.networks.folded import MixtureField

        predicted = self.cameras(image[None], self.config.poses)
        projections = self._projections(
            np.repeat(image[None], self.config.poses, 0), predicted.projections[0]
        )
        assert projections is not None
        features = [self._features(image)] * len(projections)
        if self.config.fit:
            features = [self._fitted(image, rotation, camera) for camera in predicted.projections[0]]
        views = zip(features, projections, strict=True)
        fields = [self._folded(own, rotation, projection) for own, projection in views]
        return MixtureField(fields, predicted.probabilities[0].tolist())

    def _folded(
        self, features: tuple[Tensor, ...], rotation: NDArray[np.floating], projection: Tensor | None
    ) -> FoldedDecoder:
        import torch

        from occnet_lib.networks.arrays import tensor_of

        chunk = CPU_CHUNK if self.device == "cpu" else self.config.points_batch
        code, *maps = features
        turn = tensor_of(rotation, dtype=torch.float32)
        return self._network.fold(code, chunk, turn, projection, *maps)

    def view_logits(
        self,
        images: NDArray[np.uint8],
        rotations: NDArray[np.floating],
        points: NDArray[np.floating],
        projections: NDArray[np.floating],
    ) -> NDArray[np.float32]:
        """As `logits`, by predicted instead of given projections where the network predicts cameras."""
        return self.logits(images, rotations, points, None if self.predicts_cameras else projections)

    def logits(
        self,
        images: NDArray[np.uint8],
        rotations: NDArray[np.floating],
        points: NDArray[np.floating],
        projections: NDArray[np.floating] | None = None,
    ) -> NDArray[np.float32]:
        """Logits (V, N) of points (N, 3), unit frame, under each of several images of one shape.

        The images are encoded together. Decoders are not folded, which pays off only for more than some thousand points.

        Args:
            images: (V, H, W, 3) uint8 sRGB on white.
            rotations: (V, 3, 3) as in `field`.
            points: the same for all images.
            projections: (V, 3, 4) as in `field`.
        """
        import torch

        from occnet_lib.networks.arrays import tensor_of

        if projections is None and self.averages_poses:
            return self._mean_logits(images, rotations, points)
        turns = tensor_of(rotations, self.device, torch.float32)
        at = tensor_of(np.asarray(points, dtype=np.float32), self.device)
        at = at.expand(len(images), -1, -1)
        step = max(
            1, (2 * CPU_CHUNK if self.device == "cpu" else self.config.points_batch) // max(len(points), 1)
        )
        codes, *maps = self._all_features(images, rotations, projections)
        with torch.inference_mode():
            cameras = self._projections(images, projections)
            given = (codes, turns) if cameras is None else (codes, turns, cameras, *maps)
            parts = [slice(k, k + step) for k in range(0, len(images), step)]
            logits = [self._network.decode(at[part], *(tensor[part] for tensor in given)) for part in parts]
            array: NDArray[np.float32] = torch.cat(logits).float().cpu().numpy()
        return array

    def _mean_logits(
        self, images: NDArray[np.uint8], rotations: NDArray[np.floating], points: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """`logits` of the mean probability over the likeliest cameras, as `mean_field`."""
        predicted = self.cameras(images, self.config.poses)
        fields = [
            self.logits(images, rotations, points, predicted.projections[:, k])
            for k in range(self.config.poses)
        ]
        logits, weights = np.stack(fields).astype(np.float64), np.log(predicted.probabilities.T)[:, :, None]
        inside, outside = (
            np.logaddexp.reduce(weights - np.logaddexp(0.0, sign * logits)) for sign in (-1, 1)
        )
        mixed: NDArray[np.float32] = (inside - outside).astype(np.float32)
        return mixed
