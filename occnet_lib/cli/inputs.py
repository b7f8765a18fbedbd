"""What verbs read: catalogues and pack shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from occnet_lib.config import Config
from occnet_lib.errors import OccnetError
from occnet_lib.types import ShapeKey


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
