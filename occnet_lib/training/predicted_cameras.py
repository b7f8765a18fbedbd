"""Cameras of views as a network with `pose: true` predicts them, in place of those of the pack.

Photos taken by hand have no cameras. With predicted ones, rays and visual hulls need images alone, and are as wrong as the
predictions are (docs/explanation/what-helps.md).
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from occnet_lib.config import ModelConfig
from occnet_lib.errors import ConfigError
from occnet_lib.networks.checkpoint import load_network
from occnet_lib.networks.framing import input_matrices, network_input
from occnet_lib.networks.occupancy_network import OccupancyNetwork
from occnet_lib.networks.projection import product

from .shape_set import ShapeSet

logger = logging.getLogger(__name__)


def camera_network(model: ModelConfig, name: str) -> tuple[OccupancyNetwork, dict[str, Any]]:
    """The network of `models.<name>.silhouette_cameras`, and its training options.

    Raises:
        DataError: the file is missing or broken.
        ConfigError: it does not predict cameras.
    """
    network, options = load_network(model.silhouette_cameras)
    if network.pose is None:
        raise ConfigError(
            f"`models.{name}.silhouette_cameras` is a network that predicts no cameras: {model.silhouette_cameras}",
            hint="give the best.ckpt of one with `pose: true`",
        )
    return network, options


def predict_cameras(sets: tuple[ShapeSet, ...], model: ModelConfig, name: str, device: str) -> None:
    """Give sets of shapes the cameras that `models.<name>.silhouette_cameras` predicts; without this key do nothing.

    Raises:
        DataError, ConfigError: as `camera_network`.
    """
    if not model.silhouette_cameras:
        return
    network, options = camera_network(model, name)
    network.to(device)
    for shapes in sets:
        shapes.use_cameras([_predicted(network, options, shapes, i, device) for i in range(len(shapes))])
    logger.info("cameras of views are those that %s predicts", model.silhouette_cameras)


def _predicted(
    network: OccupancyNetwork, options: dict[str, Any], shapes: ShapeSet, shape: int, device: str
) -> NDArray[np.float32]:
    """(V, 3, 4) likeliest projections of the unit frame into the images of a shape, as fractions of them."""
    images = [shapes.image(shape, view) for view in range(shapes.views(shape))]
    if len({image.shape for image in images}) > 1:
        return np.concatenate([predicted(network, options, image[None], device) for image in images])
    return predicted(network, options, np.stack(images), device)


def predicted(
    network: OccupancyNetwork, options: dict[str, Any], images: NDArray[np.uint8], device: str = "cpu"
) -> NDArray[np.float32]:
    """(B, 3, 4) float32, likeliest projections of the unit frame into images, as fractions of their width and height.

    Args:
        network: with `pose`, in evaluation mode on `device`.
        options: in the network's file.
        images: (B, H, W, 3) uint8 sRGB on white.
        device: of the network.
    """
    assert network.pose is not None
    matrices = input_matrices(images, options, device)
    with torch.no_grad():
        projections = network.pose(network_input(images, options, device)).projections(matrices)
    cameras: NDArray[np.float32] = product(torch.linalg.inv(matrices), projections).cpu().numpy()
    return cameras
