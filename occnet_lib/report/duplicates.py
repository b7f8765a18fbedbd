"""Shapes that occur twice, a leak between splits among them, and the score over the distance to the training shapes."""

from __future__ import annotations

from collections.abc import Sequence

from occnet_lib.storage.packs import Shard
from occnet_lib.storage.tables import shape_name
from occnet_lib.types import ShapeKey

from . import plots
from .cards import COLORS, neutral_camera, photo, row_of_views, turnable
from .columns import Reader, described, fixed, words
from .html import Html, join, paragraph, tag, word
from .readings import plotted
from .results import Results, Row, is_baseline, label, number, shown

_MOST_SHOWN = 100
_MOST_DRAWN = 12  # pairs with images and meshes, some 60 KB each


def section(results: Results) -> Html:
    """Pairs of near-duplicates, and the IoU of test shapes over their distance to the nearest training shape.

    Raises:
        MissingResult: shapes were not compared.
    """
    results.path("analyse/duplicates/duplicates.csv", "comparison of shapes")
    pairs = results.rows_if_any("analyse/duplicates/duplicates.csv")
    leaks = [row for row in pairs if row.get("split") != row.get("other_split")]
    parts = []
    if leaks:
        several = f"{len(leaks):,} pairs of near-duplicates are"
        counted = several if len(leaks) > 1 else "1 pair of near-duplicates is"
        text = f"{counted} in different splits: scores of these test shapes are not those of new shapes."
        parts.append(paragraph(tag("b", "Warning: "), text, class_="warn"))
    note = (
        "Near-duplicates: mean distance of the surfaces below 0.002 of the longest edge, as they are (copy: also scaled, as "
        "all shapes fill the unit cube), or after a rotation or a reflection."
    )
    if pairs:
        ordered = [*leaks, *(row for row in pairs if row not in leaks)]
        parts += [_drawn_pairs(results, ordered), _table(ordered, note)]
    else:
        parts += [paragraph("No shape is a near-duplicate of another one."), paragraph(note, note=True)]
    return join([*parts, _scores(results)])


def _drawn_pairs(results: Results, rows: Sequence[Row]) -> Html:
    """The first pairs side by side: the images and the meshes, which turn together; both by one camera."""
    splits = {row[name] for row in rows for name in ("split", "other_split")}
    places = {split: results.packed(split) for split in sorted(splits)}
    drawn: list[Html] = []
    for row in rows:
        one = places[row["split"]].get(shape_name(row))
        two = places[row["other_split"]].get(f"{row['other_category']}/{row['other_id']}")
        if one and two and len(drawn) < _MOST_DRAWN:
            kind = f"{row['kind']}, distance {shown(number(row, 'distance'), 5)}"
            drawn.append(_pair(results, one, two, kind))
    if not drawn:
        return join([])
    note = "Image and mesh of both shapes of a pair, the meshes by one camera."
    more = f" The first {len(drawn)} of {len(rows):,} pairs." if len(rows) > len(drawn) else ""
    hint = "The meshes of a pair turn together: drag, or use the arrow keys."
    parts = [paragraph(note + more, note=True), tag("p", hint, class_="note hint", hidden="")]
    return join([*parts, *drawn])


def _pair(
    results: Results, one: tuple[Shard, int, ShapeKey], two: tuple[Shard, int, ShapeKey], kind: str
) -> Html:
    camera = neutral_camera()
    cards = []
    for color, (shard, i, key) in zip(COLORS, (one, two), strict=False):
        view = min(results.config.reconstruct.view, shard.views - 1)
        named = join([key.name, key.split], "<br>")
        mesh = turnable(shard.mesh(i), camera, color, f"mesh of {key.name}", kind, sides=1)
        cards += [photo(shard, i, view, f"image of {key.name}", named), mesh]
    return row_of_views(cards, camera, f"near-duplicates {one[2].name} and {two[2].name}")


def _table(rows: Sequence[Row], note: str) -> Html:
    columns: dict[str, Reader] = {
        "Shape": lambda row: word(f"{shape_name(row)} ({row['split']})"),
        "Other shape": lambda row: word(f"{row['other_category']}/{row['other_id']} ({row['other_split']})"),
        "Kind": words("kind"),
        "Distance": fixed("distance", 5),
    }
    return described(rows, columns, most=(_MOST_SHOWN, "analyse/duplicates/duplicates.csv"), note=note)


def _scores(results: Results) -> Html:
    """The plot that distinguishes recognition from reconstruction."""
    distances = {
        shape_name(row): value
        for row in results.rows_if_any("analyse/duplicates/nearest.csv")
        if (value := number(row, "distance")) is not None
    }
    groups: dict[str, list[plots.Point]] = {}
    for (model, name), row in results.shape_rows.items():
        iou = number(row, "iou")
        if name in distances and iou is not None and not is_baseline(model):
            said = f"{name}: IoU {iou:.3f} at distance {distances[name]:.4f}"
            groups.setdefault(label(model), []).append(plots.Point(distances[name], iou, said))
    if not groups:
        return join([])
    plot = plots.points(groups, "distance to the nearest training shape, longest edge = 1", "IoU")
    caption = (
        "IoU of test shapes over the mean distance of their surface to that of the nearest training shape. A network that "
        "only recognises training shapes falls with the distance."
    )
    drawn = plotted(plot, "IoU over distance to training shapes", caption)
    return join([tag("h3", "Recognition or reconstruction"), drawn])
