"""Sheets: surfaces with free space on both sides, which have to be given a thickness to have an inside."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from occnet_lib.geometry.fusion.bricks import SignedBand, address, neighbour
from occnet_lib.geometry.fusion.distance_band import closest_point
from occnet_lib.geometry.fusion.rays import Scene

DEEP = 0.45  # voxels: the field is trusted to be inside where it is less than minus this
SHALLOW = 0.2  # the same for points beside an edge
SOLID = 0.6  # fraction of inside, interpolated between samples, that counts as inside
ASIDE = 0.8  # voxels by which the look behind a surface is moved sideways
FAR = np.float32(2.0)  # voxels, what the field is taken to be where it is not stored
BEHIND = (0.7, 1.4)  # voxels behind a surface where to look for its inside
_CIRCLE = np.array([(math.cos(a), math.sin(a)) for a in np.arange(8) * (math.pi / 4)])


def thicken(scene: Scene, band: SignedBand, thickness: float) -> NDArray[np.bool_]:
    """Lower the signed distances of a band, in place, so that everything is at least `thickness` thick.

    Behind the point of the surface that is closest to a sample, either there is inside (a solid, left as it is),
    or after a distance w another surface with free space behind it (a plate, lowered by (thickness - w) / 2), or
    free space (a sheet, lowered by thickness / 2).

    Args:
        scene: the triangles, in voxels from sample (0, 0, 0).
        band: right up to thickness / 2 + 1.
        thickness: voxels.

    Returns:
        (bricks.samples,) bool, the samples lowered.
    """
    bricks, field = band.bricks, band.distance
    slot = np.where(bricks.slot >= 0, bricks.slot, np.where(band.far_outside, -1, -2)).astype(np.int32)
    index, foot, outward = _candidates(scene.triangles, field, band.nearest, slot, bricks.corner, thickness)
    changed = np.zeros(field.shape, dtype=bool)
    if len(index) == 0:
        return changed
    gap = _gap_behind(scene, foot, outward, thickness)
    offset = _offsets(field, slot, foot, outward, gap, thickness)
    lowered = offset > 0
    links = bricks.links(np.ones(bricks.slot.shape, dtype=np.int32))
    _lower(field, links, index[lowered], offset[lowered], thickness / 2, changed)
    return changed


def _gap_behind(
    scene: Scene, foot: NDArray[np.float64], outward: NDArray[np.float64], limit: float
) -> NDArray[np.float64]:
    """(n,) voxels from each foot point inwards to the next surface, at most `limit`."""
    # The start is off the surface, so that the surface itself and its copies in the same plane are not hit.
    clear = 0.05
    distance, _ = scene.cast(foot - clear * outward, -outward)
    return np.minimum(distance + clear, limit)


@njit(cache=True)
def _sample(field, slot, x, y, z):  # type: ignore[no-untyped-def]
    """The field and the fraction of inside at any place, both trilinear; the border's value beyond the grid."""
    nx, ny, nz = 8 * slot.shape[0], 8 * slot.shape[1], 8 * slot.shape[2]
    x, y, z = min(max(x, 0.0), nx - 1.001), min(max(y, 0.0), ny - 1.001), min(max(z, 0.0), nz - 1.001)
    i, j, k = int(x), int(y), int(z)
    a, b, c = x - i, y - j, z - k
    value, inside = 0.0, 0.0
    for corner in range(8):
        p, q, r = corner >> 2, corner >> 1 & 1, corner & 1
        weight = (a if p else 1 - a) * (b if q else 1 - b) * (c if r else 1 - c)
        n = address(slot, i + p, j + q, k + r)
        if n >= 0:
            here = field[n]
        else:
            here = FAR if slot[(i + p) >> 3, (j + q) >> 3, (k + r) >> 3] == -1 else -FAR
        value += weight * here
        if here < 0:
            inside += weight
    return value, inside


