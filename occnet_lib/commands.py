"""The stages as commands on files: what `occnet <stage>` does, outside the workflow."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from . import commands_interop as interop
from . import config as configuration
from .config import Config
from .errors import ConfigError, OccnetError
from .logs import say
from .records import Mesh, Watertight
from .seeds import rng
from .storage.atomic import replacing

T = TypeVar("T")


@dataclass(frozen=True)
class Command:
    """A subcommand: its help, its options, what it does."""

    help: str
    options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Config], None]


def progress(items: Iterable[T], title: str) -> Iterator[T]:
    """Pass `items` on, with a bar on a terminal."""
    from rich.console import Console
    from rich.progress import track

    yield from track(list(items), title, console=Console(stderr=True), transient=True)


def _out(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("-o", "--out", type=Path, required=True, help=text)


def _demo_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="folder to fill")


def _demo(args: argparse.Namespace, config: Config) -> None:
    from .demo import write

    write(args.folder, config.demo, config.seed)
    say(
        f"{args.folder}: {config.demo.shapes_per_category} shapes each of {', '.join(config.demo.categories)}"
    )


def _catalogue_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="folder of raw meshes")
    _out(parser, "CSV file to write")


def _catalogue(args: argparse.Namespace, config: Config) -> None:
    from .storage.catalogue import scan, write_table

    keys = scan(config, args.folder)
    write_table(args.out, keys)
    say(f"{args.out}: {len(keys)} shapes")


def _watertight_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("mesh", type=Path, help="raw mesh (OBJ, OFF, PLY, STL, GLB, …)")
    parser.add_argument("--frame", choices=("source", "unit"), default="source", help="frame of the result")
    _out(parser, "closed mesh to write (OBJ, OFF, PLY, STL, GLB)")


def _watertight(args: argparse.Namespace, config: Config) -> None:
    from .stages import watertight
    from .storage.meshfile import load_mesh, save_mesh

    source = load_mesh(args.mesh, config.dataset.up)
    closed = watertight.run(source, config.watertight, rng(config.seed, "watertight", args.mesh.stem))
    mesh = closed.mesh
    if args.frame == "source":
        mesh = Mesh(mesh.vertices * closed.scale + closed.loc, mesh.faces)
    save_mesh(mesh, args.out)
    say(json.dumps(closed.audit, indent=2, default=float))


def _points_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("mesh", type=Path, help="closed mesh (of `occnet watertight`)")
    _out(parser, "NPZ file to write: points, occupancies, surface, normals, voxels, loc, scale")


def _points(args: argparse.Namespace, config: Config) -> None:
    from .geometry.normalise import unit_cube
    from .geometry.repair import soundness
    from .stages import points
    from .storage.meshfile import load_mesh

    mesh, loc, scale = unit_cube(load_mesh(args.mesh, config.dataset.up))
    if not soundness(mesh).closed:
        raise OccnetError(
            "is not closed", path=args.mesh, hint=f"run `occnet watertight {args.mesh} -o …` first"
        )
    closed = Watertight(mesh, loc, scale)
    samples = points.run(closed, config.points, rng(config.seed, "points", args.mesh.stem))
    arrays = {
        name: getattr(samples, name) for name in ("points", "occupancies", "surface", "normals", "voxels")
    }
    with replacing(args.out) as temporary, temporary.open("wb") as file:
        np.savez(file, loc=loc, scale=scale, **arrays)
    say(f"{args.out}: {len(samples.points)} points, {samples.occupancies.mean():.4f} of them inside")


def _views_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("mesh", type=Path, help="raw mesh with its materials")
    _out(parser, "folder to write: 00.png …, cameras.npz")


def _views(args: argparse.Namespace, config: Config) -> None:
    from PIL import Image

    from .geometry.normalise import unit_cube
    from .stages import views
    from .storage.meshfile import load_mesh

    mesh, _, _ = unit_cube(load_mesh(args.mesh, config.dataset.up))
    result = views.run(mesh, config.views, rng(config.seed, "views", args.mesh.stem))
    args.out.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(progress(result.images, "writing")):
        with replacing(args.out / f"{index:02d}.png") as temporary:
            Image.fromarray(image).save(temporary)
    with replacing(args.out / "cameras.npz") as temporary, temporary.open("wb") as file:
        cameras: dict[str, Any] = {"camera_mat": result.camera_mat, "world_mat": result.world_mat}
        np.savez(file, loc=result.loc, scale=np.float64(result.scale), **cameras)
    say(f"{args.out}: {len(result.images)} views by {result.audit.get('renderer', 'auto')}")


def _pack_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shapes", type=Path, help="folder of shape files: <category>/<id>.h5")
    parser.add_argument("--split", default="train", choices=("train", "val", "test"))
    _out(parser, "pack shard to write")


def _pack(args: argparse.Namespace, config: Config) -> None:
    from .records import ShapeKey
    from .stages.pack import pack

    files = sorted(args.shapes.glob("*/*.h5"))
    keys = [ShapeKey(file.parent.name, file.stem, split=args.split, shard=args.out.stem) for file in files]
    count = pack(args.out.stem, keys, args.shapes, args.out)
    say(f"{args.out}: {count} of {len(keys)} shapes")


def _train_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("packs", type=Path, help="folder of pack shards: train-*.h5, val-*.h5")
    parser.add_argument("--model", default="onet", help="which row of `models`")
    _out(parser, "folder for checkpoints and curves; a run there is resumed")


def _train(args: argparse.Namespace, config: Config) -> None:
    from .storage.shards import check
    from .training.train import train

    if args.model not in config.models:
        raise ConfigError(f"no model {args.model!r}; the configuration has {', '.join(config.models)}")
    split = {name: sorted(args.packs.glob(f"{name}-*.h5")) for name in ("train", "val")}
    if not split["train"]:
        raise OccnetError(
            "holds no train-*.h5", path=args.packs, hint="make some: `snakemake --cores 2 preprocess`"
        )
    for path in (*split["train"], *split["val"]):
        check(path)
    train(config, args.model, split["train"], split["val"], args.out)
    say(f"{args.out / 'best.ckpt'}")


def _reconstruct_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "photos", type=Path, nargs="+", help="images: one object each, plain background or RGBA mask"
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="best.ckpt of a training run")
    _out(parser, "mesh to write (OBJ, PLY, GLB, STL, OFF); for several objects a folder")
    parser.add_argument(
        "--merge", action="store_true", help="the photos show one object: average their logits"
    )
    parser.add_argument(
        "--format", default="ply", choices=("obj", "ply", "glb", "stl", "off"), help="in a folder"
    )
    parser.add_argument(
        "--resolution",
        type=int,
        help="cells along the edge, as 128 or 256",
    )
    parser.add_argument("--threshold", type=float, help="occupancy probability of the surface")
    parser.add_argument("--simplify", type=int, metavar="FACES", help="most faces; 0: no simplification")
    parser.add_argument("--refine", type=int, metavar="STEPS", help="steps of refinement; 0: none")


def _reconstruct_config(args: argparse.Namespace, config: Config) -> Config:
    """The configuration with what the command line says about reconstruction."""
    said = {"threshold": args.threshold, "max_faces": args.simplify, "refine_steps": args.refine}
    changes = {key: value for key, value in said.items() if value is not None}
    if args.resolution is not None:
        cells, steps = args.resolution, 0
        while cells > 1 and cells % 2 == 0 and cells // 2 >= config.reconstruct.resolution0:
            cells, steps = cells // 2, steps + 1
        changes |= {"resolution0": cells, "upsampling_steps": steps}
    return configuration.check(configuration.merge(config.model_dump(), {"reconstruct": changes}))


def _reconstruct(args: argparse.Namespace, config: Config) -> None:
    from .reconstruction.network_field import Reconstructor
    from .reconstruction.photo import load_photo

    config = _reconstruct_config(args, config)
    reconstructor = Reconstructor(args.checkpoint, config.reconstruct)
    objects = [args.photos] if args.merge else [[photo] for photo in args.photos]
    for photos in progress(objects, "reconstructing"):
        name = photos[0].stem
        images = np.stack([load_photo(photo) for photo in photos])
        result = reconstructor(images, rng(config.seed, "reconstruct", name), normals=True)
        if result.status == "failed":
            raise OccnetError(result.reason, path=photos[0], hint="lower --threshold or use another photo")
        out = args.out / f"{name}.{args.format}" if len(objects) > 1 else args.out
        result.save(out)
        steps = ", ".join(f"{step} {seconds:.2f} s" for step, seconds in result.seconds.items())
        say(f"{out}: {len(result.mesh.faces)} faces (CPU: {steps})")


def _evaluate_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prediction", type=Path, help="predicted mesh, in the frame of the truth")
    parser.add_argument("truth", type=Path, help="closed true mesh (of `occnet watertight`)")


def _evaluate(args: argparse.Namespace, config: Config) -> None:
    from .evaluation.metrics import compare
    from .geometry.normalise import unit_cube
    from .storage.meshfile import load_mesh

    truth, loc, scale = unit_cube(load_mesh(args.truth, config.dataset.up))
    predicted = load_mesh(args.prediction, config.dataset.up)
    predicted = Mesh((predicted.vertices - loc) / scale, predicted.faces)
    metrics = compare(
        predicted, truth, config.points, config.evaluate, rng(config.seed, "evaluate", args.truth.stem)
    )
    say(json.dumps(metrics, indent=2))


def _analyse_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("packs", type=Path, nargs="+", help="pack shards")
    parser.add_argument("--checkpoint", type=Path, help="best.ckpt, for the t-SNE of its embeddings")
    _out(parser, "folder for statistics.csv, projections/ and embedding.csv")


def _analyse(args: argparse.Namespace, config: Config) -> None:
    from .analysis.projections import write_projections
    from .analysis.statistics import write_statistics
    from .storage.shards import check

    for path in args.packs:
        check(path)
    write_statistics(args.packs, args.out / "statistics.csv")
    write_projections(args.packs, config.analyse, args.out / "projections")
    if args.checkpoint:
        from .analysis.embeddings import write_embedding
        from .reconstruction.network_field import encoder_features

        features = encoder_features(args.checkpoint)
        write_embedding(features, args.packs, config.analyse, config.seed, args.out / "embedding.csv")
    say(str(args.out))


def _report_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", type=Path, help="results folder of the workflow")
    _out(parser, "HTML file to write")


def _report(args: argparse.Namespace, config: Config) -> None:
    from .report import write_report

    resolved = args.results / "config.json"
    write_report(args.results, configuration.load(resolved) if resolved.exists() else config, args.out)
    say(str(args.out))


def _config_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--write", action="store_true", help="write config.yaml, workflow/schemas/ and docs/configuration.md"
    )


def _config(args: argparse.Namespace, config: Config) -> None:
    if not args.write:
        say(configuration.to_yaml(config).rstrip())
        return
    for path, text in configuration.generated().items():
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        say(str(path))


COMMANDS = {
    "demo": Command("make the bundled dataset of raw meshes", _demo_options, _demo),
    "catalogue": Command("list the shapes of a folder with split and shard", _catalogue_options, _catalogue),
    "watertight": Command(
        "close a raw mesh by TSDF fusion of depth renders", _watertight_options, _watertight
    ),
    "points": Command(
        "sample occupancies, surface points and voxels of a closed mesh", _points_options, _points
    ),
    "views": Command("render a raw mesh from 24 cameras (Choy et al. 2016)", _views_options, _views),
    "pack": Command("pack shape files into a shard for training", _pack_options, _pack),
    "train": Command("train a network on pack shards", _train_options, _train),
    "reconstruct": Command("photo to closed mesh", _reconstruct_options, _reconstruct),
    "evaluate": Command(
        "IoU, Chamfer-L1 and normal consistency of a mesh against a true one", _evaluate_options, _evaluate
    ),
    "analyse": Command("statistics, projections and t-SNE of packed shapes", _analyse_options, _analyse),
    "report": Command("one HTML file of a results folder", _report_options, _report),
    "import": Command(
        "ONet's dataset, or <category>_<id>.h5 files, as pack shards", interop.import_options, interop.import_
    ),
    "export": Command("pack shards as a dataset in ONet's layout", interop.export_options, interop.export),
    "weights": Command("ONet's checkpoint as one of ours, or back", interop.weights_options, interop.weights),
    "config": Command(
        "print the resolved configuration, or regenerate what is made from it", _config_options, _config
    ),
}
