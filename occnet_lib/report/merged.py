"""What several images of one object give: IoU over the number of images, and how well disagreement is noticed."""

from __future__ import annotations

from .html import Html, cell, join, paragraph, table, tag
from .results import Results, Row, number, shown


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
            cell(model, left=True),
            cell(source, left=True),
            *(_iou(own.get(str(count))) for count in counts),
            *_noticed(own.get("3")),
        )
        for (model, source), own in groups.items()
    ]
    heads = ("Model", "Images", *(f"{count} merged" if count > 1 else "one" for count in counts))
    note = (
        "IoU of the mean of the logits of several images of a shape, as by occnet reconstruct --merge, its gain over one "
        "image and 95 % intervals of paired bootstrap samples over shapes; bold where the interval excludes 0. Named: sets "
        "of three images of one shape of which one is said to disagree, and sets in which that is an image of another "
        "shape and exactly this one is named."
    )
    return join(
        [
            tag("h3", "Several images of one object"),
            table((*heads, "Named of 3 of one shape", "Named of 2 and another's"), body),
            paragraph(note, note=True),
        ]
    )


def _iou(row: Row | None) -> Html:
    """The IoU, and the gain over one image with its interval."""
    value = shown(number(row, "iou")) if row else None
    gain, low, high = (number(row or {}, f"gain{end}") for end in ("", "_low", "_high"))
    if value is None or gain is None or (row or {}).get("images") == "1":
        return cell(value)
    ends = "" if low is None or high is None else f" [{low:+.3f}, {high:+.3f}]"
    clear = low is not None and high is not None and (low > 0 or high < 0)
    return cell(join([value, tag("small", f" {gain:+.3f}{ends}")]), strong=clear)


def _noticed(row: Row | None) -> tuple[str | None, str | None]:
    """Fractions of sets, in percent."""
    named, intruder = (number(row or {}, name) for name in ("named", "intruder_named"))
    return _percent(named), _percent(intruder)


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.0f} %"
