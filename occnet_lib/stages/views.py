"""Stage views: raw mesh to renderings by the protocol of Choy et al. 2016 (3D-R2N2) or in the style of everyday photos."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import ViewsConfig
from occnet_lib.errors import MeshError
from occnet_lib.geometry import vertex_clustering
from occnet_lib.geometry.cameras import choy_cameras, everyday_cameras, project
from occnet_lib.rendering.looks import everyday_looks
from occnet_lib.rendering.views import render_views
from occnet_lib.types import Mesh, Views

# Surface points for the audit: enough to have one beside each pixel of a silhouette.
_AUDIT_POINTS = 20_000


def run(
    mesh: Mesh, config: ViewsConfig, rng: np.random.Generator, surface: NDArray[np.floating] | None = None
) -> Views:
    """Render a shape.

    The view frame is the unit frame scaled so that the bounding box's diagonal is 1: ShapeNet's normalisation, for
    which the protocol's distances are defined.

    Args:
        mesh: the raw mesh with its colours, unit frame.
        config: the section `views`.
        rng: generator of this stage and shape.
        surface: (M, 3) points of the closed mesh's surface, unit frame, for the audit.

    Returns:
        images, cameras and the maps in `config.extra`. The audit holds `renderer`; `background`, the mean fraction of
        the images that shows no mesh; `unread`, parts of the file that are missing from the images; `inside` and
        `covered` of `silhouette_agreement`.

    Raises:
        MeshError: the mesh is invisible in some view.
        DependencyError: the configured renderer does not work on this machine.
    """
    mesh = vertex_clustering.decimate(mesh, 0.25 / config.image_size)  # well below a pixel
    low, high = mesh.bounds
    scale = 1.0 / float(np.linalg.norm(high - low))
    loc = np.zeros(3)
    in_view = mesh.transformed(loc, scale)
    if config.protocol == "everyday":
        ranges = config.everyday
        camera_mat, world_mat = everyday_cameras(
            in_view.vertices, config.count, rng, ranges, config.image_size
        )
        looks = everyday_looks(in_view, config.count, rng, ranges.paint)
    else:
        camera_mat, world_mat = choy_cameras(config.count, rng, config)
        looks = None
    images, coverage, extra, renderer = render_views(in_view, camera_mat, world_mat, config, looks)
    if not coverage.any(axis=(1, 2)).all():
        raise MeshError("the mesh is too thin or too small to be seen in every view")
    views = Views(images, camera_mat, world_mat, loc, scale, extra=extra)
    audit: dict[str, Any] = {"renderer": renderer, "background": float(1.0 - coverage.mean())}
    if mesh.unread:
        audit["unread"] = "; ".join(mesh.unread)
    if surface is not None and len(surface):
        step = max(1, len(surface) // _AUDIT_POINTS)
        audit["inside"], audit["covered"] = silhouette_agreement(views, coverage, surface[::step])
    return replace(views, audit=audit)


def silhouette_agreement(
    views: Views, coverage: NDArray[np.float32], surface: NDArray[np.floating]
) -> tuple[float, float]:
    """Agreement of projected surface points and silhouettes over all views, to one pixel.

    Args:
        views: cameras and frame.
        coverage: (V, H, W) covered fraction of each pixel.
        surface: (M, 3), unit frame. Points outside the image do not count.

    Returns:
        fraction of the points that fall on a covered pixel or beside one, 1 where no point falls into any image;
        fraction of the pixels covered by more than half that have a point on or beside them, 1 where there are none.
    """
    from scipy.ndimage import maximum_filter

    inside = in_image = explained = pixels = 0
    for camera_mat, world_mat, fraction in zip(views.camera_mat, views.world_mat, coverage, strict=True):
        uv, _ = project(surface, camera_mat, world_mat, views.loc, views.scale)
        height, width = fraction.shape
        with np.errstate(invalid="ignore"):  # NaN: behind the camera
            uv = uv[((uv >= 0) & (uv < (width, height))).all(axis=1)]
        column, row = np.floor(uv).astype(int).T
        hit = np.zeros(fraction.shape, dtype=bool)
        hit[row, column] = True
        inside += int(maximum_filter(fraction > 0, 3)[row, column].sum())
        in_image += len(row)
        explained += int((maximum_filter(hit, 3) & (fraction > 0.5)).sum())
        pixels += int((fraction > 0.5).sum())
    return inside / in_image if in_image else 1.0, explained / pixels if pixels else 1.0
