"""Polygons to triangles, also concave ones, which the loaders of mesh files do not get right."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

_POLYGON_LINE = re.compile(rb"^[ \t]*f(?:[ \t]+[^\s\\]+){4}", re.MULTILINE)


def split_concave_obj(data: bytes) -> bytes:
    """Divide the concave polygons of an OBJ file into triangles; everything else stays as it is.

    Loaders divide polygons into fans, which is wrong for most concave ones (the fan sticks out of them).

    Args:
        data: the file, in an encoding that contains ASCII.
    """
    data = re.sub(rb"\\\r?\n", b" ", data)
    if not _POLYGON_LINE.search(data):
        return data
    lines = data.split(b"\n")
    positions: list[list[bytes]] = []
    by_size: dict[int, list[tuple[int, list[int]]]] = defaultdict(list)
    for number, line in enumerate(lines):
        words = line.split()
        if not words or words[0] not in (b"v", b"f"):
            continue
        if words[0] == b"v":
            positions.append(words[1:4])
        elif len(words) > 4:
            corners = [int(word.partition(b"/")[0]) for word in words[1:]]
            by_size[len(corners)].append((number, [c - 1 if c > 0 else len(positions) + c for c in corners]))
    vertices = np.array(positions, np.float64)
    for polygons in by_size.values():
        corners3d = vertices[np.array([corners for _, corners in polygons])]
        for i in np.flatnonzero(~fan_fits(corners3d)):
            number = polygons[i][0]
            words = lines[number].split()[1:]
            lines[number] = b"\n".join(
                b"f " + b" ".join(words[k] for k in triangle) for triangle in triangulate(corners3d[i])
            )
    return b"\n".join(lines)


def fan_fits(polygons: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the fan of triangles from the first corner covers a polygon exactly.

    It does where no triangle of it turns against the polygon as a whole (whose normal is the sum of
    the fan's, Newell's method).

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
    """Divide a simple polygon, convex or not, into triangles by cutting ears (Meisters 1975).

    Corners may coincide, as where a bridge joins a hole to the outline. What cannot be divided (a
    polygon that crosses itself) ends as a fan.

    Args:
        polygon: (n, 3) corners, about planar.

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
        at = next((k for k in range(len(left)) if _is_ear(plane, left, k)), None)
        if at is None:
            return triangles + [(left[0], b, c) for b, c in itertools.pairwise(left[1:])]
        triangles.append((left[at - 1], left[at], left[(at + 1) % len(left)]))
        del left[at]
    return [*triangles, (left[0], left[1], left[2])]


def _is_ear(plane: NDArray[np.float64], left: list[int], k: int) -> bool:
    """Whether corner k of the rest turns left and no other corner lies in its triangle."""
    a, b, c = (plane[left[i % len(left)]] for i in (k - 1, k, k + 1))
    if _turn(a, b, c) <= 0:
        return False
    others = plane[[i for i in left if not (plane[i] == (a, b, c)).all(axis=1).any()]]
    inside = (_turn(a, b, others) >= 0) & (_turn(b, c, others) >= 0) & (_turn(c, a, others) >= 0)
    return not inside.any()


def _turn(a: NDArray[np.float64], b: NDArray[np.float64], p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Twice the signed area of the triangles a, b, p; positive counter-clockwise."""
    return np.asarray((b[0] - a[0]) * (p[..., 1] - a[1]) - (b[1] - a[1]) * (p[..., 0] - a[0]))


def divide(
    vertices: NDArray[np.float64], polygons: list[list[int]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide polygons into triangles.

    Args:
        vertices: (V, 3).
        polygons: corner numbers of every face; those with fewer than three are left out.

    Returns:
        (T, 3) triangles in the order of the polygons, and (T,) the polygon of each.

    Raises:
        IndexError: a corner that is no vertex.
    """
    fits = np.ones(len(polygons), dtype=bool)
    by_size: dict[int, list[int]] = defaultdict(list)
    for number, polygon in enumerate(polygons):
        by_size[len(polygon)].append(number)
    for size, numbers in by_size.items():
        corners = np.array([polygons[number] for number in numbers], np.int64).reshape(-1, size)
        if corners.size and (corners.min() < 0 or corners.max() >= len(vertices)):
            raise IndexError(f"a face names a vertex outside 0..{len(vertices) - 1}")
        if size > 3:
            fits[numbers] = fan_fits(vertices[corners])
    triangles: list[tuple[int, int, int]] = []
    owners: list[int] = []
    for number, polygon in enumerate(polygons):
        if fits[number]:
            parts = [(polygon[0], b, c) for b, c in itertools.pairwise(polygon[1:])]
        else:
            parts = [(polygon[a], polygon[b], polygon[c]) for a, b, c in triangulate(vertices[polygon])]
        triangles += parts
        owners += [number] * len(parts)
    return np.array(triangles, np.int64).reshape(-1, 3), np.array(owners, np.int64)
