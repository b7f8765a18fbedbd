"""How good the models are: over all classes, by class, and beside published numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from . import plots, published
from .html import Html, cell, figure, join, paragraph, picture, table, tag, text
from .results import FLOOR, ORACLE, Results, Row, is_baseline, label, number, shown


class Metric(NamedTuple):
    """A column: the table's name, the page's, a factor, decimals, and whether more is better."""

    key: str
    title: str
    factor: float = 1.0
    digits: int = 3
    more: bool = True


_IOU = Metric("iou", "IoU ↑")
_CHAMFER = Metric("chamfer_l1", "Chamfer-L1 ↓, unit cube", 1.0, 4, False)
_TIMES_TEN = Metric("chamfer_l1", "Chamfer-L1 × 10 ↓, as in the paper", 10.0, 3, False)
_NORMALS = Metric("normal_consistency", "Normal consistency ↑")
_F_SCORE = Metric("f_score_1", "F-score at 1 % ↑")
_MAIN = (_IOU, _CHAMFER, _TIMES_TEN, _NORMALS, _F_SCORE)


def verdict(results: Results) -> Html:
    """The run in a sentence and a few tiles; empty before anything was evaluated."""
    rows = results.rows_if_any("evaluate/models.csv")
    trained = [row for row in rows if not is_baseline(row["model"])]
    best, rival = _best(trained), _best([row for row in _rivals(rows) if is_baseline(row["model"])])
    if best is None:
        return paragraph("Nothing has been evaluated yet; what is there is shown below.", class_="lead")
    iou, low, high = (number(best, name) for name in ("iou", "iou_low", "iou_high"))
    interval = (
        f" (95 % interval {shown(low)} to {shown(high)})" if low is not None and high is not None else ""
    )
    against = ""
    if rival:
        name = label(rival["model"]).removeprefix("baseline: ")
        against = f"; the best baseline, {name}, reaches {shown(number(rival, 'iou'))}"
        row = results.differences.get((best["model"], rival["model"]))
        if row and number(row, "iou_low") is not None:
            less, *ends = (f"{number(row, column):+.3f}" for column in ("iou", "iou_low", "iou_high"))
            against += f" (difference {less}, 95 % interval {' to '.join(ends)})"
    sentence = (
        f"{best['model']} reconstructs {best.get('shapes') or 'the'} test shapes from one photo each "
        f"at a mean IoU of {shown(iou)}{interval}{against}."
    )
    tiles = [
        (shown(_scaled(best, metric), metric.digits), metric.title) for metric in (_IOU, _TIMES_TEN, _NORMALS)
    ]
    tiles.append(
        (f"{best.get('failed') or 0} of {best.get('shapes') or '?'}", "shapes without a usable mesh")
    )
    boxes = [tag("div", tag("b", value), tag("span", title), class_="tile") for value, title in tiles]
    return join([paragraph(sentence, class_="lead"), tag("div", *boxes, class_="tiles")])


def section(results: Results) -> Html:
    """Tables and diagrams of the metrics."""
    rows = results.in_order(results.rows("evaluate/models.csv", "table of metrics"))
    parts = [_model_table(rows), _explanation(results, rows), _diagrams(results, _rivals(rows))]
    parts.append(_differences(results, rows))
    classes = results.rows_if_any("evaluate/classes.csv")
    if classes:
        parts.append(tag("h3", "By class"))
        parts.append(
            tag(
                "div",
                *(_class_table(results, classes, _rivals(rows), m) for m in (_IOU, _TIMES_TEN, _NORMALS)),
                class_="tables",
            )
        )
    else:
        parts.append(paragraph("There are no class means: this run has no evaluate/classes.csv.", note=True))
    return join([*parts, _published(classes)])


def _model_table(rows: Sequence[Row]) -> Html:
    best = {metric: _scaled(_best(_rivals(rows), metric) or {}, metric) for metric in _MAIN}
    columns = {"IoU of all views ↑": _over_views, "Chamfer-L1 to the raw mesh ↓": _to_original}
    extras: dict[str, Callable[[Row], Html | str | None]] = {
        title: value for title, value in columns.items() if any(value(row) for row in rows)
    }
    body = [
        (
            cell(label(row["model"]), left=True),
            row.get("shapes") or None,
            cell(row.get("failed") or "0"),
            *(cell(_with_interval(row, metric), strong=_wins(row, metric, best[metric])) for metric in _MAIN),
            *(value(row) for value in extras.values()),
        )
        for row in rows
    ]
    return table(("Model", "Test shapes", "Failed", *(metric.title for metric in _MAIN), *extras), body)


def _over_views(row: Row) -> Html | None:
    """Mean IoU over the views of a shape, and how much it varies from view to view."""
    mean, spread = number(row, "iou_views"), number(row, "iou_views_sd")
    return None if mean is None else join([shown(mean), tag("small", f" ± {shown(spread) or '?'}")])


def _to_original(row: Row) -> str | None:
    return shown(number(row, "chamfer_l1_original"), 4)


def _explanation(results: Results, rows: Sequence[Row]) -> Html:
    names = {row["model"] for row in rows}
    classes = results.rows_if_any("evaluate/classes.csv")
    alone = sorted({results.category(row["category"]) for row in classes if row.get("shapes") == "1"})
    intervals = (
        f"without intervals: a single test shape ({', '.join(alone)}) does not tell how much others would differ"
        if alone
        else "with 95 % bootstrap intervals over shapes"
    )
    oracle = " Oracle: the training shape with the highest IoU, which knows the truth; what a perfect memory could reach."
    views = (
        " IoU of all views: of the network's field, asked at fewer points; mean over a shape's views ± their "
        "standard deviation, averaged. The other columns are of the mesh of one view."
    )
    raw = (
        " Distances to the raw mesh count its hidden inner faces too; the floor's tell what closing the meshes did "
        "to everybody's numbers."
    )
    floor = " Floor: the true mesh in place of a prediction, which is as good as these samples can show."
    return paragraph(
        f"Means of class means, {intervals}. A shape without a usable mesh counts with the worst value of every "
        "metric and is never left out. Chamfer-L1 is the mean of accuracy and completeness, plain Euclidean "
        "distances between samples of both surfaces, in units of the longest edge of a shape's bounding box "
        "(“unit cube”); Mescheder et al. 2019 print ten times it."
        + (floor if FLOOR in names else "")
        + (oracle if ORACLE in names else "")
        + (views if any(number(row, "iou_views") is not None for row in rows) else "")
        + (raw if any(number(row, "chamfer_l1_original") is not None for row in rows) else ""),
        note=True,
    )


def _differences(results: Results, rows: Sequence[Row]) -> Html:
    """The best model against each of the others on the same shapes; empty where there is nothing to compare."""
    best = _best([row for row in rows if not is_baseline(row["model"])])
    pairs = [(best["model"], row["model"]) for row in rows if row["model"] != FLOOR] if best else []
    body = [
        (cell(label(pair[1]), left=True), *(_less(results.differences[pair], metric) for metric in _MAIN))
        for pair in pairs
        if pair in results.differences
    ]
    if best is None or not body:
        return join([])
    note = (
        "Its mean less the other's, on the same shapes, with 95 % intervals of paired bootstrap samples; bold where the "
        "interval leaves out 0. With twenty such comparisons chance alone makes one bold."
    )
    heads = (f"{best['model']} less", *(metric.title for metric in _MAIN))
    return join(
        [tag("h3", f"{best['model']} against the others"), table(heads, body), paragraph(note, note=True)]
    )


def _less(row: Row, metric: Metric) -> Html:
    value, low, high = (number(row, metric.key + end) for end in ("", "_low", "_high"))
    if value is None or low is None or high is None:
        return cell(None if value is None else f"{metric.factor * value:+.{metric.digits}f}")
    difference, *ends = (f"{metric.factor * each:+.{metric.digits}f}" for each in (value, low, high))
    return cell(join([difference, tag("small", f" [{', '.join(ends)}]")]), strong=low > 0 or high < 0)


def _diagrams(results: Results, rows: Sequence[Row]) -> Html:
    values = [
        (label(row["model"]), iou, number(row, "iou_low"), number(row, "iou_high"))
        for row in rows
        if (iou := number(row, "iou")) is not None
    ]
    parts = []
    if values:
        known = any(low is not None for _, _, low, _ in values)
        x_label = "mean IoU with 95 % interval" if known else "mean IoU"
        image = picture(plots.intervals(values, x_label), "mean IoU of all models")
        parts.append(figure(image, "Mean IoU of every model and baseline.", "plot"))
    samples: dict[str, list[float]] = defaultdict(list)
    for (model, _), row in results.shape_rows.items():
        if (iou := number(row, "iou")) is not None:
            samples[model].append(iou)
    if samples:
        ordered = {label(row["model"]): samples[row["model"]] for row in rows if samples[row["model"]]}
        image = picture(plots.distributions(ordered, "IoU of a shape"), "distribution of IoU over shapes")
        parts.append(
            figure(image, "Share of test shapes whose IoU is at least x: further right is better.", "plot")
        )
    return tag("div", *parts, class_="side")


def _class_table(results: Results, classes: Sequence[Row], models: Sequence[Row], metric: Metric) -> Html:
    """Categories down, models across, the mean of classes below; cells shaded from worst to best."""
    names = [row["model"] for row in models]
    values = {(row["category"], row["model"]): _scaled(row, metric) for row in _rivals(classes)}
    known = [value for value in values.values() if value is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    body = []
    for category in sorted({category for category, _ in values}):
        line = [values.get((category, name)) for name in names]
        there = [value for value in line if value is not None]
        top = (max if metric.more else min)(there, default=None)
        cells = [
            cell(
                shown(value, metric.digits),
                share=_share(value, low, high, metric.more),
                strong=value == top is not None,
            )
            for value in line
        ]
        body.append([cell(results.category(category), left=True), *cells])
    means = [shown(_scaled(row, metric), metric.digits) for row in models]
    last = ("mean", *means)
    return table(("Class", *map(label, names)), body, last=last, caption=metric.title)


def _published(classes: Sequence[Row]) -> Html:
    """Published numbers, only beside results on the same ShapeNet categories."""
    ours = {row["category"] for row in classes}
    if not ours or not ours <= published.NAMES.keys():
        return Html("")
    rows = [
        (cell(f"{name} ({synset})", left=True), *(f"{value:.3f}" for value in (*paper, *later)))
        for name, synset, paper, later in published.ROWS
        if synset in ours
    ]
    if len(ours) == len(published.ROWS):
        rows.append(
            (
                cell("mean of all 13", left=True),
                *(f"{value:.3f}" for pair in published.MEAN for value in pair),
            )
        )
    columns = (
        "Class",
        *(
            f"{metric}, {source}"
            for source in ("paper", "released weights")
            for metric in ("IoU", "Chamfer-L1 × 10", "Normals")
        ),
    )
    note = paragraph(
        "Published results of Mescheder et al. 2019 on all of ShapeNet's test split, with their own photos "
        "and watertight meshes: a reference, not measured here and not on the same data as the tables above.",
        note=True,
    )
    return tag(
        "div",
        tag("h3", "Published numbers, for reference only"),
        note,
        table(columns, rows),
        class_="reference",
    )


def _rivals(rows: Sequence[Row]) -> list[Row]:
    """The rows that compete: all but those that are told the truth."""
    return [row for row in rows if row["model"] not in (FLOOR, ORACLE)]


def _best(rows: Sequence[Row], metric: Metric = _IOU) -> Row | None:
    known = [(value, row) for row in rows if (value := _scaled(row, metric)) is not None]
    return (max if metric.more else min)(known, key=lambda pair: pair[0])[1] if known else None


def _wins(row: Row, metric: Metric, best: float | None) -> bool:
    """Also several rows may, as networks that are the same do."""
    return best is not None and row["model"] not in (FLOOR, ORACLE) and _scaled(row, metric) == best


def _scaled(row: Row, metric: Metric) -> float | None:
    value = number(row, metric.key)
    return None if value is None else metric.factor * value


def _with_interval(row: Row, metric: Metric) -> Html:
    value = shown(_scaled(row, metric), metric.digits)
    low, high = number(row, f"{metric.key}_low"), number(row, f"{metric.key}_high")
    if value is None or low is None or high is None:
        return text(value)
    ends = f" [{metric.factor * low:.{metric.digits}f}, {metric.factor * high:.{metric.digits}f}]"
    return join([value, tag("small", ends)])


def _share(value: float | None, low: float, high: float, more: bool) -> float | None:
    if value is None:
        return None
    share = (value - low) / (high - low) if high > low else 0.5
    return share if more else 1.0 - share
