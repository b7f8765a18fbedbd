"""What helps: models less their references, over test shapes and training seeds."""

from __future__ import annotations

from .differences import difference_cell
from .html import Html, join, table, tag, word
from .measures import NORMALS, Metric
from .results import Results, Row, number, shown

CHAMFER = Metric("chamfer_l1", "Chamfer-L1 × 10 ↓", 10.0, 3, False)
METRICS = (
    Metric("iou_views", "IoU of views ↑"),
    Metric("iou_photos", "IoU of photos ↑"),
    Metric("iou", "IoU of meshes ↑"),
    CHAMFER,
    NORMALS,
    Metric("f_score_1", "F-score at 1 % ↑"),
)


def section(results: Results) -> Html:
    """A row a comparison of `evaluate.compare`; empty where the configuration has none."""
    if not results.config.evaluate.compare:
        return Html("")
    rows = results.rows("evaluate/gains.csv", "comparison of models with their references")
    body = [
        (
            word(join([row["model"], tag("small", f" against {row['reference']}: "), reading(row)])),
            *(difference_cell(row, metric) for metric in METRICS),
            f"{row.get('shapes')} · {row.get('seeds')}",
            _seconds(row),
        )
        for row in rows
    ]
    heads = ("Model", *(metric.title for metric in METRICS), "Shapes · seeds", "Training, CPU s")
    note = (
        "Means of class means less those of the reference, of the same test shapes and training seeds. The 95 % intervals "
        "cover both the choice of shapes and the chance of training; with one seed they cover the shapes alone. Bold: the "
        f"interval excludes 0, as one in twenty does by chance, and there are {len(rows) * len(METRICS)} here. IoU of "
        "views and of photos is that of the network's field. Training costs: the model's and the reference's; –: not "
        "measured, as of a network that this run did not train. The other sections show the first seed of each model."
    )
    return table(heads, body, note=note)


def reading(row: Row) -> str:
    """A row in words: which metrics are better and which are worse beyond chance."""
    better: list[str] = []
    worse: list[str] = []
    known = False
    for metric in METRICS:
        low, high = (number(row, metric.key + end) for end in ("_low", "_high"))
        if low is None or high is None:
            continue
        known = True
        if low > 0 or high < 0:
            (better if (low > 0) == metric.more else worse).append(_NAMES[metric.key])
    parts = [f"{word} in {', '.join(names)}" for word, names in (("gain", better), ("loss", worse)) if names]
    parts = parts or ["no gain" if known else "no interval"]
    if (number(row, "seeds") or 0) < 2:
        parts.append("one seed")
    return "; ".join(parts)


_NAMES = {
    "iou_views": "views",
    "iou_photos": "photos",
    "iou": "meshes",
    "chamfer_l1": "Chamfer-L1",
    "normal_consistency": "normals",
    "f_score_1": "F-score",
}


def _seconds(row: Row) -> str | None:
    """CPU seconds of the model's training and of the reference's."""
    own, other = (shown(number(row, f"cpu_seconds{end}"), 0) for end in ("", "_reference"))
    return None if own is None and other is None else f"{own or '–'} · {other or '–'}"
