"""Pixel-aligned features: the encoder's maps where a point projects to (DISN, Xu et al. 2019; PIFu, Saito et al. 2019).

The global code is the same for all points; these features say what the image shows at the point itself. They enter the
decoder once, beside its layer for the points.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .projection import bilinear_taps, project, rotations_of

_COORDINATES = 5  # rotated point, image coordinates


class LocalFeatures(nn.Module):
    """Features of points from maps of the encoder: Linear, ReLU, Linear of sampled maps and camera coordinates.

    The last layer starts at zero, so that training starts from the network without these features.

    Args:
        channels: of each map.
        hidden: width of the decoder and of the layer between.
    """

    def __init__(self, channels: Sequence[int], hidden: int) -> None:
        super().__init__()
        self.channels = list(channels)
        self.fc_maps = nn.Linear(sum(channels), hidden, bias=False)
        self.fc_camera = nn.Linear(_COORDINATES, hidden)
        self.fc_out = nn.Linear(hidden, hidden)
        nn.init.zeros_(self.fc_out.weight)
        nn.init.zeros_(self.fc_out.bias)

    def forward(self, maps: Sequence[Tensor], points: Tensor, projections: Tensor) -> Tensor:
        """Features (B, T, hidden) of points (B, T, 3), unit frame.

        Args:
            maps: (B, C, h, w) of the encoder, one for each of `channels`.
            points: unit frame.
            projections: (B, 3, 4) into the encoder's input.
        """
        device = points.device.type
        with torch.autocast(device if device in ("cpu", "cuda") else "cpu", enabled=False):
            places, coordinates = _coordinates(points, projections, rotations_of(projections))
            grid = places.unsqueeze(2)
            sampled = [_sample(level.to(points.dtype), grid) for level in maps]
            camera = self.fc_camera(coordinates)
        features: Tensor = self.fc_out(functional.relu(self.fc_maps(torch.cat(sampled, dim=-1)) + camera))
        return features

    def fold(self, maps: Sequence[Tensor], projection: Tensor) -> FoldedFeatures:
        """The features of one image.

        Args:
            maps: (1, C, h, w) each.
            projection: (3, 4).
        """
        weights = self.fc_maps.weight.split(self.channels, dim=1)
        tables = [
            level[0].flatten(1).T.float() @ weight.T for level, weight in zip(maps, weights, strict=True)
        ]
        sizes = torch.tensor([level.shape[:1:-1] for level in maps])
        return FoldedFeatures(torch.cat(tables), sizes, projection, self.fc_camera, self.fc_out)


class FoldedFeatures:
    """Features of points in one image, with the first layer applied to the maps instead of to every point's sample.

    Interpolation is linear, so the order makes no difference but for rounding.

    Args:
        table: (pixels of all maps, hidden), the maps one after the other.
        sizes: (maps, 2) int64, their widths and heights.
        projection: (3, 4) into the encoder's input.
        camera, out: the other layers.
    """

    def __init__(
        self, table: Tensor, sizes: Tensor, projection: Tensor, camera: nn.Linear, out: nn.Linear
    ) -> None:
        self._table, self._sizes = table.contiguous(), sizes.to(table.device)
        self._projection = projection.to(table.device, torch.float32)[None]
        self._axes = rotations_of(self._projection)
        self._camera_weight, self._camera_bias = camera.weight.detach().float(), camera.bias.detach().float()
        self._weight, self.bias = out.weight.detach().float(), out.bias.detach().float()

    def __call__(self, points: Tensor, *, low_precision: bool = False) -> Tensor:
        """Features (N, hidden) float32 of points (N, 3), without the last layer's bias.

        Args:
            points: unit frame; features can be differentiated twice with respect to them.
            low_precision: compute the last layer in bfloat16.
        """
        places, coordinates = _coordinates(points[None], self._projection, self._axes)
        net = torch.addmm(self._camera_bias, coordinates[0], self._camera_weight.T)
        net = functional.relu(net + self._sampled(places[0]))
        if low_precision:
            return (net.bfloat16() @ self._weight.T.bfloat16()).float()
        return net @ self._weight.T

    def _sampled(self, places: Tensor) -> Tensor:
        """(N, hidden) of the table at places (N, 2).

        For derivatives the polynomial between the pixels is written out, because those of `embedding_bag` are slow and not
        differentiable themselves.
        """
        differentiable = torch.is_grad_enabled() and places.requires_grad
        rows, *weights = bilinear_taps(places, self._sizes, differentiable)
        value, *derivatives = (self._sum(rows, kind) for kind in weights if kind is not None)
        if not differentiable:
            return value
        along_x, along_y, mixed = derivatives
        x, y = (places - places.detach()).split(1, dim=1)
        return value + x * along_x + y * along_y + x * y * mixed

    def _sum(self, rows: Tensor, weights: Tensor) -> Tensor:
        with torch.no_grad():
            return functional.embedding_bag(rows, self._table, per_sample_weights=weights, mode="sum")


def _coordinates(points: Tensor, projections: Tensor, axes: Tensor) -> tuple[Tensor, Tensor]:
    """Image coordinates (B, T, 2) of points, and these beside the points in the axes of the camera, (B, T, 5)."""
    places, _ = project(points, projections)
    turned = (axes.unsqueeze(1) * points.unsqueeze(2)).sum(-1)
    return places, torch.cat([turned, places.clamp(-2.0, 2.0)], dim=-1)


def _sample(level: Tensor, grid: Tensor) -> Tensor:
    """(B, T, C) of a map (B, C, h, w) at places (B, T, 1, 2)."""
    sampled = functional.grid_sample(level, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return sampled.squeeze(3).transpose(1, 2)
