"""Whether a camera fits to an image and the mesh of its object."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from occnet_lib.types import Mesh

LEAST_OVERLAP = 0.5
"""Of `box_overlap`: by the true camera, meshes of the demo's network have at least 0.50 (median 0.78), after a fit 0.71;
with the object's size halved or doubled at most 0.43, and 0 with the axes of OpenGL (15 test shapes)."""


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
