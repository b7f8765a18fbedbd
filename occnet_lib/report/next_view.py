"""Part of the section on uncertainty: which image to take next."""

from __future__ import annotations

from .html import Html, join, table, tag, word
from .merged import gain_cell
from .poses import pictured
from .readings import plotted
from .results import Results, number
from .uncertainty_plots import over_images

_POLICIES = {
    "random": "random",
    "opposite": "farthest from those taken",
    "expected_gain": "largest uncertainty along its rays",
    "agreement": "most agreement (image exists)",
    "disagreement": "least agreement (image exists)",
    "best": "best one (knows the ground truth)",
}


def next_view(results: Results) -> Html:
    """IoU over the number of images by policy; empty where it was not measured."""
    if not results.config.evaluate.next_view or not results.config.evaluate.views:
        return join([])
    rows = results.rows("evaluate/next_view.csv", "table of next views", all_seeds=True)
    curves: dict[str, dict[str, list[float]]] = {}
    for row in sorted(rows, key=lambda row: int(row["views"])):
        own = curves.setdefault(row["model"], {}).setdefault(_POLICIES.get(row["policy"], row["policy"]), [])
        own.append(number(row, "iou") or 0.0)
    counts = sorted({int(row["views"]) for row in rows} - {1})
    by_policy: dict[tuple[str, str], dict[int, Html]] = {}
    for row in rows:
        by_policy.setdefault((row["model"], row["policy"]), {})[int(row["views"])] = gain_cell(row)
    body = [
        (word(model), word(_POLICIES.get(policy, policy)), *(own.get(count) for count in counts))
        for (model, policy), own in by_policy.items()
    ]
    note = (
        "IoU of the mean of the logits of several views of a shape, which a policy chooses one after another, averaged over "
        "all first views; gain over random views of the same number with 95 % intervals of paired bootstrap samples over "
        "shapes, bold where the interval excludes 0. Two policies need the image before they choose it."
    )
    shown_curves = {model: curve for model, curve in curves.items() if model == pictured(results)}
    title = "IoU over the number of images"
    figure = plotted(over_images(shown_curves), title, f"{title}, by policy") if shown_curves else ""
    heads = ("Model", "Next view", *(f"{count} views" for count in counts))
    return join([tag("h3", "Next best view"), figure, table(heads, body, note=note)])
