"""Cameras: directions on a sphere, cameras of Choy's protocol and of everyday photos, projection and its inverse.

A camera is an intrinsic matrix K (pixels) and a rigid world_mat [R | t] from the view frame to the camera
(x right, y down, z forward). Pixel (0, 0) is the upper left corner of the image: pixel i covers [i, i + 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from occnet_lib.config import EverydayConfig, ViewsConfig

_FULL_FRAME = 36.0  # mm along the edge of the image, for focal lengths in mm
_MIN_DEPTH = 0.4  # least depth of the object before an everyday camera; the object's diagonal is 1

CHOY_IMAGE_SIZE = 137  # the image edge for which `Views.focal` is given
_GOLDEN_ANGLE = math.pi * (3.0 - math.sqrt(5.0))


def random_rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    """A (3, 3) proper rotation, uniform over all rotations (a unit quaternion of normal deviates)."""
    w, x, y, z = (q := rng.standard_normal(4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def golden_spiral(n: int) -> NDArray[np.float64]:
    """(n, 3) unit vectors evenly distributed on the sphere (Fibonacci lattice); deterministic."""
    i = np.arange(n)
    y = (2.0 * i + 1.0) / n - 1.0
    radius = np.sqrt(1.0 - y * y)
    angle = i * _GOLDEN_ANGLE
    return np.stack([radius * np.cos(angle), y, radius * np.sin(angle)], axis=1)


def random_directions(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(n, 3) directions of `golden_spiral` under one random rotation."""
    return golden_spiral(n) @ random_rotation(rng).T


def orthonormal_frames(forward: ArrayLike) -> NDArray[np.float64]:
    """Camera axes for viewing directions.

    Args:
        forward: (n, 3) viewing directions, of any length but zero.

    Returns:
        (n, 3, 3) proper rotations whose rows are right, down and forward; +y of the world points up in the
        image (for a direction along ±y, right is arbitrary but deterministic).
    """
    forward = np.array(forward, dtype=np.float64)
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    length = np.linalg.norm(right, axis=1, keepdims=True)
    right = np.where(length > 1e-9, right / np.maximum(length, 1e-9), [1.0, 0.0, 0.0])
    down = np.cross(forward, right)
    return np.stack([right, down, forward], axis=1)


def look_at_origin(centres: ArrayLike) -> NDArray[np.float64]:
    """(n, 3, 4) world_mat of upright cameras at `centres` (n, 3) that look at the origin."""
    centres = np.asarray(centres, dtype=np.float64)
    rotation = orthonormal_frames(-centres)
    translation = -np.einsum("nij,nj->ni", rotation, centres)
    return np.concatenate([rotation, translation[:, :, None]], axis=2)


def intrinsics(image_size: int, focal: float) -> NDArray[np.float64]:
    """(3, 3) K of a square image.

    Args:
        image_size: pixels along the image's edge; the principal point is its centre.
        focal: focal length in pixels of an image of `CHOY_IMAGE_SIZE` pixels; it scales with the image.
    """
    f = focal * image_size / CHOY_IMAGE_SIZE
    c = image_size / 2.0
    return np.array([[f, 0.0, c], [0.0, f, c], [0.0, 0.0, 1.0]])


def camera_centres(azimuth: ArrayLike, elevation: ArrayLike, distance: ArrayLike) -> NDArray[np.float64]:
    """(n, 3) camera centres in the view frame of azimuths and elevations in degrees (Choy et al. 2016)."""
    az, el = np.radians(azimuth), np.radians(elevation)
    horizontal = np.cos(el)
    direction = np.stack([horizontal * np.cos(az), np.sin(el) + 0.0 * az, horizontal * np.sin(az)], axis=-1)
    return np.asarray(distance, dtype=np.float64)[..., None] * direction


