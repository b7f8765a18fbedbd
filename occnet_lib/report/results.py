"""The result files of a run, read on demand."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from occnet_lib.config import Config
from occnet_lib.errors import DataError
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.tables import read_rows, shape_name
from occnet_lib.types import ShapeKey

from .html import Html, paragraph
from .published import NAMES

LOG = logging.getLogger(__name__)
Row = Mapping[str, str]
BASELINE = "baseline_"
ORACLE = "baseline_oracle"  # given the ground truth: not a competitor either
FLOOR = (
    "baseline_floor"  # the true meshes measured like predictions: the best that can be read, no competitor
)


class MissingResult(DataError):  # noqa: N818
    """A result that this run has not (yet); becomes a sentence of the page."""


@dataclass(frozen=True)
class Results:
    """The results folder and the configuration that made it."""

    root: Path
    config: Config

    def path(self, name: str, what: str) -> Path:
        """A file or folder of the results.

        Raises:
            MissingResult: the file is missing; `what` says what it would hold.
        """
        path = self.root / name
        if not path.exists():
            raise MissingResult(f"There is no {what}: this run has no {name}.")
        return path

    @cached_property
    def further_seeds(self) -> frozenset[str]:
        """Trainings that differ from a model in the seed alone: few sections have them."""
        return frozenset(self.config.models) - frozenset(self.config.distinct_models)

    def rows(self, name: str, what: str, all_seeds: bool = False) -> list[Row]:
        """The rows of a table that has some, without those of `further_seeds` unless `all_seeds`.

        Raises:
            MissingResult: the table is missing or has no rows.
            DataError: it cannot be read.
        """
        read: list[Row] = list(read_rows(self.path(name, what)))
        rows = read if all_seeds else self._first_seeds(read)
        if not rows:
            raise MissingResult(f"There is no {what}: {name} has no rows.")
        return rows

    def rows_if_any(self, name: str, all_seeds: bool = False) -> list[Row]:
        """The same; none where the table is missing or cannot be read."""
        if not (self.root / name).is_file():
            return []
        try:
            rows = read_rows(self.root / name)
        except DataError as error:
            LOG.warning("%s", error)
            return []
        return list(rows) if all_seeds else self._first_seeds(rows)

    def brief(self, rows: Sequence[Row]) -> list[Row]:
        """Rows of a table by class, of `further_seeds` only those over all classes."""
        return [
            row for row in rows if row["model"] not in self.further_seeds or row["category"] in ("", "mean")
        ]

    def _first_seeds(self, rows: Sequence[Row]) -> list[Row]:
        return [row for row in rows if row.get("model") not in self.further_seeds]

    def json(self, name: str) -> dict[str, Any]:
        """A JSON object; empty where it is missing or broken."""
        try:
            value = json.loads((self.root / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    @cached_property
    def shard_of(self) -> dict[str, str]:
        """Shard by shape name, from the catalogue."""
        rows = self.rows_if_any("catalogue/shapes.csv")
        return {shape_name(row): row.get("shard") or "" for row in rows}

    @cached_property
    def packed_test(self) -> dict[str, tuple[Shard, int, ShapeKey]]:
        """Test shapes by name: shard, index in it and key; shards that cannot be read are left out."""
        return self.packed("test")

    def packed(self, split: str) -> dict[str, tuple[Shard, int, ShapeKey]]:
        """The same of another split."""
        places = {}
        for path in sorted(self.root.glob(f"pack/{split}-*.h5")):
            shard = Shard(path)
            try:
                places.update({key.name: (shard, i, key) for i, key in enumerate(shard.keys)})
            except DataError:
                continue
        return places

    @cached_property
    def trained(self) -> list[str]:
        """Names of trained models: the configuration's order, then others that were evaluated."""
        evaluated = [row.get("model") or BASELINE for row in self.rows_if_any("evaluate/models.csv")]
        return list(
            dict.fromkeys([*self.config.distinct_models, *(m for m in evaluated if not is_baseline(m))])
        )

    @cached_property
    def reconstructed(self) -> list[str]:
        """Models and baselines, without the floor, that have a folder of meshes, in the page's order.

        Folders of what is neither configured nor evaluated are of an earlier configuration.
        """
        evaluated = [row.get("model") or FLOOR for row in self.rows_if_any("evaluate/models.csv")]
        known = {*self.config.distinct_models, *self.config.baseline_names, *evaluated} - {FLOOR}
        there = [{"model": name} for name in sorted(known) if (self.root / "reconstruct" / name).is_dir()]
        return [row["model"] for row in self.in_order(there)]

    @cached_property
    def shape_rows(self) -> dict[tuple[str, str], Row]:
        """Rows of evaluate/shapes.csv by model and shape name."""
        rows = self.rows_if_any("evaluate/shapes.csv")
        return {(row["model"], shape_name(row)): row for row in rows}

    @cached_property
    def differences(self) -> dict[tuple[str, str], Row]:
        """Rows of evaluate/differences.csv by model and other."""
        rows = self.rows_if_any("evaluate/differences.csv")
        return {(row.get("model") or "", row.get("other") or ""): row for row in rows}

    def category(self, folder: str) -> str:
        """How a category is called: a ShapeNet synset with its word, others as their folder."""
        return f"{NAMES[folder]} ({folder})" if folder in NAMES else folder

    def in_order(self, rows: Sequence[Row]) -> list[Row]:
        """Rows with a column `model`: trained models first, then baselines, the floor last."""
        place = {model: i for i, model in enumerate(self.trained)}
        return sorted(
            rows,
            key=lambda row: (
                is_baseline(row["model"]),
                row["model"] in (ORACLE, FLOOR),
                row["model"] == FLOOR,
                place.get(row["model"], len(place)),
            ),
        )


def if_there(part: Callable[[Results], Html], results: Results) -> Html:
    """A part of a section, or why it is missing, so that it does not take the others with it."""
    try:
        return part(results)
    except MissingResult as missing:
        return paragraph(missing.message)


def is_baseline(model: str) -> bool:
    """Whether the name is that of a baseline."""
    return model.startswith(BASELINE)


def label(model: str) -> str:
    """How a model is called on the page."""
    if model == FLOOR:
        return "floor: the true mesh"
    if not is_baseline(model):
        return model
    kind, _, encoder = model.removeprefix(BASELINE).partition("-")
    return f"baseline: {kind.replace('_', ' ')}" + (f" by {encoder}" if encoder else "")


def number(row: Row, name: str) -> float | None:
    """A number of a table; None where the cell is missing, empty or no finite number."""
    try:
        value = float(row[name])
    except (KeyError, TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def percent(fraction: float | None, digits: int = 0) -> str | None:
    """A fraction in percent."""
    return None if fraction is None else f"{100 * fraction:.{digits}f} %"


def shown(value: float | None, digits: int = 3) -> str | None:
    """A number with that many decimals; thousands are set apart."""
    return None if value is None else f"{value:,.{digits}f}"
