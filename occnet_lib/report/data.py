"""What the data is like: statistics, projections, and what preprocessing did to every shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from occnet_lib.storage.tables import shape_name

from .columns import Reader, described, fixed, fraction
from .html import Html, figure, image_tag, join, paragraph, table, tag, word
from .results import Results, Row, label, number, percent, shown

_SHOWN_FAILURES = 100
_STATUSES = ("ok", "warn", "failed")
# Columns of preprocess/shapes.csv that say which shape and what became of it; the others are numbers.
_WORDS = frozenset({"category", "id", "path", "split", "shard", "status", "reason", "stage"})


def statistics(results: Results) -> Html:
    """The table of analyse/statistics.csv."""
    rows = results.rows("analyse/statistics.csv", "table of statistics")
    columns: dict[str, Reader] = {
        "Category": lambda row: word(results.category(row.get("category", ""))),
        "Split": lambda row: row.get("split"),
        "Shapes": fixed("shapes", 0),
        "Photos": fixed("images", 0),
        "Occupied, mean": fraction("occupied_mean", 1),
        "Occupied, SD": fraction("occupied_sd", 1),
        "Faces, mean": fixed("faces_mean", 0),
        "Extent x · y · z, mean": lambda row: " · ".join(
            shown(number(row, f"extent_{axis}"), 2) or "–" for axis in "xyz"
        ),
    }
    note = (
        "Occupied: fraction of the points, uniform in the padded unit cube, that lie inside. Extents: edges of "
        "the closed mesh's bounding box, where the longest edge of the raw mesh is 1."
    )
    return described(rows, columns, note=note)


def projections(results: Results) -> Html:
    """The figures of analyse/projections with their audits."""
    folder = results.path("analyse/projections", "figure of projected points")
    audits = {row.get("file"): row for row in results.rows_if_any("analyse/projections/projections.csv")}
    figures = []
    for path in sorted(folder.glob("*.png")):
        row = audits.get(path.name, {})
        inside, covered = number(row, "surface_inside"), number(row, "covered")
        said = f"{shape_name(row)}, view {row['view']}" if row else path.stem
        if inside is not None and covered is not None:
            said += f": {percent(inside, 1)} of the surface points on the silhouette, "
            said += f"{percent(covered, 1)} of it covered"
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
        if body := [line for name in names if (line := _spread(made, name))]:
            columns = ("", "Shapes", "Mean", "Median", "95th percentile", "Largest")
            parts.append(table(columns, body, title=title))
    warned = Counter(row.get("reason") or "no reason given" for row in rows if row.get("status") == "warn")
    if warned:
        common = [(word(reason), count) for reason, count in warned.most_common(10)]
        parts.append(table(("Reason", "Shapes"), common, title="Warnings"))
    return join(parts)


def failures(results: Results) -> Html:
    """Every failed shape with its reason and its log."""
    processed = [
        ("preprocess" + (f", {row['stage']}" if row.get("stage") else ""), "preprocess", row)
        for row in results.rows_if_any("preprocess/shapes.csv")
    ]
    measured = [
        (f"reconstruct, {label(row['model'])}", f"reconstruct/{row['model']}", row)
        for row in results.rows_if_any("evaluate/shapes.csv", all_seeds=True)
    ]
    failed = [failure for failure in (*processed, *measured) if failure[2].get("status") == "failed"]
    if not failed:
        return paragraph("No shape failed.")
    columns: dict[str, Callable[[tuple[str, str, Row]], Html]] = {
        "Where": lambda failure: word(failure[0]),
        "Shape": lambda failure: word(shape_name(failure[2])),
        "Reason": lambda failure: word(failure[2].get("reason") or "no reason given"),
        "Log": lambda failure: word(_log(results, *failure[1:])),
    }
    most = _SHOWN_FAILURES, "preprocess/shapes.csv and evaluate/shapes.csv"
    command = tag("code", "snakemake --cores 1 rerun --config shape=failed")
    return described(failed, columns, most=most, note=join(["Once repaired: ", command]))


def status_counts(rows: Sequence[Row]) -> str:
    """`38 ok, 1 warn, 1 failed`."""
    counts = Counter(row.get("status") for row in rows)
    return ", ".join(f"{counts[status]:,} {status}" for status in _STATUSES)


def _status_table(results: Results, rows: Sequence[Row]) -> Html:
    counts = Counter((row.get("category", ""), row.get("status")) for row in rows)
    categories = sorted({category for category, _ in counts})
    body = [
        (word(results.category(category)), *(counts[category, status] for status in _STATUSES))
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
    return (
        word(name.replace("_", " ")),
        f"{len(known):,}",
        *(_three_digits(float(value)) for value in spread),
    )


def _three_digits(value: float) -> str | None:
    """A number with three significant digits, or all before the decimal point."""
    if value == int(value):
        return shown(value, 0)
    return shown(value, min(max(2 - int(np.floor(np.log10(abs(value)))), 0), 9))


def _log(results: Results, folder: str, row: Row) -> str:
    shard = row.get("shard") or results.shard_of.get(shape_name(row), "")
    return f"{results.root.name}/logs/{folder}/{shard}.log" if shard else "–"
