"""Refinements of the same meshes side by side: none, gradient, bilateral, graph, both, and perfect normals.

Reads a results folder of the workflow: the test shapes, a model's network, and its halves with their meshes
(`occnet train_refinement`), which are made where they are missing. Trains the graph network with several seeds. All
arms start from the same simplified mesh of view `reconstruct.view`. Differences to `none` are paired over shapes and seeds,
with the 95 % intervals of `evaluate/gains.csv`. Rows of finished shapes are kept in `--cache`.

A face counts as flipped if its normal has turned by more than a right angle from the start. CPU seconds are those of the
refinement alone. `gradient 24` has the default number of steps, `gradient` that of the configuration. `perfect normals`
follows the normals of the ground truth nearest to each face, as the graph network is trained to predict.

usage: python benchmarks/refinement.py results/demo --model resnet10-cbn [--seeds 3] [--samples 30000] [--limit 0]
       [--refinements graph both] [--cache FOLDER] [--images FOLDER]
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from occnet_lib import seeds
from occnet_lib.api.refinement import meshes_of_halves, train_graph
from occnet_lib.config import Config, ReconstructConfig, Refinement, load
from occnet_lib.evaluation.gains import interval
from occnet_lib.evaluation.metrics import measure
from occnet_lib.geometry.face_graph import bilateral_normals
from occnet_lib.geometry.intersections import self_intersecting
from occnet_lib.reconstruction.extract import threshold_logit
from occnet_lib.reconstruction.face_features import FaceNormalPredictor, true_normals
from occnet_lib.reconstruction.reconstructor import Reconstructor
from occnet_lib.reconstruction.refine import refine
from occnet_lib.reconstruction.refinement import follow_normals
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.tables import read_rows, write_rows
from occnet_lib.types import Mesh

METRICS = ("normal_consistency", "chamfer_l1_paper", "f_score_1", "iou")
COUNTS = ("flipped", "self_intersecting", "cpu_seconds")
Arm = Callable[[Mesh], Mesh]
Row = dict[str, Any]


class Arms:
    """The refinements of the meshes of one network.

    Args:
        network: reconstructs without refinement.
        config: section `reconstruct`.
        graphs: files of graph networks by refinement, one a seed.
    """

    def __init__(
        self, network: Reconstructor, config: ReconstructConfig, graphs: dict[str, list[Path]]
    ) -> None:
        self.network, self.config = network, config
        self.level = threshold_logit(network.threshold)
        self.graphs = {
            name: [FaceNormalPredictor(path, name, network.device) for path in paths]  # type: ignore[arg-type]
            for name, paths in graphs.items()
        }

    def of(self, shard: Shard, i: int) -> Iterator[tuple[str, int, Arm]]:
        """Name, seed and function of every arm for a shape."""
        view, name = self.config.view, shard.keys[i].name
        field = self.network.field(shard.image(i, view), shard.camera(i, view)[1][:, :3]).with_gradient

        def gradient(mesh: Mesh, steps: int = self.config.refine_steps) -> Mesh:
            return refine(
                field,
                mesh,
                self.network.threshold,
                low_precision=lambda points: field(points, low_precision=True),
                steps=steps,
                rate=self.config.refine_rate,
                normal_weight=self.config.refine_normals,
                rng=seeds.rng(0, "refinement", name),
            ).mesh

        yield "none", 0, lambda mesh: mesh
        yield "gradient", 0, gradient
        yield "gradient 24", 0, lambda mesh: gradient(mesh, 24)
        yield "bilateral", 0, lambda mesh: follow_normals(mesh, bilateral_normals(mesh)).mesh
        for refinement, predictors in self.graphs.items():
            for seed, predictor in enumerate(predictors):

                def graph(
                    mesh: Mesh, predictor: FaceNormalPredictor = predictor, first: bool = refinement == "both"
                ) -> Mesh:
                    mesh = gradient(mesh) if first else mesh
                    return follow_normals(mesh, predictor(field, mesh, self.level)).mesh

                yield refinement, seed, graph
        yield (
            "perfect normals",
            0,
            lambda mesh: follow_normals(mesh, true_normals(mesh, *shard.surface(i))[0]).mesh,
        )


def measured(
    start: Mesh, arm: Arm, reference: tuple[Any, ...], samples: int, rng: np.random.Generator
) -> tuple[Row, Mesh]:
    """The metrics of a refined mesh."""
    before = process_time()
    mesh = arm(start)
    seconds = process_time() - before
    values, _ = measure(mesh, *reference, samples, rng)
    flipped = int(((mesh.area_vectors * start.area_vectors).sum(axis=1) < 0).sum())
    counts = (flipped, int(self_intersecting(mesh).sum()), round(seconds, 4))
    return {name: values[name] for name in METRICS} | dict(zip(COUNTS, counts, strict=True)), mesh


def trained(
    results: Path, model: str, config: Config, refinements: Sequence[Refinement], count: int
) -> dict[str, list[Path]]:
    """Files of the graph networks, trained where they are missing."""
    packs = sorted((results / "pack").glob("*.h5"))
    train, val = ([path for path in packs if path.name.startswith(f"{split}-")] for split in ("train", "val"))
    out, graphs = results / "refinement" / model, dict[str, list[Path]]()
    for refinement in refinements:
        samples, held_out = meshes_of_halves(train, val, out, config, model, refinement)
        paths = [out / "seeds" / f"{refinement}-{seed}" / "graph.ckpt" for seed in range(count)]
        for seed, path in enumerate(paths):
            start = process_time()
            train_graph(samples, held_out, path, config, model, refinement, seed)
            print(
                f"{refinement}, seed {seed}: {process_time() - start:.0f} CPU s, {len(samples)} meshes",
                flush=True,
            )
        graphs[refinement] = paths
    return graphs


def differences(rows: Sequence[Row], arm: str, metric: str) -> list[np.ndarray]:
    """One (seeds, shapes) array a class: `arm` less `none`."""
    of: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        of.setdefault((str(row["arm"]), str(row["seed"])), {})[f"{row['category']}/{row['id']}"] = float(
            row[metric]
        )
    runs = [values for (name, _), values in sorted(of.items()) if name == arm]
    none = of["none", "0"]
    classes: dict[str, list[str]] = {}
    for shape in sorted(none):
        classes.setdefault(shape.partition("/")[0], []).append(shape)
    return [np.array([[run[s] - none[s] for s in shapes] for run in runs]) for shapes in classes.values()]


def draw(arms: Arms, shard: Shard, i: int, start: Mesh, path: Path) -> None:
    """Images of a shape by every arm with its first seed, and of the ground truth: by the photo's camera, and turned."""
    import io

    from PIL import Image

    from occnet_lib.report.cards import mesh_images

    meshes = {name: function(start) for name, seed, function in arms.of(shard, i) if seed == 0}
    columns = []
    for mesh in (*meshes.values(), shard.mesh(i)):
        data = mesh_images(mesh, shard.camera(i, arms.config.view), (0.62, 0.64, 0.66))
        columns.append([Image.open(io.BytesIO(part)).convert("RGB") for part in data])
    edge = columns[0][0].width
    sheet = Image.new("RGB", (edge * len(columns), edge * 2), "white")
    for x, column in enumerate(columns):
        for y, image in enumerate(column):
            sheet.paste(image, (edge * x, edge * y))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def print_table(rows: Sequence[Row]) -> None:
    """Means of class means, and differences to `none` with intervals."""
    print(f"| refinement | {' | '.join(METRICS)} | flipped | self-intersecting | CPU s |")
    print("|---" * (len(METRICS) + 4) + "|")
    for arm in dict.fromkeys(str(row["arm"]) for row in rows):
        own = [row for row in rows if row["arm"] == arm]
        cells = []
        for metric in METRICS:
            if arm == "none":
                classes = {row["category"] for row in own}
                means = [np.mean([float(r[metric]) for r in own if r["category"] == c]) for c in classes]
                cells.append(f"{np.mean(means):.4f}")
            else:
                mean, low, high = interval(differences(rows, arm, metric))
                cells.append(f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]")
        counts = [np.mean([float(row[name]) for row in own]) for name in COUNTS]
        print(f"| {arm} | {' | '.join(cells)} | {counts[0]:.2f} | {counts[1]:.2f} | {counts[2]:.3f} |")


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=30_000)
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--refinements", nargs="*", default=["graph", "both"], choices=["graph", "both"])
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--images", type=Path)
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    torch.set_num_threads(1)
    config = load(args.results / "config.json")
    graphs = trained(args.results, args.model, config, args.refinements, args.seeds)
    plain = config.reconstruct.model_copy(update={"refinement": "none"})
    network = Reconstructor(args.results / "train" / args.model / "best.ckpt", plain)
    arms, rows = Arms(network, config.reconstruct, graphs), list[Row]()
    cache = args.cache or args.results / "refinement" / args.model / "rows"
    for path in sorted((args.results / "pack").glob("test-*.h5")):
        shard = Shard(path)
        for i, key in enumerate(shard.keys[: args.limit or None]):
            file = cache / key.category / f"{key.id}.csv"
            image = args.images / f"{key.id}.png" if args.images else None
            if not file.exists() or (image and not image.exists()):
                rng = seeds.rng(config.seed, "reconstruct", key.name)
                start = network(shard.image(i, plain.view), rng, shard.camera(i, plain.view)[1][:, :3]).mesh
                if image:
                    draw(arms, shard, i, start, image)
                reference = *shard.points(i), *shard.surface(i)
                own = []
                for arm, seed, function in arms.of(shard, i):
                    drawing = seeds.rng(config.seed, "evaluate", key.name)
                    values, _ = measured(start, function, reference, args.samples, drawing)
                    own.append({"arm": arm, "seed": seed, "category": key.category, "id": key.id} | values)
                write_rows(file, own)
            rows += read_rows(file)
            print(f"{key.name} done", file=sys.stderr, flush=True)
    print_table(rows)


if __name__ == "__main__":
    main()
