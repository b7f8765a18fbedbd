"""The occupancy network: image encoder and point decoder in one module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from occnet_lib.config import ModelConfig

from .decoders import CbnDecoder, FcDecoder
from .encoders import Encoder
from .folded import FoldedDecoder


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

    def encode(self, images: Tensor) -> Tensor:
        """Codes (B, c_dim) of images (B, 3, H, W), float in [0, 1] (see `images.encoder_input`)."""
        code: Tensor = self.encoder(images)
        return code

    def decode(self, points: Tensor, code: Tensor, rotations: Tensor | None = None) -> Tensor:
        """Logits (B, T) of points (B, T, 3), unit frame, under codes (B, c_dim).

        Args:
            points: of `frame: camera` models without `rotations` in the camera's frame.
            code: from `encode`.
            rotations: (B, 3, 3), unit frame to camera (of world_mat); only used by `frame: camera` models.
        """
        if self.model.frame == "camera" and rotations is not None:
            # Not a matrix product, for which autocast would round the points.
            points = (rotations.unsqueeze(1) * points.unsqueeze(2)).sum(-1)
        logits: Tensor = self.decoder(points, code)
        return logits

    def forward(self, images: Tensor, points: Tensor, rotations: Tensor | None = None) -> Tensor:
        """Logits (B, T) of points (B, T, 3) given images (B, 3, H, W); `rotations` as in `decode`."""
        return self.decode(points, self.encode(images), rotations)

    def fold(self, code: Tensor, chunk: int = 100_000, rotation: Tensor | None = None) -> FoldedDecoder:
        """The field of one image in evaluation, `f(points (N, 3), unit frame) -> logits (N,)`.

        Args:
            code: (c_dim,) or (1, c_dim), from `encode` in evaluation mode.
            chunk: points per call.
            rotation: (3, 3), as `rotations` in `decode`.
        """
        flat = code.detach().reshape(self.model.c_dim).to(torch.float32)
        return FoldedDecoder(self.decoder, flat, chunk, rotation if self.model.frame == "camera" else None)

    @property
    def parameter_count(self) -> int:
        """Number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters())
