"""How much models differ on the same shapes: the best one from the others, and models from their references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .columns import Reader, described
from .html import Html, cell, join, tag, text, word
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
    differing = [row for other in others if (row := results.differences.get((name, other)))]
    if not differing:
        return join([])
    note = "Its mean less the other's, on the same shapes"
    if any(signed(row, IOU)[1] for row in differing):
        note += (
            ", with 95 % intervals of paired bootstrap samples; bold where the interval leaves out 0. It was chosen as the "
            "best on these shapes, which by itself makes some differences from models like it bold"
        )
    columns: dict[str, Reader] = {f"{name} less": lambda row: word(label(row["other"]))}
    columns |= {metric.title: difference(metric) for metric in MAIN}
    return described(differing, columns, title=f"{name} against the others", note=f"{note}.")


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


def difference(metric: Metric) -> Reader:
    """A column of differences and their intervals, bold where the interval excludes 0."""

    def read(row: Row) -> Html:
        value, ends = signed(row, metric)
        if not ends:
            return cell(value)
        interval = tag("small", f" [{', '.join(ends)}]")
        return cell(join([value, interval]), strong=bool(sign(row, metric)))

    return read


def sign(row: Row, metric: Metric) -> int | None:
    """1 or -1 of a difference whose interval is above or below 0, 0 where it has 0; None without an interval."""
    low, high = (number(row, metric.key + end) for end in _ENDS)
    return None if low is None or high is None else int(low > 0) - int(high < 0)


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
    columns: dict[str, Reader] = {
        "Model": lambda row: word(
            join([row["model"], tag("small", f" against {row['reference']}: "), reading(row)])
        ),
        **{metric.title: difference(metric) for metric in METRICS.values()},
        "Shapes · seeds": lambda row: f"{row.get('shapes')} · {row.get('seeds')}",
        "Training, CPU s": _seconds,
    }
    note = (
        "Means of class means less those of the reference, of the same test shapes and training seeds. The 95 % intervals "
        "cover both the choice of shapes and the chance of training; with one seed they cover the shapes alone. Bold: the "
        f"interval excludes 0, as one in twenty does by chance, and there are {len(rows) * len(METRICS)} here. IoU of "
        "views and of photos is that of the network's field. Training costs: the model's and the reference's; –: not "
        "measured, as of a network that this run did not train. The other sections show the first seed of each model."
    )
    return described(rows, columns, note=note)


def reading(row: Row, metrics: Mapping[str, Metric] = METRICS) -> str:
    """A row in words: which metrics are better and which are worse beyond chance."""
    better: list[str] = []
    worse: list[str] = []
    known = False
    for name, metric in metrics.items():
        side = sign(row, metric)
        known |= side is not None
        if side:
            (better if (side > 0) == metric.more else worse).append(name)
    parts = [f"{word} in {', '.join(names)}" for word, names in (("gain", better), ("loss", worse)) if names]
    parts = parts or ["no gain" if known else "no interval"]
    if (number(row, "seeds") or 0) < 2:
        parts.append("one seed")
    return "; ".join(parts)


def _seconds(row: Row) -> str | None:
    """CPU seconds of the model's training and of the reference's."""
    own, other = (shown(number(row, f"cpu_seconds{end}"), 0) for end in ("", "_reference"))
    return None if own is None and other is None else f"{own or '–'} · {other or '–'}"
