"""Layouts of public training codes for implicit 3D models (docs/interop.md, "Vector-set models").

Names, shapes, types and conventions are those of the loaders of these codes; the documentation cites file and line of
each.
"""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import DataError
from occnet_lib.storage.atomic import replacing, write_bytes, write_text
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.packs.image_codec import file_bytes
from occnet_lib.types import Samples, ShapeKey, Watertight

from .npz import Arrays, write_npz

# From +y up to the up axis of the files.
_FROM_Y = {"y": np.eye(3), "z": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])}


@dataclass(frozen=True)
class Frame:
    """The frame of exported points: `x_file = edge * R x_unit`, where R turns +y to the up axis.

    Attributes:
        edge: longest edge of the shape's bounding box in the files.
        up: y or z.
    """

    edge: float
    up: str = "y"

    def points(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, 3) points of the unit frame in the files' frame."""
        return self.edge * self.directions(points)

    def directions(self, vectors: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, 3) directions of the unit frame in the files' frame."""
        return np.asarray(vectors.astype(np.float64) @ _FROM_Y[self.up].T)


def write_samples(path: Path, closed: Watertight, samples: Samples, frame: Frame) -> None:
    """Write the point sets of one shape and its closed mesh as NPZ.

    The arrays are `<set>_points`, `<set>_distance` (negative inside), `<set>_normals`, `vertices` and `faces` in the
    frame, its `edge` and `up`, and `source_loc` and `source_scale`: x_source = source_scale x_unit + source_loc.
    """
    arrays: Arrays = {}
    for name, values in samples.sets.items():
        dtype = values.points.dtype
        arrays[f"{name}_points"] = frame.points(values.points).astype(dtype)
        if values.distance is not None:
            arrays[f"{name}_distance"] = (frame.edge * values.distance).astype(dtype)
        if values.normals is not None:
            arrays[f"{name}_normals"] = frame.directions(values.normals).astype(dtype)
    arrays |= {"vertices": frame.points(closed.mesh.vertices).astype(np.float32), "faces": closed.mesh.faces}
    arrays |= {"edge": np.array(frame.edge), "up": np.array(frame.up)}
    write_npz(path, arrays | {"source_loc": closed.loc, "source_scale": np.array(closed.scale)})


