"""The typed configuration; `config.yaml` and its JSON schema are generated from it."""

from __future__ import annotations

from .base import Section
from .dataset import Dataset, Demo, Split
from .io import check, digest, generated, json_schema, load, merge, to_markdown, to_yaml
from .learning import Images, Model, Train
from .preprocess import Audit, Everyday, Points, Preprocess, Views, Watertight
from .results import Analyse, Evaluate, Reconstruct, Report
from .root import Config
from .samples import Samples

__all__ = [
    "Analyse",
    "Audit",
    "Config",
    "Dataset",
    "Demo",
    "Evaluate",
    "Everyday",
    "Images",
    "Model",
    "Points",
    "Preprocess",
    "Reconstruct",
    "Report",
    "Samples",
    "Section",
    "Split",
    "Train",
    "Views",
    "Watertight",
    "check",
    "digest",
    "generated",
    "json_schema",
    "load",
    "merge",
    "to_markdown",
    "to_yaml",
]
