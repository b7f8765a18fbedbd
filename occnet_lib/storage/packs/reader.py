"""Reading of pack files (docs/architecture.md, "Pack file")."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import DataError
from occnet_lib.geometry.cameras import image_projection
from occnet_lib.storage import hdf5
from occnet_lib.types import DEPTH_STEP, Mesh, PointSet, Samples, ShapeKey

from . import image_codec, point_codec
from .image_codec import EXTRA
from .pack_file import PackFile
from .writer import SAMPLES, SCHEMA_VERSION, offsets_of

_FRAMES = ("camera_mat", "world_mat", "view_loc", "view_scale", "loc", "scale")
_DATASETS = (
    *("category", "id", "points", "occupancies", "surface", "normals", "voxels", "images", "image_offsets"),
    *_FRAMES,
    *("vertices", "faces", "mesh_offsets"),
)


def verify(path: str | Path) -> None:
    """Read a pack file as a whole and compare it with its checksum, which detects damage to any byte (1 CPU s per GB).

    Reading single arrays does not: images and compressed data have checksums of their own, points have none. A job that
    reads much of a pack file verifies it once, before it begins.

    Raises:
        DataError: the file is missing, damaged or of another schema version.
    """
    hdf5.verify_checksum(path)
    verify_structure(path)


def verify_structure(path: str | Path) -> None:
    """Verify that a pack file opens and has all required datasets.

    Raises:
        DataError: the file is missing, truncated, damaged in its structure or of another schema version.
    """
    hdf5.open_checked(path, SCHEMA_VERSION, _DATASETS).close()


def verified_shapes(paths: Iterable[Path]) -> Iterator[tuple[Shard, int, ShapeKey]]:
    """All shapes of several pack files, each of which is verified first: shard, index in it, and key.

    Raises:
        DataError: as `verify`, or a shape is in two shards.
    """
    names: set[str] = set()
    for path in paths:
        verify(path)
        shard = Shard(path)
        for i, key in enumerate(shard.keys):
            if key.name in names:
                raise DataError(f"shape {key.name} is in another shard, too", path=path)
            names.add(key.name)
            yield shard, i, key
        shard.close()


class Shard(PackFile):
    """The content of a pack file.

    Args:
        path: the pack file.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, SCHEMA_VERSION, _DATASETS)

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def name(self) -> str:
        """Name of the shard, `<split>-<number>`."""
        with self._reading() as file:
            return str(file.attrs["shard"])

    @cached_property
    def split(self) -> str:
        """Split of the shard: train, val or test."""
        with self._reading() as file:
            return str(file.attrs["split"])

    @cached_property
    def keys(self) -> list[ShapeKey]:
        """The shapes, in the order of the indices of all other methods."""
        with self._reading() as file:
            names = zip(file["category"].asstr()[()], file["id"].asstr()[()], strict=True)
            return [ShapeKey(category, id, split=self.split, shard=self.name) for category, id in names]

    @cached_property
    def views(self) -> int:
        """Number of images per shape."""
        return int(self._index["camera_mat"].shape[1])

    @cached_property
    def points_per_shape(self) -> int:
        """Number of uniform points per shape."""
        with self._reading() as file:
            return int(file["points"].shape[1])

    def points(
        self, i: int, start: int = 0, count: int | None = None
    ) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
        """A window of the uniform points of shape `i`: (count, 3) float16 and (count,) bool, unit frame.

        The points are in random order, so a window is a random sample.

        Raises:
            IndexError: the window exceeds the points.
            DataError: the file is missing or corrupt, or its shapes are photos without points.
        """
        if self.points_per_shape == 0:
            hint = "train with `labels: hull` or `labels: none`"
            raise DataError("holds photos without 3D shapes, so it has no points", path=self.path, hint=hint)
        return self._points("", i, start, count, self.points_per_shape)

    @cached_property
    def near_per_shape(self) -> int:
        """Number of points near the surface per shape, in addition to the uniform ones."""
        with self._reading() as file:
            return int(file["near_points"].shape[1]) if "near_points" in file else 0

    def near(
        self, i: int, start: int = 0, count: int | None = None
    ) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
        """As `points`, for the points near the surface, which have the density of `types.NearSurface`."""
        return self._points("near_", i, start, count, self.near_per_shape)

    def _points(
        self, kind: str, i: int, start: int, count: int | None, total: int
    ) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
        count = total - start if count is None else count
        if start < 0 or count < 0 or start + count > total:
            raise IndexError(f"{kind}points {start}:{start + count} of {total}")
        with self._reading():
            first, shift = divmod(start, 8)
            bits = self._read(f"{kind}occupancies", i, first, (start + count + 7) // 8)
            return self._read(f"{kind}points", i, start, start + count), hdf5.unpack_bits(bits, count, shift)

    def surface(self, i: int) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
        """Surface points and outward unit normals of shape `i`: twice (M, 3) float16, unit frame."""
        with self._reading() as file:
            normals = file["normals"][i]
        return self.surface_points(i), point_codec.shuffled(normals)

    def surface_points(self, i: int) -> NDArray[np.float16]:
        """The points of `surface` alone, in half the time."""
        with self._reading() as file:
            surface = file["surface"][i]
        return point_codec.decode(surface)

    def voxels(self, i: int) -> NDArray[np.bool_]:
        """(R, R, R) bool occupancy grid of shape `i`, indexed [x, y, z]."""
        return self._grid("voxels", i)

    def surface_voxels(self, i: int) -> NDArray[np.bool_] | None:
        """(R, R, R) bool: which voxels the surface of shape `i` intersects; None if unknown (imported)."""
        with self._reading() as file:
            return self._grid("surface_voxels", i) if "surface_voxels" in file else None

    def _grid(self, name: str, i: int) -> NDArray[np.bool_]:
        with self._reading() as file:
            edge = int(file["voxels"].attrs["resolution"])
            return hdf5.unpack_bits(file[name][i], edge**3).reshape(edge, edge, edge)

    def samples(self, i: int) -> Samples:
        """The point sets of shape `i` for other implicit models (section `samples`), possibly none."""
        sets: dict[str, dict[str, NDArray[Any]]] = defaultdict(dict)
        with self._reading() as file:
            for dataset in sorted(name for name in file if name.startswith(SAMPLES)):
                name, _, what = dataset.removeprefix(SAMPLES).rpartition("_")
                sets[name][what] = file[dataset][i]
        return Samples({name: PointSet(**values) for name, values in sets.items()})

    def image_bytes(self, i: int, view: int) -> bytes:
        """Bytes of one image: PNG, or JPEG if it was imported as such."""
        return self._bytes("images", i, view)

    def image(self, i: int, view: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 sRGB image."""
        with self._naming(i, view):
            return image_codec.decode(self.image_bytes(i, view))

    def image_size(self, i: int, view: int) -> tuple[int, int]:
        """Width and height of an image, without decoding it."""
        with self._naming(i, view):
            return image_codec.size(self.image_bytes(i, view))

    @cached_property
    def extra(self) -> tuple[str, ...]:
        """Which of depth, mask and normals the views have."""
        with self._reading() as file:
            return tuple(name for name in EXTRA if offsets_of(EXTRA[name]) in file)

    def depth(self, i: int, view: int) -> NDArray[np.float32]:
        """(H, W) float32 distance along the camera axis, in units of the view frame, at pixel centres; 0: background."""
        return self._extra("depth", i, view) * np.float32(DEPTH_STEP)

    def mask(self, i: int, view: int) -> NDArray[np.float32]:
        """(H, W) float32 fraction of every pixel that the shape covers."""
        return (self._extra("mask", i, view) / 255).astype(np.float32)

    def normal_map(self, i: int, view: int) -> NDArray[np.float32]:
        """(H, W, 3) float32 unit normals at pixel centres in the camera frame; 0: background."""
        values = self._extra("normals", i, view)
        normals = np.where(values.any(axis=2, keepdims=True), values.astype(np.float32) - 128, np.float32(0))
        lengths = np.linalg.norm(normals, axis=2, keepdims=True)
        return (normals / np.where(lengths > 0, lengths, 1)).astype(np.float32)

    def camera(
        self, i: int, view: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float]:
        """camera_mat (3, 3), world_mat (3, 4), view_loc (3,) and view_scale of one image (types.Views)."""
        index = self._index
        scale = float(index["view_scale"][i])
        return index["camera_mat"][i, view], index["world_mat"][i, view], index["view_loc"][i], scale

    def projection(self, i: int, view: int, size: tuple[int, ...]) -> NDArray[np.float64]:
        """(3, 4) projection of the unit frame into an image of height and width `size` (cameras.image_projection)."""
        return image_projection(*self.camera(i, view), width=size[1], height=size[0])

    def seen(
        self, i: int, views: Sequence[int]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64]]:
        """Images (V, H, W, 3) of some views, and their cameras' rotations (V, 3, 3) and `projection` (V, 3, 4)."""
        images = np.stack([self.image(i, view) for view in views])
        rotations = np.stack([self.camera(i, view)[1][:, :3] for view in views])
        return images, rotations, np.stack([self.projection(i, view, images.shape[1:3]) for view in views])

    def frame(self, i: int) -> tuple[NDArray[np.float64], float]:
        """loc (3,) and scale of shape `i`: `x_source = scale * x_unit + loc`."""
        return self._index["loc"][i], float(self._index["scale"][i])

    def mesh(self, i: int) -> Mesh:
        """The closed mesh of shape `i`, unit frame; without faces if it was imported without a mesh."""
        (v0, f0), (v1, f1) = self._index["mesh_offsets"][i : i + 2]
        with self._reading() as file:
            return Mesh(file["vertices"][v0:v1].astype(np.float64), file["faces"][f0:f1])

    @cached_property
    def _index(self) -> dict[str, NDArray[Any]]:
        """The small arrays, read once: cameras, frames, offsets."""
        with self._reading() as file:
            offsets = (offsets_of(name) for name in ("images", *EXTRA.values()))
            names = (*_FRAMES, "mesh_offsets", *(name for name in offsets if name in file))
            return {name: file[name][()] for name in names}

    def _extra(self, name: str, i: int, view: int) -> NDArray[Any]:
        if name not in self.extra:
            hint = f"set views.extra: [{name}] and preprocess again"
            raise DataError(f"has no {name} of the views", path=self.path, hint=hint)
        with self._naming(i, view):
            return image_codec.decode_extra(self._bytes(EXTRA[name], i, view))

    def _bytes(self, name: str, i: int, view: int) -> bytes:
        start, stop = self._index[offsets_of(name)][i, view : view + 2]
        with self._reading():
            return self._read(name, None, int(start), int(stop)).tobytes()

    @contextmanager
    def _naming(self, i: int, view: int) -> Iterator[None]:
        try:
            yield
        except DataError as error:
            name = self.keys[i].name
            raise DataError(f"view {view} of {name}: {error.message}", path=self.path) from error
