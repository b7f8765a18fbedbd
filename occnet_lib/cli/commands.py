"""The stages as commands on files: what `occnet <stage>` does, outside the workflow."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from occnet_lib import config as configuration
from occnet_lib.api import files, models, shapes
from occnet_lib.api.frames import solid_mesh, unit_mesh
from occnet_lib.config import Config, check, merge
from occnet_lib.errors import ConfigError, OccnetError
from occnet_lib.logs import say
from occnet_lib.seeds import rng
from occnet_lib.storage.atomic import replacing
from occnet_lib.types import Watertight

from . import interop, results
from .options import out_option, progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Command:
    """A subcommand: its help, its options, what it does."""

    help: str
    options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Config], None]


def _demo_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="folder to fill")


def _demo(args: argparse.Namespace, config: Config) -> None:
    from occnet_lib.demo import write

    write(args.folder, config.demo, config.seed)
    say(
        f"{args.folder}: {config.demo.shapes_per_category} shapes each of {', '.join(config.demo.categories)}"
    )


def _catalogue_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="folder of raw meshes")
    out_option(parser, "CSV file to write")


def _catalogue(args: argparse.Namespace, config: Config) -> None:
    from occnet_lib.api.datasets import list_shapes
    from occnet_lib.storage.dataset.catalogue import write_table

    keys = list_shapes(args.folder, config)
    write_table(args.out, keys)
    say(f"{args.out}: {len(keys)} shapes")


def _watertight_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("mesh", type=Path, help="raw mesh (OBJ, OFF, PLY, STL, GLB, …)")
    parser.add_argument(
        "--frame",
        choices=("source", "unit"),
        default="source",
        help="source: the axes, scale and place of MESH; unit: the unit cube, y up; the file says which it is",
    )
    out_option(parser, "closed mesh to write (OBJ, OFF, PLY, STL, GLB)")


def _watertight(args: argparse.Namespace, config: Config) -> None:
    from occnet_lib.stages.audit import judge

    source = files.load_mesh(args.mesh, config.dataset.up)
    closed = shapes.watertight(source, config, name=args.mesh.stem)
    files.save_mesh(closed, args.out, frame=args.frame, up=source.up)
    status, reason = judge({"watertight": closed.audit}, config.audit)
    if status != "ok":
        logger.warning("%s: %s", args.out, reason)
    if closed.audit["method"] == "exact" and closed.audit["faces_ratio"] > 1.0:
        text = "%s: the mesh is closed and keeps its own %d faces, more than watertight.max_faces: %d"
        logger.warning(text, args.out, closed.audit["faces_out"], config.watertight.face_limit)
    say(json.dumps(closed.audit, indent=2, default=float))


def _points_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("mesh", type=Path, help="closed mesh (of `occnet watertight`)")
    out_option(parser, "NPZ file to write: points, occupancies, surface, normals, voxels, loc, scale")


def _points(args: argparse.Namespace, config: Config) -> None:
    unit = solid_mesh(args.mesh, config)
    closed = Watertight(unit.mesh, unit.loc, unit.scale)
    samples = shapes.sample_points(closed, config, name=args.mesh.stem)
    arrays = {
        name: getattr(samples, name) for name in ("points", "occupancies", "surface", "normals", "voxels")
    }
    with replacing(args.out) as temporary, temporary.open("wb") as file:
        np.savez(file, loc=unit.loc, scale=np.float64(unit.scale), **arrays)
    inside = f"{len(samples.points)} points, {samples.occupancies.mean():.4f} of them inside"
    say(f"{args.out}: {inside}; {unit.describe(config)}")


def _prepare_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("mesh", type=Path, help="raw mesh (OBJ, OFF, PLY, STL, GLB, …)")
    parser.add_argument("--edge", type=float, default=1.0, help="longest edge of the shape in the file")
    parser.add_argument("--up", choices=("y", "z"), default="y", help="up axis of the file")
    out_option(parser, "NPZ file to write: the sets of section `samples` and the closed mesh")


def _prepare(args: argparse.Namespace, config: Config) -> None:
    from occnet_lib.interop.vecset_formats import Frame, write_samples

    if not config.samples.wanted:
        hint = "give counts in section `samples`, as workflow/vecset.yaml: --config workflow/vecset.yaml"
        raise ConfigError("section `samples` requests no points", hint=hint)
    closed = shapes.watertight(args.mesh, config)
    drawn = shapes.sample_sets(closed, config, name=args.mesh.stem)
    write_samples(args.out, closed, drawn, Frame(args.edge, args.up))
    counts = ", ".join(f"{len(values.points)} {name}" for name, values in drawn.sets.items())
    say(f"{args.out}: {counts}")


def _views_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("mesh", type=Path, help="raw mesh with its materials")
    parser.add_argument(
        "--protocol",
        choices=("choy", "everyday"),
        help="cameras and light: Choy et al. 2016, or everyday photos (default: as configured)",
    )
    out_option(parser, "folder to write: 00.png …, cameras.npz")


def _views(args: argparse.Namespace, config: Config) -> None:
    from PIL import Image

    from occnet_lib.stages import views

    unit = unit_mesh(args.mesh, config)
    if args.protocol:
        config = check(merge(config.model_dump(), {"views": {"protocol": args.protocol}}))
    result = views.run(unit.mesh, config.views, rng(config.seed, "views", args.mesh.stem))
    args.out.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(progress(result.images, "writing")):
        with replacing(args.out / f"{index:02d}.png") as temporary:
            Image.fromarray(image).save(temporary)
    with replacing(args.out / "cameras.npz") as temporary, temporary.open("wb") as file:
        cameras: dict[str, Any] = {"camera_mat": result.camera_mat, "world_mat": result.world_mat}
        np.savez(file, loc=result.loc, scale=np.float64(result.scale), **cameras)
    renderer = result.audit.get("renderer", "auto")
    say(
        f"{args.out}: {len(result.images)} views ({config.views.protocol}) by {renderer}; {unit.describe(config)}"
    )


def _pack_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shapes", type=Path, help="folder of shape files: <category>/<id>.h5")
    parser.add_argument("--split", default="train", choices=("train", "val", "test"))
    out_option(parser, "pack shard to write")


def _pack(args: argparse.Namespace, config: Config) -> None:
    from occnet_lib.stages.pack import pack
    from occnet_lib.types import ShapeKey

    files = sorted(args.shapes.glob("*/*.h5"))
    if not files:
        raise OccnetError(
            "holds no <category>/<id>.h5", path=args.shapes, hint="results/preprocess/shapes is such a folder"
        )
    keys = [ShapeKey(file.parent.name, file.stem, split=args.split, shard=args.out.stem) for file in files]
    count = pack(args.out.stem, keys, args.shapes, args.out)
    say(f"{args.out}: {count} of {len(keys)} shapes")


def _train_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("packs", type=Path, help="folder of pack shards: train-*.h5, val-*.h5")
    parser.add_argument("--model", default="onet", help="which row of `models`")
    out_option(parser, "folder for checkpoints and curves; a run there is resumed")


def _train(args: argparse.Namespace, config: Config) -> None:
    say(str(models.train(args.packs, args.out, config, model=args.model)))


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
    "watertight": Command("close a raw mesh by a signed distance field", _watertight_options, _watertight),
    "points": Command(
        "sample occupancies, surface points and voxels of a closed mesh", _points_options, _points
    ),
    "prepare": Command(
        "signed distances, surface points and sharp edges of a raw mesh in one file",
        _prepare_options,
        _prepare,
    ),
    "views": Command("render a raw mesh from 24 cameras", _views_options, _views),
    "pack": Command("pack shape files into a shard for training", _pack_options, _pack),
    "train": Command("train a network on pack shards", _train_options, _train),
    "reconstruct": Command("photo to closed mesh", results.reconstruct_options, results.reconstruct),
    "evaluate": Command(
        "IoU, Chamfer-L1 and normal consistency of a mesh against a true one",
        results.evaluate_options,
        results.evaluate,
    ),
    "analyse": Command(
        "statistics, projections and t-SNE of packed shapes", results.analyse_options, results.analyse
    ),
    "report": Command("one HTML file of a results folder", results.report_options, results.report),
    "import": Command(
        "ONet's dataset, or <category>_<id>.h5 files, as pack shards", interop.import_options, interop.import_
    ),
    "export": Command("pack shards as a dataset in ONet's layout", interop.export_options, interop.export),
    "weights": Command("ONet's checkpoint as one of ours, or back", interop.weights_options, interop.weights),
    "config": Command(
        "print the resolved configuration, or regenerate what is made from it", _config_options, _config
    ),
}
