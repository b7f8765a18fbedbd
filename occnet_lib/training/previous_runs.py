"""A finished run is never overwritten: a new run in its folder moves it aside first."""

from __future__ import annotations

import filecmp
import json
import logging
import shutil
from pathlib import Path
from typing import Any

from occnet_lib.errors import DataError
from occnet_lib.networks.checkpoint import read_plain, save_network
from occnet_lib.storage.tables import read_rows, write_rows

from .checkpoint_callback import CHECKPOINT_KEY
from .metrics_log import COLUMNS

logger = logging.getLogger(__name__)

# last.ckpt is moved last: while it exists, an interrupted move is still recognised as another run.
_FILES = ("tensorboard", "options.json", "metrics.csv", "best.calibration.json", "best.ckpt", "last.ckpt")


def move_aside(folder: Path, digest: str, steps: int) -> None:
    """Move a folder's run into its subfolder `kept-001` (or the next number) and log the path.

    Missing files are restored from its last.ckpt. Nothing is moved if the folder has no network, if the run was moved aside
    before, or if it is the starting run itself, interrupted before its first last.ckpt.

    Args:
        folder: of the run.
        digest, steps: of the starting run.
    """
    _restore(folder)
    there = [folder / name for name in _FILES if (folder / name).exists()]
    if not {"best.ckpt", "last.ckpt"} & {path.name for path in there}:
        return
    if _is_kept(folder) or _is_beginning_of(folder, digest, steps):
        return
    kept = _new_folder(folder)
    for path in there:
        path.rename(kept / path.name)
    logger.warning("the previous run of %s is kept in %s", folder, kept)


def copy_aside(folder: Path) -> None:
    """Copy a finished run before it is continued, which may replace its best network; its curves continue."""
    if _is_kept(folder):
        return
    kept = _new_folder(folder)
    for path in (folder / name for name in _FILES[1:]):
        if path.exists():
            shutil.copy2(path, kept / path.name)
    logger.warning("the run in %s is continued; its previous state is kept in %s", folder, kept)


def _new_folder(folder: Path) -> Path:
    number = max((int(path.name[5:]) for path in _kept(folder)), default=0) + 1
    kept = folder / f"kept-{number:03d}"
    kept.mkdir()
    return kept


def _kept(folder: Path) -> list[Path]:
    return [path for path in folder.glob("kept-*") if path.name[5:].isdigit()]


def _is_kept(folder: Path) -> bool:
    """Whether a kept run has the same network and the same state to resume from, if any."""
    return _same_in_a_kept(folder, [name for name in ("best.ckpt", "last.ckpt") if (folder / name).exists()])


def _same_in_a_kept(folder: Path, names: list[str]) -> bool:
    """Whether one kept run has identical copies of these files."""
    same = (filecmp.cmpfiles(folder, kept, names, shallow=False)[0] for kept in _kept(folder))
    return any(len(equal) == len(names) for equal in same)


def _is_beginning_of(folder: Path, digest: str, steps: int) -> bool:
    """Whether the files belong to a run with the same digest that was interrupted before its first last.ckpt."""
    if (folder / "last.ckpt").exists():
        return False
    try:
        done = max((int(row["step"]) for row in read_rows(folder / "metrics.csv")), default=0)
    except (OSError, ValueError, KeyError, DataError):
        return False
    return _digest_in(folder) == digest and done < steps


def _digest_in(folder: Path) -> str | None:
    """The digest in options.json."""
    try:
        return str(json.loads((folder / "options.json").read_text(encoding="utf-8"))["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _restore(folder: Path) -> None:
    """Restore best.ckpt and metrics.csv from last.ckpt where they are missing or belong to another run.

    Snakemake removes a rule's outputs, and after a failed run puts back those of the run before. That run was moved aside
    before, together with its options, so these copies are removed.
    """
    try:
        state: dict[str, Any] = read_plain(folder / "last.ckpt")["callbacks"][CHECKPOINT_KEY]
        rows, best, digest = state["rows"], state["best"], state["digest"]
    except (DataError, KeyError, TypeError):
        return
    if _digest_in(folder) not in (digest, None) and _same_in_a_kept(folder, ["best.ckpt"]):
        for name in ("best.ckpt", "metrics.csv", "options.json"):
            (folder / name).unlink(missing_ok=True)
    if not (folder / "metrics.csv").exists():
        write_rows(folder / "metrics.csv", rows, COLUMNS)
    if not (folder / "best.ckpt").exists() and best is not None:
        save_network(folder / "best.ckpt", best)
