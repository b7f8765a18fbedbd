"""The section on refinement: all of them compared on the same meshes, and what the graph networks correct."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from occnet_lib.errors import OccnetError
from occnet_lib.storage.meshes import load_mesh
from occnet_lib.storage.tables import shape_name
from occnet_lib.types import Mesh

from .cards import GROUND_TRUTH_COLOR, of_model, row_of_views, turnable
from .differences import difference, reading
from .html import Html, cell, join, paragraph, table, tag, text, word
from .measures import F_SCORE, IOU, NORMALS, Metric, scaled
from .results import MissingResult, Results, Row, if_there, number, shown

LOG = logging.getLogger(__name__)
NONE, PERFECT = "none", "perfect_normals"
_METRICS = {
    "normals": NORMALS._replace(digits=4),
    "Chamfer-L1": Metric("chamfer_l1", "Chamfer-L1 × 10 ↓", 10.0, 4, False),
    "F-score": F_SCORE._replace(digits=4),
    "IoU": IOU._replace(digits=4),
}
_DIFFERENCES = {name: metric._replace(key=f"{metric.key}_difference") for name, metric in _METRICS.items()}
_NAMES = {PERFECT: "perfect normals"}


def section(results: Results) -> Html:
    """Both parts; empty where no refinement is compared and the meshes need no graph network."""
    config = results.config
    parts = [_compared] if config.evaluate.refinements else []
    if parts or config.reconstruct.refinement in ("graph", "both"):
        parts.append(_graph_networks)
    return join(if_there(part, results) for part in parts)


def best_refinement(rows: Sequence[Row]) -> str:
    """The refinement of the highest normal consistency, of rows of a model; those that none can have are left out."""
    known = [row for row in rows if row["refinement"] not in (NONE, PERFECT)]
    return max(known, key=lambda row: number(row, NORMALS.key) or 0.0)["refinement"] if known else NONE


def _compared(results: Results) -> Html:
    rows = results.rows("evaluate/refinements.csv", "comparison of refinements")
    parts, count = [], sum(row["refinement"] != NONE for row in rows)
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == model]
        parts += [_table(model, own, count), _images(results, model, best_refinement(own))]
    return join(parts)


def _table(model: str, rows: Sequence[Row], count: int) -> Html:
    """A model's refinements; `count` differences are on the page in each metric."""
    body = []
    for row in rows:
        is_none = row["refinement"] == NONE
        name = text(_name(row["refinement"]))
        if not is_none:
            name = join([name, tag("small", reading(row, _DIFFERENCES))])
        values = [cell(shown(scaled(row, metric), metric.digits)) for metric in _METRICS.values()]
        differences = [difference(metric)(row) for metric in _DIFFERENCES.values()]
        counts = shown(number(row, "flipped"), 2), shown(number(row, "self_intersecting"), 2)
        seconds = None if is_none else shown(number(row, "cpu_seconds"), 3)
        body.append((word(name), *(values if is_none else differences), row.get("failed"), *counts, seconds))
    heads = "Refinement", *(metric.title for metric in _METRICS.values())
    shapes, seeds = (rows[0].get(name) for name in ("shapes", "seeds"))
    note = (
        f"Meshes of {shapes} test shapes by {model} (training seeds: {seeds}), all refinements from the same simplified "
        "mesh. none: means of class means; the others: differences to none with 95 % intervals, paired over shapes and "
        "seeds; with one seed they cover the shapes alone. Bold: the interval excludes 0, as one in twenty does by chance, "
        f"and there are {count * len(_METRICS)} here. gradient has the configured number of steps. Perfect normals are "
        "those of the ground truth, which no method has: a bound of what corrected normals can gain. Failed: meshes that "
        "could not be made, which count as the worst of every metric. Flipped (turned by more than a right angle) and "
        "self-intersecting: faces a mesh; CPU seconds: median of the refinement alone."
    )
    more = "Failed", "Flipped", "Self-intersecting", "CPU s"
    return table((*heads, *more), body, title=f"Refinements of meshes of {model}", note=note, sortable=False)


