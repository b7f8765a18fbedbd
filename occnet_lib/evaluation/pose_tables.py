"""Dependence of a field on the pose of the camera: IoU, entropy and error by cell of the view sphere and class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from occnet_lib import seeds
from occnet_lib.config import Config

from .class_means import Rows, rows_of

AZIMUTHS, ELEVATION_STEP = 8, 30.0
"""Sectors of the azimuth, the first one centred at 0°, and degrees of a band of the elevation, from -90°."""

MEASURES = ("iou", "entropy", "brier")
MIN_VIEWS = 5
"""Views of a cell from which it is compared with others."""

COLUMNS = (
    *("model", "category", "azimuth", "elevation", "views", "shapes", "compared"),
    *(f"{name}{end}" for name in MEASURES for end in ("", "_effect", "_low", "_high", "_clear")),
)
"""Columns of evaluate/poses.csv: a row a cell (its centre, in degrees) with views.

`<measure>`: mean; `_effect`: mean difference from the mean of the same shape's views; `_low`, `_high`: 95 % interval of the
effect; `_clear`: 1 where it is beyond what all cells of the class together reach by chance in 95 % of cases.
"""

TESTS = ("model", "category", "measure", "shapes", "views", "cells", "sd_views", "p_value")
"""Columns of evaluate/pose_tests.csv: whether the pose matters within a class at all.

sd_views: mean standard deviation over the views of a shape; p_value: of the largest standardised effect of a cell among
those of views permuted within each shape.
"""


class _Views(NamedTuple):
    """Views of one class: (n,) index of the shape and of the cell, (n, K) values of `MEASURES`."""

    shape: NDArray[np.int64]
    cell: NDArray[np.int64]
    values: NDArray[np.float64]


def cell_of(azimuth: NDArray[np.float64], elevation: NDArray[np.float64]) -> NDArray[np.int64]:
    """Numbers of the cells of directions in degrees, elevation band by elevation band from below."""
    step = 360.0 / AZIMUTHS
    sector = np.floor((np.asarray(azimuth) + step / 2.0) % 360.0 / step).astype(np.int64) % AZIMUTHS
    bands = round(180.0 / ELEVATION_STEP)
    band = np.clip(np.floor((np.asarray(elevation) + 90.0) / ELEVATION_STEP).astype(np.int64), 0, bands - 1)
    return np.asarray(AZIMUTHS * band + sector)


def cell_centre(cell: int) -> tuple[float, float]:
    """Azimuth and elevation of a cell's centre in degrees."""
    band, sector = divmod(cell, AZIMUTHS)
    return sector * 360.0 / AZIMUTHS, (band + 0.5) * ELEVATION_STEP - 90.0


def summarise_poses(rows: Iterable[Mapping[str, Any]], config: Config) -> tuple[Rows, Rows]:
    """Rows of `COLUMNS` and of `TESTS` for every model and class.

    Effects are differences from the shape's own mean, so that easy shapes do not make a pose look good. Intervals and tests
    come from the permutation of a shape's views: the standard error of a cell is exact (sampling without replacement), the
    joint distribution of all cells of a class is simulated with `evaluate.bootstrap` permutations.

    Args:
        rows: of `evaluate_views` with uncertainty, as they are or as read.
        config: `evaluate.bootstrap` and `seed` are used.

    Raises:
        DataError: a value is not a number.
    """
    groups: dict[tuple[str, str], Rows] = defaultdict(list)
    for row in rows:
        groups[row["model"], row["category"]].append(dict(row))
    cells: Rows = []
    tests: Rows = []
    for (model, category), own in sorted(groups.items()):
        views = _read(own)
        about = {"model": model, "category": category}
        rng = seeds.rng(config.seed, "poses", category)
        of_cells, of_tests = _of_class(views, config.evaluate.bootstrap, rng)
        cells += [about | row for row in of_cells]
        tests += [about | row for row in of_tests]
    return cells, tests


def _read(rows: Rows) -> _Views:
    with rows_of("views with their pose"):
        azimuth, elevation = (
            np.array([float(row[name]) for row in rows]) for name in ("azimuth", "elevation")
        )
        values = np.array([[float(row[name]) for name in MEASURES] for row in rows])
    shape = np.unique([row["id"] for row in rows], return_inverse=True)[1]
    return _Views(shape, cell_of(azimuth, elevation), values)


