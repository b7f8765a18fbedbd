"""What the data is like: statistics, projections, and what preprocessing did to every shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from .html import Html, cell, figure, image_tag, join, paragraph, table, tag
from .results import Results, Row, label, number, shown

_SHOWN_FAILURES = 100
_STATUSES = ("ok", "warn", "failed")
# Columns of preprocess/shapes.csv that say which shape and what became of it; the others are numbers.
_WORDS = frozenset({"category", "id", "path", "split", "shard", "status", "reason", "stage"})


def statistics(results: Results) -> Html:
    """The table of analyse/statistics.csv."""
    rows = results.rows("analyse/statistics.csv", "table of statistics")
    columns: dict[str, Callable[[Row], str | None]] = {
        "Split": lambda row: row.get("split"),
        "Shapes": lambda row: shown(number(row, "shapes"), 0),
        "Photos": lambda row: shown(number(row, "images"), 0),
        "Occupied, mean": lambda row: _percent(number(row, "occupied_mean")),
        "Occupied, SD": lambda row: _percent(number(row, "occupied_sd")),
        "Faces, mean": lambda row: shown(number(row, "faces_mean"), 0),
        "Extent x · y · z, mean": lambda row: " · ".join(
            shown(number(row, f"extent_{axis}"), 2) or "–" for axis in "xyz"
        ),
    }
    body = [
        (
            cell(results.category(row.get("category", "")), left=True),
            *(read(row) for read in columns.values()),
        )
        for row in rows
    ]
    note = paragraph(
        "Occupied: fraction of the points, uniform in the padded unit cube, that lie inside. Extents: edges of "
        "the closed mesh's bounding box, where the longest edge of the raw mesh is 1.",
        note=True,
    )
    return join([table(("Category", *columns), body), note])


def projections(results: Results) -> Html:
    """The figures of analyse/projections with their audits."""
    folder = results.path("analyse/projections", "figure of projected points")
    audits = {row.get("file"): row for row in results.rows_if_any("analyse/projections/projections.csv")}
    figures = []
    for path in sorted(folder.glob("*.png")):
        row = audits.get(path.name, {})
        inside, covered = number(row, "surface_inside"), number(row, "covered")
        said = f"{row['category']}/{row['id']}, view {row['view']}" if row else path.stem
        if inside is not None and covered is not None:
            said += f": {_percent(inside)} of the surface points on the silhouette, "
            said += f"{_percent(covered)} of it covered"
        figures.append(figure(image_tag(path.read_bytes(), f"projected points, {said}"), said, "plot"))
    note = paragraph(
        "Stored points of a shape, brought through the stored cameras onto the photo; colour is depth, yellow the "
        "nearest. They cover the silhouette where photos, cameras and points belong together.",
        note=True,
    )
    return join([note, tag("div", *figures, class_="side broad")])


def preprocessing(results: Results) -> Html:
    """Status counts, CPU seconds, and the audits of all shapes."""
    rows = results.rows("preprocess/shapes.csv", "account of preprocessing")
    parts = [_status_table(results, rows)]
    made = [row for row in rows if row.get("status") != "failed"]
    numbers = [name for name in dict.fromkeys(key for row in rows for key in row) if name not in _WORDS]
    seconds = [name for name in numbers if "seconds" in name]
    audits = [name for name in numbers if name not in seconds]
    for names, title in ((seconds, "CPU seconds a shape"), (audits, "Audit of usable shapes")):
        body = [line for name in names if (line := _spread(made, name))]
        if body:
            columns = ("", "Shapes", "Mean", "Median", "95th percentile", "Largest")
            parts += [tag("h3", title), table(columns, body)]
    warned = Counter(row.get("reason") or "no reason given" for row in rows if row.get("status") == "warn")
    if warned:
        common = [(cell(reason, left=True), count) for reason, count in warned.most_common(10)]
        parts += [tag("h3", "Warnings"), table(("Reason", "Shapes"), common)]
    return join(parts)


def failures(results: Results) -> Html:
    """Every failed shape with its reason and its log."""
    body = [
        (
            cell("preprocess" + (f", {row['stage']}" if row.get("stage") else ""), left=True),
            cell(_name(row), left=True),
            cell(row.get("reason") or "no reason given", left=True),
            cell(_log(results, "preprocess", row), left=True),
        )
        for row in results.rows_if_any("preprocess/shapes.csv")
        if row.get("status") == "failed"
    ]
    body += [
        (
            cell(f"reconstruct, {label(row['model'])}", left=True),
            cell(_name(row), left=True),
            cell(row.get("reason") or "no reason given", left=True),
            cell(_log(results, f"reconstruct/{row['model']}", row), left=True),
        )
        for row in results.rows_if_any("evaluate/shapes.csv", all_seeds=True)
        if row.get("status") == "failed"
    ]
    if not body:
        return paragraph("No shape failed.")
    parts = [table(("Where", "Shape", "Reason", "Log"), body[:_SHOWN_FAILURES])]
    if len(body) > _SHOWN_FAILURES:
        rest = len(body) - _SHOWN_FAILURES
        parts.append(
            paragraph(f"… and {rest:,} more in preprocess/shapes.csv and evaluate/shapes.csv.", note=True)
        )
    parts.append(
        paragraph(
            "Once repaired: ", tag("code", "snakemake --cores 1 rerun --config shape=failed"), note=True
        )
    )
    return join(parts)


def status_counts(rows: Sequence[Row]) -> str:
    """`38 ok, 1 warn, 1 failed`."""
    counts = Counter(row.get("status") for row in rows)
    return ", ".join(f"{counts[status]:,} {status}" for status in _STATUSES)


def _status_table(results: Results, rows: Sequence[Row]) -> Html:
    counts = Counter((row.get("category", ""), row.get("status")) for row in rows)
    categories = sorted({category for category, _ in counts})
    body = [
        (cell(results.category(category), left=True), *(counts[category, status] for status in _STATUSES))
        for category in categories
    ]
    total = [sum(counts[category, status] for category in categories) for status in _STATUSES]
    return table(("Category", *_STATUSES), body, last=("all", *total))


def _spread(rows: Sequence[Row], name: str) -> tuple[Html | str | None, ...] | None:
    """Count, mean, median, 95th percentile and maximum of a column; true counts as 1, false as 0."""
    flags = {"true": 1.0, "false": 0.0}
    values = [flags.get((row.get(name) or "").lower(), number(row, name)) for row in rows]
    known = np.array([value for value in values if value is not None])
    if not len(known):
        return None
    spread = (known.mean(), np.median(known), np.quantile(known, 0.95), known.max())
    words = cell(name.replace("_", " "), left=True)
    return (words, f"{len(known):,}", *(_three_digits(float(value)) for value in spread))


def _three_digits(value: float) -> str | None:
    """A number with three significant digits, or all before the decimal point."""
    if value == int(value):
        return shown(value, 0)
    return shown(value, min(max(2 - int(np.floor(np.log10(abs(value)))), 0), 9))


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.1f} %"


def _name(row: Row) -> str:
    return f"{row.get('category')}/{row.get('id')}"


def _log(results: Results, folder: str, row: Row) -> str:
    shard = row.get("shard") or results.shard_of.get(_name(row), "")
    return f"{results.root.name}/logs/{folder}/{shard}.log" if shard else "–"