@njit(cache=True)
def _candidates(triangles, field, nearest, slot, corner, thickness):  # type: ignore[no-untyped-def]
    """Samples whose sign an offset may change or that lie beside one, unless they clearly belong to a solid.

    Returns their numbers, the closest point of the surface and the outward direction there.
    """
    half = thickness / 2
    size = 1024
    index = np.zeros(size, dtype=np.int64)
    foot, outward = np.zeros((size, 3)), np.zeros((size, 3))
    n = 0
    for at in range(len(field)):
        f = nearest[at]
        d = field[at]
        if f < 0 or d >= half + 1.0 or d <= -half:
            continue
        i = corner[at >> 9, 0] + (at >> 6 & 7)
        j = corner[at >> 9, 1] + (at >> 3 & 7)
        k = corner[at >> 9, 2] + (at & 7)
        t = triangles[f]
        cx, cy, cz = closest_point(t, float(i), float(j), float(k))
        dx, dy, dz = i - cx, j - cy, k - cz
        length = math.sqrt(dx * dx + dy * dy + dz * dz)
        if length > 1e-3:
            sign = -1.0 if d < 0 else 1.0
        else:
            e, g = t[1] - t[0], t[2] - t[0]
            dx, dy, dz = (e[1] * g[2] - e[2] * g[1], e[2] * g[0] - e[0] * g[2], e[0] * g[1] - e[1] * g[0])
            length = math.sqrt(dx * dx + dy * dy + dz * dz)
            back = _sample(field, slot, cx - dx / length, cy - dy / length, cz - dz / length)[0]
            ahead = _sample(field, slot, cx + dx / length, cy + dy / length, cz + dz / length)[0]
            sign = 1.0 if back < ahead else -1.0
        dx, dy, dz = dx * sign / length, dy * sign / length, dz * sign / length
        deep = half + 0.3
        if _sample(field, slot, cx - deep * dx, cy - deep * dy, cz - deep * dz)[0] <= -DEEP:
            continue
        if n == len(index):
            index = np.concatenate((index, np.zeros_like(index)))
            foot = np.concatenate((foot, np.zeros_like(foot)))
            outward = np.concatenate((outward, np.zeros_like(outward)))
        index[n] = at
        foot[n, 0], foot[n, 1], foot[n, 2] = cx, cy, cz
        outward[n, 0], outward[n, 1], outward[n, 2] = dx, dy, dz
        n += 1
    return index[:n], foot[:n], outward[:n]


@njit(cache=True)
def _offsets(field, slot, foot, outward, gap, thickness):  # type: ignore[no-untyped-def]
    offset = np.zeros(len(foot), dtype=np.float32)
    for n in range(len(foot)):
        x, y, z = foot[n] + BEHIND[0] * outward[n]
        if _inside(field, slot, x, y, z):
            continue  # a surface within a solid bounds nothing
        width = gap[n] if gap[n] < thickness else 0.0
        if not (
            _solid_behind(field, slot, foot[n], outward[n], width + BEHIND[0])
            or _solid_behind(field, slot, foot[n], outward[n], width + BEHIND[1])
        ):
            offset[n] = (thickness - width) / 2
    return offset


@njit(cache=True)
def _inside(field, slot, x, y, z):  # type: ignore[no-untyped-def]
    value, fraction = _sample(field, slot, x, y, z)
    return fraction >= SOLID or value <= -SHALLOW


@njit(cache=True)
def _solid_behind(field, slot, foot, outward, depth):  # type: ignore[no-untyped-def]
    """Is there inside straight behind a point of the surface, or (beside an edge) a little to any side of that?"""
    ox, oy, oz = outward
    x, y, z = foot[0] - depth * ox, foot[1] - depth * oy, foot[2] - depth * oz
    if _inside(field, slot, x, y, z):
        return True
    # Two directions across `outward`
    if abs(ox) < 0.6:
        ux, uy, uz = 0.0, oz, -oy
    else:
        ux, uy, uz = -oz, 0.0, ox
    length = math.sqrt(ux * ux + uy * uy + uz * uz)
    ux, uy, uz = ux / length, uy / length, uz / length
    vx, vy, vz = oy * uz - oz * uy, oz * ux - ox * uz, ox * uy - oy * ux
    for n in range(len(_CIRCLE)):
        a, b = ASIDE * _CIRCLE[n, 0], ASIDE * _CIRCLE[n, 1]
        if _inside(field, slot, x + a * ux + b * vx, y + a * uy + b * vy, z + a * uz + b * vz):
            return True
    return False


@njit(cache=True)
def _lower(field, links, index, offset, half, changed):  # type: ignore[no-untyped-def]
    """Subtract the offsets; then close slits of one sample between a thickened sheet and a solid.

    A sample there is closest to the solid and stays free, although the sheet's thickness reaches over it.
    """
    was_free = np.zeros(len(index), dtype=np.bool_)
    for n in range(len(index)):
        was_free[n] = field[index[n]] >= 0
        field[index[n]] -= offset[n]
        changed[index[n]] = True
    slit = []
    for n in range(len(index)):
        if field[index[n]] >= 0 or not was_free[n]:
            continue
        for side in range(6):
            v = neighbour(links, index[n], side >> 1, side & 1)
            if v < 0 or field[v] < 0 or field[v] >= half:
                continue
            for other in range(6):
                w = neighbour(links, v, other >> 1, other & 1)
                if w >= 0 and field[w] < 0 and not changed[w]:
                    slit.append(v)
                    break
    for v in slit:
        if not changed[v]:
            field[v] -= half
            changed[v] = True
