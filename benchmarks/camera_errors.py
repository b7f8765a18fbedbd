"""How good a predicted camera has to be: IoU by cameras between the true one and the predicted one, and by parts of both.

Reads the checkpoints and packs of a results folder with a model that has `local: true` and `pose: true`, with all its seeds
(`models.<name>.seeds`), and evaluates its fields at the stored points of the test shapes. A camera between two has azimuth,
elevation, roll, place, and the logarithms of size and distance (`networks.pose.Pose`) at that fraction of the way; of the
cameras that a shape's symmetry makes equal, the predicted one is that nearest to the true one. Two more rows have a
predicted rotation, as it is. Differences from the reference, which knows no camera, are paired over shapes and seeds, with
the 95 % intervals of evaluate/gains.csv.

A training takes about a CPU minute with the default numbers of points and views.

usage: python benchmarks/camera_errors.py results/demo --model local-pose --reference plain
       [--fractions 0 0.25 0.5 1 …] [--points 4000] [--views 2]
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from occnet_lib.config import Config, load
from occnet_lib.evaluation.cameras import SAMPLES, camera_errors, nearest
from occnet_lib.evaluation.gains import interval
from occnet_lib.evaluation.metrics import iou
from occnet_lib.geometry.symmetry import symmetric_angles
from occnet_lib.networks.pose import Pose, pose_of, projections_of
from occnet_lib.networks.projection import product
from occnet_lib.reconstruction.extract import threshold_logit
from occnet_lib.reconstruction.reconstructor import Reconstructor
from occnet_lib.storage.packs import Shard

Array = NDArray[Any]
FRACTIONS = (0.0, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0)
ROTATION = ("azimuth", "elevation", "roll")
PARTS = {
    "the rotation predicted, all else true": ROTATION,
    "the rotation and distance predicted": (*ROTATION, "log_distance"),
}
_INTO = torch.tensor([[2.0, 0.0, -1.0], [0.0, 2.0, -1.0], [0.0, 0.0, 1.0]], dtype=torch.float64)


class Measured(NamedTuple):
    """A test shape, means over its views: d2D in pixels and IoU, one value a camera, and the reference's IoU."""

    category: str
    d2d: Array
    own: Array
    reference: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row a fraction, and one for each of `PARTS`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--reference", required=True)
    parser.add_argument("--fractions", type=float, nargs="*", default=FRACTIONS)
    parser.add_argument("--points", type=int, default=4000)
    parser.add_argument("--views", type=int, default=2)
    args = parser.parse_args(arguments)
    config = load(args.results / "config.json")
    names = list(zip(config.seeds_of(args.model), config.seeds_of(args.reference), strict=False))
    trainings = [list(measured(args, config, *pair)) for pair in names]
    categories = [shape.category for shape in trainings[0]]
    print(f"| camera | d2D, mean px | IoU | minus {args.reference}, {len(names)} seeds |")
    print("|---|---|---|---|")
    titles = [f"{fraction:g} of the predicted error" for fraction in args.fractions]
    for k, title in enumerate([*titles, *PARTS]):
        values = [[(shape.d2d[k], shape.own[k], shape.reference) for shape in own] for own in trainings]
        print(line(title, by_class(values, categories)))


def measured(args: argparse.Namespace, config: Config, model: str, reference: str) -> Iterator[Measured]:
    """The test shapes by one training of each model."""
    own, other = (
        Reconstructor(args.results / "train" / name / "best.ckpt", config.reconstruct)
        for name in (model, reference)
    )
    for path in sorted((args.results / "pack").glob("test-*.h5")):
        shard = Shard(path)
        for i, key in enumerate(shard.keys):
            images, rotations, true = shard.seen(i, range(args.views))
            points, occupied = shard.points(i, 0, args.points)
            surface = shard.surface_points(i).astype(np.float64)
            angles = symmetric_angles(surface)
            pairs = zip(own.cameras(images).projections[:, 0], true, strict=True)
            predicted = np.stack([nearest(*pair, angles) for pair in pairs])
            cameras = [between(true, predicted, fraction) for fraction in args.fractions]
            cameras += [own.cameras_with(images, true, parts) for parts in PARTS.values()]
            d2d = [mean_d2d(each, true, surface[:SAMPLES], angles) * images.shape[2] for each in cameras]
            fields = [own.logits(images, rotations, points, each) for each in cameras]
            ious = [mean_iou(own, field, occupied) for field in fields]
            plain = mean_iou(other, other.logits(images, rotations, points), occupied)
            yield Measured(key.category, np.array(d2d), np.array(ious), plain)


def mean_d2d(cameras: Array, true: Array, points: Array, angles: Array) -> float:
    """The mean over views and points of the distance in the image, as a fraction of its width (`camera_errors`)."""
    pairs = zip(cameras, true, strict=True)
    return float(np.mean([camera_errors(*pair, points, angles).d2d for pair in pairs]))


def mean_iou(network: Reconstructor, logits: Array, occupied: Array) -> float:
    """The mean over views of the IoU of logits (V, N) with occupancies (N,)."""
    level = threshold_logit(network.threshold)
    return float(np.mean([iou(own > level, occupied) for own in logits]))


def between(true: Array, predicted: Array, fraction: float) -> Array:
    """Cameras (V, 3, 4) at a fraction of the way from some to others; azimuths go the shorter way."""
    one, other = (pose_of(product(_INTO, torch.from_numpy(each))) for each in (true, predicted))
    parts = Pose(*(a + fraction * (b - a) for a, b in zip(one, other, strict=True)))
    turn = torch.remainder(other.azimuth - one.azimuth + math.pi, 2 * math.pi) - math.pi
    mixed = parts._replace(azimuth=one.azimuth + fraction * turn)
    return product(torch.linalg.inv(_INTO), projections_of(mixed, torch.zeros_like(mixed.centre))).numpy()


def by_class(trainings: Sequence[Sequence[tuple[float, ...]]], categories: Sequence[str]) -> list[Array]:
    """One (values, seeds, shapes) array a class."""
    values, places = np.array(trainings).transpose(2, 0, 1), defaultdict[str, list[int]](list)
    for place, category in enumerate(categories):
        places[category].append(place)
    return [values[..., places[category]] for category in sorted(places)]


def line(title: str, classes: Sequence[Array]) -> str:
    """A row of the table from (3, seeds, shapes) a class: d2D, IoU and the reference's."""
    d2d, level = (np.mean([own[k].mean() for own in classes]) for k in (0, 1))
    mean, low, high = interval([own[1] - own[2] for own in classes])
    return f"| {title} | {d2d:.1f} | {level:.3f} | {mean:+.3f} [{low:+.3f}, {high:+.3f}] |"


if __name__ == "__main__":
    main()
