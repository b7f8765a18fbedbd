"""How the networks were trained: options, curves, graph networks and what the codes look like."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from occnet_lib.config import ModelConfig
from occnet_lib.storage.tables import shape_name

from . import plots
from .html import Html, join, paragraph, table, tag, word
from .readings import plotted, thumbnail
from .results import MissingResult, Results, Row, number, shown

_PANELS = {
    "Loss": {"train": "train_loss", "validation": "val_loss"},
    "IoU": {"train": "train_iou", "validation": "val_iou"},
    "Accuracy of occupancy": {"train": "train_accuracy", "validation": "val_accuracy"},
    "Learning rate": {"rate": "learning_rate"},
}


def section(results: Results) -> Html:
    """Options and curves of every model.

    Raises:
        MissingResult: no model was trained.
    """
    tables = {model: results.rows_if_any(f"train/{model}/metrics.csv") for model in results.trained}
    tables = {model: rows for model, rows in tables.items() if rows}
    if not tables:
        raise MissingResult("There are no training curves: this run has no train/<model>/metrics.csv.")
    panels = {}
    for title, kinds in _PANELS.items():
        panel = {model: _lines(rows, kinds) for model, rows in tables.items()}
        panel = {model: lines for model, lines in panel.items() if lines}
        if panel:
            panels[title] = panel
    parts = [_options(results, list(tables))]
    if panels:
        caption = "Thin: training batches; with dots: validation, by whose IoU the checkpoint is chosen."
        parts.append(plotted(plots.curves(panels, "step"), "training curves", caption))
    return join(parts)


def embeddings(results: Results) -> Html:
    """t-SNE of the image codes, coloured by class.

    Raises:
        MissingResult: there is no embedding.
    """
    parts = []
    photos: dict[tuple[str, str, int], int] = {}  # split, shape and view → place in the template
    for model in results.trained:
        groups: dict[str, list[plots.Point]] = defaultdict(list)
        for row in results.rows_if_any(f"analyse/embedding_{model}.csv"):
            x, y, view = number(row, "x"), number(row, "y"), int(number(row, "view") or 0)
            if x is not None and y is not None:
                photo = photos.setdefault((row.get("split") or "", shape_name(row), view), len(photos))
                label = f"{row['id']}, view {view}, {row.get('split')}"
                groups[results.category(row["category"])].append(plots.Point(x, y, label, photo))
        if groups:
            plot = plots.scatter(dict(sorted(groups.items())), model)
            count = sum(map(len, groups.values()))
            caption = f"{model}: codes of {count} photos that were not trained on."
            parts.append(plotted(plot, f"t-SNE of {model}", caption))
    if not parts:
        raise MissingResult("There is no t-SNE: this run has no analyse/embedding_<model>.csv.")
    note = paragraph(
        "Each dot is the encoder's code of one photo; near dots are photos that it holds alike. A dot shows its photo under "
        "the pointer, or by the arrow keys.",
        note=True,
    )
    return join([note, tag("div", *parts, class_="side narrow"), _photos(results, photos)])


def _photos(results: Results, photos: Iterable[tuple[str, str, int]]) -> Html:
    """Small images in their order, which are not decoded before they are shown."""
    wanted = list(photos)
    packed = {split: results.packed(split) for split in {split for split, _, _ in wanted if split.isalnum()}}
    images = []
    for split, name, view in wanted:
        place = packed.get(split, {}).get(name)
        image = thumbnail(place[0], place[1], view, name) if place else None
        images.append(image or tag("span"))
    return tag("template", *images, class_="photos")


def _lines(rows: Sequence[Row], kinds: dict[str, str]) -> dict[str, plots.Curve]:
    """Points of each kind of curve, without rows in which it was not logged."""
    lines: dict[str, plots.Curve] = {}
    for kind, column in kinds.items():
        points = [
            (step, value)
            for row in rows
            if (step := number(row, "step")) is not None and (value := number(row, column)) is not None
        ]
        if points:
            x, y = zip(*points, strict=True)
            lines[kind] = (list(x), list(y))
    return lines


def _options(results: Results, models: list[str]) -> Html:
    """One row a model: what it is and where its training ended."""
    body = []
    for model in models:
        options = results.json(f"train/{model}/options.json")
        rows = results.rows_if_any(f"train/{model}/metrics.csv")
        ious = [value for row in rows if (value := number(row, "val_iou")) is not None]
        steps = [value for row in rows if (value := number(row, "step")) is not None]
        network = results.config.models.get(model)
        parameters = options.get("parameters")
        body.append(
            (
                *(word(model), word(_described(network) if network else None)),
                f"{parameters:,}" if isinstance(parameters, int) else None,
                shown(max(steps, default=None), 0),
                _best(max(ious, default=None), network),
                options.get("device"),
                options.get("precision"),
            )
        )
    columns = ("Model", "Network", "Parameters", "Steps", "Best validation IoU", "Device", "Precision")
    return table(columns, body)


def _best(iou: float | None, network: ModelConfig | None) -> str | None:
    """The best validation IoU; without 3D labels it is that of silhouettes and not of shapes."""
    text = shown(iou)
    return f"{text} of silhouettes" if iou is not None and network and network.labels != "3d" else text


def _described(network: ModelConfig) -> str:
    """A network, with the keys of its that are not the default's."""
    plain = ModelConfig().model_dump()
    shown_already = ("encoder", "decoder", "hidden")
    others = [
        f"{key} {value}"
        for key, value in network.model_dump().items()
        if key not in shown_already and value != plain.get(key)
    ]
    return ", ".join([f"{network.encoder} + {network.decoder}", f"{network.hidden} wide", *others])
