"""Sheets: surfaces with free space on both sides, which have to be given a thickness to have an inside."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from occnet_lib.geometry.fusion.distance_band import closest_point
from occnet_lib.geometry.occupancy import triangle_scene

DEEP = 0.45  # voxels: the field is trusted to be inside where it is less than minus this
SHALLOW = 0.2  # the same for points beside an edge
SOLID = 0.6  # share of inside, interpolated between samples, that counts as inside
ASIDE = 0.8  # voxels by which the look behind a surface is moved sideways
BEHIND = (0.7, 1.4)  # voxels behind a surface where to look for its inside
_CIRCLE = np.array([(math.cos(a), math.sin(a)) for a in np.arange(8) * (math.pi / 4)])


def thicken(
    triangles: NDArray[np.float64], field: NDArray[np.float32], nearest: NDArray[np.int32], thickness: float
) -> NDArray[np.bool_]:
    """Lower a signed distance, in place, so that everything is at least `thickness` thick.

    Behind the point of the surface that is closest to a sample, either there is inside (a solid, left as it is),
    or after a distance w another surface with free space behind it (a plate, lowered by (thickness - w) / 2), or
    free space (a sheet, lowered by thickness / 2).

    Args:
        triangles: (F, 3, 3), in voxels from sample (0, 0, 0).
        field: (X, Y, Z) signed distance in voxels, negative inside, right up to thickness / 2 + 1.
        nearest: (X, Y, Z) triangle closest to each sample, -1 far away.
        thickness: voxels.

    Returns:
        (X, Y, Z) bool, the samples lowered.
    """
    index, foot, outward = _candidates(triangles, field, nearest, thickness)
    changed = np.zeros(field.shape, dtype=bool)
    if len(index) == 0:
        return changed
    gap = _gap_behind(triangles, foot, outward, thickness)
    offset = _offsets(field, foot, outward, gap, thickness)
    lowered = offset > 0
    _lower(field, index[lowered], offset[lowered], thickness / 2, changed)
    return changed


def _gap_behind(
    triangles: NDArray[np.float64], foot: NDArray[np.float64], outward: NDArray[np.float64], limit: float
) -> NDArray[np.float64]:
    """(n,) voxels from each foot point inwards to the next surface, at most `limit`."""
    import open3d as o3d

    scene = triangle_scene(triangles)
    # The start is off the surface, so that the surface itself and its copies in the same plane are not hit.
    clear = 0.05
    rays = np.concatenate([foot - clear * outward, -outward], axis=1).astype(np.float32)
    hit = scene.cast_rays(o3d.core.Tensor.from_numpy(rays), nthreads=1)["t_hit"].numpy()
    return np.minimum(hit.astype(np.float64) + clear, limit)


@njit(cache=True)
def _sample(field, x, y, z):  # type: ignore[no-untyped-def]
    """The field and the share of inside at any place, both trilinear; the border's value outside."""
    nx, ny, nz = field.shape
    x, y, z = min(max(x, 0.0), nx - 1.001), min(max(y, 0.0), ny - 1.001), min(max(z, 0.0), nz - 1.001)
    i, j, k = int(x), int(y), int(z)
    a, b, c = x - i, y - j, z - k
    value, inside = 0.0, 0.0
    for corner in range(8):
        p, q, r = corner >> 2, corner >> 1 & 1, corner & 1
        weight = (a if p else 1 - a) * (b if q else 1 - b) * (c if r else 1 - c)
        here = field[i + p, j + q, k + r]
        value += weight * here
        if here < 0:
            inside += weight
    return value, inside


