"""Next-best-view: which image to take next, by policies, and the IoU of the mean field over the number of images."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib import seeds
from occnet_lib.config import Config
from occnet_lib.geometry.agreement import mean_logits
from occnet_lib.geometry.cameras import orthonormal_frames
from occnet_lib.geometry.uncertainty import probabilities
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.tables import write_rows

from .class_means import Rows, ends, resampled, rows_of
from .metrics import iou
from .view_metrics import Logits

logger = logging.getLogger(__name__)
POLICIES = ("random", "opposite", "expected_gain", "agreement", "disagreement", "best")
"""Policies of `next_view`."""

COLUMNS = ("model", "category", "id", "policy", "views", "iou")
"""Columns of <shard>.next.csv: IoU of the mean of so many views of a shape, mean over all first views."""

SUMMARY = (
    *("model", "policy", "views", "shapes", "iou", "iou_low", "iou_high", "gain", "gain_low", "gain_high"),
)
"""Columns of evaluate/next_view.csv: means of class means, and the gain over the policy `random`, paired."""

RESOLUTION = 24
"""Samples along the edge of the grid of the expected gain."""

_EDGE = 1.1  # of the cube of the points
_RAYS = 32  # along the edge of a view
_EXPONENT = 2.0  # the larger, the more points count as uncertain


@dataclass(frozen=True)
class ViewFields:
    """The fields of V views of a shape.

    Attributes:
        logits: (V, N) at uniform points.
        grid: (V, R³) at `grid_points`.
        occupied: (N,) bool, the ground truth; only the policy `best` and the measurement see it.
        directions: (V, 3) unit vectors from the shape to the cameras.
        level: logit above which a point is inside.
    """

    logits: NDArray[np.floating]
    grid: NDArray[np.floating]
    occupied: NDArray[np.bool_]
    directions: NDArray[np.float64]
    level: float


def next_view(policy: str, chosen: Sequence[int], views: ViewFields, rng: np.random.Generator) -> int:
    """The view that a policy takes next.

    * random: any;
    * opposite: the one whose smallest angle with the chosen ones is largest;
    * expected_gain: largest uncertainty of the mean field along its rays (`expected_gains`);
    * agreement, disagreement: largest and smallest IoU of its own field with the mean field, of images that exist already;
    * best: largest IoU of the mean field with the ground truth.

    Args:
        policy: one of `POLICIES`.
        chosen: indices of the views that are there, at least one and not all.
        views: of the shape.
        rng: of the policy `random`.
    """
    left = [view for view in range(len(views.logits)) if view not in chosen]
    merged = mean_logits(views.grid[list(chosen)])
    if policy == "random":
        return int(rng.choice(left))
    if policy == "opposite":
        scores = -(views.directions @ views.directions[list(chosen)].T).max(axis=1)[left]
    elif policy == "expected_gain":
        scores = expected_gains(merged, views.directions[left])
    elif policy in ("agreement", "disagreement"):
        sign = 1.0 if policy == "agreement" else -1.0
        inside = merged > views.level
        scores = np.array([sign * iou(views.grid[view] > views.level, inside) for view in left])
    else:
        scores = np.array([merged_iou([*chosen, view], views) for view in left])
    return left[int(np.argmax(scores))]


def merged_iou(chosen: Sequence[int], views: ViewFields) -> float:
    """IoU of the mean of the chosen views' logits."""
    return iou(mean_logits(views.logits[list(chosen)]) > views.level, views.occupied)


def expected_gains(grid: NDArray[np.floating], directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """(C,) mean uncertainty of a field along the rays of candidate views (Smith et al. 2022).

    A point of probability p has the certainty c = 2 |p - 1/2| and the uncertainty 1 - c^2. Along a ray it counts with
    the probability Π (1 - p) that nothing is in front of it. Rays are parallel and cover the cube, so that a candidate's
    distance and lens, which framing removes anyway, do not matter.

    Args:
        grid: (R³,) logits at `grid_points`.
        directions: (C, 3) unit vectors from the shape to the cameras.
    """
    p = np.append(probabilities(grid), 0.0)  # last: outside of the cube
    uncertainty = 1.0 - np.abs(2.0 * p - 1.0) ** _EXPONENT
    resolution = round(len(grid) ** (1 / 3))
    gains = []
    for direction in np.asarray(directions, dtype=np.float64):
        samples = _ray_samples(tuple(direction.tolist()), resolution)
        in_front = np.cumprod(1.0 - p[samples], axis=1)
        visible = np.concatenate([np.ones((len(samples), 1)), in_front[:, :-1]], axis=1)
        gains.append(float((visible * uncertainty[samples]).sum(axis=1).mean()))
    return np.array(gains)


def grid_points(resolution: int = RESOLUTION) -> NDArray[np.float64]:
    """(R³, 3) centres of the cells of the cube."""
    axis = ((np.arange(resolution) + 0.5) / resolution - 0.5) * _EDGE
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)


