"""Cameras of images: those that a network predicts, and their files for the command line."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from occnet_lib.networks.occupancy_network import OccupancyNetwork
    from occnet_lib.types import Mesh

LEAST_OVERLAP = 0.5
"""Of `box_overlap`: by the true camera, meshes of the demo's network have at least 0.50 (median 0.78), after a fit 0.71;
with the object's size halved or doubled at most 0.43, and 0 with the axes of OpenGL (15 test shapes)."""


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


def box_overlap(mesh: Mesh, image: NDArray[np.uint8], projection: NDArray[np.floating]) -> float:
    """IoU of the bounding box of an object in its image with that of its mesh by the image's camera.

    Args:
        mesh: unit frame.
        image: (H, W, 3) uint8 sRGB on white.
        projection: (3, 4) of the unit frame into fractions of the image.

    Returns:
        0 to 1; 0 if the mesh has no vertex before the camera.
    """
    from occnet_lib.networks.framing import object_box

    height, width, _ = image.shape
    seen = np.array(object_box(image)) / (width, height, width, height)
    places = mesh.vertices @ projection[:, :3].T + projection[:, 3]
    places = places[places[:, 2] > 0]
    if len(places) == 0:
        return 0.0
    places = places[:, :2] / places[:, 2:]
    low, high = places.min(axis=0), places.max(axis=0)
    common = np.prod((np.minimum(seen[2:], high) - np.maximum(seen[:2], low)).clip(min=0.0))
    return float(common / (np.prod(seen[2:] - seen[:2]) + np.prod(high - low) - common))
