"""The shapes of several pack shards: images, cameras and points, kept in memory where the set is small."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import TrainConfig
from occnet_lib.networks.silhouette_labels import coverage_of
from occnet_lib.storage.packs import Shard

# Limit of `cache: auto` in bytes, over all loading processes.
CACHE_BYTES = 2 * 10**9


Window = tuple[NDArray[np.float16], NDArray[np.bool_]]


class ShapeSet:
    """The shapes of several shards, concatenated; small sets are kept in memory once read.

    Args:
        shards: files of the pack.
        train: section `train`; `cache` and `workers` are used.
        only: names (`<category>/<id>`) of the shapes to use; None: all.
    """

    def __init__(
        self, shards: Sequence[Path], train: TrainConfig, only: Collection[str] | None = None
    ) -> None:
        self._shards = [Shard(path) for path in shards]
        members = [(key.name, (shard, i)) for shard in self._shards for i, key in enumerate(shard.keys)]
        members = [(name, place) for name, place in members if only is None or name in only]
        self.names = [name for name, _ in members]
        self._places = [place for _, place in members]
        self._cameras: Sequence[NDArray[np.float32]] | None = None
        self._images: dict[tuple[int, int], NDArray[np.uint8]] = {}
        self._points: dict[int, Window] = {}
        self._near: dict[int, Window] = {}
        cache, processes = train.hardware.cache, max(1, train.hardware.loading_processes)
        self.cached = cache == "ram" or (cache == "auto" and self.nbytes() * processes <= CACHE_BYTES)

    def __len__(self) -> int:
        return len(self._places)

    def views(self, shape: int) -> int:
        """Number of images of a shape."""
        return self._places[shape][0].views

    def points_of(self, shape: int) -> int:
        """Number of points of a shape."""
        return self._places[shape][0].points_per_shape

    def image(self, shape: int, view: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 sRGB."""
        if (cached := self._images.get((shape, view))) is not None:
            return cached
        shard, i = self._places[shape]
        image = shard.image(i, view)
        if self.cached:
            self._images[shape, view] = image
        return image

    def image_sizes(self) -> set[tuple[int, int]]:
        """All occurring image sizes (width, height)."""
        return {
            shard.image_size(i, view)
            for shard in self._shards
            for i in range(len(shard))
            for view in range(shard.views)
        }

    def use_cameras(self, cameras: Sequence[NDArray[np.float32]]) -> None:
        """Use these projections, (V, 3, 4) of each shape, in place of the cameras of the packs."""
        self._cameras = cameras

    def rotation(self, shape: int, view: int) -> NDArray[np.float32]:
        """(3, 3) float32, unit frame to the camera of an image."""
        shard, i = self._places[shape]
        _, world_mat, _, _ = shard.camera(i, view)
        return world_mat[:, :3].astype(np.float32)

    def camera(self, shape: int, view: int) -> NDArray[np.float32]:
        """(3, 4) float32, projection of the unit frame into an image (`geometry.cameras.image_projection`)."""
        if self._cameras is not None:
            return self._cameras[shape][view]
        shard, i = self._places[shape]
        return shard.projection(i, view, self.image(shape, view).shape).astype(np.float32)

    def coverage(self, shape: int, view: int) -> NDArray[np.float32]:
        """(H, W) float32 fraction of each pixel that the shape covers: the stored mask, or by the image."""
        shard, i = self._places[shape]
        return shard.mask(i, view) if "mask" in shard.extra else coverage_of(self.image(shape, view))

    def near_of(self, shape: int) -> int:
        """Number of points near the surface of a shape, in addition to the uniform ones."""
        return self._places[shape][0].near_per_shape

    def points(self, shape: int, start: int, count: int) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
        """(count, 3) float16 and (count,) bool from `start` on, wrapping around at the end."""
        shard, i = self._places[shape]
        return self._window(
            self._points, shape, start, count, partial(shard.points, i), self.points_of(shape)
        )

    def near(self, shape: int, start: int, count: int) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
        """The same of the points near the surface; of none a shard need not have any."""
        if count == 0:
            return np.zeros((0, 3), np.float16), np.zeros(0, np.bool_)
        shard, i = self._places[shape]
        return self._window(self._near, shape, start, count, partial(shard.near, i), self.near_of(shape))

    def _window(
        self,
        cache: dict[int, Window],
        shape: int,
        start: int,
        count: int,
        read: Callable[..., Window],
        total: int,
    ) -> Window:
        if self.cached:
            if shape not in cache:
                cache[shape] = read()
            points, occupancies = cache[shape]
            points, occupancies = points[start : start + count], occupancies[start : start + count]
        else:
            points, occupancies = read(start, min(count, total - start))
        if len(points) < count:
            return np.resize(points, (count, 3)), np.resize(occupancies, count)
        return points, occupancies

    def fingerprint(self) -> list[Any]:
        """Plain values that change with the shapes or their data; reads two shapes per shard."""
        values: list[Any] = list(self.names)
        for shard in self._shards:
            values += [shard.views, shard.points_per_shape, shard.path.stat().st_size]
            for i in {0, len(shard) - 1} if len(shard) else set():
                if shard.points_per_shape:
                    points, occupancies = shard.points(i, 0, min(256, shard.points_per_shape))
                    values += [points.tobytes().hex(), occupancies.tobytes().hex()]
                values.append(shard.image_bytes(i, 0).hex())
        return values

    def nbytes(self) -> int:
        """Memory in bytes of all decoded data."""
        return sum(
            len(shard)
            * (7 * (shard.points_per_shape + shard.near_per_shape) + shard.views * shard.image(0, 0).nbytes)
            for shard in self._shards
            if len(shard)
        )
