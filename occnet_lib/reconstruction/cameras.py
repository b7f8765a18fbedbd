"""Cameras of images: those that a network predicts, and their files for the command line."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from occnet_lib.networks.occupancy_network import OccupancyNetwork


class PredictedCameras(NamedTuple):
    """The likeliest cameras of V images, the likeliest first.

    Attributes:
        projections: (V, K, 3, 4) float64, of the unit frame into the images (`geometry.cameras.image_projection`).
        probabilities: (V, K) float64; they sum to 1.
    """

    projections: NDArray[np.float64]
    probabilities: NDArray[np.float64]


def predict_cameras(
    network: OccupancyNetwork, images: NDArray[np.uint8], options: dict[str, Any], device: str, count: int
) -> PredictedCameras:
    """Cameras of images (V, H, W, 3) by a network with `pose: true`, whose axis is taken to pass through the images' middle.

    Args:
        network: in evaluation mode.
        images: uint8 sRGB on white.
        options: in the network's file.
        device: of the network.
        count: number of hypotheses.
    """
    import torch

    from occnet_lib.networks.framing import input_matrices, network_input
    from occnet_lib.networks.pose import projections_of
    from occnet_lib.networks.projection import principal_points, product

    assert network.pose is not None
    with torch.inference_mode():
        pose, probabilities = network.pose(network_input(images, options, device)).likeliest(count)
        matrices = input_matrices(images, options, device)
        into_input = projections_of(pose, principal_points(matrices).unsqueeze(1))
        into_images = product(torch.linalg.inv(matrices).unsqueeze(1), into_input)
    return PredictedCameras(into_images.double().cpu().numpy(), probabilities.double().cpu().numpy())


def predict_parts(
    network: OccupancyNetwork,
    images: NDArray[np.uint8],
    projections: NDArray[np.floating],
    parts: Collection[str],
    options: dict[str, Any],
    device: str,
) -> NDArray[np.float64]:
    """Projections (V, 3, 4) with some parts of the likeliest predicted cameras and all else of given ones.

    Args:
        network, images, options, device: as in `predict_cameras`.
        projections: (V, 3, 4) into the images.
        parts: names of fields of `networks.pose.Pose`, which are predicted.
    """
    import torch

    from occnet_lib.networks.framing import input_matrices, input_projections, network_input
    from occnet_lib.networks.pose import pose_of, projections_of
    from occnet_lib.networks.projection import principal_points, product

    assert network.pose is not None
    with torch.inference_mode():
        pose, _ = network.pose(network_input(images, options, device)).likeliest(1)
        given = pose_of(input_projections(projections, images, options, device))
        mixed = given._replace(**{name: getattr(pose, name)[:, 0] for name in parts})
        matrices = input_matrices(images, options, device)
        into_input = projections_of(mixed, principal_points(matrices))
        return product(torch.linalg.inv(matrices), into_input).double().cpu().numpy()
