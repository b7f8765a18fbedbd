"""Geometry and colours of every packed shape, and the mean shape of every category and split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.components import component_volumes, label_faces
from occnet_lib.geometry.occupancy import raycasting_scene
from occnet_lib.geometry.repair import check_watertight
from occnet_lib.geometry.sampling import sample_surface
from occnet_lib.seeds import rng
from occnet_lib.storage.atomic import replacing
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.tables import write_rows
from occnet_lib.types import Mesh

THIN = 1.0 / 32.0
"""Walls below this thickness are thinner than a voxel of a 32³ grid."""
_SAMPLES = 400  # surface points
_INWARD = 1e-4  # from the surface to the start of a ray, beyond the rounding of float32
_VIEW_PIXELS = 96


class Geometry(NamedTuple):
    """Measures of a mesh in the unit frame; NaN where they are undefined.

    Attributes:
        extent_x, extent_y, extent_z: edges of the bounding box.
        volume, components: of a closed mesh; a component is a connected surface that encloses a positive volume, so
            hollows are none.
        area: of the surface.
        thickness: median over the surface of the length of the ray from a point inward along the normal to the opposite
            wall (the shape diameter function of Shapira et al. 2008 with a single ray); of a closed mesh.
        thin: fraction of the surface with a thickness below `THIN`.
        mirror_x, mirror_y, mirror_z: mean distance between the surface and its reflection at the plane through the centre
            of the bounding box that is normal to the axis; 0 for a shape with this symmetry.
    """

    extent_x: float = np.nan
    extent_y: float = np.nan
    extent_z: float = np.nan
    volume: float = np.nan
    area: float = np.nan
    components: float = np.nan
    thickness: float = np.nan
    thin: float = np.nan
    mirror_x: float = np.nan
    mirror_y: float = np.nan
    mirror_z: float = np.nan


COLUMNS = ("category", "id", "split", "occupied", *Geometry._fields, "brightness", "saturation")


def geometry(mesh: Mesh, generator: np.random.Generator) -> Geometry:
    """Measures of a mesh; all NaN for one without a face of positive area.

    Args:
        mesh: in the unit frame, wound outward.
        generator: draws the surface points.
    """
    if not len(mesh.faces) or not mesh.face_areas.any():
        return Geometry()
    points, normals, _ = sample_surface(mesh, _SAMPLES, generator)
    scene = raycasting_scene(mesh)
    mirrored = _mirror_distances(scene, points, mesh.bounds)
    x, y, z = np.ptp(mesh.vertices, axis=0).tolist()
    made = Geometry(x, y, z, area=float(mesh.face_areas.sum()))
    made = made._replace(mirror_x=mirrored[0], mirror_y=mirrored[1], mirror_z=mirrored[2])
    if not check_watertight(mesh).closed:
        return made
    count, of_face = label_faces(mesh)
    wall = _thickness(scene, points, normals)
    return made._replace(
        volume=mesh.volume,
        components=float(np.count_nonzero(component_volumes(mesh, of_face, count) > 0)),
        thickness=float(np.median(wall)) if len(wall) else np.nan,
        thin=float(np.mean(wall < THIN)) if len(wall) else np.nan,
    )


def _thickness(scene: Any, points: NDArray[np.float64], normals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lengths of the rays inward that leave the shape; 0 where the ray starts beyond the opposite wall."""
    import open3d as o3d

    rays = np.concatenate([points - _INWARD * normals, -normals], axis=1).astype(np.float32)
    hit = scene.cast_rays(o3d.core.Tensor.from_numpy(rays), nthreads=1)
    length = hit["t_hit"].numpy().astype(np.float64)
    leaves = np.einsum("nk,nk->n", hit["primitive_normals"].numpy(), -normals) > 0
    return np.asarray(np.where(leaves, length + _INWARD, 0.0)[np.isfinite(length)])


def _mirror_distances(
    scene: Any, points: NDArray[np.float64], bounds: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> list[float]:
    """Mean distances of points, reflected at the three planes through the centre of a box, to the surface."""
    import open3d as o3d

    mirrored = np.repeat(points[None], 3, axis=0)
    for axis in range(3):
        mirrored[axis, :, axis] = bounds[0][axis] + bounds[1][axis] - points[:, axis]
    at = o3d.core.Tensor.from_numpy(mirrored.astype(np.float32))
    distances: list[float] = scene.compute_distance(at, nthreads=1).numpy().mean(axis=1).tolist()
    return distances


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
