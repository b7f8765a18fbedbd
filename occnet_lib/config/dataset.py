"""Sections that say which shapes there are: `dataset` and `demo`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from .base import Count, Natural, Section, Share, UserPath


class SplitConfig(Section):
    """Shares of the shapes that go to validation and test; the rest is for training."""

    val: Share = Field(0.1, description="share of shapes for validation")
    test: Share = Field(0.2, description="share of shapes for testing")

    @model_validator(mode="after")
    def _leave_some_for_training(self) -> SplitConfig:
        if self.val + self.test >= 1.0:
            raise ValueError("val + test must leave some shapes for training (be below 1)")
        return self


class DatasetConfig(Section):
    """The folder of raw meshes and how it is divided."""

    root: UserPath = Field(
        "demo", description="folder of raw meshes, or `demo` for the bundled generator's shapes"
    )
    table: UserPath = Field(
        "",
        description="CSV file with columns id and category, split or both, of the shapes to use; in `root` or a path",
    )
    categories: list[str] = Field([], description="categories (folder names) to use; empty: all")
    limit: Natural = Field(0, description="use at most this many shapes of each category; 0: all")
    up: Literal["x", "y", "z"] = Field(
        "y",
        description="up axis of files that do not state their own (COLLADA, 3MF do); turned to +y on loading",
    )
    split: SplitConfig = Field(
        SplitConfig(),
        description="where no table, list or folder gives splits; `val` also where these give none for validation",
    )
    shard_size: Count = Field(64, description="about this many shapes in one job and one pack file")


class DemoConfig(Section):
    """The bundled generator of ShapeNet-like meshes."""

    categories: list[str] = Field(
        ["airplane", "car", "chair", "lamp", "table"], description="which of the generator's categories"
    )
    shapes_per_category: Count = Field(40, description="how many shapes of each category")