def choy_cameras(
    n: int, rng: np.random.Generator, config: ViewsConfig
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw n cameras by the rendering protocol of Choy et al. 2016 (3D-R2N2).

    Azimuth is uniform in [0°, 360°), elevation and distance uniform in the ranges of the configuration; the
    camera looks at the origin of the view frame without in-plane rotation.

    Returns:
        camera_mat (n, 3, 3) and world_mat (n, 3, 4), float64, as in `types.Views`.
    """
    azimuth = rng.uniform(0.0, 360.0, n)
    elevation = rng.uniform(*config.elevation, n)
    distance = config.max_distance * rng.uniform(*config.distance, n)
    camera_mat = np.repeat(intrinsics(config.image_size, config.focal)[None], n, axis=0)
    return camera_mat, look_at_origin(camera_centres(azimuth, elevation, distance))


def everyday_cameras(
    vertices: NDArray[np.float64], n: int, rng: np.random.Generator, config: EverydayConfig, image_size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw n cameras in the style of everyday photos.

    Azimuth is uniform in [0°, 360°); elevation, roll and the fraction of the image's edge that the object's projection
    fills are uniform in the ranges of the configuration; the focal length is log-uniform. The longer side of the
    projection's bounding box is exactly that fraction, and the box is off-centre by up to half of the free margin. Where
    a part would be nearer to the camera than 0.4 (thin objects seen along their length), the focal length is the
    longest; if that does not suffice, the object fills less.

    Args:
        vertices: (N, 3) of the object, view frame: its bounding box has the diagonal 1 and the centre 0.
        n: number of cameras.
        rng: generator.
        config: the ranges.
        image_size: pixels along the image's edge.

    Returns:
        camera_mat (n, 3, 3) and world_mat (n, 3, 4), float64, as in `types.Views`.
    """
    azimuth = rng.uniform(0.0, 360.0, n)
    elevation = rng.uniform(*config.elevation, n)
    roll = np.radians(rng.uniform(-config.roll, config.roll, n))
    lens = np.exp(rng.uniform(math.log(config.lens[0]), math.log(config.lens[1]), n))
    fill = rng.uniform(*config.fill, n)
    centre = rng.uniform(-0.25, 0.25, (n, 2)) * (1.0 - fill)[:, None]
    in_plane = np.zeros((n, 3, 3))
    in_plane[:, 0, 0] = in_plane[:, 1, 1] = np.cos(roll)
    in_plane[:, 1, 0] = np.sin(roll)
    in_plane[:, 0, 1] = -in_plane[:, 1, 0]
    in_plane[:, 2, 2] = 1.0
    rotation = in_plane @ orthonormal_frames(-camera_centres(azimuth, elevation, np.ones(n)))
    window = centre[:, :, None] + 0.5 * fill[:, None, None] * np.array([-1.0, 1.0])
    nearest = -_support(vertices, -rotation[:, 2])
    tangents = window * (_FULL_FRAME / lens)[:, None, None]
    depth = _translation(vertices, rotation, tangents, np.zeros(n))[:, 2]
    lens[depth + nearest < _MIN_DEPTH] = config.lens[1]
    tangents = window * (_FULL_FRAME / lens)[:, None, None]
    translation = _translation(vertices, rotation, tangents, _MIN_DEPTH - nearest)
    camera_mat = np.stack([intrinsics(image_size, CHOY_IMAGE_SIZE * mm / _FULL_FRAME) for mm in lens])
    return camera_mat, np.concatenate([rotation, translation[:, :, None]], axis=2)


def _translation(
    vertices: NDArray[np.float64],
    rotation: NDArray[np.float64],
    window: NDArray[np.float64],
    least_depth: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Translations that bring an object as near to the camera as it fits into a window of the image.

    A point p of the object is inside a window's lower end l if x + t_x >= l (z + t_z), which is linear in t; so all points
    are inside if the extreme one in one direction is.

    Args:
        vertices: (N, 3) of the object.
        rotation: (n, 3, 3) of the cameras.
        window: (n, 2, 2) lower and upper end along the image's two axes, as tangents x / z.
        least_depth: (n,) least t_z.

    Returns:
        (n, 3) float64; along the axis with free space, the object is centred in the window.
    """
    low, high = window[:, :, 0], window[:, :, 1]
    across, ahead = rotation[:, :2], rotation[:, 2:]
    beyond_low = _support(vertices, low[:, :, None] * ahead - across)
    beyond_high = _support(vertices, across - high[:, :, None] * ahead)
    depth = np.maximum(((beyond_low + beyond_high) / (high - low)).max(axis=1), least_depth)[:, None]
    sideways = 0.5 * (low * depth + beyond_low + high * depth - beyond_high)
    return np.concatenate([sideways, depth], axis=1)


def _support(vertices: NDArray[np.float64], directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """(...) support function: largest product of any vertex (N, 3) with each of the directions (..., 3)."""
    columns = directions.reshape(-1, 3).T
    largest = np.full(columns.shape[1], -np.inf)
    for start in range(0, len(vertices), 8192):
        np.maximum(largest, (vertices[start : start + 8192] @ columns).max(axis=0), out=largest)
    return largest.reshape(directions.shape[:-1])


@dataclass(frozen=True)
class Camera:
    """One camera of an object.

    Attributes:
        camera_mat: (3, 3) K in pixels.
        world_mat: (3, 4) [R | t], world to camera (x right, y down, z forward).
        width, height: of the image in pixels.
        loc: (3,) and `scale`: `x_world = scale * x_unit + loc`. The unit frame's +y is up, its origin is the centre of the
            object's bounding box, whose longest edge is 1.
    """

    camera_mat: NDArray[np.float64]
    world_mat: NDArray[np.float64]
    width: float
    height: float
    loc: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    scale: float = 1.0

    @property
    def projection(self) -> NDArray[np.float64]:
        """(3, 4) as `image_projection`."""
        frame = self.world_mat, self.loc, self.scale
        return image_projection(self.camera_mat, *frame, self.width, self.height)

    @property
    def rotation(self) -> NDArray[np.float64]:
        """(3, 3), unit frame to camera."""
        return self.world_mat[:, :3]


def project(
    points: ArrayLike, camera_mat: ArrayLike, world_mat: ArrayLike, loc: ArrayLike, scale: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixels of points: K (R (scale p + loc) + t), divided by its third component.

    Args:
        points: (N, 3), unit frame.
        camera_mat: (3, 3) K in pixels.
        world_mat: (3, 4) [R | t], view frame to camera.
        loc: (3,) and `scale`: unit frame to view frame.

    Returns:
        uv (N, 2) float64 pixel coordinates and depth (N,) float64 along the optical axis in view-frame
        units; where depth is not positive the point is behind the camera and uv is NaN.
    """
    world_mat = np.asarray(world_mat, dtype=np.float64)
    view = np.asarray(points, dtype=np.float64) * float(scale) + np.asarray(loc, dtype=np.float64)
    camera = view @ world_mat[:, :3].T + world_mat[:, 3]
    depth = camera[:, 2].copy()
    image = camera @ np.asarray(camera_mat, dtype=np.float64).T
    third = np.where(image[:, 2:] > 0, image[:, 2:], np.nan)
    return image[:, :2] / third, depth


def image_projection(
    camera_mat: ArrayLike, world_mat: ArrayLike, loc: ArrayLike, scale: float, width: float, height: float
) -> NDArray[np.float64]:
    """(3, 4) projection of homogeneous points of the unit frame into an image, without its size and the view frame's scale.

    Args:
        camera_mat, world_mat, loc, scale: as in `project`.
        width, height: of the image in pixels.

    Returns:
        float64; the quotients of its first two rows by the third are fractions of the width and height from the upper left
        corner, the third is the depth in units of the unit frame.
    """
    world_mat = np.asarray(world_mat, dtype=np.float64)
    rotation, offset = world_mat[:, :3], world_mat[:, :3] @ np.asarray(loc, np.float64) + world_mat[:, 3]
    rigid = np.concatenate([rotation, offset[:, None] / float(scale)], axis=1)
    projection: NDArray[np.float64] = (
        np.diag([1.0 / width, 1.0 / height, 1.0]) @ np.asarray(camera_mat, np.float64) @ rigid
    )
    return projection


def rotations_of(projections: NDArray[np.float64]) -> NDArray[np.float64]:
    """(…, 3, 3) rotations, unit frame to camera, of projections (…, 3, 4) without skew."""
    along = projections[..., 2:, :3] / np.linalg.norm(projections[..., 2:, :3], axis=-1, keepdims=True)
    rows = projections[..., :2, :3]
    rows = rows - (rows * along).sum(-1, keepdims=True) * along
    rows = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.concatenate([rows, along], axis=-2)


def camera_of(projection: NDArray[np.float64], width: float, height: float) -> Camera:
    """The camera of a projection (3, 4) into an image of that size in pixels; the world is the unit frame."""
    scaled = np.diag([width, height, 1.0]) @ projection / np.linalg.norm(projection[2, :3])
    rotation = rotations_of(scaled)
    camera_mat = scaled[:, :3] @ rotation.T
    camera_mat[np.tril_indices(3, -1)] = 0.0
    camera_mat[0, 1], camera_mat[2, 2] = 0.0, 1.0
    offset = np.linalg.solve(camera_mat, scaled[:, 3])
    return Camera(camera_mat, np.concatenate([rotation, offset[:, None]], axis=1), width, height)
