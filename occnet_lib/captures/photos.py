"""A photo and its camera as a training view: the object on white in a square image of a pinhole camera, with its mask."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import DataError
from occnet_lib.networks.silhouette_labels import coverage_of
from occnet_lib.reconstruction.cutout import Cutout
from occnet_lib.reconstruction.masks import at_border, bounding_box
from occnet_lib.reconstruction.photo import OBJECT_FRACTION, load_photo
from occnet_lib.storage.transforms import Frame

Array = NDArray[np.float64]
_LEAST = 0.25  # coverage below which the middle of a pixel is taken to be beside the object
_UNKNOWN = (
    0.375  # coverage of pixels that are neither background nor object (networks.silhouette_labels.labels_of)
)
_SQUARE = np.ones((3, 3), np.bool_)  # a pixel and its eight neighbours
_MOST_SAMPLES = 8  # of an output pixel along each axis
_ITERATIONS, _CLOSE = 50, 1e-6  # of the inverse of the lens distortion, in tangents


class View(NamedTuple):
    """One photo as a view.

    Attributes:
        image: (S, S, 3) uint8 sRGB, the object on white; its longer edge is `OBJECT_FRACTION` of the image's.
        mask: (S, S) uint8, covered fraction of every pixel in 255ths, 0 if it is below a quarter; between that and a half of
            a pixel that the photo does not show.
        camera_mat: (3, 3) K of the view, in its pixels.
        world_mat: (3, 4) [R | t], world to camera (x right, y down, z forward).
        frame: the photo.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    camera_mat: Array
    world_mat: Array
    frame: Frame


def view_of(frame: Frame, size: int) -> View:
    """Cut the object out as `occnet reconstruct` does, remove the lens distortion, and enlarge the object to its usual size.

    Args:
        frame: the photo and its camera.
        size: pixels along the edge of the view.

    Raises:
        ImageError: as `load_photo`.
        DataError: the lens distortion has no inverse at the object.
    """
    cutout = load_photo(frame.path, view_size=size)
    coverage = object_coverage(cutout)
    height, width = cutout.photo_size
    rows, columns = cutout.box or (slice(0, height), slice(0, width))
    scale = np.array([width, height]) / frame.size
    focal, centre = np.array(frame.intrinsics[:2]) * scale, np.array(frame.intrinsics[2:]) * scale
    offset = np.array([columns.start, rows.start])
    corner, edge = _window(coverage, offset, focal, centre, frame)
    finer = int(np.clip(np.ceil(edge / size), 1, _MOST_SAMPLES))
    steps = (np.arange(size * finer) + 0.5) * (edge / (size * finer))
    u, v = np.meshgrid(corner[0] + steps, corner[1] + steps)
    seen = (
        distorted((np.stack([u, v], -1) - centre) / focal, frame.distortion) * focal + centre - offset - 0.5
    )
    beyond = _UNKNOWN if cutout.touches_border or at_border(coverage > 0) else 0.0

    def sampled(plane: NDArray[np.generic], outside: float) -> Array:
        from scipy.ndimage import map_coordinates

        places = seen[..., 1], seen[..., 0]
        values = map_coordinates(plane.astype(np.float32), places, order=1, mode="constant", cval=outside)
        return np.asarray(values.reshape(size, finer, size, finer).mean(axis=(1, 3)))

    image = np.stack([sampled(cutout.image[..., k], 255.0) for k in range(3)], axis=-1)
    mask = sampled(coverage, beyond)
    mask[mask < _LEAST] = 0.0
    zoom = size / edge
    middle = (centre - corner) * zoom
    camera_mat = np.array([[focal[0] * zoom, 0, middle[0]], [0, focal[1] * zoom, middle[1]], [0, 0, 1]])
    return View(
        image.round().astype(np.uint8),
        (255 * mask).round().astype(np.uint8),
        camera_mat,
        frame.world_mat,
        frame,
    )


def with_margin(view: View, pixels: int) -> View:
    """The view with pixels of the background that are as near to the object marked as not known."""
    from scipy.ndimage import binary_dilation

    if not pixels:
        return view
    near = binary_dilation(view.mask > 0, _SQUARE, iterations=pixels)
    unknown = np.uint8(round(255 * _UNKNOWN))
    return view._replace(mask=np.where(near & (view.mask == 0), unknown, view.mask))


def object_coverage(cutout: Cutout) -> NDArray[np.float32]:
    """(H, W) float32 estimated fraction of each pixel that the object covers.

    Within the object's mask it is 1, also where the object is as white as the background; at the mask's outline it is that
    of the image on white; elsewhere 0.
    """
    from scipy.ndimage import binary_dilation, binary_erosion

    seen = coverage_of(cutout.image)
    if cutout.mask is None:
        return seen
    around = binary_dilation(cutout.mask, _SQUARE)
    within = binary_erosion(cutout.mask, _SQUARE, border_value=1)
    return np.where(within, np.float32(1.0), np.where(around, seen, np.float32(0.0))).astype(np.float32)


def distorted(places: Array, distortion: Array) -> Array:
    """Places (…, 2) as a lens shows them, of those of a pinhole camera: tangents x / z, y / z by OpenCV's model.

    Args:
        places: (…, 2).
        distortion: (5,) k1, k2, p1, p2, k3.
    """
    k1, k2, p1, p2, k3 = distortion
    x, y = places[..., 0], places[..., 1]
    square = x * x + y * y
    radial = 1 + square * (k1 + square * (k2 + square * k3))
    across = 2 * p1 * x * y + p2 * (square + 2 * x * x)
    down = p1 * (square + 2 * y * y) + 2 * p2 * x * y
    return np.stack([x * radial + across, y * radial + down], axis=-1)


def undistorted(places: Array, distortion: Array) -> Array:
    """The inverse of `distorted`, by fixed-point iteration; not a number where it does not converge."""
    straight = places
    with np.errstate(all="ignore"):
        for _ in range(_ITERATIONS):
            straight = straight + places - distorted(straight, distortion)
        off = np.abs(distorted(straight, distortion) - places).max(axis=-1, keepdims=True)
    return np.where(off < _CLOSE, straight, np.nan)


def _window(
    coverage: NDArray[np.float32], offset: Array, focal: Array, centre: Array, frame: Frame
) -> tuple[Array, float]:
    """Left and top, and edge of the square window about the object, in pixels of the photo without distortion."""
    rows, columns = bounding_box(coverage >= 0.5)
    x = np.linspace(columns.start, columns.stop, 5) + offset[0]
    y = np.linspace(rows.start, rows.stop, 5) + offset[1]
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    straight = undistorted((grid - centre) / focal, frame.distortion) * focal + centre
    if not np.isfinite(straight).all():
        lens = f"focal length {frame.intrinsics[0]:g}, distortion {frame.distortion.tolist()}"
        raise DataError(f"its lens ({lens}) has no inverse at the object", path=frame.path)
    low, high = straight.min(axis=(0, 1)), straight.max(axis=(0, 1))
    edge = float((high - low).max()) / OBJECT_FRACTION
    return (low + high - edge) / 2, edge
