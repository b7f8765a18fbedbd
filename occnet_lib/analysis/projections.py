"""Consistency of points and images: stored points projected onto the images through the stored cameras."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import AnalyseConfig
from occnet_lib.geometry.cameras import project
from occnet_lib.storage.atomic import replacing
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.tables import write_rows
from occnet_lib.types import ShapeKey

_DRAWN = 2500  # points in a figure
_WINDOW = 50_000  # uniform points searched for occupied ones
_BACKGROUND = 250  # channels above belong to the white background
COLUMNS = ("category", "id", "split", "view", "file", "surface_inside", "occupied_inside", "covered")


@dataclass(frozen=True)
class Projection:
    """Points of a shape in one of its images.

    Attributes:
        key: which shape.
        view: which image.
        image: (H, W, 3) uint8 sRGB.
        surface_uv, occupied_uv: (N, 2) float64 pixels of surface points and of uniform points inside.
        surface_depth, occupied_depth: (N,) float64 along the optical axis, view-frame units.
    """

    key: ShapeKey
    view: int
    image: NDArray[np.uint8]
    surface_uv: NDArray[np.float64]
    surface_depth: NDArray[np.float64]
    occupied_uv: NDArray[np.float64]
    occupied_depth: NDArray[np.float64]

    @property
    def silhouette(self) -> NDArray[np.bool_]:
        """(H, W) bool: pixels that do not show the background."""
        return np.asarray((self.image < _BACKGROUND).any(-1))

    def audit(self) -> dict[str, float]:
        """Agreement of points and image.

        Returns:
            `surface_inside`, `occupied_inside`: fractions of the points that project onto the silhouette (dilated
            by a pixel because its rim is blended with white); `covered`: fraction of the silhouette's pixels with a
            surface point within two pixels. All are near 1 if cameras, frames and images are consistent.
        """
        silhouette = self.silhouette
        wide = _dilated(silhouette, 1)
        hit = np.zeros(silhouette.shape, bool)
        v, u = _pixels(self.surface_uv, silhouette.shape)
        hit[v, u] = True
        covered = _dilated(hit, 2)[silhouette]
        return {
            "surface_inside": _fraction_on(wide, self.surface_uv),
            "occupied_inside": _fraction_on(wide, self.occupied_uv),
            "covered": float(covered.mean()) if covered.size else 0.0,
        }


def projection(shard: Shard, i: int, view: int = 0, count: int = _DRAWN) -> Projection:
    """Project up to `count` surface points and `count` occupied points of shape `i` onto one image.

    Raises:
        DataError: the shard is missing or corrupt.
    """
    camera = shard.camera(i, view)
    surface, _ = shard.surface(i)
    points, occupied = shard.points(i, 0, min(_WINDOW, shard.points_per_shape))
    surface_uv, surface_depth = project(surface[:count].astype(np.float64), *camera)
    occupied_uv, occupied_depth = project(points[occupied][:count].astype(np.float64), *camera)
    image = shard.image(i, view)
    return Projection(shard.keys[i], view, image, surface_uv, surface_depth, occupied_uv, occupied_depth)


def chosen(packs: Sequence[Path], count: int) -> Iterator[tuple[Shard, int, int]]:
    """Shard, index and view of the first `count` shapes of each category in the order of their names.

    The view is 0 for a category's first shape, 1 for its second and so on, modulo the number of views.
    """
    shards = [Shard(path) for path in packs]
    places = [(key.name, shard, i, key.category) for shard in shards for i, key in enumerate(shard.keys)]
    taken: Counter[str] = Counter()
    for _, shard, i, category in sorted(places, key=lambda place: place[0]):
        if taken[category] < count:
            yield shard, i, taken[category] % shard.views
            taken[category] += 1
    for shard in shards:
        shard.close()


def write_projections(packs: Sequence[Path], config: AnalyseConfig, out: Path) -> None:
    """Write `<category>_<id>.png` for the chosen shapes and `projections.csv` with their audits.

    Args:
        packs: shards whose shapes are shown.
        config: `projections` shapes of each category.
        out: folder; made if missing.

    Raises:
        DataError: a shard is missing or corrupt.
    """
    rows = []
    for shard, i, view in chosen(packs, config.projections):
        shown = projection(shard, i, view)
        name = f"{shown.key.category}_{shown.key.id}.png"
        draw(shown, out / name)
        audit = {word: f"{value:.4f}" for word, value in shown.audit().items()}
        key = shown.key
        rows.append(
            {"category": key.category, "id": key.id, "split": key.split, "view": view, "file": name, **audit}
        )
    write_rows(out / "projections.csv", rows, COLUMNS)


def draw(shown: Projection, path: Path) -> None:
    """Write a PNG of three panels: image, surface points on it, occupied points on it; colour is depth."""
    from matplotlib.figure import Figure

    height, width = shown.image.shape[:2]
    panels = (
        ("photo", None, None),
        ("surface points", shown.surface_uv, shown.surface_depth),
        ("occupied points", shown.occupied_uv, shown.occupied_depth),
    )
    figure = Figure(figsize=(7.5, 2.75), layout="constrained")
    for axes, (title, uv, depth) in zip(figure.subplots(1, 3), panels, strict=True):
        # Pixel i covers [i, i + 1), so the image spans its size, not half a pixel less and more.
        faded = shown.image if uv is None else 255 - (255 - shown.image) // 2
        axes.imshow(faded, extent=(0, width, height, 0), interpolation="nearest")
        if uv is not None:
            size = float(np.clip(3000 / max(len(uv), 1), 1.2, 6.0))  # few points are drawn larger
            axes.scatter(uv[:, 0], uv[:, 1], c=depth, s=size, linewidths=0, cmap="viridis_r")
        axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
        axes.set_title(title, fontsize=9)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130, metadata={"Software": None})


def _pixels(uv: NDArray[np.float64], shape: tuple[int, ...]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the points that fall on the image."""
    with np.errstate(invalid="ignore"):
        column, row = np.floor(uv).T
        on = (column >= 0) & (column < shape[1]) & (row >= 0) & (row < shape[0])
    return row[on].astype(np.intp), column[on].astype(np.intp)


def _fraction_on(mask: NDArray[np.bool_], uv: NDArray[np.float64]) -> float:
    if not len(uv):
        return 0.0
    return float(mask[_pixels(uv, mask.shape)].sum() / len(uv))


def _dilated(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """The mask dilated by a square of `pixels` to each side."""
    from scipy.ndimage import binary_dilation

    dilated: NDArray[np.bool_] = binary_dilation(mask, np.ones((2 * pixels + 1,) * 2, dtype=bool))
    return dilated
