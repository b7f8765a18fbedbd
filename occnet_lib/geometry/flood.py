"""Flood fill of the outside, the other way to tell outside from inside."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


def flood(open_space: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which samples are joined to the border of the grid through open ones (6-neighbourhood).

    Args:
        open_space: (X, Y, Z) bool, False at walls.

    Returns:
        (X, Y, Z) bool; deep cavities are reached exactly, but so is the inside through any hole in the walls.
    """
    reached = np.zeros(open_space.shape, dtype=bool)
    _flood(np.ascontiguousarray(open_space), reached)
    return reached


@njit(cache=True)
def _flood(space, reached):  # type: ignore[no-untyped-def]
    """Fill whole runs along the last axis; the stack holds one open sample of each run still to fill."""
    nx, ny, nz = space.shape
    stack = np.zeros((1024, 3), dtype=np.int32)
    top = 0
    for i in range(nx):
        for j in range(ny):
            edge = i == 0 or j == 0 or i == nx - 1 or j == ny - 1
            for k in range(nz):
                if not (edge or k == 0 or k == nz - 1) or not space[i, j, k] or reached[i, j, k]:
                    continue
                stack[0, 0], stack[0, 1], stack[0, 2] = i, j, k
                top = 1
                while top > 0:
                    top -= 1
                    x, y, z = stack[top]
                    if reached[x, y, z]:
                        continue
                    first = z
                    while first > 0 and space[x, y, first - 1]:
                        first -= 1
                    last = z
                    while last < nz - 1 and space[x, y, last + 1]:
                        last += 1
                    reached[x, y, first : last + 1] = True
                    for side in range(4):
                        u = x + (side == 0) - (side == 1)
                        v = y + (side == 2) - (side == 3)
                        if u < 0 or v < 0 or u >= nx or v >= ny:
                            continue
                        inside_run = False
                        for w in range(first, last + 1):
                            wanted = space[u, v, w] and not reached[u, v, w]
                            if wanted and not inside_run:
                                if top == len(stack):
                                    stack = np.concatenate((stack, np.zeros_like(stack)))
                                stack[top, 0], stack[top, 1], stack[top, 2] = u, v, w
                                top += 1
                            inside_run = wanted
