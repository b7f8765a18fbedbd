"""Multiresolution isosurface extraction (MISE): a grid of logits, evaluated only near the surface.

Mescheder et al., "Occupancy Networks", CVPR 2019, section 3.3: start on a coarse grid, call a cell
active when its corners lie on both sides of the threshold, halve the active cells, and repeat until
the target resolution is reached.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import DataError

OccupancyFn = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Points (N, 3) float32 in the unit frame to logits (N,)."""
BatchOccupancyFn = Callable[[NDArray[np.float32], NDArray[np.int64]], NDArray[np.float32]]
"""The same for several shapes at once: points (N, 3) and the index (N,) of each point's shape, ascending, to logits (N,)."""
_Requests = Generator[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]

_HALVES = np.array(list(product((0, 1, 2), repeat=3)))


class MiseResult(NamedTuple):
    """A grid of logits.

    Attributes:
        logits: (n+1, n+1, n+1) float32, indexed [x, y, z], corner 0 at -box/2 and corner n at box/2.
            Exact at every corner of a cell that the surface crosses; elsewhere of the correct sign.
        evaluated: number of points at which the field was evaluated.
    """

    logits: NDArray[np.float32]
    evaluated: int


def mise(
    field: OccupancyFn,
    resolution0: int,
    upsampling_steps: int,
    threshold_logit: float,
    box: float = 1.1,
    points_batch: int = 100_000,
) -> MiseResult:
    """Logits on a grid of `resolution0 * 2**upsampling_steps` cells along the edge.

    Cells without a sign change get the value of a coarser corner, so that marching cubes extracts no surface there.
    Where a point evaluated in one cell contradicts the sign of a neighbouring cell, that cell is halved too, until no
    contradiction is left: the surface is followed beyond the cells that showed it first.

    Args:
        field: (N, 3) float32 points of the unit frame to (N,) logits; called with at most
            `points_batch` points at a time and never twice with the same point.
        resolution0: cells along the edge of the first grid, which is evaluated completely.
        upsampling_steps: how often the cells are halved.
        threshold_logit: logit of the surface; inside is above.
        box: edge of the cube around the origin, in unit-cube lengths.
        points_batch: most points of one call.

    Raises:
        DataError: the field returned NaN.
    """
    shared = (resolution0, upsampling_steps, threshold_logit, box, points_batch)
    return mise_batch(lambda points, _: field(points), 1, *shared)[0]


def mise_batch(
    fields: BatchOccupancyFn,
    count: int,
    resolution0: int,
    upsampling_steps: int,
    threshold_logit: float,
    box: float = 1.1,
    points_batch: int = 100_000,
) -> list[MiseResult]:
    """`mise` of several shapes; their points of the same step are evaluated in the same calls.

    Args:
        fields: called with at most `points_batch` points of all shapes at a time.
        count: how many shapes.
        resolution0, upsampling_steps, threshold_logit, box, points_batch: as of `mise`, for all shapes alike.

    Returns:
        for each shape the result of `mise`.

    Raises:
        DataError: a field returned NaN.
    """
    searches = [
        _search(resolution0, upsampling_steps, threshold_logit, box, points_batch) for _ in range(count)
    ]
    requests = {shape: next(search) for shape, search in enumerate(searches)}
    grids: dict[int, MiseResult] = {}
    while requests:
        sizes = [len(points) for points in requests.values()]
        points, shapes = np.concatenate(list(requests.values())), np.repeat(list(requests), sizes)
        batches = [slice(k, k + points_batch) for k in range(0, len(points), points_batch)]
        values = np.concatenate([fields(points[batch], shapes[batch]) for batch in batches])
        for shape, answer in zip(list(requests), np.split(values, np.cumsum(sizes)[:-1]), strict=True):
            try:
                requests[shape] = searches[shape].send(answer)
            except StopIteration as done:
                grids[shape] = done.value
                del requests[shape]
    return [grids[shape] for shape in range(count)]


def _search(
    resolution0: int, upsampling_steps: int, threshold: float, box: float, points_batch: int
) -> Generator[NDArray[np.float32], NDArray[np.float32], MiseResult]:
    """MISE of one shape: yields points, receives their logits, returns the grid."""
    n = resolution0
    known = np.arange((n + 1) ** 3)
    logits = (yield from _request(known, n, box, points_batch)).reshape((n + 1,) * 3)
    evaluated = known.size
    for _ in range(upsampling_steps):
        logits, known, count = yield from _halve(logits, known, threshold, box, points_batch)
        evaluated += count
    return MiseResult(logits, evaluated)


