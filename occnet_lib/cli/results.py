"""Commands from photos to the report."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from occnet_lib import config as configuration
from occnet_lib.api import models
from occnet_lib.config import Config
from occnet_lib.errors import ImageError, MeshError, OccnetError
from occnet_lib.logs import say
from occnet_lib.seeds import rng
from occnet_lib.storage.atomic import replacing

from .options import out_option, progress

if TYPE_CHECKING:
    from occnet_lib.reconstruction.reconstructor import Reconstructor

logger = logging.getLogger(__name__)


def reconstruct_options(parser: argparse.ArgumentParser) -> None:
    """Options of `occnet reconstruct`."""
    parser.add_argument(
        "photos", type=Path, nargs="+", help="images: one object each, plain background or RGBA mask"
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="best.ckpt of a training run")
    out_option(parser, "mesh to write (OBJ, PLY, GLB, STL, OFF); for several objects a folder")
    parser.add_argument(
        "--merge", action="store_true", help="the photos show one object: average their logits"
    )
    parser.add_argument(
        "--drop-outliers",
        action="store_true",
        help="of three merged photos or more, leave out those that disagree with the others",
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
    parser.add_argument(
        "--simplify",
        type=float,
        metavar="FACES|ERROR",
        help="about as many faces, as 5000 (more where thin parts would open); or largest error, as .001 of the cube's "
        "side; 0: no simplification",
    )
    parser.add_argument("--refine", type=int, metavar="STEPS", help="steps of refinement; 0: none")

    parser.add_argument(
        "--mask",
        default="auto",
        choices=("auto", "alpha", "background"),
        help="what separates the object: the image's transparency, or its plain background (auto: alpha if it "
        "looks like a mask)",
    )
    parser.add_argument(
        "--as-is",
        action="store_true",
        help="show the network the whole image as it is: neither cut out nor framed",
    )
    parser.add_argument(
        "--save-input",
        type=Path,
        metavar="PNG",
        help="also write the image that the network sees; for several photos a folder",
    )


def _reconstruct_config(args: argparse.Namespace, config: Config) -> Config:
    """The configuration with what the command line says about reconstruction."""
    said = {"threshold": args.threshold, "refine_steps": args.refine}
    changes = {key: value for key, value in said.items() if value is not None}
    if args.simplify is not None:
        key = "error" if 0 < args.simplify < 1 else "faces"
        changes["simplify"] = {"faces": None, "error": None} | {key: args.simplify or None}
    if args.resolution is not None:
        cells, steps = args.resolution, 0
        while cells > 1 and cells % 2 == 0 and cells // 2 >= config.reconstruct.resolution0:
            cells, steps = cells // 2, steps + 1
        changes |= {"resolution0": cells, "upsampling_steps": steps}
    return configuration.check(configuration.merge(config.model_dump(), {"reconstruct": changes}))


def reconstruct(args: argparse.Namespace, config: Config) -> None:
    """`occnet reconstruct`."""
    from occnet_lib.reconstruction.reconstructor import Reconstructor

    if args.as_is and args.mask != "auto":
        raise OccnetError("--as-is and --mask exclude each other", hint="leave one of them out")
    if args.drop_outliers and not args.merge:
        raise OccnetError("--drop-outliers is for photos of one object", hint="add --merge")
    config = _reconstruct_config(args, config)
    reconstructor = Reconstructor(args.checkpoint, config.reconstruct, args.as_is)
    objects = [args.photos] if args.merge else [[photo] for photo in args.photos]
    outs = _files(objects, args)
    inputs = _input_files(args)
    failed = 0
    for photos, out in progress(zip(objects, outs, strict=True), "reconstructing"):
        try:
            images = [_load(photo, reconstructor, args, inputs.get(photo)) for photo in photos]
            _reconstruct_object(reconstructor, images, photos, out, config.seed, args.drop_outliers)
        except (ImageError, MeshError) as error:
            if len(objects) == 1:
                raise
            logger.warning("%s", error)
            failed += 1
    if failed:
        raise OccnetError(f"{failed} of {len(objects)} photos gave no mesh", hint="the lines above say why")


def _load(
    photo: Path, reconstructor: Reconstructor, args: argparse.Namespace, input_file: Path | None
) -> NDArray[np.uint8]:
    """The image of a photo for the network."""
    from occnet_lib.reconstruction.photo import network_image

    network = reconstructor.framing, reconstructor.view_size
    image, done = network_image(photo, *network, args.mask, args.as_is)
    say(f"{photo}: {done}")
    if input_file is not None:
        from PIL import Image

        with replacing(input_file) as temporary:
            Image.fromarray(reconstructor.seen(image)).save(temporary, format="PNG")
    return image


def _input_files(args: argparse.Namespace) -> dict[Path, Path]:
    """Where `--save-input` puts the image of each photo."""
    out: Path | None = args.save_input
    if out is None:
        return {}
    if out.suffix and not out.is_dir():
        if out.suffix.lower() != ".png" or len(args.photos) > 1:
            raise OccnetError(
                f"expected one .png file for one photo, a folder for {len(args.photos)}",
                path=out,
                hint="--save-input seen.png, or --save-input folder",
            )
        return _beside_photos({args.photos[0]: out})
    files = {photo: out / f"{photo.stem}.png" for photo in args.photos}
    if len(set(files.values())) < len(files):
        raise OccnetError("would hold two images of one name", path=out, hint="rename a photo")
    return _beside_photos(files)


def _beside_photos(files: dict[Path, Path]) -> dict[Path, Path]:
    """The same, once it is known that none of them would replace a photo."""
    photos = {photo.resolve() for photo in files}
    for file in files.values():
        if file.resolve() in photos:
            raise OccnetError("--save-input would replace this photo", path=file, hint="name another place")
    return files


def _reconstruct_object(
    reconstructor: Reconstructor,
    images: list[NDArray[np.uint8]],
    photos: list[Path],
    out: Path,
    seed: int,
    drop_outliers: bool,
) -> None:
    """Write the mesh of an object, and name photos that disagree with the others."""
    from occnet_lib.reconstruction.photo import disagreements

    photo, random = photos[0], rng(seed, "reconstruct", photos[0].stem)
    result = reconstructor(images, random, normals=True, drop_outliers=drop_outliers)
    for line in disagreements(photos, result.agreement, drop_outliers):
        logger.warning("%s%s", line, "; --drop-outliers leaves it out" if line.endswith("left in") else "")
    if result.status == "failed":
        raise MeshError(result.reason, path=photo, hint="lower --threshold or use another photo")
    result.save(out)
    if result.reason:
        logger.warning("%s: %s", out, result.reason)
    steps = ", ".join(f"{step} {seconds:.2f}" for step, seconds in result.seconds.items())
    say(f"{out}: {len(result.mesh.faces)} faces (CPU seconds: {steps})")


def _files(objects: list[list[Path]], args: argparse.Namespace) -> list[Path]:
    """Where the mesh of each object goes: a folder is what is one, or has no suffix."""
    from occnet_lib.storage.meshes import WRITABLE

    if args.out.suffix and not args.out.is_dir():
        if args.out.suffix.lower() not in WRITABLE:
            raise OccnetError(
                "no kind of mesh that can be written", path=args.out, hint=f"use {' '.join(WRITABLE)}"
            )
        if len(objects) > 1:
            hint = "give a folder, or --merge if they show one object"
            raise OccnetError(
                f"a file cannot hold the meshes of {len(objects)} photos", path=args.out, hint=hint
            )
        return [args.out]
    outs = [args.out / f"{photos[0].stem}.{args.format}" for photos in objects]
    for i, out in enumerate(outs):
        if out in outs[:i]:
            first = objects[outs.index(out)][0]
            raise OccnetError(
                f"would have the same mesh as {first}: {out}", path=objects[i][0], hint="rename one"
            )
    return outs


def evaluate_options(parser: argparse.ArgumentParser) -> None:
    """Options of `occnet evaluate`."""
    parser.add_argument("prediction", type=Path, help="predicted mesh, in the frame of the truth")
    parser.add_argument("truth", type=Path, help="closed true mesh (of `occnet watertight`)")


def evaluate(args: argparse.Namespace, config: Config) -> None:
    """`occnet evaluate`."""
    from occnet_lib.evaluation.metrics import NO_SURFACE

    result = models.evaluate(args.prediction, args.truth, config)
    if result.note:
        worst = ", which counts as the worst value of every metric" if result.note == NO_SURFACE else ""
        logger.warning("%s %s%s", args.prediction, result.note, worst)
    intervals = {name: list(interval) for name, interval in result.intervals.items()}
    lines = [f"  {json.dumps(name)}: {json.dumps(value)}," for name, value in result.values.items()]
    lines += ['  "sampling_interval_95": {']
    lines += [f"    {json.dumps(name)}: {json.dumps(interval)}," for name, interval in intervals.items()]
    lines[-1] = lines[-1].rstrip(",")
    say("\n".join(["{", *lines, "  }", "}"]))


def analyse_options(parser: argparse.ArgumentParser) -> None:
    """Options of `occnet analyse`."""
    parser.add_argument("packs", type=Path, nargs="+", help="pack shards, or a folder of them")
    parser.add_argument("--checkpoint", type=Path, help="best.ckpt, for the t-SNE of its embeddings")
    out_option(parser, "folder for statistics.csv, projections/ and embedding.csv")


def analyse(args: argparse.Namespace, config: Config) -> None:
    """`occnet analyse`."""
    from occnet_lib.analysis.projections import write_projections
    from occnet_lib.analysis.statistics import write_statistics
    from occnet_lib.storage.packs import verify

    packs = [
        shard for path in args.packs for shard in (sorted(path.glob("*.h5")) if path.is_dir() else [path])
    ]
    if not packs:
        raise OccnetError("holds no pack shards (*.h5)", path=args.packs[0])
    for path in packs:
        verify(path)
    write_statistics(packs, args.out / "statistics.csv")
    write_projections(packs, config.analyse, args.out / "projections")
    if args.checkpoint:
        from occnet_lib.analysis.embeddings import write_embedding
        from occnet_lib.reconstruction.reconstructor import encoder_features

        features = encoder_features(args.checkpoint)
        write_embedding(features, packs, config.analyse, config.seed, args.out / "embedding.csv")
    say(str(args.out))


def report_options(parser: argparse.ArgumentParser) -> None:
    """Options of `occnet report`."""
    parser.add_argument("results", type=Path, help="results folder of the workflow")
    out_option(parser, "HTML file to write")


def report(args: argparse.Namespace, config: Config) -> None:
    """`occnet report`."""
    from occnet_lib.report import write_report

    resolved = args.results / "config.json"
    if not resolved.exists() and not (args.config and args.results.is_dir()):
        raise OccnetError(
            "holds no run (no config.json)", path=args.results, hint="give its folder, as results/demo"
        )
    write_report(args.results, configuration.load(resolved) if resolved.exists() else config, args.out)
    say(str(args.out))
