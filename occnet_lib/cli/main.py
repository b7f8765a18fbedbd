"""`occnet <stage> …`: every stage alone on files; each subcommand is one call of the library."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from occnet_lib import __version__, logs
from occnet_lib.config import Config, load
from occnet_lib.errors import OccnetError

from . import jobs

logger = logging.getLogger(__name__)

DESCRIPTION = "Single-view 3D reconstruction with occupancy networks: every stage alone, on files."
EPILOG = "The whole path from a folder of meshes to a report is a Snakemake workflow: see README.md."


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="occnet", description=DESCRIPTION, epilog=EPILOG)
    top.add_argument("--version", action="version", version=f"occnet {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    from . import commands as library

    for name, command in library.COMMANDS.items():
        sub = commands.add_parser(name, help=command.help, description=command.help)
        sub.add_argument(
            "--config", type=Path, action="append", default=[], help="YAML over the defaults (repeatable)"
        )
        sub.add_argument("--log", type=Path, help="file for the log")
        sub.add_argument("-v", "--verbose", action="store_true", help="say more on the terminal")
        command.options(sub)
        sub.set_defaults(run=command.run)
    job = commands.add_parser("job", help="one job of the workflow (called by Snakemake)")
    jobs.add_parsers(job)
    job.set_defaults(run=jobs.run, verbose=False)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 for success, 1 for a fault that one line explains, 2 for a wrong command line."""
    args = _with_home(parser().parse_args(argv))
    args.log = logs.of_task(args.log)
    logs.configure(args.log, args.verbose or args.command == "train")  # which takes hours
    try:
        paths = args.config if isinstance(args.config, list) else [args.config]
        args.run(args, load(*paths) if paths else Config())
    except OccnetError as error:
        logger.debug("", exc_info=error)
        return _fail(args, str(error))
    except KeyboardInterrupt:
        return _fail(args, "interrupted")
    except BrokenPipeError:
        return 1
    except (FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        logger.debug("", exc_info=error)
        return _fail(args, f"{error.filename}: {(error.strerror or 'cannot be written').lower()}")
    except Exception as error:
        # Not the user's fault: the whole story, in the log if there is one.
        if args.log is None:
            raise
        logging.getLogger().handlers[-1].handle(_record(error))
        return _fail(args, f"{type(error).__name__}: {error} (a bug; the log {args.log} tells more)")
    return 0


def _with_home(args: argparse.Namespace) -> argparse.Namespace:
    """`~` in paths, which a shell leaves to the program in `--out=~/mesh.ply`."""

    def expanded(value: object) -> object:
        if isinstance(value, list):
            return [expanded(item) for item in value]
        return Path(os.path.expanduser(value)) if isinstance(value, Path) else value

    return argparse.Namespace(**{name: expanded(value) for name, value in vars(args).items()})


def _record(error: Exception) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__)
    return logging.LogRecord(__name__, logging.ERROR, __file__, 0, "uncaught exception", None, info)


def _fail(args: argparse.Namespace, text: str) -> int:
    sys.stderr.write(f"occnet: {text}\n")
    if args.log is not None:
        with (
            suppress(OSError),
            args.log.open("a", encoding="utf-8", errors="replace") as file,
        ):  # the disk may be full
            file.write(f"occnet: {text}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
