"""Where the object of a capture is, and whether its cameras explain its silhouettes: by the visual hull.

The hull is the largest solid with given silhouettes (Laurentini 1994). With correct cameras, the ray through every pixel of
the object meets it, up to errors of the masks. With wrong ones it is empty, or thinner than the silhouettes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from occnet_lib.errors import DataError
from occnet_lib.geometry.cameras import image_projection
from occnet_lib.networks.arrays import tensor_of
from occnet_lib.networks.rays import along, rays_of, within_cube
from occnet_lib.networks.silhouette_labels import BACKGROUND, OBJECT, labels_of
from occnet_lib.reconstruction.photo import OBJECT_FRACTION
from occnet_lib.training.visual_hull import shown

from .folders import Box
from .photos import View

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
FEWEST_VIEWS = 3
LEAST_EXPLAINED = 0.95
"""Of the rays through object pixels, mean over views, that must meet the hull: see docs/how-to/adapt-to-photos.md."""
_RAYS, _SAMPLES = 3000, 96  # of all views of an object; along a ray
_LEAST_SPREAD = 0.01  # smallest eigenvalue of the mean of 1 - d dᵀ: viewing directions within about 6 degrees
_MARGIN, _GRID, _PASSES = 1.3, 48, 3


class Silhouettes(NamedTuple):
    """Labels and cameras of V views.

    Attributes:
        labels: V of (S, S) uint8 (`networks.silhouette_labels.labels_of`).
        camera_mats: (V, 3, 3) K in pixels of the views.
        world_mats: (V, 3, 4).
    """

    labels: list[NDArray[np.uint8]]
    camera_mats: Array
    world_mats: Array

    def projections(self, loc: Array, scale: float) -> Array:
        """(V, 3, 4) of the frame of a box into fractions of the views."""
        size = len(self.labels[0])
        cameras = zip(self.camera_mats, self.world_mats, strict=True)
        return np.stack([image_projection(*camera, loc, scale, size, size) for camera in cameras])

    def only(self, kept: Sequence[int]) -> Silhouettes:
        """Those of some views."""
        labels = [self.labels[i] for i in kept]
        return Silhouettes(labels, self.camera_mats[list(kept)], self.world_mats[list(kept)])


def silhouettes_of(views: Sequence[View]) -> Silhouettes:
    """The silhouettes of views."""
    labels = [labels_of(view.mask / np.float32(255)) for view in views]
    return Silhouettes(
        labels, np.stack([v.camera_mat for v in views]), np.stack([v.world_mat for v in views])
    )


def search_box(silhouettes: Silhouettes) -> Box:
    """A cube that contains the object: about the point nearest to the rays through the middles of the views.

    The rays' distances are weighted by their inverses, so that few wrong cameras hardly move the point.

    Raises:
        DataError: the views have nearly one direction, or no common point, or the object is behind the cameras.
    """
    size = len(silhouettes.labels[0])
    rotations, offsets = silhouettes.world_mats[:, :, :3], silhouettes.world_mats[:, :, 3]
    centres = -np.einsum("vji,vj->vi", rotations, offsets)
    middle = np.linalg.solve(silhouettes.camera_mats, np.array([size / 2, size / 2, 1.0])[:, None])[..., 0]
    rays = np.einsum("vji,vj->vi", rotations, middle)
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    across = np.eye(3) - rays[:, :, None] * rays[:, None, :]
    if np.linalg.eigvalsh(across.mean(0))[0] < _LEAST_SPREAD:
        raise DataError(
            "all photos are taken from nearly one direction", hint="walk around the object, or turn it"
        )
    weights = np.ones(len(rays))
    for _ in range(10):
        system = across * weights[:, None, None]
        try:
            point = np.linalg.solve(system.sum(0), np.einsum("vij,vj->i", system, centres))
        except np.linalg.LinAlgError as error:
            raise DataError("the cameras look at no common point") from error
        away = np.linalg.norm(np.einsum("vij,vj->vi", across, point - centres), axis=1)
        weights = 1.0 / np.maximum(away, 1e-3 * np.linalg.norm(centres - point, axis=1).mean() + 1e-300)
    depths = np.einsum("vi,vi->v", rotations[:, 2], point - centres)
    if np.median(depths) <= 0:
        raise DataError("the object is behind the cameras")
    seen = OBJECT_FRACTION * size * depths / silhouettes.camera_mats[:, 0, 0]
    return point, float(_MARGIN * np.quantile(seen[depths > 0], 0.9))


def contradictions(silhouettes: Silhouettes, box: Box) -> Bools:
    """(V, R, M, V) bool: at M points on each of R rays through object pixels of every view, which views show background.

    Of a ray that misses the cube all do.

    Args:
        silhouettes: of V views.
        box: cube that contains the object.
    """
    count = max(24, _RAYS // len(silhouettes.labels))
    projections = silhouettes.projections(*box)
    size = len(silhouettes.labels[0])
    places = []
    for labels in silhouettes.labels:
        pixels = np.flatnonzero(labels == OBJECT)
        rows, columns = np.divmod(pixels[np.linspace(0, len(pixels) - 1, count).astype(np.intp)], size)
        places.append((np.stack([columns, rows], axis=1) + 0.5) / size)
    rays = rays_of(tensor_of(projections, dtype=torch.float32), torch.from_numpy(np.stack(places)).float())
    ends = within_cube(*rays, 1.0)
    points = along(*rays, ends, _SAMPLES, 0.5).numpy()
    against = np.stack(list(_excluded(points.reshape(-1, 3), silhouettes, projections)), axis=-1)
    against = against.reshape(*points.shape[:-1], -1)
    against[(ends[1] <= ends[0]).numpy()] = True
    return against


def explained(against: Bools, kept: Sequence[int]) -> Array:
    """(K,) fraction of each kept view's rays that meet the hull of the kept views.

    Args:
        against: of `contradictions`.
        kept: indices of views.
    """
    wrong = against[list(kept)][..., list(kept)].any(-1)
    return np.asarray((~wrong).any(-1).mean(-1))


def consistent_views(against: Bools, left_out: float) -> list[int]:
    """Views whose hull explains them: the one is left out without which most is explained, again and again.

    Where no choice explains enough, all views.

    Args:
        against: of `contradictions`.
        left_out: largest fraction of the views to leave out; at least one may be, of more than `FEWEST_VIEWS`.
    """
    everything = list(range(len(against)))
    kept = everything
    while (score := float(explained(against, kept).mean())) < LEAST_EXPLAINED:
        fewest = len(everything) - max(1, int(left_out * len(everything)))
        if len(kept) <= max(FEWEST_VIEWS, fewest):
            return everything
        without = {view: [other for other in kept if other != view] for view in kept}
        scores = {view: float(explained(against, others).mean()) for view, others in without.items()}
        best = max(scores, key=lambda view: scores[view])
        if scores[best] <= score:
            return everything
        kept = without[best]
    return kept


def hull_box(silhouettes: Silhouettes, box: Box) -> Box:
    """Centre and longest edge of the bounding box of the visual hull, to half a percent.

    Args:
        silhouettes: of views that agree.
        box: cube that contains the object; enlarged where the hull reaches its border.

    Raises:
        DataError: the hull is empty, or extends far beyond the cube.
    """
    centre, edge = box
    low, high = centre - edge / 2, centre + edge / 2
    passes = 0
    while passes < _PASSES:
        step = (high - low) / _GRID
        axes = [low[k] + (np.arange(_GRID) + 0.5) * step[k] for k in range(3)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        excluded = _excluded(points - centre, silhouettes, silhouettes.projections(centre, 1.0))
        inside = points[~np.logical_or.reduce(list(excluded))]
        if len(inside) == 0:
            raise DataError("the silhouettes have no point in common")
        bottom, top = inside.min(0) - step / 2, inside.max(0) + step / 2
        reaching = (bottom < low + step / 4).any() or (top > high - step / 4).any()
        if passes == 0 and reaching:
            low, high = low - edge / 4, high + edge / 4
            if (high - low).max() > 3 * edge:
                text = "the silhouettes do not bound the object"
                raise DataError(text, hint="add photos from other directions, or give its place by --box")
            continue
        passes += 1
        low, high = (bottom, top) if passes == _PASSES else (bottom - step, top + step)
    return (low + high) / 2, float((high - low).max())


def _excluded(points: Array, silhouettes: Silhouettes, projections: Array) -> Iterator[Bools]:
    """Which of points (N, 3) each view excludes, (N,) bool.

    A view excludes what it shows as background, and where background surrounds the object also what it does not show; a view
    in which the object is cut off says nothing about that.
    """
    for labels, projection in zip(silhouettes.labels, projections, strict=True):
        within, background = shown(points, labels, projection)
        border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
        yield background | ~within if (border == BACKGROUND).all() else background


def likely_mistake(silhouettes: Silhouettes) -> str:
    """A change of convention with which cameras that do not explain the silhouettes would do so; empty if none does."""
    for change, text in _CHANGES:
        other = silhouettes._replace(world_mats=change(silhouettes.world_mats))
        try:
            against = contradictions(other, search_box(other))
        except DataError:
            continue
        if explained(against, range(len(against))).mean() >= LEAST_EXPLAINED:
            return text
    return ""


def _reversed(world_mats: Array) -> Array:
    return np.asarray(np.diag([1.0, -1.0, -1.0]) @ world_mats)


def _inverted(world_mats: Array) -> Array:
    turned = world_mats[:, :, :3].transpose(0, 2, 1)
    return np.concatenate([turned, -turned @ world_mats[:, :, 3:]], axis=2)


_AXES = "the cameras' axes are OpenCV's where OpenGL's are expected, or the other way round"
_DIRECTION = "the poses are world to camera where camera to world is expected, or the other way round"
_CHANGES: tuple[tuple[Callable[[Array], Array], str], ...] = (
    (_reversed, _AXES),
    (_inverted, _DIRECTION),
    (lambda mats: _reversed(_inverted(_reversed(mats))), _DIRECTION),
    (lambda mats: _inverted(_reversed(mats)), f"{_DIRECTION}, and {_AXES}"),
    (lambda mats: _reversed(_inverted(mats)), f"{_DIRECTION}, and {_AXES}"),
)
