"""The jobs of the workflow: `occnet job <name>`, one function a rule, each a thin call of the library.

Every function takes the parsed arguments and the resolved configuration and returns one line for the terminal.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

from occnet_lib.config import Config
from occnet_lib.errors import DataError, OccnetError
from occnet_lib.logs import say
from occnet_lib.storage.atomic import replacing
from occnet_lib.types import ShapeKey

from . import interop, jobs_results
from .inputs import catalogue_of, catalogue_path, counted, packs

logger = logging.getLogger(__name__)

Job = Callable[[argparse.Namespace, Config], str]


def demo(args: argparse.Namespace, config: Config) -> str:
    """Make the bundled shapes."""
    from occnet_lib.demo import write

    root = args.out.parent
    write(root, config.demo, config.seed)
    with replacing(args.out) as temporary:
        temporary.write_text(config.demo.model_dump_json())
    return (
        f"demo: {config.demo.shapes_per_category} shapes of each of {len(config.demo.categories)} categories"
    )


def catalogue(args: argparse.Namespace, config: Config) -> str:
    """List the shapes."""
    from occnet_lib.interop.conversion import shapes_of
    from occnet_lib.storage.dataset.catalogue import write_table
    from occnet_lib.storage.dataset.state import write_state

    keys = shapes_of(config, config.dataset_root)
    read, changed = write_state(config, keys, args.state)
    write_table(args.out, keys)
    splits = Counter(key.split for key in keys)
    counts = ", ".join(f"{splits[split]} {split}" for split in ("train", "val", "test"))
    dates = f"; {changed} of {read} shapes with other dates have changed" if read else ""
    return (
        f"catalogue: {len(keys)} shapes ({counts}) of {len({key.category for key in keys})} categories{dates}"
    )


def shape(args: argparse.Namespace, config: Config) -> str:
    """Treat one shape, whatever is there of it."""
    key = _named(args.table, args.shape)[0]
    row = _again([key], config, args.out.parents[1])[0]
    return f"shape: {key.name} {row['status']} {row['reason']}".rstrip()


def shard(args: argparse.Namespace, config: Config) -> str:
    """Treat the shapes of a shard that are not yet treated."""
    from occnet_lib.progress import tally, tally_path
    from occnet_lib.stages.workers import run_shard

    keys = [key for key in catalogue_of(args.table) if key.shard == args.shard]
    listener = tally(tally_path(config.results, args.shard))
    rows = run_shard(keys, config, config.dataset_root, args.shapes, args.out, args.workers, listener)
    return f"preprocess: {args.shard}: {counted([row['status'] for row in rows])}"


def table(args: argparse.Namespace, config: Config) -> str:
    """Join the tables of the shards."""
    from occnet_lib.storage.tables import read_rows, write_rows

    shards = sorted({key.shard for key in catalogue_of(catalogue_path(config))})
    rows = [row for name in shards for row in read_rows(args.out.parent / "shards" / f"{name}.csv")]
    write_rows(args.out, rows)
    failed = [row for row in rows if row["status"] == "failed"]
    for row in failed[:20]:
        say(f"  failed {row['category']}/{row['id']}: {row['reason']}")
    if len(failed) > 20:
        say(f"  … and {len(failed) - 20} more in {args.out}")
    seconds = sum(float(row.get("seconds") or 0) for row in rows)
    counts = counted([row["status"] for row in rows])
    return f"preprocess: {counts}; {seconds:.0f} CPU seconds of stages; see {args.out}"


def accept(args: argparse.Namespace, config: Config) -> str:
    """Stop before training when too many shapes failed."""
    from occnet_lib.storage.tables import read_rows

    rows = read_rows(args.table)
    failed = sum(row["status"] == "failed" for row in rows)
    share, limit = failed / max(len(rows), 1), config.preprocess.max_failed
    if share > limit or failed == len(rows):
        reasons = Counter(row["reason"] for row in rows if row["status"] == "failed").most_common(5)
        listed = "; ".join(f"{count} × {reason}" for reason, count in reasons)
        raise DataError(
            f"{failed} of {len(rows)} shapes failed, more than preprocess.max_failed={limit:g} allows: {listed}",
            path=args.table,
            hint="mend them and `snakemake --cores 1 rerun --config shape=failed`, or raise preprocess.max_failed",
        )
    with replacing(args.out) as temporary:
        temporary.write_text(json.dumps({"shapes": len(rows), "failed": failed, "max_failed": limit}))
    return f"preprocess: accepted, {failed} of {len(rows)} shapes failed"


def rerun(args: argparse.Namespace, config: Config) -> str:
    """Treat one shape, or all failed ones, again."""
    from occnet_lib.interop.conversion import foreign_layout
    from occnet_lib.storage.shape_file import path_of, read_status

    if foreign_layout(config.dataset_root):
        hint = "mend its files; `snakemake preprocess` takes them up"
        raise OccnetError("holds shapes that are imported, not made", path=config.dataset_root, hint=hint)
    if not args.shape:
        raise OccnetError("which shape? add --config shape=<id>, shape=<category>/<id> or shape=failed")
    if args.shape == "failed":
        files = {key: path_of(args.shapes, key) for key in catalogue_of(args.table)}
        made = [key for key, file in files.items() if file.exists()]
        chosen = [key for key in made if read_status(files[key], whole=False).status == "failed"]
    else:
        chosen = _named(args.table, args.shape)
    rows = _again(chosen, config, args.shapes)
    for row in rows:
        say(f"  {row['status']} {row['category']}/{row['id']} {row['reason']}".rstrip())
    return f"rerun: {counted([row['status'] for row in rows])}; `snakemake preprocess` takes them up"


def pack(args: argparse.Namespace, config: Config) -> str:
    """Pack the usable shapes of a shard into one file."""
    from occnet_lib.stages.repair_packs import delete_packed_shapes, pack_with_repair

    name = args.out.stem
    keys = [key for key in catalogue_of(catalogue_path(config)) if key.shard == name]
    count = pack_with_repair(name, keys, config, args.shapes, args.out)
    if not config.preprocess.keep_shapes:
        delete_packed_shapes(keys, args.shapes)
    return f"pack: {name}: {count} of {len(keys)} shapes"


def train(args: argparse.Namespace, config: Config) -> str:
    """Train one model."""
    import torch

    from occnet_lib.training.train import train as train_model

    torch.set_num_threads(args.threads)
    train_model(config, args.model, packs(config, "train"), packs(config, "val"), args.out.parent)
    return f"train: {args.model}: {args.out}"


JOBS: dict[str, tuple[Job, tuple[str, ...]]] = {
    "demo": (demo, ("out",)),
    "catalogue": (catalogue, ("state", "out")),
    "shape": (shape, ("table", "shape", "out")),
    "shard": (shard, ("table", "shard", "workers", "shapes", "out")),
    "import": (interop.import_shard, ("table", "shard", "pack", "out")),
    "table": (table, ("out",)),
    "accept": (accept, ("table", "out")),
    "rerun": (rerun, ("table", "shapes", "shape")),
    "pack": (pack, ("table", "shapes", "out")),
    "train": (train, ("model", "threads", "out")),
    "reconstruct": (jobs_results.reconstruct, ("checkpoint", "pack", "out")),
    "index_pictures": (jobs_results.index_pictures, ("out",)),
    "index_codes": (jobs_results.index_codes, ("checkpoint", "out")),
    "clusters": (jobs_results.clusters, ("out",)),
    "baseline": (jobs_results.baseline, ("kind", "pack", "out")),
    "evaluate": (jobs_results.evaluate, ("model", "meshes", "pack", "out")),
    "evaluate_views": (jobs_results.evaluate_views, ("checkpoint", "model", "pack", "out")),
    "photograph": (jobs_results.photograph, ("pack", "out")),
    "evaluate_photos": (jobs_results.evaluate_photos, ("checkpoint", "model", "photos", "pack", "out")),
    "summarise": (jobs_results.summarise, ("out",)),
    "statistics": (jobs_results.statistics, ("out",)),
    "projections": (jobs_results.projections, ("out",)),
    "embedding": (jobs_results.embedding, ("checkpoint", "out")),
    "report": (jobs_results.report, ("out",)),
}
_PATHS = ("out", "table", "shapes", "pack", "checkpoint", "meshes", "photos")


def add_parsers(parser: argparse.ArgumentParser) -> None:
    """Add a subcommand for every job."""
    jobs = parser.add_subparsers(dest="job", required=True, metavar="JOB")
    for name, (function, options) in JOBS.items():
        job = jobs.add_parser(name, help=function.__doc__, description=function.__doc__)
        job.add_argument("--config", type=Path, required=True)
        job.add_argument("--log", type=Path)
        for option in options:
            kind = Path if option in _PATHS else int if option in ("threads", "workers") else str
            job.add_argument(f"--{option}", type=kind, required=True)


def run(args: argparse.Namespace, config: Config) -> None:
    """Carry out the job that the arguments name and say what came of it."""
    from occnet_lib.storage.locks import job_lock

    lock = args.log.with_name(f".{args.log.stem}.lock") if args.log else None
    with job_lock(lock) if lock else nullcontext():
        say(JOBS[args.job][0](args, config))


def _again(keys: list[ShapeKey], config: Config, shapes: Path) -> list[dict[str, Any]]:
    """Treat shapes whatever is there of them, in a process whose crash or time limit becomes their record."""
    from occnet_lib.stages.process_shape import process
    from occnet_lib.stages.workers import process_shapes

    return process_shapes(keys, config, config.dataset_root, shapes, process=partial(process, force=True))


def _as_snakemake_reads(id: str) -> str:
    """What comes of `--config shape=<id>`: Snakemake takes whatever Python reads as a number for one (00012, 1e5)."""
    for number in (int, float):
        with suppress(ValueError):
            return str(number(id))
    return id


def _named(path: Path, name: str) -> list[ShapeKey]:
    keys = catalogue_of(path)
    found = [key for key in keys if name in (key.id, key.name, _as_snakemake_reads(key.id))]
    if len({key.id for key in found}) > 1:
        names = ", ".join(f"shape={key.name}" for key in found)
        raise OccnetError(f"{name!r} may mean several shapes", hint=f"write one of {names}")
    if not found:
        import difflib

        close = difflib.get_close_matches(name, [key.name for key in keys] + [key.id for key in keys], n=1)
        raise OccnetError(f"no shape {name!r} in {path}", hint=f"did you mean {close[0]}?" if close else "")
    return found
