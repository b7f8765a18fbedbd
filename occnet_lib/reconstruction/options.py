"""Options of one reconstruction over the configuration."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from occnet_lib import config as configuration
from occnet_lib.config import Config, ReconstructConfig, Refinement

from .refinement import no_graph_network

logger = logging.getLogger(__name__)


def overridden(
    config: Config,
    resolution: int | None = None,
    threshold: float | None = None,
    simplify: float | None = None,
    refine: int | None = None,
    refinement: Refinement | None = None,
    fit: int | None = None,
) -> Config:
    """The configuration with these options in section `reconstruct`; None: as configured.

    Args:
        config: the configuration.
        resolution: cells along the edge; halved to a first grid of at least `reconstruct.resolution0` cells.
        threshold: occupancy probability of the surface.
        simplify: number of faces; below 1 the maximum error as a fraction of the cube's edge; 0: no simplification.
        refine: steps of gradient refinement.
        refinement: which refinement.
        fit: steps of the fit to the image's silhouette.

    Raises:
        ConfigError: an option is out of range.
    """
    given = {"threshold": threshold, "refine_steps": refine, "refinement": refinement, "fit": fit}
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if simplify is not None:
        key = "error" if 0 < simplify < 1 else "faces"
        changes["simplify"] = {"faces": None, "error": None} | {key: simplify or None}
    if resolution is not None:
        cells, steps = resolution, 0
        while cells > 1 and cells % 2 == 0 and cells // 2 >= config.reconstruct.resolution0:
            cells, steps = cells // 2, steps + 1
        changes |= {"resolution0": cells, "upsampling_steps": steps}
    result = configuration.check(configuration.merge(config.model_dump(), {"reconstruct": changes}))
    chosen = result.reconstruct.refinement
    if refine and chosen not in ("gradient", "both"):
        text = "%d steps of gradient refinement have no effect: reconstruct.refinement is %s"
        logger.warning(text, refine, chosen)
    return result


def check_graph(graph: str | Path | None, config: ReconstructConfig) -> None:
    """Warn if the file of a graph network is given and the refinement uses none.

    Raises:
        ConfigError: it is not given, and the refinement needs one.
    """
    if graph is None and config.refinement in ("graph", "both"):
        raise no_graph_network(config.refinement)
    if graph is not None and config.refinement not in ("graph", "both"):
        text = "%s has no effect: reconstruct.refinement is %s; choose graph or both"
        logger.warning(text, graph, config.refinement)
