"""Jobs of the workflow from raw meshes to the table of all shapes."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from occnet_lib.config import Config
from occnet_lib.errors import DataError, OccnetError
from occnet_lib.logs import echo
from occnet_lib.storage.atomic import write_text
from occnet_lib.storage.tables import read_rows, shape_name, write_rows
from occnet_lib.types import ShapeKey

from .arguments import Catalogue, Out, count_statuses, read_catalogue, shard_members


def shape(
    config: Config, *, shape: Annotated[str, "<category>/<id>, or <id>"], table: Catalogue, out: Out
) -> str:
    """Process one shape, whatever exists of it."""
    row = _reprocess(_named(table, shape)[:1], config, out.parents[1])[0]
    return f"shape: {shape_name(row)} {row['status']} {row['reason']}".rstrip()


def preprocess_shard(
    shard: Annotated[str, "name of the shard"],
    config: Config,
    *,
    table: Catalogue,
    workers: Annotated[int, "processes"],
    shapes: Annotated[Path, "folder of the shape files"],
    out: Out,
) -> str:
    """Process the shapes of one shard that are not up to date."""
    from occnet_lib.progress import tally, tally_path
    from occnet_lib.stages.workers import process_shapes

    listener = tally(tally_path(config.results, shard))
    keys = shard_members(table, shard)
    rows = process_shapes(keys, config, config.dataset_root, shapes, workers, listener, table=out)
    return f"preprocess: {shard}: {count_statuses(row['status'] for row in rows)}"


def preprocess_table(
    shards: Annotated[Path, "folder of the shards' tables"], config: Config, *, table: Catalogue, out: Out
) -> str:
    """Concatenate the tables of the shards."""
    names = sorted({key.shard for key in read_catalogue(table)})
    rows = [row for name in names for row in read_rows(shards / f"{name}.csv")]
    write_rows(out, rows)
    failed = [row for row in rows if row["status"] == "failed"]
    for row in failed[:20]:
        echo(f"  failed {shape_name(row)}: {row['reason']}")
    if len(failed) > 20:
        echo(f"  … and {len(failed) - 20} more in {out}")
    seconds = sum(float(row.get("seconds") or 0) for row in rows)
    return f"preprocess: {count_statuses(row['status'] for row in rows)}; {seconds:.0f} CPU seconds of stages; see {out}"


def check_failures(table: Annotated[Path, "table of all shapes"], config: Config, *, out: Out) -> str:
    """Stop before training when too many shapes failed."""
    rows = read_rows(table)
    failed, limit = [row for row in rows if row["status"] == "failed"], config.preprocess.max_failed
    if len(failed) / max(len(rows), 1) > limit or len(failed) == len(rows):
        reasons = Counter(row["reason"] for row in failed).most_common(5)
        listed = "; ".join(f"{count} × {reason}" for reason, count in reasons)
        raise DataError(
            f"{len(failed)} of {len(rows)} shapes failed, more than preprocess.max_failed={limit:g} allows: {listed}",
            path=table,
            hint="repair them and `snakemake --cores 1 rerun --config shape=failed`, or raise preprocess.max_failed",
        )
    write_text(out, json.dumps({"shapes": len(rows), "failed": len(failed), "max_failed": limit}))
    return f"preprocess: {len(failed)} of {len(rows)} shapes failed, at most {limit:.0%} may"


def rerun(
    config: Config,
    *,
    shape: Annotated[str, "<id>, <category>/<id> or failed"] = "",
    table: Catalogue,
    shapes: Annotated[Path, "folder of the shape files"],
) -> str:
    """Process one shape, or all failed ones, once more."""
    from occnet_lib.interop.conversion import packed_dataset_layout
    from occnet_lib.storage.shape_file import path_of, read_status

    if packed_dataset_layout(config.dataset_root):
        hint = "repair its files; `snakemake preprocess` imports them again"
        raise OccnetError("holds shapes that are imported, not made", path=config.dataset_root, hint=hint)
    if not shape:
        raise OccnetError("which shape? add --config shape=<id>, shape=<category>/<id> or shape=failed")
    if shape == "failed":
        files = {key: path_of(shapes, key) for key in read_catalogue(table)}
        made = [key for key, file in files.items() if file.exists()]
        keys = [key for key in made if read_status(files[key], whole=False).status == "failed"]
    else:
        keys = _named(table, shape)
    rows = _reprocess(keys, config, shapes)
    for row in rows:
        echo(f"  {row['status']} {shape_name(row)} {row['reason']}".rstrip())
    statuses = count_statuses(row["status"] for row in rows)
    return f"rerun: {statuses}; `snakemake preprocess` packs them"


def _reprocess(keys: list[ShapeKey], config: Config, shapes: Path) -> list[dict[str, Any]]:
    """Process shapes, whatever exists of them, in a process whose crash or time limit becomes their record."""
    from occnet_lib.stages.process_shape import process
    from occnet_lib.stages.workers import process_shapes

    return process_shapes(keys, config, config.dataset_root, shapes, process=partial(process, force=True))


def _as_snakemake_parses(id: str) -> str:
    """The value of `--config shape=<id>`: Snakemake parses whatever is a number in Python (00012, 1e5)."""
    for number in (int, float):
        with suppress(ValueError):
            return str(number(id))
    return id


def _named(table: Path, name: str) -> list[ShapeKey]:
    """The shapes of a name: those of one id, in any category."""
    keys = read_catalogue(table)
    matches = [key for key in keys if name in (key.id, key.name, _as_snakemake_parses(key.id))]
    if len({key.id for key in matches}) > 1:
        names = ", ".join(f"shape={key.name}" for key in matches)
        raise OccnetError(f"{name!r} may mean several shapes", hint=f"write one of {names}")
    if not matches:
        close = difflib.get_close_matches(name, [key.name for key in keys] + [key.id for key in keys], n=1)
        raise OccnetError(f"no shape {name!r} in {table}", hint=f"did you mean {close[0]}?" if close else "")
    return matches
