"""Geometry and colours of every packed shape, and the mean shape of every category and split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.measures import Geometry, geometry
from occnet_lib.seeds import rng
from occnet_lib.storage.atomic import replacing
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.tables import write_rows

_VIEW_PIXELS = 96
COLUMNS = ("category", "id", "split", "occupied", *Geometry._fields, "brightness", "saturation")


def color(image: NDArray[np.uint8], mask: NDArray[np.float32] | None = None) -> tuple[float, float]:
    """Mean brightness and saturation in [0, 1] (V and S of HSV) of the pixels of an object.

    Args:
        image: (H, W, 3) uint8 sRGB.
        mask: (H, W) fraction of every pixel that the object covers. Without one the background is the colour that at least
            three corners of the image have in common.

    Returns:
        NaN where no pixel is known to show the object.
    """
    if mask is None:
        corners = image[[0, 0, -1, -1], [0, -1, 0, -1]]
        equal = (corners[:, None] == corners[None]).all(axis=2).sum(axis=1)
        if equal.max() < 3:
            return np.nan, np.nan
        shown = (image != corners[equal.argmax()]).any(axis=2)
    else:
        shown = mask > 0.5
    if not shown.any():
        return np.nan, np.nan
    pixels = image[shown].astype(np.float64) / 255.0
    high, low = pixels.max(axis=1), pixels.min(axis=1)
    return float(high.mean()), float(((high - low) / np.where(high > 0, high, 1.0)).mean())


def shape_row(shard: Shard, i: int, seed: int) -> dict[str, Any]:
    """A row with `COLUMNS` of one shape; colours are those of its first view.

    `occupied` is the fraction of the uniform points (padded cube) inside the shape.
    """
    key = shard.keys[i]
    _, occupied = shard.points(i)
    measured = geometry(shard.mesh(i), rng(seed, "distributions", key.name))
    brightness, saturation = np.nan, np.nan
    if shard.views:
        brightness, saturation = color(shard.image(i, 0), shard.mask(i, 0) if "mask" in shard.extra else None)
    numbers = {"occupied": float(occupied.mean()) if len(occupied) else np.nan, **measured._asdict()}
    numbers |= {"brightness": brightness, "saturation": saturation}
    words = {"category": key.category, "id": key.id, "split": shard.split}
    return words | {name: f"{value:.6g}" if np.isfinite(value) else "" for name, value in numbers.items()}


def mean_views(mean: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Front, right side and top of a mean occupancy (R, R, R), beside one another: (H, 3 H) uint8.

    A pixel is as dark as the highest mean occupancy along its line of sight.
    """
    front = mean.max(axis=2).T[::-1]
    side = mean.max(axis=0)[::-1, ::-1]
    top = mean.max(axis=1).T
    times = max(1, round(_VIEW_PIXELS / len(mean)))
    row = np.concatenate([front, side, top], axis=1).repeat(times, axis=0).repeat(times, axis=1)
    return np.round(255.0 * (1.0 - row)).astype(np.uint8)


def write_distributions(packs: Sequence[Path], seed: int, out: Path) -> None:
    """Write shapes.csv and mean_<category>_<split>.png (see `mean_views`) into a folder.

    Raises:
        DataError: a shard is missing or corrupt.
    """
    from PIL import Image

    rows: list[dict[str, Any]] = []
    sums: dict[tuple[str, str], tuple[NDArray[np.int64], int]] = {}
    for path in packs:
        shard = Shard(path)
        for i, key in enumerate(shard.keys):
            rows.append(shape_row(shard, i, seed))
            voxels = shard.voxels(i)
            if voxels.any():  # imported shapes may have none
                group = key.category, shard.split
                total, count = sums.get(group, (np.zeros(voxels.shape, np.int64), 0))
                sums[group] = total + voxels, count + 1
        shard.close()
    out.mkdir(parents=True, exist_ok=True)
    for (category, split), (total, count) in sums.items():
        with replacing(out / f"mean_{category}_{split}.png") as temporary:
            Image.fromarray(mean_views(total / count)).save(temporary, "PNG")
    write_rows(out / "shapes.csv", rows, COLUMNS)
