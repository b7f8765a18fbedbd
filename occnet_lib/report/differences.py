"""How much the best model differs from each of the others on the same shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .html import Html, cell, join, table, tag, text, word
from .measures import IOU, MAIN, Metric, best_of, scaled
from .results import FLOOR, Results, Row, is_baseline, label, number, shown

_ENDS = ("_low", "_high")


def table_of_differences(results: Results, rows: Sequence[Row]) -> Html:
    """The best trained model less each of the others; empty where there is nothing to compare.

    Args:
        results: differences are read from it.
        rows: of evaluate/models.csv, in the page's order.
    """
    best = best_of([row for row in rows if not is_baseline(row["model"])])
    name = best["model"] if best else ""
    others = [row["model"] for row in rows if row["model"] != FLOOR]
    differing = {
        other: results.differences[name, other] for other in others if (name, other) in results.differences
    }
    if not differing:
        return join([])
    note = "Its mean less the other's, on the same shapes"
    if any(signed(row, IOU)[1] for row in differing.values()):
        note += (
            ", with 95 % intervals of paired bootstrap samples; bold where the interval leaves out 0. It was chosen as the "
            "best on these shapes, which by itself makes some differences from models like it bold"
        )
    body = [
        (word(label(other)), *(difference_cell(row, metric) for metric in MAIN))
        for other, row in differing.items()
    ]
    heads = (f"{name} less", *(metric.title for metric in MAIN))
    return table(heads, body, title=f"{name} against the others", note=f"{note}.")


def with_interval(row: Mapping[str, Any], metric: Metric) -> Html:
    """A value, and in small print its interval and its bias where it has them."""
    value = shown(scaled(row, metric), metric.digits)
    ends = [number(row, metric.key + end) for end in _ENDS]
    if value is None or None in ends:
        return text(value)
    interval = ", ".join(f"{metric.factor * end:.{metric.digits}f}" for end in ends if end is not None)
    bias = number(row, f"{metric.key}_bias")
    more = "" if bias is None else f", bias {bias:.3f}"
    return join([value, tag("small", f" [{interval}]{more}")])


def signed(row: Row, metric: Metric) -> tuple[str | None, list[str]]:
    """A difference with its sign, and the ends of its interval where both are known."""
    values = [number(row, metric.key + end) for end in ("", *_ENDS)]
    said = [f"{metric.factor * value:+.{metric.digits}f}" for value in values if value is not None]
    return (None, []) if values[0] is None else (said[0], said[1:] if len(said) == len(values) else [])


def difference_cell(row: Row, metric: Metric) -> Html:
    """A difference and its interval, bold where the interval excludes 0."""
    difference, ends = signed(row, metric)
    if not ends:
        return cell(difference)
    low, high = (number(row, metric.key + end) or 0.0 for end in _ENDS)
    return cell(join([difference, tag("small", f" [{', '.join(ends)}]")]), strong=low > 0 or high < 0)
