"""Measures of a shape: size, volume, thickness of walls, components and reflection symmetry."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.components import component_volumes, label_faces
from occnet_lib.geometry.occupancy import cast_rays, raycasting_scene
from occnet_lib.geometry.open3d_import import float32_tensor
from occnet_lib.geometry.repair import check_watertight
from occnet_lib.geometry.sampling import sample_surface
from occnet_lib.types import Mesh

THIN = 1.0 / 32.0
"""Walls below this thickness are thinner than a voxel of a 32³ grid."""
_SAMPLES = 400  # surface points
_INWARD = 1e-4  # from the surface to the start of a ray, beyond the rounding of float32


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
    length, met = cast_rays(scene, points - _INWARD * normals, -normals)
    leaves = np.einsum("nk,nk->n", met, -normals) > 0
    return np.asarray(np.where(leaves, length + _INWARD, 0.0)[np.isfinite(length)])


def _mirror_distances(
    scene: Any, points: NDArray[np.float64], bounds: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> list[float]:
    """Mean distances of points, reflected at the three planes through the centre of a box, to the surface."""
    mirrored = np.repeat(points[None], 3, axis=0)
    for axis in range(3):
        mirrored[axis, :, axis] = bounds[0][axis] + bounds[1][axis] - points[:, axis]
    distances: list[float] = (
        scene.compute_distance(float32_tensor(mirrored), nthreads=1).numpy().mean(axis=1).tolist()
    )
    return distances
