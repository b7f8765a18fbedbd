"""Items from pack shards: an image and a sample of points with their occupancies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from occnet_lib import seeds
from occnet_lib.config import ImagesConfig, ModelConfig, TrainConfig
from occnet_lib.errors import DataError
from occnet_lib.networks.framing import moved, object_window, within

from .batch import Item
from .mirroring import MIRROR, mirrored
from .shape_set import ShapeSet, Window
from .silhouettes import SilhouettePool
from .visual_hull import POINTS as HULL_POINTS
from .visual_hull import HullLabels


class Jitter(NamedTuple):
    """Shift, scale and roll of an object in its image (`networks.framing.moved`)."""

    shift: NDArray[np.float64]
    scale: float
    roll: float | None


class SampleIndices(NamedTuple):
    """What chance decides about an item: view, start of its windows of points, crop, place, mirroring, brightness."""

    view: int
    start: int
    crop: NDArray[np.float64] | None
    near: int
    jitter: Jitter | None
    mirrored: bool
    gamma: float | None


UNFRAMED = ImagesConfig(framing="camera")
"""Images as they are."""

PLAIN = ModelConfig()
"""A model that needs images, points and occupancies alone."""


class TrainingItems(Dataset[Item]):
    """A random view and a random window of the points, whose stored order is random.

    An item is indexed by (epoch, shape) and depends only on the seed and these two, not on the loading process. The window
    of points starts at a multiple of 8, where a byte of packed occupancies does. Section `train.data`: with `balance` the
    window is that many times as long, and `balanced_choice` selects `points` of it; with `crop` the image is cropped to a
    random square of at least that fraction of its area; with `near_points` a window of points near the surface is added.
    With `images.framing: object` the image's window is that of the object, jittered; see `images` for gamma and mirror.
    With `model` an item has what that model needs in addition: the camera of its image, pixels of silhouettes, the same
    points under another view, and without 3D labels no points.

    Raises:
        DataError: `train.data.near_points` and a shard without points near the surface, or `consistency` and a single view.
    """

    def __init__(
        self,
        shapes: ShapeSet,
        train: TrainConfig,
        seed: int,
        images: ImagesConfig = UNFRAMED,
        model: ModelConfig = PLAIN,
    ) -> None:
        data = train.data
        self.cameras, self._labels_from = model.needs_cameras, model.labels
        self._hull = HullLabels(shapes, seed) if model.labels == "hull" else None
        self._pairs = model.consistency > 0
        self._pool = SilhouettePool(shapes, train.rays, seed) if model.silhouettes else None
        self.uses_views = model.uses_other_views
        self.shapes, self.count, self._seed = shapes, data.points, seed
        self._images = images
        self._frames: dict[tuple[int, int, bool], NDArray[np.float32] | None] = {}  # of images kept in memory
        self.mirrors = images.mirror
        self._balance, self._crop, self.near_count = max(1, data.balance), data.crop, data.near_points
        if model.labels != "3d":
            self.near_count = 0
        if model.labels == "none":
            self.count = 0
        if self._pairs and any(shapes.views(i) < 2 for i in range(len(shapes))):
            raise DataError("`consistency` needs at least two views of a shape; the pack has one")
        if self.near_count and (bare := [i for i in range(len(shapes)) if not shapes.near_of(i)]):
            raise DataError(
                f"the pack holds no points near the surface of {shapes.names[bare[0]]}",
                hint="set points.near_surface (0.05, for example) or train.data.near_points: 0",
            )

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: tuple[int, int]) -> Item:
        epoch, shape = index
        draw = self.draw(epoch, shape)
        points, occupancies = self._labels(shape, draw.start)
        near, near_occupancies = self.shapes.near(shape, draw.near, self.near_count)
        occupied_fraction = float(occupancies.mean()) if len(occupancies) else 0.0
        if len(points) > self.count:
            chosen = balanced_choice(occupancies, self.count)
            points, occupancies = points[chosen], occupancies[chosen]
        if draw.mirrored:
            points, near = points * MIRROR, near * MIRROR
        image, rotation, window, camera = self._seen(shape, draw)
        around = window, near, near_occupancies, draw.gamma, camera
        item = Item(shape, image, points, occupancies, occupied_fraction, rotation, *around)
        return self._with_views(item, epoch, draw) if self.uses_views else item

    def _labels(self, shape: int, start: int) -> Window:
        """A window of points and their occupancies; without 3D labels none are read."""
        if self._labels_from == "none":
            return np.zeros((0, 3), np.float16), np.zeros(0, np.bool_)
        source = self.shapes if self._hull is None else self._hull
        return source.points(shape, start, self.window(shape))

    def _seen(self, shape: int, draw: SampleIndices) -> tuple[Any, ...]:
        """Image, rotation, window and camera of a view."""
        view = draw.view
        image, rotation = self.shapes.image(shape, view), self.shapes.rotation(shape, view)
        camera = self.shapes.camera(shape, view) if self.cameras else None
        if draw.mirrored:
            image, rotation = image[:, ::-1], rotation * np.outer(MIRROR, MIRROR)
            camera = None if camera is None else mirrored(camera)
        return image, rotation, self.window_of(draw, self._frame_of(shape, draw, image)), camera

    def _with_views(self, item: Item, epoch: int, draw: SampleIndices) -> Item:
        """An item with what it needs of the shape's other views."""
        if self._pool is not None:
            item = replace(item, silhouettes=self._pool.training(epoch, item.shape, draw.mirrored))
        if self._pairs:
            second = self.draw(epoch, item.shape, "train second view")._replace(mirrored=draw.mirrored)
            if second.view == draw.view:
                second = second._replace(view=(draw.view + 1) % self.shapes.views(item.shape))
            image, rotation, window, camera = self._seen(item.shape, second)
            seen = {"image": image, "rotation": rotation, "window": window, "camera": camera}
            item = replace(item, other=replace(item, gamma=second.gamma, silhouettes=None, **seen))
        return item

    def frame(self, image: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """The window around the object of an image (`framing.object_window`), where images are framed."""
        return object_window(image, self._images.fill) if self._images.framing == "object" else None

    def _frame_of(
        self, shape: int, draw: SampleIndices, image: NDArray[np.uint8]
    ) -> NDArray[np.float32] | None:
        """`frame` of an item's image, kept like the image."""
        place = shape, draw.view, draw.mirrored
        if place in self._frames:
            return self._frames[place]
        frame = self.frame(image)
        if self.shapes.cached:
            self._frames[place] = frame
        return frame

    def window_of(self, draw: SampleIndices, frame: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
        """The part of an image that the encoder sees: the jittered frame, then the crop."""
        if draw.jitter is not None and frame is not None:
            frame = moved(frame, *draw.jitter)
        if draw.crop is None:
            return frame
        return within(np.array([0.0, 0.0, 1.0, 1.0], np.float32) if frame is None else frame, draw.crop)

    def window(self, shape: int) -> int:
        """Number of points to read: at least the requested number, repeated if a shape has fewer."""
        return max(self.count, min(self.count * self._balance, self._available(shape)))

    def _available(self, shape: int) -> int:
        """Number of uniform points of a shape."""
        return self.shapes.points_of(shape) if self._hull is None else HULL_POINTS

    def draw(self, epoch: int, shape: int, what: str = "train") -> SampleIndices:
        """The random indices of an item."""
        rng = seeds.rng(self._seed, what, f"{epoch}/{shape}")
        view = int(rng.integers(self.shapes.views(shape)))
        room = max(0, self._available(shape) - self.window(shape))
        start = 8 * int(rng.integers(room // 8 + 1))
        crop = None
        if self._crop < 1.0:
            edge = rng.uniform(self._crop, 1.0) ** 0.5
            crop = np.array([edge, *rng.uniform(0.0, 1.0 - edge, 2)])
        near = 0
        if self.near_count:
            room = max(0, self.shapes.near_of(shape) - self.near_count)
            near = 8 * int(rng.integers(room // 8 + 1))
        jitter = self._jitter(rng) if self._images.jitters else None
        # Drawn last, so that all the rest is the same without them.
        mirrored = self._images.mirror and bool(rng.random() < 0.5)
        gamma = self._images.gamma ** rng.uniform(-1.0, 1.0) if self._images.gamma > 1.0 else None
        return SampleIndices(view, start, crop, near, jitter, mirrored, gamma)

    def _jitter(self, rng: np.random.Generator) -> Jitter:
        images = self._images
        shift, scale = rng.uniform(-images.shift, images.shift, 2), rng.uniform(-images.scale, images.scale)
        roll = np.radians(rng.uniform(-images.roll, images.roll)) if images.roll else None
        return Jitter(shift, 1.0 + scale, roll)


def balanced_choice(occupancies: NDArray[np.bool_], count: int) -> NDArray[np.intp]:
    """Indices (count,) of the first points of which half, or all available ones, are occupied.

    For points in random order these are random samples of the occupied and of the free points. Occupied points are a few
    per cent of uniform ones, so a uniform sample contains few of them.

    Args:
        occupancies: (T,) bool, T at least `count`.
        count: number of points to choose.
    """
    occupied, free = np.flatnonzero(occupancies), np.flatnonzero(~occupancies)
    taken = min(len(occupied), max(count // 2, count - len(free)))
    return np.concatenate([occupied[:taken], free[: count - taken]])


class ValidationItems(Dataset[Item]):
    """View 0 (as ONet) and the first `validation_points` points of every shape; without 3D labels rays of other views."""

    def __init__(
        self,
        shapes: ShapeSet,
        train: TrainConfig,
        images: ImagesConfig = UNFRAMED,
        model: ModelConfig = PLAIN,
    ) -> None:
        self.shapes, self._count, self._images = shapes, train.checkpoint.validation_points, images
        self._cameras = model.needs_cameras
        self._pool = None if model.labels == "3d" else SilhouettePool(shapes, train.rays, 0)

    @property
    def labelled(self) -> bool:
        """Whether items have points and occupancies."""
        return self._pool is None

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, shape: int) -> Item:
        points, occupancies, silhouettes = np.zeros((0, 3), np.float16), np.zeros(0, np.bool_), None
        if self._pool is not None:
            silhouettes = self._pool.validation(shape, self._count)
        else:
            points, occupancies = self.shapes.points(shape, 0, min(self._count, self.shapes.points_of(shape)))
        image, rotation = self.shapes.image(shape, 0), self.shapes.rotation(shape, 0)
        framed = self._images.framing == "object"
        window = object_window(image, self._images.fill) if framed else None
        fraction = float(occupancies.mean()) if len(occupancies) else 0.0
        camera = self.shapes.camera(shape, 0) if self._cameras else None
        plain = shape, image, points, occupancies, fraction, rotation, window
        return Item(*plain, camera=camera, silhouettes=silhouettes)