def _images(results: Results, model: str, best: str) -> Html:
    """Examples before and after the best refinement, and with perfect normals."""
    rows = list(_example_rows(results, model, best))
    if not rows:
        return paragraph(
            f"There are no images: this run has no meshes in evaluate/{model}/<shard>.refinements.",
            note=True,
        )
    note = (
        f"The same meshes without refinement, with the one of the highest normal consistency, {_name(best)}, and with "
        "perfect normals: an example of each category, by name. Numbers are the normal consistency. Above by the photo's "
        "camera and below turned."
    )
    return join([paragraph(note, note=True), *rows])


def _example_rows(results: Results, model: str, best: str) -> Iterator[Html]:
    for name, (shard, i, key) in sorted(results.packed_test.items()):
        folder = results.root / "evaluate" / model / f"{shard.name}.refinements"
        files = {each: folder / each / key.category / f"{key.id}.ply" for each in (NONE, best, PERFECT)}
        if not files[NONE].exists():
            continue
        measured = {
            row["refinement"]: row
            for row in results.rows_if_any(f"evaluate/{model}/{shard.name}.refinements.csv")
            if shape_name(row) == name
        }
        camera = shard.camera(i, min(results.config.reconstruct.view, shard.views - 1))
        cards = []
        for place, (each, file) in enumerate(files.items()):
            row = measured.get(each, {})
            caption = join([_name(each), shown(scaled(row, NORMALS)) or "–"], " · ")
            why = row.get("reason") or "not measured"
            cards.append(of_model(place, _name(each), name, _mesh(file), why, camera, caption, None))
        true = shard.mesh(i)
        if len(true.faces):
            alt = f"ground-truth mesh of {name}"
            cards.append(
                turnable(true, camera, GROUND_TRUTH_COLOR, alt, join(["ground truth", key.id], "<br>"))
            )
        yield row_of_views(cards, camera, f"refinements of {name}")


def _mesh(file: Path) -> Mesh | None:
    """The mesh of a file; None where there is none that can be read."""
    try:
        return load_mesh(file) if file.exists() else None
    except OccnetError as error:
        LOG.warning("%s", error)
        return None


def _name(refinement: str) -> str:
    words = refinement.split("_")
    if words[0] == "gradient" and len(words) == 2:
        return f"gradient, {words[1]} steps"
    return _NAMES.get(refinement, refinement)


def _graph_networks(results: Results) -> Html:
    """Graph networks of face normals: what they correct on meshes of validation shapes, a row a network.

    Raises:
        MissingResult: no model has one although the refinement needs it.
    """
    config = results.config
    needed = config.distinct_models if config.reconstruct.refinement in ("graph", "both") else []
    body = []
    folders = {"graph": "graph/", "both": "both/"} | {config.graph_refinement: ""}
    for model in dict.fromkeys([*needed, *config.refined_models]):
        for kind, folder in folders.items():
            rows = results.rows_if_any(f"refinement/{model}/{folder}metrics.csv")
            if not rows:
                continue
            before, after = (number(rows[-1], name) for name in ("val_loss_unchanged", "val_loss"))
            change = None if not before or after is None else f"{100.0 * (after / before - 1.0):+.1f} %"
            losses = shown(before, 4), shown(after, 4)
            body.append((word(model), word(kind), rows[-1].get("step"), *losses, change))
    if not body:
        raise MissingResult("There is no graph network: this run has no refinement/<model>/metrics.csv.")
    heads = ("Model", "Refinement", "Steps", "Mesh's own normals ↓", "Corrected normals ↓", "Change")
    note = (
        "Mean of 1 − cos of the angle to the normal of the ground truth, by area, over the faces of meshes of validation "
        "shapes that lie within two edge lengths of the ground truth. The meshes are by a network that was trained on half "
        "of the training shapes"
    )
    if needed:
        when = " after the refinement by the gradient" if config.reconstruct.refinement == "both" else ""
        note += f". The vertices of the meshes in the other sections follow the corrected normals{when}"
    return table(heads, body, title="What the graph networks correct", note=f"{note}.")
