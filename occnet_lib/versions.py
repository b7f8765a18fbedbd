"""The version of each stage: raised when its results mean or hold something else for the same parameters.

Snakemake and the shape files compare them, so that a raised version redoes the stage and what follows it.
"""

from __future__ import annotations

from types import MappingProxyType

VERSIONS = MappingProxyType(
    {
        "demo": 2,
        "watertight": 4,
        "points": 3,
        "views": 3,
        "samples": 1,
        "pack": 3,
        "import": 1,
        "train": 6,
        "reconstruct": 4,
        "evaluate": 3,
        "summarise": 2,
        "analyse": 1,
        "report": 3,
    }
)