@njit(cache=True)
def _candidates(triangles, field, nearest, thickness):  # type: ignore[no-untyped-def]
    """Samples whose sign an offset may change or that lie beside one, unless they clearly belong to a solid.

    Returns flat indices, the closest point of the surface and the outward direction there.
    """
    nx, ny, nz = field.shape
    half = thickness / 2
    size = 1024
    index = np.zeros(size, dtype=np.intp)
    foot, outward = np.zeros((size, 3)), np.zeros((size, 3))
    n = 0
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                f = nearest[i, j, k]
                d = field[i, j, k]
                if f < 0 or d >= half + 1.0 or d <= -half:
                    continue
                t = triangles[f]
                cx, cy, cz = closest_point(t, float(i), float(j), float(k))
                dx, dy, dz = i - cx, j - cy, k - cz
                length = math.sqrt(dx * dx + dy * dy + dz * dz)
                if length > 1e-3:
                    sign = -1.0 if d < 0 else 1.0
                else:
                    e, g = t[1] - t[0], t[2] - t[0]
                    dx, dy, dz = (
                        e[1] * g[2] - e[2] * g[1],
                        e[2] * g[0] - e[0] * g[2],
                        e[0] * g[1] - e[1] * g[0],
                    )
                    length = math.sqrt(dx * dx + dy * dy + dz * dz)
                    back = _sample(field, cx - dx / length, cy - dy / length, cz - dz / length)[0]
                    ahead = _sample(field, cx + dx / length, cy + dy / length, cz + dz / length)[0]
                    sign = 1.0 if back < ahead else -1.0
                dx, dy, dz = dx * sign / length, dy * sign / length, dz * sign / length
                deep = half + 0.3
                if _sample(field, cx - deep * dx, cy - deep * dy, cz - deep * dz)[0] <= -DEEP:
                    continue
                if n == len(index):
                    index = np.concatenate((index, np.zeros_like(index)))
                    foot = np.concatenate((foot, np.zeros_like(foot)))
                    outward = np.concatenate((outward, np.zeros_like(outward)))
                index[n] = (i * ny + j) * nz + k
                foot[n, 0], foot[n, 1], foot[n, 2] = cx, cy, cz
                outward[n, 0], outward[n, 1], outward[n, 2] = dx, dy, dz
                n += 1
    return index[:n], foot[:n], outward[:n]


@njit(cache=True)
def _offsets(field, foot, outward, gap, thickness):  # type: ignore[no-untyped-def]
    offset = np.zeros(len(foot), dtype=np.float32)
    for n in range(len(foot)):
        x, y, z = foot[n] + BEHIND[0] * outward[n]
        if _inside(field, x, y, z):
            continue  # a surface within a solid bounds nothing
        width = gap[n] if gap[n] < thickness else 0.0
        if not (
            _solid_behind(field, foot[n], outward[n], width + BEHIND[0])
            or _solid_behind(field, foot[n], outward[n], width + BEHIND[1])
        ):
            offset[n] = (thickness - width) / 2
    return offset


@njit(cache=True)
def _inside(field, x, y, z):  # type: ignore[no-untyped-def]
    value, share = _sample(field, x, y, z)
    return share >= SOLID or value <= -SHALLOW


@njit(cache=True)
def _solid_behind(field, foot, outward, depth):  # type: ignore[no-untyped-def]
    """Is there inside straight behind a point of the surface, or (beside an edge) a little to any side of that?"""
    ox, oy, oz = outward
    x, y, z = foot[0] - depth * ox, foot[1] - depth * oy, foot[2] - depth * oz
    if _inside(field, x, y, z):
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
        if _inside(field, x + a * ux + b * vx, y + a * uy + b * vy, z + a * uz + b * vz):
            return True
    return False


@njit(cache=True)
def _lower(field, index, offset, half, changed):  # type: ignore[no-untyped-def]
    """Subtract the offsets; then close slits of one sample between a thickened sheet and a solid.

    A sample there is closest to the solid and stays free, although the sheet's thickness reaches over it.
    """
    _, ny, nz = field.shape
    stride = (ny * nz, nz, 1)
    flat = field.reshape(-1)
    solid = flat < 0
    was_free = np.zeros(len(index), dtype=np.bool_)
    for n in range(len(index)):
        was_free[n] = not solid[index[n]]
        solid[index[n]] = False
        flat[index[n]] -= offset[n]
        changed.reshape(-1)[index[n]] = True
    slit = []
    for n in range(len(index)):
        if flat[index[n]] >= 0 or not was_free[n]:
            continue
        for side in range(6):
            step = stride[side >> 1] * (1 if side & 1 else -1)
            v = index[n] + step
            if flat[v] < 0 or flat[v] >= half:
                continue
            for other in range(6):
                if solid[v + stride[other >> 1] * (1 if other & 1 else -1)]:
                    slit.append(v)
                    break
    for v in slit:
        if not changed.reshape(-1)[v]:
            flat[v] -= half
            changed.reshape(-1)[v] = True
