"""Commands that read and write other projects' files (docs/interop.md)."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from occnet_lib.config import Config
from occnet_lib.errors import OccnetError
from occnet_lib.logs import say

from .options import out_option, progress

# Keys of interop.vecset_formats.FORMATS, which is imported only when used.
_VECSET = ("vecset", "vecsetx", "dora", "hunyuan", "ultrashape")


def import_options(parser: argparse.ArgumentParser) -> None:
    """Options of `occnet import`."""
    parser.add_argument(
        "folder", type=Path, help="<category>/<id>/points.npz (ONet) or <category>_<id>.h5, with .lst files"
    )
    out_option(parser, "folder for the shards and shapes.csv")


def import_(args: argparse.Namespace, config: Config) -> None:
    """`occnet import`."""
    from occnet_lib.interop.conversion import import_packs

    good, total = import_packs(
        args.folder, args.out, config, lambda shards: progress(shards, "importing shards")
    )
    say(f"{args.out}: {good} of {total} shapes")


def import_shard(args: argparse.Namespace, config: Config) -> str:
    """Pack the shapes of a shard of a dataset that holds points and pictures already."""
    from occnet_lib.interop.conversion import import_shard as write
    from occnet_lib.interop.conversion import log_warnings
    from occnet_lib.storage.dataset.catalogue import read_table
    from occnet_lib.storage.tables import write_rows

    keys = [key for key in read_table(args.table) if key.shard == args.shard]
    rows = write(Path(config.dataset_root), keys, args.pack)
    write_rows(args.out, rows)
    log_warnings(rows)
    good = sum(row["status"] != "failed" for row in rows)
    return f"import: {args.shard}: {good} of {len(rows)} shapes"


def _layout_name(name: str) -> str:
    if new := {"seed": "noisypixel"}.get(name):
        raise argparse.ArgumentTypeError(f"layout {name!r} is now called {new!r}")
    return name


def export_options(parser: argparse.ArgumentParser) -> None:
    """Options of `occnet export`."""
    parser.add_argument("packs", type=Path, nargs="+", help="pack shards: all of the dataset")
    parser.add_argument(
        "--format",
        "--layout",
        dest="layout",
        type=_layout_name,
        choices=("onet", "noisypixel", *_VECSET),
        default="onet",
        help="noisypixel: files <category>_<id>.h5; the others are training codes for vector-set models",
    )
    parser.add_argument(
        "--edge",
        type=float,
        help="longest edge of a shape in the files of vector-set models (each has its own)",
    )
    parser.add_argument("--up", choices=("y", "z"), default="y", help="up axis of these files")
    out_option(parser, "folder to write")


def export(args: argparse.Namespace, config: Config) -> None:
    """`occnet export`."""
    from occnet_lib.interop.conversion import export_packs

    if folders := [path for path in args.packs if path.is_dir()]:
        raise OccnetError("is a folder", path=folders[0], hint=f"give its shards: {folders[0]}/*.h5")
    watch = partial(progress, title="exporting shards")
    if args.layout in _VECSET:
        from occnet_lib.interop.vecset import export_samples

        count = export_samples(args.packs, args.out, args.layout, args.edge, args.up, watch)
    elif args.edge is not None or args.up != "y":
        raise OccnetError(
            "--edge and --up belong to the formats of vector-set models", hint=", ".join(_VECSET)
        )
    else:
        count = export_packs(args.packs, args.out, args.layout, watch)
    say(f"{args.out}: {count} shapes")


def weights_options(parser: argparse.ArgumentParser) -> None:
    """Options of `occnet weights`."""
    parser.add_argument("file", type=Path, help="ONet's model.pt, or best.ckpt of a training run")
    out_option(parser, "file to write: the other of the two")


def weights(args: argparse.Namespace, config: Config) -> None:
    """`occnet weights`."""
    from occnet_lib.networks.onet_weights import convert

    kind = convert(args.file, args.out)
    say(f"{args.out}: {'a network of occnet' if kind == 'ours' else 'a checkpoint of ONet'}")
