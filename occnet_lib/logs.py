"""One log file a job, warnings on the terminal, uncaught exceptions in both."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

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
        file = _File(log, mode="w", encoding="utf-8", errors="backslashreplace")
        file.setFormatter(logging.Formatter(FORMAT))
        handlers.append(file)
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    logging.getLogger("matplotlib").setLevel(
        logging.WARNING
    )  # at its first import it reports the fonts it has
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _unraisable


def join(log: Path | None) -> None:
    """Add to a log that another process has begun (none: warnings alone are said, on the terminal)."""
    if log is not None:
        file = _File(log, mode="a", encoding="utf-8", errors="backslashreplace")
        file.setFormatter(logging.Formatter(FORMAT))
        logging.basicConfig(level=logging.INFO, handlers=[file], force=True)


def of_task(log: Path | None) -> Path | None:
    """The log of this process: of several that Slurm starts for one job, all but the first have one of their own."""
    rank = os.environ.get("SLURM_PROCID", "0")
    return log if log is None or rank == "0" else log.with_suffix(f".{rank}{log.suffix}")


class _File(logging.FileHandler):
    """A log on a full disk loses lines; what filled the disk is said on the terminal, once."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Go on without the line."""


def _unraisable(fault: sys.UnraisableHookArgs) -> None:
    """HDF5's objects complain each once more, on being freed, of a disk that was full: not on the terminal."""
    logging.getLogger(__name__).info("on freeing %r: %s", fault.object, fault.exc_value)


def say(text: str) -> None:
    """A line for the person at the terminal; results of a command go to standard output."""
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")
    sys.stdout.flush()
