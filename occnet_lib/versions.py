"""The version of each stage, which is raised when its results change for the same parameters.

Snakemake and the shape files compare versions: a raised version reruns the stage and all later stages.
"""

from __future__ import annotations

from types import MappingProxyType

VERSIONS = MappingProxyType(
    {
        "demo": 2,
        "watertight": 6,
        "points": 3,
        "views": 3,
        "samples": 1,
        "pack": 3,
        "import": 1,
        "train": 6,
        "reconstruct": 4,
        "refinement": 1,
        "evaluate": 3,
        "summarise": 2,
        "uncertainty": 1,
        "analyse": 1,
        "report": 5,
    }
)
