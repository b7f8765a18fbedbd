"""Triangulation of polygons, also concave ones, which the loaders of mesh files do not triangulate correctly.

Own code in place of mapbox-earcut, which would change the triangles of every concave polygon, and with them results; a
polygon of 3,000 corners takes 0.5 CPU s here.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

_CHUNK = 100_000  # polygons processed together, which limits memory


def fan_fits(polygons: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the fan of triangles from the first corner covers a polygon exactly.

    It does if no triangle has a normal opposite to that of the polygon, which is the sum over the fan (Newell's method).

    Args:
        polygons: (P, n, 3) corners.

    Returns:
        (P,) bool.
    """
    spokes = polygons[:, 1:] - polygons[:, :1]
    normals = np.cross(spokes[:, :-1], spokes[:, 1:])
    along = np.einsum("ptk,pk->pt", normals, normals.sum(axis=1))
    size = np.linalg.norm(normals, axis=2).sum(axis=1) ** 2
    return np.asarray((along >= -1e-9 * size[:, None]).all(axis=1))


def triangulate(polygon: NDArray[np.float64]) -> list[tuple[int, int, int]]:
    """Triangulate a simple polygon, convex or not, by ear clipping (Meisters 1975).

    Corners may coincide, as at a bridge from a hole to the outline. The part that cannot be divided, of a polygon that
    intersects itself, becomes a fan.

    Args:
        polygon: (n, 3) corners, approximately planar.

    Returns:
        n - 2 triples of corner numbers, wound like the polygon.
    """
    if fan_fits(polygon[None])[0]:
        return [(0, k, k + 1) for k in range(1, len(polygon) - 1)]
    spokes = polygon[1:] - polygon[0]
    normal = np.cross(spokes[:-1], spokes[1:]).sum(axis=0)
    drop = int(np.argmax(np.abs(normal)))
    plane = np.delete(polygon, drop, axis=1)
    # Dropping y mirrors the plane; a normal against the dropped axis mirrors it once more.
    if (normal[drop] < 0) != (drop == 1):
        plane = plane * [1.0, -1.0]
    left = list(range(len(polygon)))
    triangles: list[tuple[int, int, int]] = []
    while len(left) > 3:
        rest = plane[left]
        at = next((k for k in range(len(left)) if _is_ear(rest, k)), None)
        if at is None:
            return triangles + [(left[0], b, c) for b, c in itertools.pairwise(left[1:])]
        triangles.append((left[at - 1], left[at], left[(at + 1) % len(left)]))
        del left[at]
    return [*triangles, (left[0], left[1], left[2])]


def _is_ear(rest: NDArray[np.float64], k: int) -> bool:
    """Whether corner k of the rest turns left and no other corner lies in its triangle."""
    a, b, c = rest[k - 1], rest[k], rest[(k + 1) % len(rest)]
    if _turn(a, b, c) <= 0:
        return False
    here = (rest == a).all(axis=1) | (rest == b).all(axis=1) | (rest == c).all(axis=1)
    others = rest[~here]
    inside = (_turn(a, b, others) >= 0) & (_turn(b, c, others) >= 0) & (_turn(c, a, others) >= 0)
    return not inside.any()


def _turn(a: NDArray[np.float64], b: NDArray[np.float64], p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Twice the signed area of the triangles a, b, p; positive counter-clockwise."""
    return np.asarray((b[0] - a[0]) * (p[..., 1] - a[1]) - (b[1] - a[1]) * (p[..., 0] - a[0]))


def divide(
    vertices: NDArray[np.float64], corners: NDArray[np.integer], sizes: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Triangulate polygons, also concave ones.

    Args:
        vertices: (V, 3).
        corners: (C,) vertex numbers of all polygons, concatenated.
        sizes: (P,) number of corners of each; polygons with fewer than three have no triangle.

    Returns:
        (T, 3) triangles as positions in `corners`, in the order of the polygons, and (T,) the polygon of each.

    Raises:
        IndexError: a corner that is not a vertex.
    """
    if len(corners) and (corners.min() < 0 or corners.max() >= len(vertices)):
        raise IndexError(f"a face refers to a vertex outside 0..{len(vertices) - 1}")
    if (sizes == 3).all():
        return np.arange(len(corners)).reshape(-1, 3), np.arange(len(sizes))
    sizes = sizes.astype(np.int64)
    counts = np.maximum(sizes - 2, 0)
    owners = np.repeat(np.arange(len(sizes)), counts)
    starts = np.cumsum(sizes) - sizes
    first = np.cumsum(counts) - counts  # the first triangle of each polygon
    step = np.arange(len(owners)) - first[owners]
    fan = starts[owners]
    triangles = np.stack([fan, fan + step + 1, fan + step + 2], axis=1)
    for size in np.unique(sizes[sizes > 3]):
        of_size = np.flatnonzero(sizes == size)
        for at in range(0, len(of_size), _CHUNK):
            numbers = of_size[at : at + _CHUNK]
            polygons = vertices[corners[starts[numbers, None] + np.arange(size)]]
            for i in np.flatnonzero(~fan_fits(polygons)):
                number = numbers[i]
                rows = slice(first[number], first[number] + size - 2)
                triangles[rows] = starts[number] + np.array(triangulate(polygons[i]))
    return triangles, owners
