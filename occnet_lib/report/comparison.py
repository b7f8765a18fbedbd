"""One page that compares the meshes of one or several systems with the ground truth (`occnet evaluate … -o`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from occnet_lib import __version__
from occnet_lib.storage.atomic import write_text
from occnet_lib.storage.examples import evenly
from occnet_lib.storage.tables import shape_name
from occnet_lib.types import Mesh

from .cards import GROUND_TRUTH_COLOR, neutral_camera, of_model, row_of_views, turnable
from .coloring import MESH_MODES, error_scale, switch
from .differences import with_interval
from .document import document
from .html import Html, cell, join, paragraph, table, tag, word
from .measures import F_SCORE, IOU, NORMALS, TIMES_TEN, Metric, best_of, scaled
from .results import number, shown
from .shapes import table_of_shapes

_METRICS = (
    IOU,
    Metric("chamfer_l1", "Chamfer-L1 ↓", 1.0, 4, False),
    TIMES_TEN,
    Metric("chamfer_l2", "Chamfer-L2 ↓", 1.0, 5, False),
    NORMALS,
    F_SCORE,
    Metric("f_score_2", "F-score at 2 % ↑"),
)
_OF_CATEGORIES = (IOU, TIMES_TEN, F_SCORE)
_MOST_EXAMPLES = 24  # rows of the page, whatever the number of categories
_MOST_FAILURES = 200
MEAN = "mean"


class System(NamedTuple):
    """The measured meshes of one system.

    Attributes:
        name: of the system.
        rows: of summary.csv: means of categories, the last one over all.
        shapes: of shapes.csv.
    """

    name: str
    rows: Sequence[Mapping[str, Any]]
    shapes: Sequence[Mapping[str, Any]]


class Example(NamedTuple):
    """A shape that is shown: unit-frame meshes, those of the systems as they were measured; None: there is none."""

    name: str
    ground_truth: Mesh
    predictions: Sequence[Mesh | None]


def example_names(system: System, count: int) -> list[str]:
    """Names of shapes at even quantiles of each category's ranking by Chamfer-L1, the best first, `_MOST_EXAMPLES` at most.

    Args:
        system: gives the ranking.
        count: shapes of each category.
    """
    groups: dict[str, list[tuple[float, str]]] = {}
    for row in system.shapes:
        if (value := number(row, "chamfer_l1")) is not None:
            groups.setdefault(row["category"], []).append((value, shape_name(row)))
    chosen = []
    for _, ranked in sorted(groups.items()):
        chosen += evenly([name for _, name in sorted(ranked)], count)
    places = np.unique(np.linspace(0, len(chosen) - 1, min(_MOST_EXAMPLES, len(chosen))).astype(int))
    return [chosen[place] for place in places.tolist()]


def write_comparison(
    systems: Sequence[System], examples: Iterable[Example], facts: Mapping[str, str], out: Path
) -> None:
    """Write the page.

    Args:
        systems: one or more, measured in the same way against the same ground truth.
        examples: shapes to show, with as many predictions as systems.
        facts: how everything was measured, by name: alignment, settings, definitions.
        out: the HTML file.
    """
    names = ", ".join(system.name for system in systems)
    count = len({shape_name(row) for system in systems for row in system.shapes})
    title = "Comparison of systems" if len(systems) > 1 else f"Evaluation of {names}"
    header = [
        paragraph(f"{names} · {count:,} shapes", note=True),
        paragraph("Predictions were measured ", tag("b", facts["Alignment"]), ".", class_="lead"),
    ]
    method = table((), [[*map(word, fact)] for fact in facts.items()], sortable=False)
    sections = [
        ("results", "Results", _results(systems)),
        ("examples", "Examples", _examples(systems, examples)),
        ("shapes", "Shapes", _shapes(systems)),
        ("failures", "Failures", _failures(systems)),
        ("method", "How it was measured", method),
    ]
    text = document(title, header, sections, f"occnet {__version__}")
    write_text(out, text, errors="backslashreplace")


def _results(systems: Sequence[System]) -> Html:
    last = {system.name: system.rows[-1] for system in systems}
    best = [best_of([*last.values()], metric) if len(last) > 1 else None for metric in _METRICS]
    body = []
    for name, row in last.items():
        pairs = zip(_METRICS, best, strict=True)
        cells = [cell(with_interval(row, metric), strong=row is top) for metric, top in pairs]
        body.append((word(name), row["shapes"], row["failed"], row["open"], *cells))
    heads = ("System", "Shapes", "Failed", "Open", *(metric.title for metric in _METRICS))
    note = (
        "Mean of the means of categories, with 95 % bootstrap intervals over shapes. Failed: missing, unreadable or empty, "
        "which counts as the worst value of every metric. Open predictions have no IoU: it is the mean of the other shapes."
    )
    parts = [table(heads, body, note=note)]
    names = dict.fromkeys(row["category"] for system in systems for row in system.rows)
    if categories := [name for name in names if name != MEAN]:
        tables = [_of_categories(systems, categories, metric) for metric in _OF_CATEGORIES]
        parts += [tag("h3", "Means of categories"), tag("div", *tables, class_="tables")]
    return join(parts)


def _of_categories(systems: Sequence[System], categories: Sequence[str], metric: Metric) -> Html:
    rows = {(s.name, row["category"]): row for s in systems for row in s.rows}
    body = []
    for category in categories:
        own = [rows.get((system.name, category), {}) for system in systems]
        best = best_of(own, metric) if len(own) > 1 else None
        cells = [cell(shown(scaled(row, metric), metric.digits), strong=row is best) for row in own]
        body.append((word(category or "(none)"), *cells))
    return table(("Category", *(system.name for system in systems)), body, caption=metric.title)


def _examples(systems: Sequence[System], examples: Iterable[Example]) -> Html:
    camera = neutral_camera()
    rows = {(system.name, shape_name(row)): row for system in systems for row in system.shapes}
    note = (
        "The ground truth and every system's mesh as it was measured, that is after alignment. Shapes are at even steps of "
        f"the ranking by Chamfer-L1 of {systems[0].name}; numbers are IoU and Chamfer-L1 × 10. A mesh elsewhere is outside "
        "the image."
    )
    hint = (
        "The meshes of a row turn together: drag, or use the arrow keys; pinch or + and - zoom; 0 goes back."
    )
    parts = [
        paragraph(note, note=True),
        tag("p", hint, class_="note hint", hidden=""),
        switch(MESH_MODES, [error_scale()]),
    ]
    for example in examples:
        caption = join(["ground truth", example.name], "<br>")
        true = example.ground_truth
        cards = [turnable(true, camera, GROUND_TRUTH_COLOR, f"ground truth of {example.name}", caption)]
        for k, (system, mesh) in enumerate(zip(systems, example.predictions, strict=True)):
            row = rows.get((system.name, example.name), {})
            values = [shown(scaled(row, metric), 3) or "–" for metric in (IOU, TIMES_TEN)]
            said = join([system.name, " · ".join(values)], "<br>")
            why = row.get("reason") or "not measured"
            cards.append(of_model(k, system.name, example.name, mesh, why, camera, said, true))
        parts.append(row_of_views(cards, camera, f"meshes of {example.name}"))
    return join(parts)


def _shapes(systems: Sequence[System]) -> Html:
    rows = {(system.name, shape_name(row)): row for system in systems for row in system.shapes}
    names = {name: rows[system, name] for system, name in rows}
    return table_of_shapes(names, [system.name for system in systems], rows)


def _failures(systems: Sequence[System]) -> Html:
    body = [
        [*map(word, (system.name, shape_name(row), row["status"], row["reason"]))]
        for system in systems
        for row in system.shapes
        if row["status"] in ("failed", "excluded", "warn")
    ]
    if not body:
        return paragraph("No prediction is missing, broken or open, and every ground truth is closed.")
    note = "failed: counts as the worst; warn: measured, with a limitation; excluded: the ground truth cannot be used."
    heads = ("System", "Shape", "Status", "Reason")
    return join([paragraph(note, note=True), table(heads, body, most=(_MOST_FAILURES, "shapes.csv"))])
