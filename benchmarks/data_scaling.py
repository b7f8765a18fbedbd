"""IoU of a network, and of what it must beat, over the number of training shapes (Tatarchenko et al. 2019).

Trains the demo's first network at one budget on 100, 200, 400, ... shapes of the demo generator, each set within the next,
and measures it on the same held-out shapes beside retrieval by its own codes, the nearest training image, the class mean
and the oracle. Every step is the library's own. Shapes, packs, trainings and tables stay in
`--out`: a run that was stopped continues where it was, and one with more sizes or seeds adds to it.

A shape takes about 0.5 CPU s; a size, its training of 1,900 steps and its tables, about five minutes of a core.

usage: python benchmarks/data_scaling.py [--sizes 100 200 400 800 1600] [--test 120] [--val 40] [--seeds 1]
       [--config workflow/demo.yaml] [--out results/data_scaling] [--workers 1] [--quick]
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))


import occnet_lib.config as configuration
from occnet_lib import demo
from occnet_lib.config import Config
from occnet_lib.evaluation.baselines import baseline_shard
from occnet_lib.evaluation.evaluate import evaluate_shard
from occnet_lib.evaluation.lookup_index import image_features, write_index
from occnet_lib.evaluation.metrics import METRICS
from occnet_lib.evaluation.summary import summarise
from occnet_lib.interop.conversion import shapes_of
from occnet_lib.stages.pack import pack
from occnet_lib.stages.workers import process_shapes
from occnet_lib.storage.tables import read_rows, write_rows

PROJECT = Path(__file__).parents[1]
NETWORK = "network"
RETRIEVAL = f"baseline_retrieval-{NETWORK}"
BASELINES = (RETRIEVAL, "baseline_nearest_image", "baseline_class_mean", "baseline_oracle")
COLUMNS = (
    *("shapes", "seeds", "model", "iou", "iou_low", "iou_high", "seed_sd"),
    *("less_network", "less_network_low", "less_network_high"),
)
QUICK: dict[str, Any] = {
    "watertight": {"resolution": 32},
    "views": {"count": 2, "image_size": 32},
    "points": {"uniform": 2000, "surface": 500, "near_surface": 0.05},
    "train": {
        "steps": 4,
        "data": {"batch_size": 4},
        "optimizer": {"warmup": 0},
        "checkpoint": {"validate_every": 4, "validation_points": 500},
    },
    "reconstruct": {"resolution0": 16, "upsampling_steps": 0, "refine_steps": 0},
    "evaluate": {"surface": 200, "bootstrap": 50},
}
Rows = list[dict[str, Any]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row a size and model, and write them as scaling.csv."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 200, 400, 800, 1600])
    parser.add_argument("--test", type=int, default=120, help="held-out shapes")
    parser.add_argument("--val", type=int, default=40, help="shapes for best checkpoint and threshold")
    parser.add_argument("--seeds", type=int, default=1, help="trainings a size")
    parser.add_argument("--config", type=Path, default=PROJECT / "workflow/demo.yaml", help="overlay")
    parser.add_argument("--out", type=Path, default=Path("results/data_scaling"))
    parser.add_argument("--workers", type=int, default=1, help="processes that make shapes")
    parser.add_argument(
        "--quick", action="store_true", help="two tiny sizes and trainings: a test of the script"
    )
    args = parser.parse_args(arguments)
    if args.quick:
        args.sizes, args.test, args.val, args.seeds = [5, 10], 10, 5, 1
    config = configuration_of(args)
    packs = prepare(config, args)
    rows: Rows = []
    for size in sorted(args.sizes):
        rows += measure(config, size, packs, args)
        write_rows(args.out / "scaling.csv", rows, COLUMNS)
    print(f"IoU of {args.test} held-out shapes, mean of class means; {args.seeds} training(s) a size")
    print(f"{'shapes':>7} {'model':<26} {'IoU':>6} {'95 % interval':>16}   {'network less it':>15}")
    for row in rows:
        print(line(row))


def configuration_of(args: argparse.Namespace) -> Config:
    """The overlay over the defaults with its first model alone, on as many generated shapes as are needed."""
    files = [path for path in (PROJECT / "config.yaml", args.config) if path.is_file()]
    values = configuration.load(*files).model_dump()
    kinds = len(values["demo"]["categories"])
    for name, count in (("--test", args.test), ("--val", args.val), *(("--sizes", n) for n in args.sizes)):
        if count < 1 or count % kinds:
            raise SystemExit(f"{name} {count}: expected a multiple of {kinds}, the number of categories")
    changes: dict[str, Any] = {
        "results": str(args.out),
        "dataset": {"root": "demo"},
        "demo": {"shapes_per_category": (args.test + args.val + max(args.sizes)) // kinds},
        "points": {"uniform": 20_000, "surface": 10_000},
        "evaluate": {"surface": 10_000},  # the tables hold IoU alone
    }
    values = configuration.merge(values, changes)
    values["models"] = {NETWORK: next(iter(values["models"].values()))}
    return configuration.check(configuration.merge(values, QUICK) if args.quick else values)


def prepare(config: Config, args: argparse.Namespace) -> dict[str, list[Path]]:
    """Packs by split: test and val of one shard, train of one for what each size adds to the one before."""
    root, shapes = Path(config.dataset_root), args.out / "shapes"
    if (
        not (root / ".complete").is_file()
        or (root / ".complete").read_text() != config.demo.model_dump_json()
    ):
        demo.write(root, config.demo, config.seed)
        (root / ".complete").write_text(config.demo.model_dump_json())
    keys = sorted(shapes_of(config, root), key=lambda key: (key.id.rpartition("_")[2], key.category))
    bounds = np.cumsum([args.test, args.val])
    parts = {"test-000": keys[: bounds[0]], "val-000": keys[bounds[0] : bounds[1]]}
    sizes = [0, *sorted(args.sizes)]
    for first, last in itertools.pairwise(sizes):
        parts[f"train-{last:06d}"] = keys[bounds[1] + first : bounds[1] + last]
    some, table = keys[: bounds[1] + sizes[-1]], args.out / "shapes.csv"
    rows = process_shapes(some, config, root, shapes, args.workers, table=table)
    failed = [f"{row['category']}/{row['id']}: {row['reason']}" for row in rows if row["status"] == "failed"]
    if failed:
        raise SystemExit(f"{len(failed)} of {len(rows)} shapes failed, as {failed[0]}")
    packs: dict[str, list[Path]] = defaultdict(list)
    for name, some in parts.items():
        packs[name.partition("-")[0]].append(args.out / "pack" / f"{name}.h5")
        pack(name, some, shapes, packs[name.partition("-")[0]][-1])
    return packs


def measure(config: Config, size: int, packs: Mapping[str, Sequence[Path]], args: argparse.Namespace) -> Rows:
    """Rows of `COLUMNS` for a number of training shapes."""
    training = [path for path in packs["train"] if int(path.stem.partition("-")[2]) <= size]
    work = config.model_copy(update={"results": str(args.out / f"{size:06d}")})
    (test,) = packs["test"]
    tables = [_trained(work, seed, training, packs["val"], test) for seed in range(args.seeds)]
    tables.append(_looked_up(work, training, test))
    rows = mean_over_trainings([row for table in tables for row in table])
    summary = summarise(rows, config)
    less = {row["other"]: row for row in summary["differences"] if row["model"] == NETWORK}
    spread = deviation_of_trainings(tables, config)
    return [
        {"shapes": size, "seeds": args.seeds, "model": row["model"], "seed_sd": spread.get(row["model"], "")}
        | {name: row[name] for name in ("iou", "iou_low", "iou_high")}
        | {
            f"less_network{end}": less.get(row["model"], {}).get(f"iou{end}", "")
            for end in ("", "_low", "_high")
        }
        for row in sorted(summary["models"], key=lambda row: (NETWORK, *BASELINES).index(row["model"]))
    ]


def _trained(
    config: Config, seed: int, training: Sequence[Path], validation: Sequence[Path], test: Path
) -> list[Mapping[str, Any]]:
    """Rows of a training's network, and of retrieval by its codes, for every test shape."""
    import torch

    from occnet_lib.reconstruction.inference import encoder_features
    from occnet_lib.reconstruction.shard import reconstruct_shard
    from occnet_lib.training.train import train

    folder = Path(config.results) / f"seed-{seed}"
    table = folder / "shapes.csv"
    if table.is_file():
        return list(read_rows(table))
    torch.set_num_threads(config.train.hardware.threads)
    own = config.model_copy(update={"seed": config.seed + seed, "results": str(folder)})
    train(own, NETWORK, training, validation, folder / "train")
    checkpoint, meshes = folder / "train" / "best.ckpt", folder / "meshes"
    reconstruct_shard(checkpoint, test, config.reconstruct, meshes, config.seed)
    rows = evaluate_shard(meshes, test, config, NETWORK, folder / "network.csv")
    write_index(
        encoder_features(checkpoint, config.reconstruct.accelerator),
        *(training, [test], config.reconstruct.view, config.evaluate.code_views),
        folder / "index" / f"codes_{NETWORK}.h5",
    )
    rows += _baseline(RETRIEVAL, own, training, test, config)
    write_rows(table, rows)
    return list(read_rows(table))


