"""`occnet <verb> …`: parser, exit codes, and which verbs there are."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, TypeGuard

from occnet_lib import __version__, logs
from occnet_lib.config import Config, digest, load
from occnet_lib.errors import ConfigError, OccnetError
from occnet_lib.storage.atomic import is_read_only

from . import (
    analysis,
    datasets,
    evaluate,
    measure,
    models,
    preprocess,
    reconstruct,
    refinement,
    shapes,
    uncertainty,
)
from .arguments import Verb, add_arguments, takes_configuration

logger = logging.getLogger(__name__)

DESCRIPTION = "Single-view 3D reconstruction with occupancy networks: every stage alone, on files."
EPILOG = "The whole path from a folder of meshes to a report is a Snakemake workflow: see README.md."

VERBS: dict[str, Verb] = {
    "demo": datasets.demo,
    "catalogue": datasets.catalogue,
    "watertight": shapes.watertight,
    "points": shapes.points,
    "prepare": shapes.prepare,
    "views": shapes.views,
    "pack": datasets.pack,
    "train": models.train,
    "train_refinement": models.train_refinement,
    "reconstruct": reconstruct.reconstruct,
    "app": reconstruct.app,
    "evaluate": measure.evaluate,
    "calibrate": uncertainty.calibrate,
    "analyse": analysis.analyse,
    "report": analysis.report,
    "import": datasets.import_,
    "export": datasets.export,
    "weights": models.weights,
    "config": analysis.config,
}
# Rules of the workflow call these, and some of the above.
JOBS: dict[str, Verb] = {
    verb.__name__: verb
    for verb in (
        *(preprocess.shape, preprocess.preprocess_shard, preprocess.preprocess_table),
        *(preprocess.check_failures, preprocess.rerun, datasets.import_shard),
        *(models.reconstruct_shard, models.baseline_shard),
        *(models.index_images, models.index_codes, models.clusters),
        *(evaluate.evaluate_shard, evaluate.evaluate_views, evaluate.evaluate_tables),
        *(evaluate.evaluate_gains, evaluate.evaluate_cameras, evaluate.camera_table),
        *(evaluate.photograph_shard, evaluate.evaluate_photos, uncertainty.uncertainty_tables),
        *(analysis.statistics, analysis.projections, analysis.embedding),
        *(analysis.fields, analysis.duplicates, analysis.distributions),
        *(uncertainty.evaluate_next_view, uncertainty.next_view_table),
        *(refinement.evaluate_refinements, refinement.refinement_table),
    )
}


def parser(with_jobs: bool = True) -> argparse.ArgumentParser:
    """The command line; without the jobs of the workflow it is built in half the time."""
    top = argparse.ArgumentParser(prog="occnet", description=DESCRIPTION, epilog=EPILOG)
    top.add_argument("--version", action="version", version=f"occnet {__version__}")
    verbs = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, verb in VERBS.items():
        _add_verb(verbs, name, verb)
    job = verbs.add_parser("job", help="one job of the workflow (called by Snakemake)")
    job.add_argument("--digest", default="", help="of the text of the configuration file that the run wrote")
    jobs = job.add_subparsers(dest="job", required=True, metavar="JOB")
    for name, verb in (VERBS | JOBS).items() if with_jobs else ():
        _add_verb(jobs, name, verb, is_job=True)
    return top


def _add_verb(
    parsers: argparse._SubParsersAction[argparse.ArgumentParser], name: str, verb: Verb, is_job: bool = False
) -> None:
    text = (verb.__doc__ or "").partition("\n")[0].rstrip(".")
    text = text[:1].lower() + text[1:] if text.split()[0][1:].islower() else text
    parser = parsers.add_parser(name, help=text, description=text)
    settings: dict[str, Any] = {
        "default": [],
        "required": is_job,
        "help": "YAML over the defaults (repeatable)",
    }
    parser.add_argument("--config", type=Path, action="append", **settings)
    parser.add_argument("--log", type=Path, help="file for the log")
    parser.add_argument("-v", "--verbose", action="store_true", help="more messages on the terminal")
    add_arguments(parser, verb)
    parser.set_defaults(verb=verb)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; 0: success, 1: an error that one line explains, 2: a wrong command line."""
    argv = sys.argv[1:] if argv is None else argv
    args = _expand_home(parser("job" in argv[:1]).parse_args(argv))
    args.log = logs.log_path_for_rank(args.log)
    try:
        logs.configure(args.log, args.verbose or args.command == "train")  # which takes hours
    except OSError as error:
        return _fail(None, f"{args.log}: {(error.strerror or str(error)).lower()}")
    try:
        _call(args)
    except OccnetError as error:
        logger.debug("", exc_info=error)
        return _fail(args.log, str(error))
    except KeyboardInterrupt:
        return _fail(args.log, "interrupted")
    except BrokenPipeError:
        return 1
    except Exception as error:
        if _is_of_a_path(error):
            logger.debug("", exc_info=error)
            return _fail(args.log, f"{error.filename}: {(error.strerror or 'cannot be written').lower()}")
        # A bug: the traceback goes into the log if there is one.
        if args.log is None:
            raise
        logging.getLogger().handlers[-1].handle(_record(error))
        return _fail(args.log, f"{type(error).__name__}: {error} (a bug; the log {args.log} has more)")
    return 0


def _call(args: argparse.Namespace) -> None:
    """Call the verb with its arguments and print what it returns."""
    from occnet_lib.storage.locks import job_lock

    is_job = args.command == "job"
    if is_job and args.digest and [_digest_of(path) for path in args.config] != [args.digest]:
        hint = "start again; another run or an editor has changed or removed it"
        raise ConfigError(f"{args.config[0]} is not the configuration of this run", hint=hint)
    default = Config() if takes_configuration(args.verb) else None
    config = load(*args.config) if args.config else default
    common = ("command", "job", "digest", "config", "log", "verbose", "verb")
    arguments = {name: value for name, value in vars(args).items() if name not in common}
    lock = args.log.with_name(f".{args.log.stem}.lock") if is_job and args.log else None
    with job_lock(lock) if lock else nullcontext():
        if text := args.verb(config=config, **arguments):
            logs.echo(text)


def _digest_of(path: Path) -> str:
    """Digest of the text of a configuration file; of none where it was removed during the run."""
    return digest(path.read_text("utf-8")) if path.is_file() else ""


def _expand_home(args: argparse.Namespace) -> argparse.Namespace:
    """Expand `~` in paths, which a shell leaves to the program in `--out=~/mesh.ply`."""

    def expand(value: object) -> object:
        if isinstance(value, list):
            return [expand(item) for item in value]
        return Path(os.path.expanduser(value)) if isinstance(value, Path) else value

    return argparse.Namespace(**{name: expand(value) for name, value in vars(args).items()})


def _is_of_a_path(error: Exception) -> TypeGuard[OSError]:
    """Whether a path of the user's is in use for something else or cannot be written."""
    in_use = isinstance(error, FileExistsError | IsADirectoryError | NotADirectoryError)
    return in_use or is_read_only(error)


def _record(error: Exception) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__)
    return logging.LogRecord(__name__, logging.ERROR, __file__, 0, "uncaught exception", None, info)


def _fail(log: Path | None, text: str) -> int:
    sys.stderr.write(f"occnet: {text}\n")
    if log is not None:
        with suppress(OSError), log.open("a", encoding="utf-8", errors="replace") as file:
            file.write(f"occnet: {text}\n")  # unless the disk is full
    return 1
