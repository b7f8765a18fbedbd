"""The whole page: heading, run, and one section a subject, each of which may be missing."""

from __future__ import annotations

import csv
import logging
import platform
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from occnet_lib import __version__
from occnet_lib.config import Config, ReconstructConfig
from occnet_lib.errors import OccnetError
from occnet_lib.storage.atomic import write_text

from . import (
    cameras,
    data,
    differences,
    distributions,
    duplicates,
    examples,
    fields,
    metrics,
    refinement,
    shapes,
    training,
    uncertainty,
)
from .document import document
from .html import Html, join, paragraph, table, word
from .results import MissingResult, Results, number, shown

LOG = logging.getLogger(__name__)


def write_report(results: Path, config: Config, out: Path) -> None:
    """Write the report of a run: one HTML file that needs no other file and no network.

    Everything is read from result files; a part that is not there becomes a sentence in its section.

    Args:
        results: the results folder.
        config: the configuration that made it.
        out: the HTML file.

    Raises:
        DataError: the page cannot be written.
    """
    write_text(out, build(Results(Path(results), config)), errors="backslashreplace")


def build(results: Results) -> str:
    """The page as text."""
    title = results.config.report.title
    parts = [(slug, heading, _guarded(content, results)) for slug, heading, content in _SECTIONS]
    sections = [(slug, heading, content) for slug, heading, content in parts if content]
    header = [paragraph(_subtitle(results), note=True), _guarded(metrics.headline, results)]
    footer = f"occnet {__version__}, Python {platform.python_version()}. Made from {_dates(results)}."
    return document(title, header, sections, footer)


def _guarded(content: Callable[[Results], Html], results: Results) -> Html:
    """The one boundary at which a missing or broken result becomes a sentence of the page."""
    try:
        return content(results)
    except MissingResult as absent:
        return paragraph(absent.message)
    except OccnetError as error:
        LOG.warning("%s", error)
        return paragraph("This part could not be made: ", str(error))
    except (LookupError, ValueError, TypeError, OSError) as error:
        LOG.warning("%s: %r", getattr(content, "__name__", "section"), error, exc_info=True)
        return paragraph(f"This part could not be made of the files that are there: {error!r}")


def _subtitle(results: Results) -> str:
    what = "the bundled demo shapes" if results.config.is_demo else results.config.dataset.root
    return f"Single-view 3D reconstruction with occupancy networks · {what} · {', '.join(results.trained)}"


def _run(results: Results) -> Html:
    """The run at a glance and what its stages cost."""
    config, processed = results.config, results.rows_if_any("preprocess/shapes.csv")
    reconstruct = config.reconstruct
    facts = {
        "Dataset": "bundled demo generator" if config.is_demo else config.dataset.root,
        "Shapes": _shapes(results),
        "Preprocessing": data.status_counts(processed) if processed else None,
        "Models": ", ".join(results.trained),
        "Baselines": ", ".join(name.replace("_", " ") for name in config.evaluate.baselines) or "none",
        "Watertight method": f"{config.watertight.method}, {config.watertight.resolution}³ voxels",
        "Reconstruction": f"MISE at {reconstruct.resolution0 * 2**reconstruct.upsampling_steps}³ cells, "
        f"threshold {reconstruct.threshold}, {_refinement(reconstruct)}, "
        f"photo is view {reconstruct.view}",
        "Seed": config.seed,
        "Versions": _versions(results),
        "Data": _dates(results),
    }
    body = [(word(name), word(value)) for name, value in facts.items() if value is not None]
    return join([table((), body, sortable=False), _costs(results)])


def _refinement(reconstruct: ReconstructConfig) -> str:
    if reconstruct.refinement == "gradient":
        return f"{reconstruct.refine_steps} refinement steps"
    return f"refinement {reconstruct.refinement}"


def _shapes(results: Results) -> str | None:
    rows = results.rows_if_any("catalogue/shapes.csv")
    if not rows:
        return None
    splits = Counter(row.get("split") for row in rows)
    counts = ", ".join(f"{splits[split]:,} {split}" for split in ("train", "val", "test"))
    return f"{len(rows):,} of {len({row.get('category') for row in rows})} categories: {counts}"


def _versions(results: Results) -> str:
    """Of the libraries that trained, else of this program."""
    for model in results.trained:
        versions = results.json(f"train/{model}/options.json").get("versions")
        if isinstance(versions, dict):
            return ", ".join(f"{name} {value}" for name, value in versions.items())
    return f"occnet {__version__}"


_STAGES = (
    *("demo", "catalogue", "shapes", "preprocess", "import", "pack", "train"),
    *("index", "reconstruct", "evaluate", "analyse"),
)
"""Folders of benchmarks/ in the order of the data's path."""


def _costs(results: Results) -> Html:
    """Jobs, time and memory by stage, from the workflow's benchmark files."""
    jobs: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    folder = results.root / "benchmarks"
    for path in sorted(folder.rglob("*.tsv")):
        stage = path.relative_to(folder).parts[0].removesuffix(".tsv")
        for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines(), delimiter="\t"):
            wall, cpu, memory = (number(row, name) or 0.0 for name in ("s", "cpu_time", "max_rss"))
            jobs[stage].append((wall, cpu, memory))
    if not jobs:
        return paragraph("There are no times: this run has no benchmarks folder.", note=True)
    place = {stage: i for i, stage in enumerate(_STAGES)}
    body = []
    for stage in sorted(jobs, key=lambda stage: (place.get(stage, len(place)), stage)):
        walls, cpus, memories = zip(*jobs[stage], strict=True)
        numbers = (shown(value, 0) for value in (sum(cpus), sum(walls), max(memories)))
        body.append((word(stage), len(walls), *numbers))
    heads = ("Stage", "Jobs", "CPU seconds", "Wall seconds", "Largest memory, MB")
    return table(heads, body, title="What it cost")


def _dates(results: Results) -> str:
    """From when to when the result files are."""
    names = ("catalogue", "preprocess", "pack", "train/*", "evaluate", "analyse")
    times = [path.stat().st_mtime for name in names for path in results.root.glob(f"{name}/*.*")]
    if not times:
        return "no result files"
    first, last = (datetime.fromtimestamp(f(times), UTC).strftime("%Y-%m-%d %H:%M") for f in (min, max))
    return f"result files of {first} to {last} UTC" if first != last else f"result files of {first} UTC"


_SECTIONS: tuple[tuple[str, str, Callable[[Results], Html]], ...] = (
    ("results", "Results", metrics.section),
    ("gains", "What helps", differences.gains),
    ("examples", "Examples", examples.section),
    ("fields", "Queried points", fields.section),
    ("shapes", "Test shapes", shapes.section),
    ("cameras", "Cameras", cameras.section),
    ("uncertainty", "Uncertainty", uncertainty.section),
    ("training", "Training", training.section),
    ("refinement", "Refinement", refinement.section),
    ("embedding", "Image codes", training.embeddings),
    ("data", "Data", data.statistics),
    ("distributions", "Distributions", distributions.section),
    ("duplicates", "Near-duplicates", duplicates.section),
    ("projections", "Points on photos", data.projections),
    ("preprocessing", "Preprocessing", data.preprocessing),
    ("failures", "Failures", data.failures),
    ("run", "Run", _run),
)
