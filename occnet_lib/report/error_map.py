"""Meshes coloured by their error, as GLB files, and an image of each with its scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import ViewsConfig
from occnet_lib.geometry.cameras import camera_centres, intrinsics, look_at_origin
from occnet_lib.geometry.surface_error import surface_error
from occnet_lib.rendering.views import render_views
from occnet_lib.storage.atomic import replacing
from occnet_lib.storage.meshes import MeshFrame, save_mesh
from occnet_lib.types import Mesh

from .coloring import ERROR_LIMIT, error_colors, mapped

_LONGEST_EDGE = 0.02  # of the coloured faces
_SIZE = 420  # pixels along an edge of a view
_SIDES = ((35.0, 25.0), (215.0, 25.0))  # azimuth and elevation of the views, degrees
COLUMNS = (
    "category",
    "id",
    "status",
    "reason",
    "mean",
    "median",
    "p95",
    "largest",
    "outside",
    "unit",
    "limit",
)


def write_error_map(
    mesh: Mesh, ground_truth: Mesh, path: Path, frame: MeshFrame, title: str
) -> dict[str, float | str]:
    """Write `<path>.glb` and `<path>.png`: a mesh coloured by its signed distance to the ground truth.

    Args:
        mesh: with area, aligned with the ground truth, unit frame.
        ground_truth: closed mesh, unit frame.
        path: files to write, without suffix.
        frame: in which the GLB is written: source or unit.
        title: above the images.

    Returns:
        `COLUMNS` from `mean` on: of the unsigned distance over the surface (its area), in longest edges of the ground
        truth; `outside`: fraction of the area outside; `unit`: longest edge of the ground truth in the units of its file.
    """
    divided, errors = surface_error(mesh, ground_truth, _LONGEST_EDGE)
    colors = mapped((errors / ERROR_LIMIT + 1.0) / 2.0, error_colors()).astype(np.float32)
    colored = Mesh(divided.vertices, divided.faces, colors)
    placed = colored if frame.frame == "unit" else colored.transformed(frame.loc, frame.scale)
    save_mesh(placed, path.with_name(f"{path.name}.glb"), frame=frame)
    _draw(colored, path.with_name(f"{path.name}.png"), title)
    return _numbers(divided, errors) | {"unit": frame.scale, "limit": ERROR_LIMIT}


def _numbers(mesh: Mesh, errors: NDArray[np.float64]) -> dict[str, float | str]:
    """Statistics of errors at vertices, each weighted by a third of the area of its faces."""
    summed: NDArray[np.float64] = np.bincount(
        mesh.faces.ravel(), np.repeat(mesh.face_areas, 3), len(errors)
    ).astype(np.float64)
    area = summed / summed.sum()
    order = np.argsort(np.abs(errors), kind="stable")
    below, sizes = np.cumsum(np.take(area, order)), np.take(np.abs(errors), order)
    median, p95 = (float(sizes[min(int(np.searchsorted(below, q)), len(sizes) - 1)]) for q in (0.5, 0.95))
    mean, outside = float(area @ np.abs(errors)), float(area @ (errors > 0).astype(np.float64))
    return {"mean": mean, "median": median, "p95": p95, "largest": float(sizes[-1]), "outside": outside}


def _draw(mesh: Mesh, path: Path, title: str) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize
    from matplotlib.figure import Figure

    azimuth, elevation = zip(*_SIDES, strict=True)
    world = look_at_origin(camera_centres(azimuth, elevation, np.full(len(_SIDES), 1.9)))
    cameras = np.stack([intrinsics(_SIZE, 149.84)] * len(_SIDES))
    config = ViewsConfig(image_size=_SIZE, supersampling=2, renderer="raycast")
    images, *_ = render_views(mesh, cameras, world, config)
    figure = Figure(figsize=(8.4, 4.4), layout="constrained")
    figure.suptitle(title, fontsize=10)
    panels = figure.subplots(1, len(_SIDES))
    for axes, image, angle in zip(panels, images, azimuth, strict=True):
        axes.imshow(image)
        axes.set_axis_off()
        axes.set_title(f"from azimuth {angle:g}°", fontsize=8)
    colors = LinearSegmentedColormap.from_list("error", error_colors())
    shown = ScalarMappable(Normalize(-ERROR_LIMIT, ERROR_LIMIT), colors)
    bar = figure.colorbar(shown, ax=panels, orientation="horizontal", extend="both", shrink=0.6, aspect=40)
    bar.set_label("inside (−) and outside (+) the ground truth, in its longest edges", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png", metadata={"Software": None})
