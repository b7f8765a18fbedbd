"""Where the workflow's jobs find their files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from occnet_lib.config import Config
from occnet_lib.types import ShapeKey


def catalogue_path(config: Config) -> Path:
    """The table of all shapes."""
    return Path(config.results) / "catalogue" / "shapes.csv"


def catalogue_of(path: Path) -> list[ShapeKey]:
    """The shapes of a table."""
    from occnet_lib.storage.dataset.catalogue import read_table

    return read_table(path)


def packs(config: Config, *splits: str, whole: bool = True) -> list[Path]:
    """The pack files of splits, or of all; mended where they are damaged."""
    from occnet_lib.stages.repair_packs import verified_packs

    return verified_packs(config, catalogue_of(catalogue_path(config)), splits, whole)


def sound(config: Config, pack: Path) -> Path:
    """A pack file, repaired where it is corrupt."""
    from occnet_lib.stages.repair_packs import verified_pack

    return verified_pack(config, pack, lambda: catalogue_of(catalogue_path(config)))


def reconstructed(folder: Path) -> str:
    """`3 ok, 0 warn, 0 failed` of a folder of meshes."""
    from occnet_lib.storage.reconstructions import read_status

    return counted([row["status"] for row in read_status(folder).values()])


def counted(statuses: list[str]) -> str:
    """`3 ok, 0 warn, 0 failed` of statuses."""
    counts = Counter(statuses)
    return ", ".join(f"{counts[status]} {status}" for status in ("ok", "warn", "failed"))
