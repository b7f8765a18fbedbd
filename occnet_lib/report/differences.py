"""How much models differ on the same shapes: the best one from the others, and models from their references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .html import Html, cell, join, table, tag, text, word
from .measures import F_SCORE, IOU, MAIN, NORMALS, Metric, best_of, scaled
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


METRICS = {
    "views": Metric("iou_views", "IoU of views ↑"),
    "photos": Metric("iou_photos", "IoU of photos ↑"),
    "meshes": Metric("iou", "IoU of meshes ↑"),
    "Chamfer-L1": Metric("chamfer_l1", "Chamfer-L1 × 10 ↓", 10.0, 3, False),
    "normals": NORMALS,
    "F-score": F_SCORE,
}
"""Metrics of `gains`, by their names in a sentence."""


def gains(results: Results) -> Html:
    """What helps: models less their references, a row a comparison of `evaluate.compare`; empty if there is none."""
    if not results.config.evaluate.compare:
        return Html("")
    rows = results.rows("evaluate/gains.csv", "comparison of models with their references")
    body = [
        (
            word(join([row["model"], tag("small", f" against {row['reference']}: "), reading(row)])),
            *(difference_cell(row, metric) for metric in METRICS.values()),
            f"{row.get('shapes')} · {row.get('seeds')}",
            _seconds(row),
        )
        for row in rows
    ]
    heads = ("Model", *(metric.title for metric in METRICS.values()), "Shapes · seeds", "Training, CPU s")
    note = (
        "Means of class means less those of the reference, of the same test shapes and training seeds. The 95 % intervals "
        "cover both the choice of shapes and the chance of training; with one seed they cover the shapes alone. Bold: the "
        f"interval excludes 0, as one in twenty does by chance, and there are {len(rows) * len(METRICS)} here. IoU of "
        "views and of photos is that of the network's field. Training costs: the model's and the reference's; –: not "
        "measured, as of a network that this run did not train. The other sections show the first seed of each model."
    )
    return table(heads, body, note=note)


def reading(row: Row, metrics: Mapping[str, Metric] = METRICS) -> str:
    """A row in words: which metrics are better and which are worse beyond chance."""
    better: list[str] = []
    worse: list[str] = []
    known = False
    for name, metric in metrics.items():
        low, high = (number(row, metric.key + end) for end in _ENDS)
        if low is None or high is None:
            continue
        known = True
        if low > 0 or high < 0:
            (better if (low > 0) == metric.more else worse).append(name)
    parts = [f"{word} in {', '.join(names)}" for word, names in (("gain", better), ("loss", worse)) if names]
    parts = parts or ["no gain" if known else "no interval"]
    if (number(row, "seeds") or 0) < 2:
        parts.append("one seed")
    return "; ".join(parts)


def _seconds(row: Row) -> str | None:
    """CPU seconds of the model's training and of the reference's."""
    own, other = (shown(number(row, f"cpu_seconds{end}"), 0) for end in ("", "_reference"))
    return None if own is None and other is None else f"{own or '–'} · {other or '–'}"
