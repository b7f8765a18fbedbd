"""Meshes that bound a solid already and keep their faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.components import component_volumes, label_faces
from occnet_lib.geometry.intersections import intersecting_pairs
from occnet_lib.geometry.repair import check_watertight, make_manifold, merge_vertices
from occnet_lib.geometry.topology import edge_groups, edge_keys
from occnet_lib.types import Mesh

MAX_FACES = 1_000_000
# A union leaves very narrow faces where bodies meet, which rounding to float32 folds over. Simplification with these
# tolerances (fractions of the longest edge) removes them.
_TOLERANCES = (0.0, 1e-6, 1e-5)
PROBES = 8  # vertices tested for whether a part lies in another one
_FLAT = 1e-12  # volume, with a longest edge of 1, below which a part is empty


@dataclass(frozen=True)
class Solid:
    """The solid that a mesh bounds.

    Attributes:
        mesh: closed mesh without self-intersections, or None if the input does not bound a solid.
        defect: why it does not bound a solid; empty if it does.
        bodies: number of bodies that were united.
    """

    mesh: Mesh | None
    defect: str = ""
    bodies: int = 0


@dataclass(frozen=True)
class _Parts:
    """A closed mesh in connected parts.

    Attributes:
        meshes: one a part.
        volume: (n,) signed, negative for a part wound inward.
        crossing: (k, 2) parts whose faces intersect or overlap.
    """

    meshes: list[Mesh]
    volume: NDArray[np.float64]
    crossing: NDArray[np.int64]


def exact_solid(mesh: Mesh) -> Solid:
    """The solid that a mesh bounds, if every part of it is closed, consistently wound and free of self-intersections.

    Parts wound outward are bodies; they may intersect and are united (manifold3d). A part wound inward is a cavity of
    the body around it. If the largest part is wound inward, all parts are flipped.

    Args:
        mesh: unit frame. Vertices are rounded to float32, as they are stored, and coincident ones are merged.
    """
    try:
        bodies = _bodies(_split(_paired(mesh)))
        return Solid(bodies[0] if len(bodies) == 1 else _unite(bodies), bodies=len(bodies))
    except _DefectError as defect:
        return Solid(None, str(defect))


class _DefectError(Exception):
    """Why a mesh does not bound a solid."""


def _paired(mesh: Mesh) -> Mesh:
    """The mesh with coincident vertices merged and cut apart so that every edge has two faces."""
    if len(mesh.faces) > MAX_FACES:
        raise _DefectError(f"more than {MAX_FACES} faces")
    merged = merge_vertices(Mesh(mesh.vertices.astype(np.float32).astype(np.float64), mesh.faces))
    if not len(merged.faces):
        raise _DefectError("no faces with an area")
    _check_edges(merged)
    closed = make_manifold(merged, keep_walls=True)
    if not check_watertight(closed).manifold:
        raise _DefectError("edges of more than two faces")
    return closed


def _check_edges(mesh: Mesh) -> None:
    _, upwards = edge_keys(mesh.faces, len(mesh.vertices))
    order, first, count = edge_groups(mesh.faces, len(mesh.vertices))
    ups = np.add.reduceat(upwards[order], first, dtype=np.int64)
    if (count == 1).any():
        raise _DefectError("open edges")
    if (2 * ups != count).any():
        raise _DefectError("inconsistent winding")


def _split(closed: Mesh) -> _Parts:
    count, of_face = label_faces(closed)
    pairs = of_face[intersecting_pairs(closed)].astype(np.int64)
    if (pairs[:, 0] == pairs[:, 1]).any():
        raise _DefectError("self-intersecting faces")
    volume = component_volumes(closed, of_face, count)
    if (np.abs(volume) < _FLAT).any():
        raise _DefectError("parts without a volume")
    if volume[np.argmax(np.abs(volume))] < 0:
        closed = closed.flipped()
        volume = -volume
    if count == 1:
        return _Parts([closed], volume, pairs)
    return _Parts(_meshes(closed, of_face, count), volume, np.unique(np.sort(pairs, axis=1), axis=0))


def _meshes(closed: Mesh, of_face: NDArray[np.int32], count: int) -> list[Mesh]:
    """One mesh for each part; the time does not grow with faces times parts."""
    ends = np.cumsum(np.bincount(of_face, minlength=count))[:-1]
    meshes = []
    for faces in np.split(closed.faces[np.argsort(of_face, kind="stable")], ends):
        used, number = np.unique(faces, return_inverse=True)
        meshes.append(Mesh(closed.vertices[used], number.reshape(-1, 3).astype(np.int32)))
    return meshes


def _bodies(parts: _Parts) -> list[Mesh]:
    """Each body with its cavities."""
    faces = [[part] for part in parts.meshes]
    cavities = np.flatnonzero(parts.volume < 0)
    around = _smallest_around(parts, cavities)
    if (around < 0).any():
        through = np.isin(parts.crossing, cavities[around < 0]).any()
        raise _DefectError("cavities that reach through a surface" if through else "parts wound inward")
    if (parts.volume[around] < 0).any():
        raise _DefectError("cavities within cavities")
    crossing = {tuple(pair) for pair in parts.crossing.tolist()}
    for cavity, body in zip(cavities.tolist(), around.tolist(), strict=True):
        if (min(body, cavity), max(body, cavity)) in crossing:
            raise _DefectError("cavities that reach through a surface")
        faces[body].append(parts.meshes[cavity])
    if (parts.volume[parts.crossing] < 0).all(axis=1).any():
        raise _DefectError("cavities that cross")
    return [_joined(faces[body]) for body in np.flatnonzero(parts.volume > 0)]


def _smallest_around(parts: _Parts, cavities: NDArray[np.intp]) -> NDArray[np.intp]:
    """The smallest part around each cavity; -1 if there is none."""
    from occnet_lib.geometry.occupancy import contains

    around = np.full(len(cavities), -1, dtype=np.intp)
    if not len(cavities):
        return around
    boxes = [part.bounds for part in parts.meshes]
    low, high = (np.array([boxes[cavity][end] for cavity in cavities]) for end in range(2))
    probes = np.array([_spread(parts.meshes[cavity].vertices) for cavity in cavities])
    size = np.abs(parts.volume)
    for part in np.argsort(-size, kind="stable"):
        fits = (low >= boxes[part][0]).all(axis=1) & (high <= boxes[part][1]).all(axis=1)
        some = np.flatnonzero(fits & (size[cavities] < size[part]))
        if len(some):
            inside = contains(parts.meshes[part], probes[some].reshape(-1, 3)).reshape(len(some), PROBES)
            around[some[inside.all(axis=1)]] = part
    return around


def _spread(vertices: NDArray[np.float64]) -> NDArray[np.float64]:
    """(PROBES, 3) of the vertices; a single one may be where two parts touch."""
    return vertices[np.linspace(0, len(vertices) - 1, PROBES).astype(np.intp)]


def _joined(meshes: list[Mesh]) -> Mesh:
    if len(meshes) == 1:
        return meshes[0]
    start = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    faces = [mesh.faces + first for mesh, first in zip(meshes, start, strict=False)]
    return Mesh(np.concatenate([mesh.vertices for mesh in meshes]), np.concatenate(faces).astype(np.int32))


def _unite(bodies: list[Mesh]) -> Mesh:
    import manifold3d

    solids = [
        manifold3d.Manifold(manifold3d.Mesh64(np.ascontiguousarray(b.vertices), b.faces.astype(np.uint64)))
        for b in bodies
    ]
    failure = _DefectError("bodies that cannot be united")
    if any(solid.status() != manifold3d.Error.NoError for solid in solids):
        raise failure
    united = manifold3d.Manifold.batch_boolean(solids, manifold3d.OpType.Add)
    for tolerance in _TOLERANCES:
        if tolerance:
            united = united.simplify(tolerance)
        if united.status() != manifold3d.Error.NoError or united.is_empty():
            raise failure
        arrays = united.to_mesh64()
        result = Mesh(
            np.array(arrays.vert_properties, dtype=np.float32).astype(np.float64),
            np.array(arrays.tri_verts).astype(np.int32),
        )
        result = make_manifold(merge_vertices(result))
        if check_watertight(result).closed and not len(intersecting_pairs(result)):
            return result
    raise failure