class PackedSamples:
    """One shape of a shard in the files' frame, as float64."""

    def __init__(self, shard: Shard, i: int, frame: Frame) -> None:
        self.shard, self.i, self.frame = shard, i, frame
        self.key, self.sets = shard.keys[i], shard.samples(i).sets

    def near(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(N, 3) points and (N,) signed distances, negative inside."""
        values = self._set(name)
        assert values.distance is not None
        return self.frame.points(values.points), self.frame.edge * values.distance.astype(np.float64)

    def surface(self, name: str) -> NDArray[np.float64]:
        """(N, 6) points and normals."""
        values = self._set(name)
        assert values.normals is not None
        return np.concatenate(
            [self.frame.points(values.points), self.frame.directions(values.normals)], axis=1
        )

    def _set(self, name: str) -> Any:
        if name not in self.sets:
            raise DataError(
                f"has no samples.{name}, which this format needs",
                path=self.shard.path,
                hint=f"set samples.{name} (workflow/vecset.yaml does) and run preprocess again",
            )
        return self.sets[name]

    def source(self) -> Arrays:
        """The source frame: x_source = source_scale * x_unit + source_loc. No loader reads it."""
        loc, scale = self.shard.frame(self.i)
        return {"source_loc": np.asarray(loc), "source_scale": np.array(scale)}


def _vecset(folder: Path, shape: PackedSamples) -> None:
    """3DShape2VecSet: labels of uniform and near points, ONet's point cloud, and its scale."""
    arrays: Arrays = {}
    for name, ours in (("vol", "uniform"), ("near", "near")):
        points, distance = shape.near(ours)
        arrays |= {f"{name}_points": points.astype(np.float32), f"{name}_label": distance < 0}
    base = folder / "ShapeNetV2_point" / shape.key.category / shape.key.id
    write_npz(base.with_name(f"{base.name}.npz"), arrays | shape.source())
    edge = np.float32(shape.frame.edge)
    with replacing(base.with_name(f"{base.name}.npy")) as temporary, temporary.open("wb") as file:
        np.save(file, np.array(edge))
    surface = shape.surface("surface")
    cloud = {
        "points": (surface[:, :3] / edge).astype(np.float32),
        "normals": surface[:, 3:].astype(np.float32),
    }
    write_npz(
        folder / "ShapeNetV2_watertight" / shape.key.category / "4_pointcloud" / f"{shape.key.id}.npz", cloud
    )


def _vecsetx(folder: Path, shape: PackedSamples) -> None:
    """VecSetX: signed distances, negative inside."""
    arrays: Arrays = {}
    for name, ours in (("vol", "uniform"), ("near", "near")):
        points, distance = shape.near(ours)
        arrays |= {f"{name}_points": points.astype(np.float32), f"{name}_sdf": distance.astype(np.float32)}
    arrays["surface_points"] = shape.surface("surface")[:, :3].astype(np.float32)
    write_npz(folder / shape.key.category / f"{shape.key.id}.npz", arrays | shape.source())


def _dora(folder: Path, shape: PackedSamples) -> None:
    """Dora-VAE: signed distances positive inside, as pysdf gives them; near points before uniform ones."""
    rows = []
    for ours in ("near", "uniform"):
        points, distance = shape.near(ours)
        rows.append(np.column_stack([points, -distance]))
    sharp_points, sharp_distance = shape.near("sharp_near")
    arrays = {
        "fps_sharp_surface": shape.surface("sharp")[:, None],
        "sharp_near_surface": np.column_stack([sharp_points, -sharp_distance]),
        "fps_coarse_surface": shape.surface("surface")[:, None],
        "rand_points": np.concatenate(rows),
    }
    files = {name: array.astype(np.float32) for name, array in arrays.items()}
    write_npz(folder / shape.key.category / f"{shape.key.id}.npz", files | shape.source())


def _hunyuan(folder: Path, shape: PackedSamples) -> None:
    """Hunyuan3D-2.1: float16, distances positive inside; RGBA images where the masks of the views are kept."""
    uid = _uid(shape.key)
    home = folder / shape.shard.split / uid
    arrays: Arrays = {}
    for name, ours in (("vol", "uniform"), ("random_near", "near"), ("sharp_near", "sharp_near")):
        points, distance = shape.near(ours)
        arrays |= {f"{name}_points": points, f"{name}_label": -distance}
    surfaces = {"random_surface": shape.surface("surface"), "sharp_surface": shape.surface("sharp")}
    for name, values in (("surface", surfaces), ("sdf", arrays)):
        half = {key: array.astype(np.float16) for key, array in values.items()}
        write_npz(home / "geo_data" / f"{uid}_{name}.npz", half | shape.source())
    _write_images(home / "render_cond", shape)


def _ultrashape(folder: Path, shape: PackedSamples) -> None:
    """UltraShape: points in [0, 1], the uniform ones before those by curvature."""
    both = np.concatenate([shape.surface("surface"), shape.surface("curved")])
    arrays = {
        "clean_surface_points": (both[:, :3] / 2 + 0.5).astype(np.float32),
        "clean_surface_normals": both[:, 3:].astype(np.float32),
    }
    uid = _uid(shape.key)
    write_npz(folder / "samples" / f"{uid}.npz", arrays | shape.source())
    _write_images(folder / "renders" / uid, shape)


def _uid(key: ShapeKey) -> str:
    return f"{key.category}_{key.id}"


def _write_images(folder: Path, shape: PackedSamples) -> None:
    """RGBA images 000.png, …; none if the shard has no masks."""
    if "mask" not in shape.shard.extra:
        return
    for view in range(shape.shard.views):
        opacity = shape.shard.mask(shape.i, view)[..., None]
        image = shape.shard.image(shape.i, view).astype(np.float32)
        # The stored image is composited over white; this recovers the colour of the object.
        colour = (image - 255 * (1 - opacity)) / np.maximum(opacity, 1 / 255)
        rgba = np.concatenate([np.where(opacity > 0, colour, 255), 255 * opacity], axis=2)
        data = file_bytes(np.clip(np.round(rgba), 0, 255).astype(np.uint8))
        write_bytes(folder / f"{view:03d}.png", data)


Splits = dict[str, list[ShapeKey]]


def _vecset_lists(folder: Path, splits: Splits) -> None:
    for split in ("train", "val", "test"):
        by_category: dict[str, list[str]] = defaultdict(list)
        for key in splits.get(split, []):
            by_category[key.category].append(key.id)
        # The loader takes an empty line as a shape, so the last line has no line end.
        for category in {key.category for keys in splits.values() for key in keys}:
            text = "\n".join(sorted(by_category[category]))
            write_text(folder / "ShapeNetV2_point" / category / f"{split}.lst", text)


def _vecsetx_lists(folder: Path, splits: Splits) -> None:
    categories = sorted({key.category for keys in splits.values() for key in keys})
    for split, keys in splits.items():
        text = io.StringIO()
        rows = [(key.category, key.id, categories.index(key.category)) for key in keys]
        csv.writer(text, lineterminator="\n").writerows(rows)
        write_text(folder / f"objaverse_{split}.csv", text.getvalue())


def _dora_lists(folder: Path, splits: Splits) -> None:
    _write_json_lists(folder, splits, lambda _, key: str(folder.resolve() / key.category / f"{key.id}.npz"))


def _hunyuan_lists(folder: Path, splits: Splits) -> None:
    _write_json_lists(folder, splits, lambda split, key: str(folder.resolve() / split / _uid(key)))


def _ultrashape_lists(folder: Path, splits: Splits) -> None:
    _write_json_lists(folder, splits, lambda _, key: _uid(key))
    every = [key for keys in splits.values() for key in keys]
    renders = {_uid(key): str(folder.resolve() / "renders" / _uid(key)) for key in every}
    write_text(folder / "render.json", json.dumps(renders, indent=1))


def _write_json_lists(folder: Path, splits: Splits, entry: Callable[[str, ShapeKey], str]) -> None:
    for split, keys in splits.items():
        write_text(folder / f"{split}.json", json.dumps([entry(split, key) for key in keys], indent=1))


@dataclass(frozen=True)
class Format:
    """A layout.

    Attributes:
        edge: longest edge of a shape, by default.
        write_shape, write_lists: write one shape, and the lists of all splits.
        exact: numbers of points that the loader requires, by set.
        images: number of images that the loader expects; 0: none.
    """

    edge: float
    write_shape: Callable[[Path, PackedSamples], None]
    write_lists: Callable[[Path, Splits], None]
    exact: dict[str, int]
    images: int = 0


FORMATS = {
    "vecset": Format(2.0, _vecset, _vecset_lists, {}),
    "vecsetx": Format(2.0, _vecsetx, _vecsetx_lists, {}),
    "dora": Format(2.0, _dora, _dora_lists, {"near": 400_000}),
    "hunyuan": Format(2.0 / 1.01, _hunyuan, _hunyuan_lists, {}, images=24),
    "ultrashape": Format(
        2.0 / 1.02, _ultrashape, _ultrashape_lists, {"surface": 300_000, "curved": 300_000}, images=16
    ),
}
