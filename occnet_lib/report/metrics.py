"""How good the models are: over all classes, by class, and beside published numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from . import plots, published
from .differences import signed, table_of_differences, with_interval
from .html import Html, cell, join, paragraph, table, tag, word
from .measures import IOU, MAIN, NORMALS, TIMES_TEN, Metric, best_of, competitors, scaled
from .merged import table_of_merged
from .readings import plotted
from .results import FLOOR, ORACLE, Results, Row, is_baseline, label, number, shown


def headline(results: Results) -> Html:
    """The run in a sentence and a few tiles; empty before anything was evaluated."""
    rows = results.rows_if_any("evaluate/models.csv")
    trained = [row for row in rows if not is_baseline(row["model"])]
    best = best_of(trained)
    competitor = best_of([row for row in competitors(rows) if is_baseline(row["model"])])
    if best is None:
        return paragraph("Nothing has been evaluated yet; what is there is shown below.", class_="lead")
    iou, low, high = (number(best, name) for name in ("iou", "iou_low", "iou_high"))
    known = low is not None and high is not None
    interval = f" (95 % interval {shown(low)} to {shown(high)})" if known else ""
    against = ""
    if competitor:
        name = label(competitor["model"]).removeprefix("baseline: ")
        against = f"; the best baseline, {name}, reaches {shown(number(competitor, 'iou'))}"
        less, ends = signed(results.differences.get((best["model"], competitor["model"]), {}), IOU)
        against += f" (difference {less}, 95 % interval {' to '.join(ends)})" if ends else ""
    source = "one photo and its true camera" if _given_cameras(results, [best]) else "one photo"
    sentence = (
        f"{best['model']} reconstructs {best.get('shapes') or 'the'} test shapes from {source} each "
        f"at a mean IoU of {shown(iou)}{interval}{against}."
    )
    tiles = [
        (shown(scaled(best, metric), metric.digits), metric.title) for metric in (IOU, TIMES_TEN, NORMALS)
    ]
    failed = f"{best.get('failed') or 0} of {best.get('shapes') or '?'}"
    tiles.append((failed, "shapes without a usable mesh"))
    boxes = [tag("div", tag("b", value), tag("span", title), class_="tile") for value, title in tiles]
    return join([paragraph(sentence, class_="lead"), tag("div", *boxes, class_="tiles")])


def section(results: Results) -> Html:
    """Tables and diagrams of the metrics."""
    rows = results.in_order(results.rows("evaluate/models.csv", "table of metrics"))
    parts = [
        _model_table(rows),
        _explanation(rows, _given_cameras(results, rows)),
        _diagrams(results, competitors(rows)),
    ]
    parts += [table_of_differences(results, rows), table_of_merged(results)]
    if classes := results.rows_if_any("evaluate/classes.csv"):
        metrics = IOU, TIMES_TEN, NORMALS
        tables = [_class_table(results, classes, competitors(rows), metric) for metric in metrics]
        parts += [tag("h3", "By class"), tag("div", *tables, class_="tables")]
    else:
        parts.append(paragraph("There are no class means: this run has no evaluate/classes.csv.", note=True))
    return join([*parts, _published(classes)])


def _model_table(rows: Sequence[Row]) -> Html:
    best = {metric: scaled(best_of(competitors(rows), metric) or {}, metric) for metric in MAIN}
    columns: dict[str, Callable[[Row], Html | str | None]] = {
        "IoU of all views ↑": lambda row: _mean_and_spread(row, "iou_views"),
        "IoU of photos ↑": lambda row: _mean_and_spread(row, "iou_photos"),
        "Chamfer-L1 to the raw mesh ↓": lambda row: shown(number(row, "chamfer_l1_original"), 4),
    }
    extras = {title: value for title, value in columns.items() if any(value(row) for row in rows)}
    body = [
        (
            *(word(label(row["model"])), row.get("shapes") or None, row.get("failed") or "0"),
            *(cell(with_interval(row, metric), strong=_wins(row, metric, best[metric])) for metric in MAIN),
            *(value(row) for value in extras.values()),
        )
        for row in rows
    ]
    return table(("Model", "Test shapes", "Failed", *(metric.title for metric in MAIN), *extras), body)


def _mean_and_spread(row: Row, name: str) -> Html | None:
    """Mean over the images of a shape, and how much they differ, averaged over the shapes."""
    mean, spread = number(row, name), number(row, f"{name}_sd")
    return None if mean is None else join([shown(mean), tag("small", f" ± {shown(spread) or '?'}")])


def _given_cameras(results: Results, rows: Sequence[Row]) -> list[str]:
    """Names of the models of rows that use the true cameras of images."""
    config, names = results.config, [row["model"] for row in rows]
    return [name for name in names if name in config.models and config.is_given_cameras(name)]


def _explanation(rows: Sequence[Row], given_cameras: Sequence[str]) -> Html:
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
    columns = {"iou_views": views, "iou_photos": photos, "chamfer_l1_original": raw}
    given = f" Given the true camera of every image: {', '.join(given_cameras)}."
    return paragraph(
        f"Means of class means, {intervals}. A shape without a usable mesh counts with the worst value of every "
        "metric and is never left out. Chamfer-L1 is the mean of accuracy and completeness, plain Euclidean "
        "distances between samples of both surfaces, in units of the longest edge of a shape's bounding box "
        "(“unit cube”); Mescheder et al. 2019 print ten times it.",
        *(text for name, text in ((FLOOR, floor), (ORACLE, oracle)) if name in names),
        *(text for name, text in columns.items() if any(number(row, name) is not None for row in rows)),
        *([given] if given_cameras else []),
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
        plot = plots.intervals(values, "mean IoU with 95 % interval" if known else "mean IoU")
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
        shades = [_shade(value, low, high, metric.more) for value in line]
        cells = [
            cell(shown(value, metric.digits), shade=shade, strong=value == top is not None)
            for value, shade in zip(line, shades, strict=True)
        ]
        body.append([word(results.category(category)), *cells])
    last = ("mean", *(shown(scaled(row, metric), metric.digits) for row in models))
    return table(("Class", *map(label, names)), body, last=last, caption=metric.title)


def _published(classes: Sequence[Row]) -> Html:
    """Published numbers, only beside results on the same ShapeNet categories."""
    ours = {row["category"] for row in classes}
    if not ours or not ours <= published.NAMES.keys():
        return Html("")
    rows = [
        (word(f"{name} ({synset})"), *(f"{value:.3f}" for value in (*paper, *later)))
        for name, synset, paper, later in published.ROWS
        if synset in ours
    ]
    if len(ours) == len(published.ROWS):
        rows.append((word("mean of all 13"), *(f"{value:.3f}" for pair in published.MEAN for value in pair)))
    sources, measures = ("paper", "released weights"), ("IoU", "Chamfer-L1 × 10", "Normals")
    columns = ("Class", *(f"{measure}, {source}" for source in sources for measure in measures))
    note = paragraph(
        "Published results of Mescheder et al. 2019 on all of ShapeNet's test split, with their own photos "
        "and watertight meshes: a reference, not measured here and not on the same data as the tables above.",
        note=True,
    )
    title = tag("h3", "Published numbers, for reference only")
    return tag("div", title, note, table(columns, rows), class_="reference")


def _wins(row: Row, metric: Metric, best: float | None) -> bool:
    """Also several rows may, as networks that are the same do."""
    return best is not None and row["model"] not in (FLOOR, ORACLE) and scaled(row, metric) == best


def _shade(value: float | None, low: float, high: float, more: bool) -> float | None:
    if value is None:
        return None
    shade = (value - low) / (high - low) if high > low else 0.5
    return shade if more else 1.0 - shade
