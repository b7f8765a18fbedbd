"""Input image, predicted meshes and ground truth of some test shapes, seen by the image's camera and from the side."""

from __future__ import annotations

import logging

from occnet_lib.errors import OccnetError
from occnet_lib.geometry.orientation import orient_outward
from occnet_lib.storage.examples import example_shapes
from occnet_lib.storage.reconstructions import read_mesh
from occnet_lib.types import Mesh

from .cards import GROUND_TRUTH_COLOR, TURN, of_model, photo, row_of_views, turnable
from .coloring import MESH_MODES, error_scale, switch
from .html import Html, figure, join, paragraph, tag, text
from .measures import IOU, TIMES_TEN, scaled
from .results import MissingResult, Results, label, shown

LOG = logging.getLogger(__name__)


def section(results: Results) -> Html:
    """Examples of every category, chosen evenly over the ranking and not by beauty."""
    chosen = choose(results)
    intro = paragraph(
        "For each shape: the photo, then every model's mesh and the true one, above by the photo's camera "
        f"and below turned by {TURN:g}°. Shapes are taken at even steps of the ranking by IoU of the first "
        "model, so that good and bad cases show alike; numbers are IoU and Chamfer-L1 × 10.",
        note=True,
    )
    hint = (
        "The upper images of a shape turn together: drag, or use the arrow keys; pinch or + and - zoom; a double click or 0 "
        "goes back to the photo's camera. Meshes are simplified to some 3,000 faces for this. By "
        "error, meshes stay as they are where the ground truth is not closed."
    )
    choice = switch(MESH_MODES, [error_scale()])
    parts = [intro, tag("p", hint, class_="note hint", hidden=""), choice]
    for category, names in chosen.items():
        parts.append(tag("h3", results.category(category)))
        parts += [_example(results, name) for name in names]
    return join(parts)


def choose(results: Results) -> dict[str, list[str]]:
    """Names of the shapes shown, by category (storage.examples).

    Raises:
        MissingResult: there are no packed test shapes.
    """
    if not results.packed_test:
        raise MissingResult("There are no examples: this run has no packed test shapes (pack/test-*.h5).")
    keys = [key for _, _, key in results.packed_test.values()]
    rows = results.rows_if_any("evaluate/shapes.csv")
    return example_shapes(keys, rows, results.trained, results.config.report.examples)


def _example(results: Results, name: str) -> Html:
    shard, i, key = results.packed_test[name]
    view = min(results.config.reconstruct.view, shard.views - 1)
    camera = shard.camera(i, view)
    cards = [photo(shard, i, view, f"photo of {name}", join(["photo", key.id], "<br>"))]
    mesh = shard.mesh(i)
    true = mesh if len(mesh.faces) and not orient_outward(mesh).defect else None
    for k, model in enumerate(results.reconstructed):
        row = results.shape_rows.get((model, name), {})
        values = [shown(scaled(row, metric)) for metric in (IOU, TIMES_TEN)]
        caption = join([label(model), " · ".join(filter(None, values))], "<br>")
        made, reason = _mesh(results, model, name)
        why = reason or row.get("reason") or "not reconstructed"
        cards.append(of_model(k, label(model), name, made, why, camera, caption, true))
    if len(mesh.faces):
        alt = f"ground-truth mesh of {name}"
        cards.append(turnable(mesh, camera, GROUND_TRUTH_COLOR, alt, text("ground truth")))
    else:
        cards.append(figure(tag("div", "no mesh in the pack", class_="none"), "ground truth"))
    return row_of_views(cards, camera, f"meshes of {name}")


def _mesh(results: Results, model: str, name: str) -> tuple[Mesh | None, str]:
    """A model's mesh of a shape; what is wrong with its file."""
    shard, _, key = results.packed_test[name]
    try:
        mesh = read_mesh(results.root / "reconstruct" / model / shard.name, key)
    except OccnetError as error:
        LOG.warning("%s", error)
        return None, error.message
    return (mesh if mesh is not None and len(mesh.faces) else None), ""
