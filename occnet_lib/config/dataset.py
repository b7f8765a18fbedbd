"""Sections `dataset` and `demo`: which shapes there are."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from .base import Count, Fraction, Natural, Section, UserPath


class SplitConfig(Section):
    """Fractions of the shapes for validation and test; the rest is for training."""

    val: Fraction = Field(0.1, description="fraction of the shapes for validation")
    test: Fraction = Field(0.2, description="fraction of the shapes for testing")

    @model_validator(mode="after")
    def _leave_some_for_training(self) -> SplitConfig:
        if self.val + self.test >= 1.0:
            raise ValueError("val + test must be below 1, to leave shapes for training")
        return self


class DatasetConfig(Section):
    """The folder of raw meshes and its division into categories, splits and shards."""

    root: UserPath = Field(
        "demo", description="folder of raw meshes, or `demo` for the bundled generator's shapes"
    )
    table: UserPath = Field(
        "",
        description="CSV file of the shapes to use, with columns id and category, split or both; path, or name in `root`",
    )
    categories: list[str] = Field([], description="categories (folder names) to use; empty: all")
    limit: Natural = Field(0, description="maximum number of shapes per category; 0: all")
    up: Literal["x", "y", "z"] = Field(
        "y",
        description="up axis of files that do not define one (COLLADA and 3MF do); turned to +y on loading",
    )
    split: SplitConfig = Field(
        SplitConfig(),
        description="used where no table, list or folder defines splits; `val` also where these define no validation split",
    )
    shard_size: Count = Field(64, description="approximate number of shapes per job and pack file")


class DemoConfig(Section):
    """The bundled generator of ShapeNet-like meshes."""

    categories: list[str] = Field(
        ["airplane", "car", "chair", "lamp", "table"], description="categories to generate"
    )
    shapes_per_category: Count = Field(40, description="number of shapes per category")
