"""Stage watertight: any triangle soup to a closed mesh with a known frame."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from occnet_lib.errors import MeshError
from occnet_lib.records import Mesh, Watertight

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from occnet_lib.config import Watertight as WatertightConfig

log = logging.getLogger(__name__)

MARGIN = 5  # samples around the shape: room for thickened sheets, or for the outward bias of the mean rule
AUDIT_SAMPLES = 10_000


def run(mesh: Mesh, config: WatertightConfig, rng: np.random.Generator) -> Watertight:
    """Close a mesh: fuse depth maps to a signed field, take its zero surface, clean, simplify.

    Args:
        mesh: any triangles, source frame; winding, copies, holes and inner faces do not matter.
        config: section `watertight`.
        rng: turns the views and draws the audit's samples.

    Returns:
        the closed mesh in the unit frame with vertices that float32 holds exactly. Its audit tells `faces_in`,
        `faces_fused` (before simplification), `faces_out`, `faces_ratio` (to `max_faces`), `closed`, `repaired`,
        `components_removed`, `hollows_filled`, `boundary_edges`, `nonmanifold_edges`, `euler`, `volume`, `edge_ratio`
        (longest edge of its bounding box, that of the input being 1), `voxel` (spacing of the samples),
        `surface_error_{mean,p95,max}` from the result to the input, `input_error_{mean,p95,max}` from the visible
        input to the result, `hidden_share` of the input's area that lies inside, and of the rule flood `leak`
        (`leak.leaked_share`); all lengths in the unit frame.

    Raises:
        MeshError: nothing to close, or the result cannot be closed.
    """
    from occnet_lib.geometry import cluster, components, leak, normalise, repair, simplify

    unit, loc, scale = normalise.unit_cube(mesh)
    unit = cluster.thin_out(unit, 0.5 / config.resolution)  # half a voxel
    triangles = _with_area(unit.triangles)
    fused, voxel = fuse(triangles, config, rng)
    fused, removed, filled = components.tidy(fused, config.min_component)
    repaired = not repair.soundness(fused).closed
    if repaired:
        log.warning("the fused surface is not closed; repairing it")
        fused = repair.repair(fused)
    closed = _as_stored(simplify.simplify(fused, config.max_faces))
    audit: dict[str, Any] = {
        "faces_in": len(mesh.faces),
        "faces_fused": len(fused.faces),
        "faces_out": len(closed.faces),
        "faces_ratio": len(closed.faces) / config.max_faces,
        "repaired": repaired,
        "components_removed": removed,
        "hollows_filled": filled,
    }
    audit |= measure(closed, unit, voxel, rng)
    if config.rule == "flood":
        audit["leak"] = leak.leaked_share(closed, unit, voxel, rng)
    if not audit["closed"]:
        raise MeshError("the result is not a closed surface")
    return Watertight(mesh=closed, loc=loc, scale=scale, audit=audit)


def fuse(
    triangles: NDArray[np.float64], config: WatertightConfig, rng: np.random.Generator
) -> tuple[Mesh, float]:
    """The closed surface of triangles (F, 3, 3) by the rule of the configuration, and the size of a voxel.

    Both in the unit frame.
    """
    from occnet_lib.geometry import cameras, depth, tsdf
    from occnet_lib.geometry.grid import grid_around

    corners = triangles.reshape(-1, 3)
    grid = grid_around(corners.min(axis=0), corners.max(axis=0), config.resolution, MARGIN)
    directions = cameras.random_spiral(config.views, rng)
    if config.rule == "flood":
        return tsdf.flood_surface(triangles, grid, config.sheet_thickness), grid.step
    render = partial(depth.render_depth, triangles, directions, config.image_size)
    if config.rule == "mean":
        return tsdf.mean_surface(render(), grid), grid.step
    return tsdf.carve_surface(triangles, render(), grid, config.sheet_thickness), grid.step


def measure(closed: Mesh, unit: Mesh, voxel: float, rng: np.random.Generator) -> dict[str, Any]:
    """How good a closed mesh is, beside the input in the same frame (see `run` for the keys)."""
    from occnet_lib.geometry import occupancy, repair, sampling

    sound = repair.soundness(closed)
    audit: dict[str, Any] = {
        "closed": sound.closed,
        "boundary_edges": sound.boundary_edges,
        "nonmanifold_edges": sound.nonmanifold_edges,
        "euler": sound.euler,
        "volume": sound.volume,
        "edge_ratio": float(np.ptp(closed.vertices, axis=0).max()),
        "voxel": voxel,
    }
    on_result = sampling.sample_surface(closed, AUDIT_SAMPLES, rng)[0]
    audit |= _spread("surface_error", occupancy.surface_distance(unit, on_result))
    on_input = sampling.sample_surface(unit, AUDIT_SAMPLES, rng)[0]
    distance = occupancy.surface_distance(closed, on_input)
    # What lies deeper inside than the surface can be off is inner structure, not error.
    hidden = occupancy.contains(closed, on_input) & (distance > 2.0 * voxel)
    audit |= _spread("input_error", distance[~hidden] if not hidden.all() else distance)
    audit["hidden_share"] = float(hidden.mean())
    return audit


def _spread(name: str, distance: NDArray[np.float64]) -> dict[str, float]:
    return {
        f"{name}_mean": float(distance.mean()),
        f"{name}_p95": float(np.quantile(distance, 0.95)),
        f"{name}_max": float(distance.max()),
    }


def _with_area(triangles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Only the triangles that have an area."""
    cross = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    triangles = triangles[(cross**2).sum(axis=1) > 1e-24]
    if len(triangles) == 0:
        raise MeshError("no face of the mesh has an area")
    return triangles


def _as_stored(mesh: Mesh) -> Mesh:
    """The mesh with vertices as float32 keeps them, so that labels are those of the stored mesh."""
    return Mesh(mesh.vertices.astype(np.float32).astype(np.float64), mesh.faces)