def _halve(
    coarse: NDArray[np.float32], known: NDArray[np.int64], threshold: float, box: float, points_batch: int
) -> Generator[NDArray[np.float32], NDArray[np.float32], tuple[NDArray[np.float32], NDArray[np.int64], int]]:
    """The grid of half the cell size, the flat indices of its evaluated points, and the number of new ones."""
    n = 2 * (coarse.shape[0] - 1)
    logits = _fill(coarse).reshape(-1)
    evaluated = np.zeros(logits.size, dtype=bool)
    points = [_flat(2 * np.stack(np.unravel_index(known, coarse.shape)), n)]
    evaluated[points[0]] = True
    # A border of active cells replaces tests for the grid's border.
    active = np.pad(_active_cells(coarse > threshold), 1, constant_values=True)
    cells = np.stack(np.nonzero(active[1:-1, 1:-1, 1:-1]))
    while cells.size:
        new = _not_evaluated(cells, evaluated, n)
        values = yield from _request(new, n, box, points_batch)
        flipped = new[(values > threshold) != (logits[new] > threshold)]
        logits[new] = values
        points.append(new)
        cells = _contradicted(active, flipped, n)
    all_points = np.concatenate(points)
    return logits.reshape((n + 1,) * 3), all_points, all_points.size - known.size


def _not_evaluated(cells: NDArray[np.int64], evaluated: NDArray[np.bool_], n: int) -> NDArray[np.int64]:
    """Flat indices of the corners, 27 each, of halved cells (3, K) that are not in `evaluated`; marks them there."""
    corners = (_flat(2 * cells, n)[:, None] + _flat(_HALVES.T, n)).reshape(-1)
    corners = corners[~evaluated[corners]]
    evaluated[corners] = True
    corners.sort()
    return corners[np.concatenate([[True], corners[1:] != corners[:-1]])] if corners.size else corners


def _contradicted(active: NDArray[np.bool_], flat: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """(3, K) cells around flipped points that were not active; marks them active. `active` has a border."""
    corner = np.stack(np.unravel_index(flat, (n + 1,) * 3))
    below, above = (corner + 1) // 2, corner // 2 + 1  # cells on both sides, shifted by the border
    edge = active.shape[0]
    sides = []
    for side in product((0, 1), repeat=3):
        x, y, z = (above[k] if s else below[k] for k, s in enumerate(side))
        cell = (x * edge + y) * edge + z
        sides.append(cell[~active.reshape(-1)[cell]])
    cells = np.unique(np.concatenate(sides))
    active.reshape(-1)[cells] = True
    return np.stack(np.unravel_index(cells, active.shape)) - 1


def _flat(corner: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """(3, …) indices to flat ones in a grid of n cells along the edge."""
    return (corner[0] * (n + 1) + corner[1]) * (n + 1) + corner[2]


def _request(flat: NDArray[np.int64], n: int, box: float, points_batch: int) -> _Requests:
    """Request the logits at grid corners given by flat indices."""
    values = np.zeros(flat.size, dtype=np.float32)
    for start in range(0, flat.size, points_batch):
        part = slice(start, start + points_batch)
        index = np.stack(np.unravel_index(flat[part], (n + 1,) * 3), axis=1)
        values[part] = yield (box * (index / n - 0.5)).astype(np.float32)
    if np.isnan(values).any():
        raise DataError("the field returned NaN", hint="check the network's training loss")
    return values


def _active_cells(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n, n, n) bool: cells with corners on both sides."""
    every, some = inside, inside
    for axis in range(3):
        low, high = [slice(None)] * 3, [slice(None)] * 3
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        every = every[tuple(low)] & every[tuple(high)]
        some = some[tuple(low)] | some[tuple(high)]
    return some & ~every


def _fill(coarse: NDArray[np.float32]) -> NDArray[np.float32]:
    """The grid of twice the resolution; a new corner takes the value of the old one at or before it."""
    m = coarse.shape[0] - 1
    fine = np.zeros((2 * m + 1,) * 3, dtype=np.float32)
    rows = np.repeat(coarse, 2, axis=2)[:, :, :-1]  # whole rows are copied: strided writes cost far more
    fine[::2, ::2] = rows
    fine[1::2, ::2] = rows[:-1]
    fine[::2, 1::2] = rows[:, :-1]
    fine[1::2, 1::2] = rows[:-1, :-1]
    return fine