def _of_class(views: _Views, permutations: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
    cells, place = np.unique(views.cell, return_inverse=True)
    count = np.bincount(place)
    residual, variance = _within_shape(views)
    effect = _cell_means(residual, place, len(cells))
    error = _standard_error(views.shape, place, variance, len(cells))
    compared = (count >= MIN_VIEWS)[:, None] & (error > 1e-12)
    permuted = (residual[_permuted(views.shape, rng)] for _ in range(permutations))
    by_chance = [_largest(_cell_means(values, place, len(cells)), error, compared) for values in permuted]
    largest, chance = _largest(effect, error, compared), np.reshape(by_chance, (-1, len(MEASURES)))
    limit = np.quantile(chance, 0.95, axis=0) if len(chance) else np.full(len(MEASURES), np.inf)
    means = _cell_means(views.values, place, len(cells))
    rows: Rows = []
    for i, cell in enumerate(cells.tolist()):
        azimuth, elevation = cell_centre(cell)
        row: dict[str, Any] = {"azimuth": azimuth, "elevation": elevation, "views": int(count[i])}
        row["shapes"] = len(set(views.shape[place == i].tolist()))
        row["compared"] = int(count[i] >= MIN_VIEWS)
        for k, name in enumerate(MEASURES):
            low, high = effect[i, k] + 1.96 * error[i, k] * np.array([-1.0, 1.0])
            clear = compared[i, k] and abs(effect[i, k]) > limit[k] * error[i, k]
            row |= {name: float(means[i, k]), f"{name}_effect": float(effect[i, k])}
            row |= {f"{name}_low": float(low), f"{name}_high": float(high), f"{name}_clear": int(clear)}
        rows.append(row)
    tests = [
        {
            **{"measure": name, "shapes": int(views.shape.max()) + 1, "views": len(place)},
            **{"cells": int(compared[:, k].sum()), "sd_views": float(np.sqrt(variance[:, k]).mean())},
            "p_value": _p_value(largest[k], chance[:, k]) if compared[:, k].any() and permutations else "",
        }
        for k, name in enumerate(MEASURES)
    ]
    return rows, tests


def _within_shape(views: _Views) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n, K) differences from the mean of the shape, and (shapes, K) variances of its views."""
    count = np.bincount(views.shape)[:, None]
    mean = _cell_means(views.values, views.shape, len(count))
    residual = views.values - mean[views.shape]
    return residual, _cell_means(residual**2, views.shape, len(count))


def _cell_means(values: NDArray[np.float64], place: NDArray[np.int64], cells: int) -> NDArray[np.float64]:
    """(cells, K) means of values (n, K)."""
    sums = np.stack([np.bincount(place, column, minlength=cells) for column in values.T], axis=1)
    return np.asarray(sums / np.bincount(place, minlength=cells)[:, None])


def _standard_error(
    shape: NDArray[np.int64], place: NDArray[np.int64], variance: NDArray[np.float64], cells: int
) -> NDArray[np.float64]:
    """(cells, K) standard errors of the cells' means when the views of each shape are permuted."""
    chosen = np.zeros((cells, len(variance)))
    np.add.at(chosen, (place, shape), 1.0)
    total = np.bincount(shape)
    factor = chosen * (total - chosen) / np.maximum(total - 1, 1)
    return np.asarray(np.sqrt(factor @ variance) / chosen.sum(axis=1)[:, None])


def _permuted(shape: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """A permutation of (n,) views within their shapes."""
    order = np.argsort(shape, kind="stable")
    shuffled = np.lexsort((rng.random(len(shape)), shape))
    permutation = np.zeros(len(shape), np.int64)
    permutation[order] = shuffled
    return permutation


def _largest(
    effect: NDArray[np.float64], error: NDArray[np.float64], compared: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(K,) largest standardised effects of the cells that are compared; 0 without any."""
    z = np.divide(np.abs(effect), error, out=np.zeros_like(effect), where=compared)
    return np.asarray(z.max(axis=0))


def _p_value(largest: float, chance: NDArray[np.float64]) -> float:
    return float((1 + np.count_nonzero(chance >= largest)) / (1 + len(chance)))
