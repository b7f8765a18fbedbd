"""How good the models are: over all classes, by class, and beside published numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from . import plots, published
from .differences import signed, table_of_differences
from .html import Html, cell, join, paragraph, table, tag, text
from .measures import IOU, MAIN, NORMALS, TIMES_TEN, Metric, best_of, competitors, scaled
from .merged import table_of_merged
from .readings import plotted
from .results import FLOOR, ORACLE, Results, Row, is_baseline, label, number, shown


def headline(results: Results) -> Html:
    """The run in a sentence and a few tiles; empty before anything was evaluated."""
    rows = results.rows_if_any("evaluate/models.csv")
    trained = [row for row in rows if not is_baseline(row["model"])]
    best, competitor = (
        best_of(trained),
        best_of([row for row in competitors(rows) if is_baseline(row["model"])]),
    )
    if best is None:
        return paragraph("Nothing has been evaluated yet; what is there is shown below.", class_="lead")
    iou, low, high = (number(best, name) for name in ("iou", "iou_low", "iou_high"))
    interval = (
        f" (95 % interval {shown(low)} to {shown(high)})" if low is not None and high is not None else ""
    )
    against = ""
    if competitor:
        name = label(competitor["model"]).removeprefix("baseline: ")
        against = f"; the best baseline, {name}, reaches {shown(number(competitor, 'iou'))}"
        less, ends = signed(results.differences.get((best["model"], competitor["model"]), {}), IOU)
        against += f" (difference {less}, 95 % interval {' to '.join(ends)})" if ends else ""
    sentence = (
        f"{best['model']} reconstructs {best.get('shapes') or 'the'} test shapes from one photo each "
        f"at a mean IoU of {shown(iou)}{interval}{against}."
    )
    tiles = [
        (shown(scaled(best, metric), metric.digits), metric.title) for metric in (IOU, TIMES_TEN, NORMALS)
    ]
    tiles.append(
        (f"{best.get('failed') or 0} of {best.get('shapes') or '?'}", "shapes without a usable mesh")
    )
    boxes = [tag("div", tag("b", value), tag("span", title), class_="tile") for value, title in tiles]
    return join([paragraph(sentence, class_="lead"), tag("div", *boxes, class_="tiles")])


def section(results: Results) -> Html:
    """Tables and diagrams of the metrics."""
    rows = results.in_order(results.rows("evaluate/models.csv", "table of metrics"))
    parts = [_model_table(rows), _explanation(rows), _diagrams(results, competitors(rows))]
    parts.append(table_of_differences(results, rows))
    parts.append(table_of_merged(results))
    classes = results.rows_if_any("evaluate/classes.csv")
    if classes:
        parts.append(tag("h3", "By class"))
        parts.append(
            tag(
                "div",
                *(_class_table(results, classes, competitors(rows), m) for m in (IOU, TIMES_TEN, NORMALS)),
                class_="tables",
            )
        )
    else:
        parts.append(paragraph("There are no class means: this run has no evaluate/classes.csv.", note=True))
    return join([*parts, _published(classes)])


def _model_table(rows: Sequence[Row]) -> Html:
    best = {metric: scaled(best_of(competitors(rows), metric) or {}, metric) for metric in MAIN}
    columns = {
        "IoU of all views ↑": _over_views,
        "IoU of photos ↑": _over_photos,
        "Chamfer-L1 to the raw mesh ↓": _to_original,
    }
    extras: dict[str, Callable[[Row], Html | str | None]] = {
        title: value for title, value in columns.items() if any(value(row) for row in rows)
    }
    body = [
        (
            cell(label(row["model"]), left=True),
            row.get("shapes") or None,
            cell(row.get("failed") or "0"),
            *(cell(_with_interval(row, metric), strong=_wins(row, metric, best[metric])) for metric in MAIN),
            *(value(row) for value in extras.values()),
        )
        for row in rows
    ]
    return table(("Model", "Test shapes", "Failed", *(metric.title for metric in MAIN), *extras), body)


def _over_views(row: Row) -> Html | None:
    """Mean IoU over the views of a shape, and how much it varies from view to view."""
    return _mean_and_spread(row, "iou_views")


def _over_photos(row: Row) -> Html | None:
    """The same over its photos."""
    return _mean_and_spread(row, "iou_photos")


def _mean_and_spread(row: Row, name: str) -> Html | None:
    mean, spread = number(row, name), number(row, f"{name}_sd")
    return None if mean is None else join([shown(mean), tag("small", f" ± {shown(spread) or '?'}")])


def _to_original(row: Row) -> str | None:
    return shown(number(row, "chamfer_l1_original"), 4)


def _explanation(rows: Sequence[Row]) -> Html:
    names = {row["model"] for row in rows}
    intervals = (
        "with 95 % bootstrap intervals over shapes"
        if any(number(row, "iou_low") is not None for row in rows)
        else "without intervals (a class has a single test shape, which does not show how much others would differ, or "
        "evaluate.bootstrap is 0)"
    )
    oracle = (
        " Oracle: the training shape with the highest IoU, which knows the ground truth: what perfect memorisation could "
        "reach."
    )
    views = (
        " IoU of all views: of the network's field, evaluated at fewer points; mean over a shape's views ± their "
        "standard deviation, averaged. The other columns are of the mesh of one view."
    )
    photos = (
        " IoU of photos: the same for photos of the test shapes by a renderer that training never uses, under everyday "
        "cameras, lamps and lenses, read by the code of occnet reconstruct; a photo that it refuses counts 0."
    )
    raw = (
        " Distances to the raw mesh count its hidden inner faces too; the floor's show what closing the meshes did "
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
        + (photos if any(number(row, "iou_photos") is not None for row in rows) else "")
        + (raw if any(number(row, "chamfer_l1_original") is not None for row in rows) else ""),
        note=True,
    )


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
        plot = plots.intervals(values, x_label)
        parts.append(plotted(plot, "mean IoU of all models", "Mean IoU of every model and baseline."))
    samples: dict[str, list[float]] = defaultdict(list)
    for (model, _), row in results.shape_rows.items():
        if (iou := number(row, "iou")) is not None:
            samples[model].append(iou)
    if samples:
        ordered = {label(row["model"]): samples[row["model"]] for row in rows if samples[row["model"]]}
        plot = plots.distributions(ordered, "IoU of a shape")
        caption = "Fraction of test shapes whose IoU is at least x: further right is better."
        parts.append(plotted(plot, "distribution of IoU over shapes", caption))
    return tag("div", *parts, class_="side")


def _class_table(results: Results, classes: Sequence[Row], models: Sequence[Row], metric: Metric) -> Html:
    """Categories down, models across, the mean of classes below; cells shaded from worst to best."""
    names = [row["model"] for row in models]
    values = {(row["category"], row["model"]): scaled(row, metric) for row in competitors(classes)}
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
                shade=_shade(value, low, high, metric.more),
                strong=value == top is not None,
            )
            for value in line
        ]
        body.append([cell(results.category(category), left=True), *cells])
    means = [shown(scaled(row, metric), metric.digits) for row in models]
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


def _wins(row: Row, metric: Metric, best: float | None) -> bool:
    """Also several rows may, as networks that are the same do."""
    return best is not None and row["model"] not in (FLOOR, ORACLE) and scaled(row, metric) == best


def _with_interval(row: Row, metric: Metric) -> Html:
    value = shown(scaled(row, metric), metric.digits)
    low, high = number(row, f"{metric.key}_low"), number(row, f"{metric.key}_high")
    if value is None or low is None or high is None:
        return text(value)
    ends = f" [{metric.factor * low:.{metric.digits}f}, {metric.factor * high:.{metric.digits}f}]"
    return join([value, tag("small", ends)])


def _shade(value: float | None, low: float, high: float, more: bool) -> float | None:
    if value is None:
        return None
    shade = (value - low) / (high - low) if high > low else 0.5
    return shade if more else 1.0 - shade
