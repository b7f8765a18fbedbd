"""One log file per job; warnings on the terminal; uncaught exceptions in both."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Literal

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure(log: Path | None, verbose: bool = False) -> None:
    """Send messages of level INFO to the file `log` and warnings (with `verbose`, all) to standard error."""
    logging.captureWarnings(True)
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setLevel(logging.INFO if verbose else logging.WARNING)
    terminal.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    handlers: list[logging.Handler] = [terminal]
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(_log_file(log, "w"))
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it lists fonts at its first import
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _log_unraisable


def append_to_log(log: Path | None) -> None:
    """Continue the log of another process; without one, only warnings are shown, on the terminal."""
    if log is not None:
        logging.basicConfig(level=logging.INFO, handlers=[_log_file(log, "a")], force=True)


def log_path_for_rank(log: Path | None) -> Path | None:
    """The log of this process: Slurm starts several for one job, and all but the first have one of their own."""
    rank = os.environ.get("SLURM_PROCID", "0")
    return log if log is None or rank == "0" else log.with_suffix(f".{rank}{log.suffix}")


def echo(text: str) -> None:
    """Print a line of results to standard output."""
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")
    sys.stdout.flush()


class _LogFile(logging.FileHandler):
    """A log that loses lines on a full disk; the error of the job names the disk."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Continue without the line."""


def _log_file(path: Path, mode: Literal["w", "a"]) -> logging.Handler:
    file = _LogFile(path, mode=mode, encoding="utf-8", errors="backslashreplace")
    file.setFormatter(logging.Formatter(FORMAT))
    return file


def _log_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """HDF5 objects raise once more when they are freed after a full disk: into the log, not onto the terminal."""
    logging.getLogger(__name__).info("on freeing %r: %s", unraisable.object, unraisable.exc_value)