def _looked_up(config: Config, training: Sequence[Path], test: Path) -> list[Mapping[str, Any]]:
    """Rows of the baselines that need no network."""
    folder = Path(config.results)
    table = folder / "shapes.csv"
    if not table.is_file():
        view = config.reconstruct.view
        write_index(image_features, training, [test], view, 0, folder / "index" / "images.h5")
        rows = [
            row
            for name in BASELINES
            if name != RETRIEVAL
            for row in _baseline(name, config, training, test, config)
        ]
        write_rows(table, rows)
    return list(read_rows(table))


def _baseline(name: str, where: Config, training: Sequence[Path], test: Path, config: Config) -> Rows:
    meshes = Path(where.results) / name
    baseline_shard(name.removeprefix("baseline_"), training, test, where, meshes)
    return evaluate_shard(meshes, test, config, name, Path(where.results) / f"{name}.csv")


def mean_over_trainings(rows: Iterable[Mapping[str, Any]]) -> Rows:
    """One row a model and shape: the mean of every metric over trainings."""
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["model"], row["category"], row["id"]].append(row)
    return [
        dict(some[0]) | {name: float(np.mean([float(row[name]) for row in some])) for name in METRICS}
        for some in groups.values()
    ]


def deviation_of_trainings(tables: Iterable[Iterable[Mapping[str, Any]]], config: Config) -> dict[str, float]:
    """Standard deviation of the mean IoU over the trainings, by model; nothing of models that were measured once."""
    means: dict[str, list[float]] = defaultdict(list)
    for table in tables:
        for row in summarise(table, config)["models"]:
            means[row["model"]].append(row["iou"])
    return {model: float(np.std(values, ddof=1)) for model, values in means.items() if len(values) > 1}


def line(row: Mapping[str, Any]) -> str:
    """A row of the printed table."""
    ends = "" if row["iou_low"] == "" else f"[{row['iou_low']:.3f}, {row['iou_high']:.3f}]"
    less = ""
    if row["less_network"] != "":
        less = f"{row['less_network']:+.3f}"
        if row["less_network_low"] != "":
            less += f" [{row['less_network_low']:+.3f}, {row['less_network_high']:+.3f}]"
    return f"{row['shapes']:>7} {row['model']:<26} {row['iou']:6.3f} {ends:>16}   {less}"


if __name__ == "__main__":
    main()