@lru_cache(maxsize=64)
def _ray_samples(direction: tuple[float, ...], resolution: int) -> NDArray[np.int64]:
    """(rays, samples) numbers of the grid's cells along parallel rays, from the camera on; R³ outside of the cube."""
    right, down, forward = orthonormal_frames(-np.array([direction]))[0]
    radius = _EDGE * 3**0.5 / 2.0
    across = ((np.arange(_RAYS) + 0.5) / _RAYS - 0.5) * 2.0 * radius
    depth = np.arange(-radius, radius, _EDGE / resolution)
    u, v = (axis.reshape(-1, 1, 1) for axis in np.meshgrid(across, across, indexing="ij"))
    points = u * right + v * down + depth[:, None] * forward
    cell = np.floor((points / _EDGE + 0.5) * resolution).astype(np.int64)
    inside = ((cell >= 0) & (cell < resolution)).all(axis=2)
    number = (cell[..., 0] * resolution + cell[..., 1]) * resolution + cell[..., 2]
    return np.where(inside, number, resolution**3)


def iou_over_views(views: ViewFields, count: int, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """IoU of the mean field of 1 to `count` views by policy, each (count,), mean over all first views.

    Args:
        views: of a shape.
        count: at most V.
        rng: of the policy `random`.
    """
    curves = {policy: np.zeros(count) for policy in POLICIES}
    for first in range(len(views.logits)):
        for policy, curve in curves.items():
            chosen = [first]
            curve[0] += merged_iou(chosen, views)
            for k in range(1, count):
                chosen.append(next_view(policy, chosen, views, rng))
                curve[k] += merged_iou(chosen, views)
    return {policy: curve / len(views.logits) for policy, curve in curves.items()}


def evaluate_next_view(
    logits: Logits, level: float, shard_path: str | Path, config: Config, model: str, out_csv: str | Path
) -> Rows:
    """Measure all policies on every shape of a shard.

    Args:
        logits: the network.
        level: logit above which a point is inside.
        shard_path: pack shard with the ground truth.
        config: `evaluate.next_view`, `evaluate.views`, `evaluate.view_points` and `seed` are used.
        model: its name, for the column `model`.
        out_csv: table to write.

    Raises:
        DataError: the shard is missing or broken.
    """
    shard, rows = Shard(shard_path), Rows()
    if shard.views < config.evaluate.next_view:
        text = "%s has %d views per shape, fewer than evaluate.next_view: %d"
        logger.warning(text, shard_path, shard.views, config.evaluate.next_view)
    for i, key in enumerate(shard.keys):
        views = range(min(config.evaluate.views, shard.views))
        points, occupied = shard.points(i, 0, min(config.evaluate.view_points, shard.points_per_shape))
        images, rotations, cameras = shard.seen(i, views)
        fields = logits(images, rotations, np.concatenate([points, grid_points()]), cameras)
        split = fields[:, : len(points)], fields[:, len(points) :]
        measured = ViewFields(*split, occupied, -rotations[:, 2].astype(np.float64), level)
        count = min(config.evaluate.next_view, len(views))
        curves = iou_over_views(measured, count, seeds.rng(config.seed, "next_view", key.name))
        about = {"model": model, "category": key.category, "id": key.id}
        for policy, curve in curves.items():
            rows += [
                about | {"policy": policy, "views": k + 1, "iou": value}
                for k, value in enumerate(curve.tolist())
            ]
    write_rows(Path(out_csv), rows, COLUMNS)
    return rows


def summarise_next_view(rows: Iterable[Mapping[str, Any]], config: Config) -> Rows:
    """Rows of `SUMMARY`; intervals over shapes within classes as those of `summary.summarise`.

    Args:
        rows: of `evaluate_next_view`, as they are or as read from their tables.
        config: `evaluate.bootstrap` and `seed` are used.

    Raises:
        DataError: a row lacks a column or has a value that is not a number.
    """
    values: dict[tuple[str, str, int], dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    with rows_of("next views"):
        for row in rows:
            group = values[row["model"], row["policy"], int(row["views"])]
            group[row["category"]][row["id"]] = float(row["iou"])
    table: Rows = []
    for (model, policy, count), classes in values.items():
        base = values[model, POLICIES[0], count]
        pairs = {
            name: np.array([(own, own - base[name][id]) for id, own in sorted(classes[name].items())])
            for name in sorted(classes)
        }
        mean, gain = np.mean([own.mean(axis=0) for own in pairs.values()], axis=0).tolist()
        about = {"model": model, "policy": policy, "views": count, "shapes": sum(map(len, pairs.values()))}
        table.append(about | {"iou": mean, "gain": gain} | ends(resampled(pairs, config), "iou", "gain"))
    return table
