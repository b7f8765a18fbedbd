"""Command-line arguments from a function's signature, so that a verb is one function for the shell and for rules.

A parameter is `name: Annotated[type, help, *details]`, where details are flags (`-o`), a metavar, or a function that
parses the text. Before `*` it is a positional argument, after it an option; `config` is filled by `main`.
"""

from __future__ import annotations

import argparse
import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from occnet_lib.config import Config
from occnet_lib.errors import OccnetError
from occnet_lib.types import ShapeKey

T = TypeVar("T")
Verb = Callable[..., str]

Mesh = Annotated[Path, "raw mesh (OBJ, OFF, PLY, STL, GLB, …)"]
Checkpoint = Annotated[Path, "best.ckpt of a training run"]
Graph = Annotated[Path | None, "graph.ckpt of train_refinement, for reconstruct.refinement graph and both"]
Pack = Annotated[Path, "pack shard"]
Out = Annotated[Path, "file or folder to write"]
Catalogue = Annotated[Path, "shapes.csv of the catalogue"]
Table = Annotated[
    Path | None,
    "shapes.csv of the workflow's catalogue: of a folder only its shards are used, and a damaged shard is packed again",
]


def count(text: str) -> int:
    """A whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def length(text: str) -> float:
    """A number above 0."""
    with suppress(ValueError):
        if 0.0 < float(text) < float("inf"):
            return float(text)
    raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")


def add_arguments(parser: argparse.ArgumentParser, verb: Verb) -> None:
    """Add the arguments of a verb to its parser."""
    hints = get_type_hints(verb, include_extras=True)
    for name, parameter in inspect.signature(verb).parameters.items():
        if name == "config":
            continue
        hint, text, *details = get_args(hints[name])
        flags = [detail for detail in details if isinstance(detail, str) and detail.startswith("-")]
        settings: dict[str, Any] = {"help": text, **_kind(hint)}
        settings |= {
            "type" if callable(detail) else "metavar": detail for detail in details if detail not in flags
        }
        if parameter.kind is parameter.KEYWORD_ONLY:
            short = ["-o"] if name == "out" else []
            flags = flags or [*short, f"--{name.replace('_', '-')}"]
            required = parameter.default is parameter.empty
            if settings.pop("nargs", None):  # an option is repeated instead
                settings["action"] = "append"
            settings |= {"dest": name, **({"required": True} if required else {"default": parameter.default})}
        parser.add_argument(*(flags or [name]), **settings)


def takes_configuration(verb: Verb) -> bool:
    """Whether a verb needs a configuration where the user gives none."""
    return NoneType not in get_args(get_type_hints(verb)["config"])


def _kind(hint: Any) -> dict[str, Any]:
    """What argparse needs to know of a type."""
    if hint is bool:
        return {"action": "store_true"}
    options = [option for option in get_args(hint) if option is not NoneType]
    if get_origin(hint) is Literal:
        return {"choices": options}
    if get_origin(hint) is list:
        return {"nargs": "+", "type": options[0]}
    return _kind(options[0]) if options else {"type": hint}


def progress_bar(items: Iterable[T], title: str) -> Iterator[T]:
    """Pass `items` on, with a bar on a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(list(items), title, console=console, transient=True, disable=not console.is_terminal)


def read_catalogue(table: Path) -> list[ShapeKey]:
    """The shapes of a catalogue's table."""
    from occnet_lib.storage.dataset.catalogue import read_table

    return read_table(table)


def shard_members(table: Path, shard: str) -> list[ShapeKey]:
    """The shapes of one shard."""
    return [key for key in read_catalogue(table) if key.shard == shard]


def pack_files(
    packs: Sequence[Path], config: Config, table: Path | None, splits: Sequence[str] = (), whole: bool = True
) -> list[Path]:
    """Pack shards, given as files or folders, after verification.

    Args:
        packs: files and folders.
        config: the whole configuration.
        table: catalogue of the workflow: of a folder its shards are used, and a damaged shard is packed again.
        splits: with `table`, only shards of these splits; empty: all.
        whole: verify every byte; otherwise only that a shard can be opened (with `table`).

    Raises:
        OccnetError: there are no shards; without `table`, a shard is damaged.
    """
    from occnet_lib.stages.repair_packs import repair_pack

    keys = read_catalogue(table) if table else []
    shapes = Path(config.results) / "preprocess" / "shapes"
    shards = sorted({key.shard for key in keys if not splits or key.split in splits})
    files: list[Path] = []
    for path in packs:
        inside = [path / f"{shard}.h5" for shard in shards] if table else sorted(path.glob("*.h5"))
        files += inside if path.is_dir() else [path]
    if not files and not table:
        raise OccnetError("holds no pack shards (*.h5)", path=packs[0])
    for file in files:
        if table:
            repair_pack(file, [key for key in keys if key.shard == file.stem], config, shapes, whole)
        else:
            _verify(file, file.stat().st_mtime_ns if file.exists() else 0)
    return files


@cache
def _verify(path: Path, mtime_ns: int) -> None:
    """Verify a pack shard once in a process."""
    from occnet_lib.storage.packs import verify

    verify(path)


def count_statuses(statuses: Iterable[str]) -> str:
    """`3 ok, 0 warn, 0 failed`."""
    counts = Counter(statuses)
    return ", ".join(f"{counts[status]} {status}" for status in ("ok", "warn", "failed"))


def use_one_gpu_per_job(config: Config) -> None:
    """Choose a GPU: several such jobs run at a time."""
    if config.reconstruct.accelerator != "cpu":
        from occnet_lib.networks import hardware

        hardware.pick_shared_gpu()
