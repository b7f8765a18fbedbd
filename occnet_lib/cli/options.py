"""Arguments and progress bars that commands have in common."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def out_option(parser: argparse.ArgumentParser, text: str) -> None:
    """Add `--out`, which every command that writes needs."""
    parser.add_argument("-o", "--out", type=Path, required=True, help=text)


def progress(items: Iterable[T], title: str) -> Iterator[T]:
    """Pass `items` on, with a bar on a terminal."""
    from rich.console import Console
    from rich.progress import track

    yield from track(list(items), title, console=Console(stderr=True), transient=True)
