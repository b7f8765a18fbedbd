"""What a camera is worth: IoU with the true, the predicted and partly predicted cameras, less that of a model without.

Reads a results folder of the workflow with a model that has `local: true` and `pose: true`: its
evaluate/<model>/<shard>.cameras.csv, and the .views.csv and .photos.csv of the reference, of all their seeds
(`models.<name>.seeds`). Differences of the means over a shape's images are paired over shapes and seeds, with the 95 %
intervals of evaluate/gains.csv.

usage: python benchmarks/cameras.py results/demo --model local-pose --reference plain
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from occnet_lib.config import load
from occnet_lib.evaluation.cameras import FIELDS
from occnet_lib.evaluation.gains import interval
from occnet_lib.storage.tables import read_rows

TITLES = {
    "iou_given": "true",
    "iou_own_distance": "the distance predicted, all else true",
    "iou_own_place": "place and size predicted, all else true",
    "iou_distance": "place, size and distance predicted, the rotation true",
    "iou": "predicted",
    "photos_given": "true, of photos",
    "photos": "predicted, of photos",
}
Means = dict[tuple[str, str], float]


def shape_means(folder: Path, training: str, kind: str, column: str) -> Means:
    """The mean of a column over the images of a shape, by category and id; empty where it was not measured."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    paths = sorted((folder / training).glob(f"test-*.{kind}.csv"))
    if not paths:
        raise SystemExit(f"{folder / training} has no test-*.{kind}.csv: run the workflow to its report")
    for path in paths:
        for row in read_rows(path):
            if row.get(column, "") != "":
                values[row["category"], row["id"]].append(float(row[column]))
    return {shape: float(np.mean(own)) for shape, own in values.items()}


def by_class(pairs: Sequence[tuple[Means, Means]]) -> list[np.ndarray]:
    """One (2, seeds, shapes) array a class: the model's values and the reference's, of shapes that all have."""
    classes: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for shape in sorted(set.intersection(*(set(own) for pair in pairs for own in pair))):
        classes[shape[0]].append(shape)
    return [
        np.array([[[own[shape] for shape in shapes] for own in side] for side in zip(*pairs, strict=True)])
        for shapes in classes.values()
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row a camera: mean IoU, and the difference from the reference with its interval."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--reference", required=True)
    args = parser.parse_args(arguments)
    config, folder = load(args.results / "config.json"), args.results / "evaluate"
    names = list(zip(config.seeds_of(args.model), config.seeds_of(args.reference), strict=False))
    print(f"| camera | IoU | minus {args.reference}, {len(names)} seeds |")
    print("|---|---|---|")
    for key, title in TITLES.items():
        own = ("cameras", key) if key in FIELDS else ("photos", "iou_given" if "given" in key else "iou")
        other = "views" if key in FIELDS else "photos"
        pairs = [(shape_means(folder, a, *own), shape_means(folder, b, other, "iou")) for a, b in names]
        values = by_class(pairs)
        if not values:  # photos of an earlier version have no cameras
            continue
        level = np.mean([own[0].mean() for own in values])
        mean, low, high = interval([own[0] - own[1] for own in values])
        print(f"| {title} | {level:.3f} | {mean:+.3f} [{low:+.3f}, {high:+.3f}] |")


if __name__ == "__main__":
    main()
