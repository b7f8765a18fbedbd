"""Stage points: training and evaluation samples of the occupancy field."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from occnet_lib.storage.packs import point_codec
from occnet_lib.types import PointSamples, Watertight

from .near_surface import near_surface

if TYPE_CHECKING:
    from occnet_lib.config import PointsConfig


def run(watertight: Watertight, config: PointsConfig, rng: np.random.Generator) -> PointSamples:
    """Draw occupancy points, surface samples and voxels of a closed mesh (ONet's sample_mesh.py).

    Points are rounded to float16 before they are labelled: otherwise some labels near the surface would be wrong. All
    are then sorted into a random order that takes no space in files (storage.packs.point_codec).

    Args:
        watertight: closed mesh, unit frame.
        config: section `points`.
        rng: draws everything.

    Returns:
        samples in the unit frame; the audit holds `occupied_share`, the fraction of occupied points.

    Raises:
        MeshError: the mesh has no area.
    """
    from occnet_lib.geometry import occupancy, sampling, voxels

    mesh = watertight.mesh
    half = 0.5 + config.padding / 2.0
    points = rng.uniform(-half, half, (config.uniform, 3)).astype(np.float16)
    points = points[point_codec.mixed_order(points)]
    occupancies = occupancy.contains(mesh, points)
    samples, normals, _ = sampling.sample_surface(mesh, config.surface, rng)
    surface = samples.astype(np.float16)
    order = point_codec.mixed_order(surface)
    return PointSamples(
        points=points,
        occupancies=occupancies,
        surface=surface[order],
        normals=normals.astype(np.float16)[order],
        voxels=voxels.solid_voxels(mesh, config.voxels),
        surface_voxels=voxels.surface_voxels(mesh, config.voxels),
        near=near_surface(mesh, samples, config.uniform, config, rng) if config.near_surface else None,
        audit={"occupied_share": float(occupancies.mean())},
    )
