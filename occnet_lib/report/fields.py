"""Points at which the networks were queried, coloured by predicted occupancy and by error, as views that turn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.cameras import project
from occnet_lib.storage.packs.image_codec import file_bytes
from occnet_lib.storage.point_clouds import OUTCOMES, QueriedPoints, read_points
from occnet_lib.storage.tables import shape_name

from . import meshes
from .cards import GROUND_TRUTH_COLOR, photo, row_of_views, turnable
from .coloring import mapped, probability_colors, scale, swatches, switch
from .examples import choose
from .html import Html, image_tag, join, paragraph, tag
from .meshes import Camera
from .results import MissingResult, Results, Row, label, number, shown

_SIZE = 200  # pixels along a still image's edge
_DRAWN, _OUTSIDE = 4000, 1000  # at most so many points that someone says is inside, and others
_MODES = {"occupancy": "by predicted occupancy", "outcome": "by error"}
_DISC = [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)]


def section(results: Results) -> Html:
    """Queried points of the examples, by every trained model.

    Raises:
        MissingResult: no model was queried.
    """
    tables = {
        model: {shape_name(row): row for row in results.rows_if_any(f"analyse/fields_{model}/fields.csv")}
        for model in results.trained
    }
    parts = []
    for category, names in choose(results).items():
        made = [
            _row(results, name, own)
            for name in names
            if (own := {model: table[name] for model, table in tables.items() if name in table})
        ]
        if made:
            parts += [tag("h3", results.category(category)), *made]
    if not parts:
        raise MissingResult("There are no queried points: this run has no analyse/fields_<model>/fields.csv.")
    note = paragraph(
        "The networks' output before any mesh: the points of the examples at which they were queried, uniform in the padded "
        "unit cube. Small dots are points that the network (occupancy) or both network and ground truth (error) say are "
        f"outside; only {_OUTSIDE:,} of them are drawn. All points are in analyse/fields_<model>/, as PLY with colours.",
        note=True,
    )
    legends = [
        scale("occupancy", probability_colors(), "0", "1", "probability of being inside"),
        swatches("outcome", OUTCOMES),
    ]
    text = "All views of a shape turn together, by dragging or the arrow keys."
    hint = tag("p", text, class_="note hint", hidden="")
    return join([note, hint, switch(_MODES, legends), *parts])


def _row(results: Results, name: str, rows: dict[str, Row]) -> Html:
    shard, i, key = results.packed_test[name]
    view = min(int(number(next(iter(rows.values())), "view") or 0), shard.views - 1)
    camera = shard.camera(i, view)
    cards = [photo(shard, i, view, f"input image of {name}", join(["input image", key.id], "<br>"))]
    for model, row in rows.items():
        cloud = read_points(results.root / "analyse" / f"fields_{model}" / row["file"])
        iou = shown(number(row, "iou"))
        outcomes = join([_count(row, word) for word in list(OUTCOMES)[1:]], " · ")
        caption = join([join([label(model), f" · IoU {iou}"]), outcomes], "<br>")
        cards.append(_card(cloud, camera, f"queried points of {name} by {model}", caption))
    mesh = shard.mesh(i)
    if len(mesh.faces):
        alt = f"ground truth of the queried points of {name}"
        cards.append(turnable(mesh, camera, GROUND_TRUTH_COLOR, alt, "ground truth", sides=1))
    return row_of_views(cards, camera, f"queried points of {name}")


def _count(row: Row, outcome: str) -> Html:
    """A number of points with the abbreviation of its outcome."""
    short = "".join(word[0].upper() for word in outcome.split())
    value = shown(number(row, outcome.replace(" ", "_")), 0)
    return tag("abbr", f"{short} {value}", title=f"{outcome}: {value} points")


def _card(cloud: QueriedPoints, camera: Camera, alt: str, caption: Html) -> Html:
    some = drawn(cloud)
    large = (some.predicted, some.outcomes > 0)
    colors = (
        mapped(some.probability, probability_colors()),
        np.array(list(OUTCOMES.values()))[some.outcomes],
    )
    stills = [
        image_tag(splat(some.points, color, big, camera), f"{alt}, {mode}")
        for color, big, mode in zip(colors, large, _MODES.values(), strict=True)
    ]
    return tag("figure", *stills, tag("figcaption", caption), data_points=meshes.encode_points(some))


def drawn(cloud: QueriedPoints) -> QueriedPoints:
    """The first points of a cloud, which are a random sample: of those inside by someone, and of the others."""
    inside = np.flatnonzero(cloud.outcomes > 0)[:_DRAWN]
    outside = np.flatnonzero(cloud.outcomes == 0)[:_OUTSIDE]
    kept = np.concatenate([inside, outside])
    return QueriedPoints(*(column[kept] for column in cloud))


def splat(
    points: NDArray[np.floating], colors: NDArray[np.floating], large: NDArray[np.bool_], camera: Camera
) -> bytes:
    """PNG of points seen by a camera, the nearest in front: squares of 3 pixels, others of 1.

    Args:
        points: (N, 3), unit frame.
        colors: (N, 3) sRGB.
        large: (N,) bool.
        camera: as `Shard.camera` gives it, principal point in the middle.
    """
    from PIL import Image

    uv, depth = project(points.astype(np.float64), *camera)
    pixels = np.nan_to_num(uv, nan=-9.0) * (_SIZE / (2.0 * camera[0][[0, 1], [2, 2]]))
    order = np.argsort(-depth, kind="stable")
    pixels, colors, large = pixels[order], colors[order], large[order]
    image = np.full((_SIZE, _SIZE, 3), 255, np.uint8)
    # Repeated indices: the last one is kept, which is the nearest point.
    steps = np.array(_DISC)
    at = (np.floor(pixels).astype(np.int64)[:, None] + steps).reshape(-1, 2)
    visible = (large[:, None] | (steps == 0).all(axis=1)).reshape(-1) & ((at >= 0) & (at < _SIZE)).all(axis=1)
    codes = np.repeat(np.round(255 * colors).astype(np.uint8), len(steps), axis=0)
    image[at[visible, 1], at[visible, 0]] = codes[visible]
    return file_bytes(Image.fromarray(image).quantize(64), optimize=True)
