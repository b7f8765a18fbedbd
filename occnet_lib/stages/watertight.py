"""Stage watertight: any triangle soup to a closed mesh with a known frame."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from occnet_lib.errors import MeshError
from occnet_lib.types import Mesh, Watertight

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from occnet_lib.config import WatertightConfig
    from occnet_lib.geometry.fusion import depth_maps, surfaces
    from occnet_lib.geometry.half_edges import HalfEdges

logger = logging.getLogger(__name__)

MARGIN = 5  # samples around the shape, for thickened sheets or the outward bias of the method tsdf
AUDIT_SAMPLES = 10_000
# Voxels by which removing vertices within planar regions may move the surface; the next one where faces intersect then.
PLANAR = (0.002, 0.0015, 0.001)
DIRECTIONS = 64  # in which the visibility of the outside from a hollow is tested
# A surface is ragged where it is more than this many voxels beyond half of `gap_width` from the input. Closed gaps,
# thickened sheets and the outward bias of the method tsdf are nearer.
RAGGED = 2.0


def run(
    mesh: Mesh,
    config: WatertightConfig,
    rng: np.random.Generator,
    frame: tuple[NDArray[np.float64], float] | None = None,
) -> Watertight:
    """Close a mesh: keep its faces if they bound a solid, otherwise fuse it to a signed field and extract the surface.

    Args:
        mesh: any triangles, source frame; winding, copies, holes and inner faces do not matter.
        config: section `watertight`.
        rng: rotates the views and draws the audit's samples.
        frame: loc (3,) and scale of the unit frame, where the mesh states them; default: from its bounding box.

    Returns:
        the closed mesh in the unit frame, with vertices that float32 represents exactly; it stays closed when a reader
        merges equal vertices. Its audit holds `method` (exact: the input's own faces), `input_defect` (why they could
        not be kept), `bodies` (united ones), `faces_in`, `faces_fused` (before simplification), `faces_out`,
        `faces_ratio` (to `max_faces`), `closed`, `repaired`, `components_removed`,
        `hollows_filled`, `gaps_closed`, `widest_gap` (`surfaces.Fused`), `self_intersecting` (faces),
        `boundary_edges`, `nonmanifold_edges`, `euler`, `volume`, `edge_ratio` (longest edge of its bounding box relative
        to that of the input), `voxel` (spacing of the samples),
        `surface_error_{mean,p95,max}` from the result to the input, `ragged` (fraction of the result's area that is
        farther from the input than any closed gap allows), `input_error_{mean,p95,max}` from the visible input to
        the result, and `hidden_share`, the fraction of the input's area that lies inside; all lengths in the unit frame.

    Raises:
        MeshError: the mesh has no surface, or the result cannot be closed.
    """
    from occnet_lib.geometry import normalise

    unit, loc, scale = normalise.unit_cube(mesh)
    if frame is not None:
        loc, scale = frame
        unit = mesh.compact().to_unit(loc, scale)
    audit: dict[str, Any] = {
        "method": config.method,
        "input_defect": "",
        "bodies": 0,
        "faces_in": len(mesh.faces),
    }
    closed = _keep(unit, config, audit) if config.method == "auto" else None
    if closed is None:
        if audit["input_defect"]:
            text = "its own faces cannot be kept (%s); its surface is rebuilt on a grid of %d samples"
            logger.info(text, audit["input_defect"], config.resolution)
        closed, unit = _rebuild(unit, config, rng, audit)
    audit |= {"faces_out": len(closed.faces), "faces_ratio": len(closed.faces) / config.face_limit}
    if audit["method"] == "exact" and len(closed.faces) > config.face_limit:
        text = "it is closed and keeps its own %d faces, more than watertight.max_faces: %d"
        logger.info(text, len(closed.faces), config.face_limit)
    audit |= measure(closed, unit, audit["voxel"], config.gap_width / 2.0, rng)
    if frame is not None:
        audit["edge_ratio"] /= float(np.ptp(unit.vertices, axis=0).max())
    if not audit["closed"]:
        raise MeshError("the result is not a closed surface")
    return Watertight(mesh=closed, loc=loc, scale=scale, audit=audit)


def _keep(unit: Mesh, config: WatertightConfig, audit: dict[str, Any]) -> Mesh | None:
    """The input with its bodies united, if it bounds a solid; otherwise None, with the reason in the audit."""
    from occnet_lib.geometry import exact, intersections, repair, untangle

    solid = exact.exact_solid(unit)
    audit["input_defect"] = solid.defect
    if solid.mesh is None:
        return None
    voxel = 1.0 / (config.resolution - 2 - 2 * MARGIN)
    closed = untangle.separate_vertices(solid.mesh, voxel)
    merged = repair.merge_vertices(closed) if repair.any_coincident(closed.vertices) else closed
    if not repair.check_watertight(merged).closed or len(intersections.intersecting_pairs(closed)):
        audit["input_defect"] = "parts that touch"
        return None
    audit |= {"method": "exact", "bodies": solid.bodies, "voxel": voxel, "faces_fused": len(closed.faces)}
    audit |= {"repaired": False, "components_removed": 0, "hollows_filled": 0}
    audit |= {"gaps_closed": 0, "widest_gap": 0.0, "self_intersecting": 0}
    return closed


def _rebuild(
    unit: Mesh, config: WatertightConfig, rng: np.random.Generator, audit: dict[str, Any]
) -> tuple[Mesh, Mesh]:
    """A closed mesh by fusion, and the decimated input that it was made from."""
    from occnet_lib.geometry import vertex_clustering

    unit = vertex_clustering.decimate(unit, 0.5 / config.resolution)  # half a voxel
    result, voxel = fuse(_with_area(unit), config, rng)
    fused, edges, repaired = _manifold(result.mesh)
    attempts = []
    for tolerance in PLANAR:
        attempts.append(_simplified(fused, edges, tolerance, voxel, config))
        if not attempts[-1].self_intersecting or len(fused.faces) <= config.face_limit:
            break
    best = min(attempts, key=lambda attempt: attempt.self_intersecting)
    audit |= {"method": "flood_fill" if config.method == "auto" else config.method, "voxel": voxel}
    audit |= {"faces_fused": len(result.mesh.faces), "repaired": repaired}
    audit |= {"components_removed": best.components_removed, "hollows_filled": best.hollows_filled}
    audit |= {"gaps_closed": result.gaps_closed, "widest_gap": result.widest_gap}
    audit["self_intersecting"] = best.self_intersecting
    return best.mesh, unit


def _manifold(fused: Mesh) -> tuple[Mesh, HalfEdges, bool]:
    """The fused surface, closed, its half-edges, and whether it was repaired."""
    from occnet_lib.geometry import half_edges, repair

    edges = half_edges.half_edges(fused.faces, len(fused.vertices))
    if edges.unpaired:  # mostly an edge of four faces
        fused = repair.make_manifold(fused)
        edges = half_edges.half_edges(fused.faces, len(fused.vertices))
    repaired = edges.unpaired > 0
    if repaired:
        logger.warning("the fused surface is not closed; repairing it")
        fused = repair.repair(fused)
        edges = half_edges.half_edges(fused.faces, len(fused.vertices))
    return fused, edges, repaired


class _Simplified(NamedTuple):
    """A closed mesh of few faces, and the counts of `run` that it has."""

    mesh: Mesh
    components_removed: int
    hollows_filled: int
    self_intersecting: int


def _simplified(
    fused: Mesh, edges: HalfEdges, tolerance: float, voxel: float, config: WatertightConfig
) -> _Simplified:
    """The fused surface with few faces in planar regions, if it has too many, and then with few faces."""
    from occnet_lib.geometry import components, planar_decimation, simplify, untangle

    if len(fused.faces) > config.face_limit:
        fused = planar_decimation.decimate_planar(fused, tolerance * voxel, edges)
    large, removed, filled = components.remove_small_components(fused, config.min_component)
    simple = simplify.simplify(large, config.face_limit)
    closed, tangled = untangle.untangle(untangle.separate_vertices(simple, voxel), voxel)
    return _Simplified(closed, removed, filled, tangled)


def fuse(
    triangles: NDArray[np.float64], config: WatertightConfig, rng: np.random.Generator
) -> tuple[surfaces.Fused, float]:
    """The closed surface of triangles (F, 3, 3) by the method of the configuration, and the size of a voxel.

    Both in the unit frame.
    """
    from occnet_lib.geometry import cameras
    from occnet_lib.geometry.fusion import depth_maps, surfaces
    from occnet_lib.geometry.grid import grid_around

    corners = triangles.reshape(-1, 3)
    grid = grid_around(corners.min(axis=0), corners.max(axis=0), config.resolution, MARGIN)
    if config.method in ("auto", "flood_fill"):
        directions = cameras.random_directions(DIRECTIONS, rng)
        thickness = config.sheet_thickness
        return surfaces.flood_fill_surface(
            triangles, grid, thickness, config.gap_width, directions
        ), grid.step
    directions = cameras.random_directions(config.views, rng)

    def render() -> depth_maps.DepthMaps:
        return depth_maps.render_depth(triangles, directions, config.depth_map_size)

    if config.method == "tsdf":
        return surfaces.tsdf_surface(render(), grid), grid.step
    return surfaces.carving_surface(triangles, render(), grid, config.sheet_thickness), grid.step


def measure(closed: Mesh, unit: Mesh, voxel: float, gap: float, rng: np.random.Generator) -> dict[str, Any]:
    """Quality of a closed mesh compared with the input in the same frame (keys: see `run`).

    Args:
        closed: the result.
        unit: the input.
        voxel: spacing of the samples.
        gap: half-width of the widest gap that is closed.
        rng: draws samples of both surfaces.
    """
    from occnet_lib.geometry import occupancy, repair, sampling

    merged = repair.merge_vertices(closed) if repair.any_coincident(closed.vertices) else closed
    check = repair.check_watertight(merged)
    audit: dict[str, Any] = {
        "closed": check.closed,
        "boundary_edges": check.boundary_edges,
        "nonmanifold_edges": check.nonmanifold_edges,
        "euler": check.euler,
        "volume": check.volume,
        "edge_ratio": float(np.ptp(closed.vertices, axis=0).max()),
    }
    on_result = sampling.sample_surface(closed, AUDIT_SAMPLES, rng)[0]
    distance = occupancy.surface_distance(unit, on_result)
    audit |= _spread("surface_error", distance)
    audit["ragged"] = float((distance > gap + RAGGED * voxel).mean())
    on_input = sampling.sample_surface(unit, AUDIT_SAMPLES, rng)[0]
    distance = occupancy.surface_distance(closed, on_input)
    # Points deeper inside than the surface error are inner structure, not error.
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


def _with_area(mesh: Mesh) -> NDArray[np.float64]:
    """The triangles (F, 3, 3) that have an area."""
    triangles = mesh.triangles[(mesh.area_vectors**2).sum(axis=1) > 1e-24]
    if len(triangles) == 0:
        raise MeshError("no face of the mesh has an area")
    return triangles
