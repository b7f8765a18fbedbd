"""The occupancy network: image encoder and point decoder in one module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from occnet_lib.config import ModelConfig

from .decoders import CbnDecoder, FcDecoder
from .encoders import Encoder
from .folded import FoldedDecoder
from .local_features import LocalFeatures
from .pose import PoseNetwork


class OccupancyNetwork(nn.Module):
    """f(p, x): the occupancy logit of point p given image x (Mescheder et al. 2019, equation 2).

    Args:
        model: configuration of the network.
        pretrained: whether to load ImageNet weights; by default `model.pretrained`. Inference passes False because a
            checkpoint has all weights.

    Raises:
        DependencyError: pretrained weights are requested and not available.
    """

    def __init__(self, model: ModelConfig, pretrained: bool | None = None) -> None:
        super().__init__()
        self.model = model
        pretrained = model.pretrained if pretrained is None else pretrained
        self.encoder = Encoder(model.encoder, model.c_dim, pretrained, model.image)
        decoder = CbnDecoder if model.decoder == "cbn" else FcDecoder
        self.decoder = decoder(model.c_dim, model.hidden, model.blocks, model.positional_encoding)
        # Made last, so that the other weights start as those of the same model without it.
        self.local = LocalFeatures(self.encoder.map_channels, model.hidden) if model.local else None
        self.pose = PoseNetwork(model, pretrained) if model.pose else None

    def encode(self, images: Tensor) -> Tensor:
        """Codes (B, c_dim) of images (B, 3, H, W), float in [0, 1] (see `images.encoder_input`)."""
        code: Tensor = self.encoder(images)
        return code

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """What `decode` and `fold` need of images: codes as from `encode`, and of `local` models the encoder's maps."""
        if self.local is None:
            return (self.encode(images),)
        code, maps = self.encoder.with_maps(images)
        return (code, *maps)

    def decode(
        self,
        points: Tensor,
        code: Tensor,
        rotations: Tensor | None = None,
        projections: Tensor | None = None,
        *maps: Tensor,
    ) -> Tensor:
        """Logits (B, T) of points (B, T, 3), unit frame, under codes (B, c_dim).

        Args:
            points: of `frame: camera` models without `rotations` in the camera's frame.
            code: from `encode`.
            rotations: (B, 3, 3), unit frame to camera (of world_mat); only used by `frame: camera` models.
            projections: (B, 3, 4), unit frame to the encoder's input (`framing.input_projections`); only used by
                `local` models, which need them.
            maps: (B, C, h, w) of `features`, of `local` models.
        """
        local = None
        if self.local is not None:
            assert projections is not None
            local = self.local(maps, points, projections)
        if self.model.frame == "camera" and rotations is not None:
            # Not a matrix product, for which autocast would round the points.
            points = (rotations.unsqueeze(1) * points.unsqueeze(2)).sum(-1)
        logits: Tensor = self.decoder(points, code) if local is None else self.decoder(points, code, local)
        return logits

    def forward(
        self,
        images: Tensor,
        points: Tensor,
        rotations: Tensor | None = None,
        projections: Tensor | None = None,
    ) -> Tensor:
        """Logits (B, T) of points (B, T, 3) given images (B, 3, H, W); `rotations` and `projections` as in `decode`."""
        code, *maps = self.features(images)
        return self.decode(points, code, rotations, projections, *maps)

    def fold(
        self,
        code: Tensor,
        chunk: int = 100_000,
        rotation: Tensor | None = None,
        projection: Tensor | None = None,
        *maps: Tensor,
    ) -> FoldedDecoder:
        """The field of one image in evaluation, `f(points (N, 3), unit frame) -> logits (N,)`.

        Args:
            code: (c_dim,) or (1, c_dim), from `encode` in evaluation mode.
            chunk: points per call.
            rotation: (3, 3), as `rotations` in `decode`.
            projection: (3, 4), as `projections` in `decode`.
            maps: (1, C, h, w), as in `decode`.
        """
        flat = code.detach().reshape(self.model.c_dim).to(torch.float32)
        turn = rotation if self.model.frame == "camera" else None
        local = None
        if self.local is not None:
            assert projection is not None
            with torch.no_grad():
                local = self.local.fold(maps, projection)
        return FoldedDecoder(self.decoder, flat, chunk, turn, local)

    @property
    def parameter_count(self) -> int:
        """Number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters())
