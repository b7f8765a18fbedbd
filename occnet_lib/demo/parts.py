"""Convex building blocks: closed triangle meshes with an exact inside test.

Every solid part is a convex polyhedron, so the half-spaces of its triangles decide exactly whether a point lies inside
the solid that they enclose; a shape's occupancy is the union over its parts.
Units are those of the shape under construction, +y up, front towards -z.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from occnet_lib.types import Mesh

Float = NDArray[np.float64]
Color = tuple[float, float, float]

_FLAT = 1e-12  # squared area below which a triangle is a point or a line


@dataclass(frozen=True)
class Part:
    """A convex polyhedron, or a flat polygon without volume.

    Attributes:
        vertices: (V, 3) float64.
        faces: (F, 3) int32; counter-clockwise from outside for a solid.
        color: sRGB in [0, 1].
        sheet: the part has no thickness and occupies nothing.
    """

    vertices: Float
    faces: NDArray[np.int32]
    color: Color
    sheet: bool = False

    def half_spaces(self) -> tuple[Float, Float]:
        """Unit normals (F, 3) and offsets (F,): inside is where every `normal @ p <= offset`."""
        normals = Mesh(self.vertices, self.faces).face_normals
        return normals, np.einsum("fi,fi->f", normals, self.vertices[self.faces[:, 0]])

    def contains(self, points: Float) -> NDArray[np.bool_]:
        """Which of the points (N, 3) are inside; the boundary counts as inside, a sheet contains no points."""
        inside = np.zeros(len(points), bool)
        if self.sheet:
            return inside
        low, high = self.vertices.min(0), self.vertices.max(0)
        near = np.flatnonzero(((points >= low) & (points <= high)).all(1))
        normals, offsets = self.half_spaces()
        inside[near] = (points[near] @ normals.T <= offsets).all(1)
        return inside

    def moved(self, shift: ArrayLike = (0, 0, 0), scale: float = 1.0, rotation: Float | None = None) -> Part:
        """The part at `scale * rotation @ p + shift`."""
        vertices = self.vertices if rotation is None else self.vertices @ rotation.T
        return Part(scale * vertices + np.asarray(shift, float), self.faces, self.color, self.sheet)


def rotation(axis: str, degrees: float) -> Float:
    """(3, 3) right-handed rotation about "x", "y" or "z"."""
    i = "xyz".index(axis)
    j, k = (i + 1) % 3, (i + 2) % 3
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix = np.eye(3)
    matrix[j, j], matrix[j, k], matrix[k, j], matrix[k, k] = c, -s, s, c
    return matrix


def mirrored(part: Part) -> Part:
    """The part mirrored at the plane x = 0."""
    return Part(part.vertices * [-1, 1, 1], part.faces[:, ::-1], part.color, part.sheet)


def loft(rings: ArrayLike, color: Color) -> Part:
    """The convex solid between planar convex polygons.

    Args:
        rings: (K, n, 3), K >= 2 polygons of n corners, each corner joined to the same corner of the next one; they
            must bound a convex solid (verified by tests). Where four joined corners are not exactly coplanar, the
            diagonal is chosen so that the solid stays convex.
        color: sRGB in [0, 1].
    """
    rings = np.asarray(rings, float)
    count, n = rings.shape[:2]
    vertices = rings.reshape(-1, 3)
    centre = vertices.mean(0)
    faces: list[tuple[int, int, int]] = []
    for k in range(count - 1):
        for i in range(n):
            a, b = k * n + i, k * n + (i + 1) % n
            faces += _split((a, b, b + n, a + n), vertices, centre)
    last = (count - 1) * n
    for first in (0, last):
        faces += [(first, first + i, first + i + 1) for i in range(1, n - 1)]
    return Part(vertices, _outward(np.array(faces, np.int32), vertices, centre), color)


def _split(quad: tuple[int, int, int, int], vertices: Float, centre: Float) -> list[tuple[int, int, int]]:
    """The two triangles of a quadrilateral with the outer (convex) diagonal."""
    a, b, c, d = quad
    corners = vertices[list(quad)]
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    towards_centre = np.sign(normal @ (centre - corners[0]))
    if towards_centre * (normal @ (corners[3] - corners[0])) < -_FLAT:
        return [(a, b, d), (b, c, d)]
    return [(a, b, c), (a, c, d)]


def _outward(faces: NDArray[np.int32], vertices: Float, centre: Float) -> NDArray[np.int32]:
    """The faces wound so that their normals point away from the centre, without degenerate ones."""
    normals = Mesh(vertices, faces).area_vectors
    inward = np.einsum("fi,fi->f", normals, vertices[faces[:, 0]] - centre) < 0
    faces = np.where(inward[:, None], faces[:, ::-1], faces)
    return faces[(normals**2).sum(1) > _FLAT].astype(np.int32)


def polygon(sides: int, radius: float = 1.0, phase: float = 0.0) -> Float:
    """(sides, 2) corners of a regular polygon; `phase` in steps of one side."""
    angle = 2 * np.pi * (np.arange(sides) + phase) / sides
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def box(centre: Sequence[float], size: Sequence[float], color: Color) -> Part:
    """An axis-aligned box by its centre and edge lengths."""
    (x, y, z), (w, h, d) = centre, size
    return block(y - h / 2, (x, z, w, d), y + h / 2, (x, z, w, d), color)


def block(
    low: float, lower: Sequence[float], high: float, upper: Sequence[float], color: Color, bevel: float = 0.0
) -> Part:
    """A tapered box between heights `low` and `high`.

    Args:
        low, high: heights of the two ends.
        lower, upper: rectangles there: centre x and z, width along x, depth along z.
        color: sRGB in [0, 1].
        bevel: fraction of the half width cut off at the four upright edges.
    """
    b = 1.0 - bevel
    if bevel:
        corners = np.array([(1, b), (b, 1), (-b, 1), (-1, b), (-1, -b), (-b, -1), (b, -1), (1, -b)])
    else:
        corners = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)], float)
    rings = []
    for y, (x, z, w, d) in ((low, lower), (high, upper)):
        ring = np.insert(corners * (w / 2, d / 2) + (x, z), 1, y, axis=1)
        rings.append(ring)
    return loft(rings, color)


def rod(
    start: ArrayLike, end: ArrayLike, radius: float | tuple[float, float], color: Color, sides: int = 8
) -> Part:
    """A prism, cylinder, frustum or cone with its axis from `start` to `end`.

    `sides` = 4 gives an upright square leg whose sides face x and z, its half width being `radius`.
    """
    start, end = np.asarray(start, float), np.asarray(end, float)
    axis = (end - start) / np.linalg.norm(end - start)
    helper = np.array([0.0, 0.0, 1.0]) if abs(axis[2]) < 0.9 else np.array([1.0, 0.0, 0.0])
    e1 = np.cross(helper, axis)
    e1 /= np.linalg.norm(e1)
    corners = polygon(sides, 1 / np.cos(np.pi / sides) if sides == 4 else 1.0, 0.5)
    ring = corners @ np.stack([e1, np.cross(axis, e1)])
    r0, r1 = radius if isinstance(radius, tuple) else (radius, radius)
    return loft([start + r0 * ring, end + r1 * ring], color)


def legs(
    x: float,
    z: float,
    top: float,
    radii: tuple[float, float],
    color: Color,
    sides: int = 8,
    splay: float = 0.0,
) -> list[Part]:
    """Rods from the ground to the corners (±x, top, ±z), whose feet stand apart by `splay` more."""
    return [
        rod((s * (x + splay), 0, t * (z + splay)), (s * x, top, t * z), radii, color, sides)
        for s in (-1, 1)
        for t in (-1, 1)
    ]


def lathe(
    profile: Sequence[tuple[float, float]], color: Color, x: float = 0.0, z: float = 0.0, sides: int = 16
) -> list[Part]:
    """Stacked frusta along y through (height, radius) pairs."""
    return [rod((x, y0, z), (x, y1, z), (r0, r1), color, sides) for (y0, r0), (y1, r1) in pairwise(profile)]


def ellipsoid(
    centre: Sequence[float], radii: Sequence[float], color: Color, sides: int = 14, axis: str = "y"
) -> Part:
    """A faceted ellipsoid with its poles on `axis`; radii along x, y, z."""
    latitude = np.linspace(-np.pi / 2, np.pi / 2, sides // 2 + 1)
    around = polygon(sides, 1.0, 0.5)
    ring = np.insert(np.cos(latitude)[:, None, None] * around, 1, np.sin(latitude)[:, None], axis=2)
    if axis != "y":
        ring = ring[..., [1, 2, 0] if axis == "x" else [0, 2, 1]]
    return loft(ring * np.asarray(radii, float) + np.asarray(centre, float), color)


def hoop(
    centre: Sequence[float], radius: float, thickness: float, color: Color, sides: int = 20
) -> list[Part]:
    """A torus of square section around the upright axis, in convex segments."""
    angle = 2 * np.pi * np.arange(sides + 1) / sides
    r, h = thickness * np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)]).T
    x, z = np.cos(angle)[:, None] * (radius + r), np.sin(angle)[:, None] * (radius + r)
    rings = np.stack([x, np.broadcast_to(h, x.shape), z], axis=2) + np.asarray(centre, float)
    return [loft(rings[i : i + 2], color) for i in range(sides)]


def chain(path: ArrayLike, radius: float, color: Color, sides: int = 8) -> list[Part]:
    """Rods along a polyline (n, 3), a little longer than its pieces so that the bends are filled."""
    path = np.asarray(path, float)
    parts = []
    for a, b in pairwise(path):
        overlap = 0.4 * radius * (b - a) / np.linalg.norm(b - a)
        parts.append(rod(a - overlap, b + overlap, radius, color, sides))
    return parts


def slab(outline: ArrayLike, low: float, high: float, color: Color, axis: str = "x") -> Part:
    """A convex outline extruded along an axis.

    Args:
        outline: (n, 2) corners of the outline: (z, y) for axis "x", (x, z) for "y", (x, y) for "z".
        low, high: the ends along the axis.
        color: sRGB in [0, 1].
        axis: "x", "y" or "z".
    """
    outline = np.asarray(outline, float)
    rings = []
    for end in (low, high):
        u, v, w = outline[:, 0], outline[:, 1], np.full(len(outline), float(end))
        rings.append(np.stack({"x": (w, v, u), "y": (u, w, v), "z": (u, v, w)}[axis], axis=1))
    return loft(rings, color)


def fin(
    root: Sequence[float],
    tip: Sequence[float],
    chords: tuple[float, float],
    thickness: tuple[float, float],
    color: Color,
) -> Part:
    """A wing: a lens-like section swept from `root` to `tip`, the chord along z.

    Args:
        root, tip: (3,) centres of the two end sections.
        chords: lengths along z at root and tip.
        thickness: there, across chord and span.
        color: sRGB in [0, 1].
    """
    ends = np.array([root, tip], float)
    span = (ends[1] - ends[0]) * [1, 1, 0]
    across = np.cross([0.0, 0.0, 1.0], span / np.linalg.norm(span))
    along = np.array([-0.5, -0.2, 0.2, 0.5, 0.5, 0.2, -0.2, -0.5])
    up = np.roll(along, -2)
    rings = [
        centre + np.outer(along * chord, [0.0, 0.0, 1.0]) + np.outer(up * thick, across)
        for centre, chord, thick in zip(ends, chords, thickness, strict=True)
    ]
    return loft(rings, color)


def sheet(corners: ArrayLike, color: Color) -> Part:
    """A flat convex polygon (n, 3) without thickness."""
    vertices = np.asarray(corners, float)
    faces = np.array([(0, i, i + 1) for i in range(1, len(vertices) - 1)], np.int32)
    return Part(vertices, faces, color, sheet=True)
