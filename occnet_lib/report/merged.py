"""What several images of one object give: IoU over the number of images, and how well disagreement is noticed."""

from __future__ import annotations

from .differences import sign, signed
from .html import Html, cell, join, table, tag, word
from .measures import Metric
from .results import Results, Row, number, percent, shown

_GAIN = Metric("gain", "")


def table_of_merged(results: Results) -> Html:
    """A row a model and source of images; empty where nothing was merged."""
    rows = results.rows_if_any("evaluate/merged.csv")
    groups: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        groups.setdefault((row["model"], row["source"]), {})[row["images"]] = row
    if not groups:
        return join([])
    counts = sorted({int(row["images"]) for row in rows})
    body = [
        (
            *(word(model), word(source)),
            *(gain_cell(own.get(str(count), {})) for count in counts),
            *(percent(number(own.get("3", {}), name)) for name in ("named", "intruder_named")),
        )
        for (model, source), own in groups.items()
    ]
    numbers = [f"{count} merged" if count > 1 else "one" for count in counts]
    heads = ("Model", "Images", *numbers, "Named of 3 of one shape", "Named of 2 and another's")
    note = (
        "IoU of the mean of the logits of several images of a shape, as by occnet reconstruct --merge, its gain over one "
        "image and 95 % intervals of paired bootstrap samples over shapes; bold where the interval excludes 0. Named: sets "
        "of three images of one shape of which one is said to disagree, and sets in which that is an image of another "
        "shape and exactly this one is named."
    )
    return table(heads, body, title="Several images of one object", note=note)


def gain_cell(row: Row) -> Html:
    """The IoU of several images, and the gain over the reference with its interval."""
    value, (gain, ends) = shown(number(row, "iou")), signed(row, _GAIN)
    if value is None or gain is None or row.get("images") == "1" or row.get("policy") == "random":
        return cell(value)
    interval = f" [{', '.join(ends)}]" if ends else ""
    return cell(join([value, tag("small", f" {gain}{interval}")]), strong=bool(sign(row, _GAIN)))
