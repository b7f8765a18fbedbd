"""Parts of the section on uncertainty: dependence on the camera's pose, which image to take, and which next."""

from __future__ import annotations

from collections import defaultdict

from .columns import Reader, described, fixed, words
from .differences import difference
from .html import Html, cell, join, paragraph, table, tag, word
from .measures import Metric, best_of
from .merged import gain_cell
from .readings import plotted
from .results import Results, Row, number, shown
from .uncertainty_plots import Cell, over_images, view_spheres

_MEASURES = {"iou": "IoU", "entropy": "entropy, bits", "brier": "squared error"}
_CELL = (45.0, 30.0)  # degrees of azimuth and elevation of evaluation.pose_tables
_RULES = {
    "best": "best one (knows the ground truth)",
    "agreement": "most agreement with the others",
    "entropy": "least entropy",
    "expected_iou": "largest expected IoU",
    "pose": "best pose of the class's other shapes",
}


def pictured(results: Results) -> str:
    """The model that the diagrams show: the best one by IoU; the tables have all."""
    measured = set(results.config.measured_models)
    models = [model for model in results.trained if model in measured] or results.trained
    best = best_of([row for row in results.rows_if_any("evaluate/models.csv") if row["model"] in models])
    return best["model"] if best else models[0]


def poses(results: Results) -> Html:
    """Maps of the view sphere and what they say, a model at a time."""
    cells = results.rows("evaluate/poses.csv", "table of poses", all_seeds=True)
    tests = results.rows_if_any("evaluate/pose_tests.csv", all_seeds=True)
    note = paragraph(
        "Difference from the mean over the same shape's views, by the direction from which the camera sees the shape: "
        "azimuth from +x towards +z, elevation above the horizon. Red is worse. Numbers are views; cells with fewer "
        "than five are pale. A frame marks cells beyond what all cells of the class together reach by chance in 95 % of "
        "cases; all others are not distinguishable from noise. Under the pointer: value, effect and its 95 % interval.",
        note=True,
    )
    figures, model = [], pictured(results)
    own = [row for row in cells if row["model"] == model]
    for name, title in _MEASURES.items() if own else ():
        plot = view_spheres(_panels(results, own, name), _CELL, f"effect on {title}", name == "iou")
        figures.append(plotted(plot, f"{title} by pose of {model}", f"{model}: {title} by pose"))
    return join([tag("h3", "By camera pose"), note, *figures, _findings(results, cells, tests)])


def _panels(results: Results, rows: list[Row], name: str) -> dict[str, list[Cell]]:
    panels: dict[str, list[Cell]] = defaultdict(list)
    for row in rows:
        values = [number(row, name + end) or 0.0 for end in ("", "_effect", "_low", "_high")]
        azimuth, elevation = (number(row, axis) or 0.0 for axis in ("azimuth", "elevation"))
        views = int(number(row, "views") or 0)
        label = (
            f"azimuth {azimuth:.0f}°, elevation {elevation:.0f}°: {values[0]:.3f}, effect {values[1]:+.3f} "
            f"[{values[2]:+.3f}, {values[3]:+.3f}], {views} views of {row['shapes']} shapes"
        )
        clear = row.get(f"{name}_clear") == "1"
        panels[results.category(row["category"])].append(
            Cell(azimuth, elevation, values[1], views, row.get("compared") == "1", clear, label)
        )
    return panels


def _findings(results: Results, cells: list[Row], tests: list[Row]) -> Html:
    """Best and worst pose of every class, and whether the pose matters at all."""
    body = []
    for test in tests:
        if test["measure"] != "iou":
            continue
        own = [row for row in cells if (row["model"], row["category"]) == (test["model"], test["category"])]
        own = [row for row in own if row.get("compared") == "1"]
        ranked = sorted(own, key=lambda row: number(row, "iou_effect") or 0.0)
        p = number(test, "p_value")
        body.append(
            (
                *map(word, (test["model"], results.category(test["category"]))),
                *(_place(ranked[end]) if ranked else cell(None) for end in (-1, 0)),
                shown(number(test, "sd_views")),
                cell(shown(p), strong=p is not None and p < 0.05),
            )
        )
    heads = ("Model", "Class", "Most informative pose", "Least informative pose", "SD over views", "p")
    note = (
        "Cells with the largest and smallest effect on the IoU, of those with at least five views, with 95 % intervals of "
        "the single cell; bold where the map has a frame, all others are not distinguishable from chance. p: probability of "
        "a largest effect like this if the pose did not matter, by permutation of the views of each shape."
    )
    return table(heads, body, note=note)


def _place(row: Row) -> Html:
    azimuth, elevation, effect, low, high = (
        number(row, name) or 0.0 for name in ("azimuth", "elevation", "iou_effect", "iou_low", "iou_high")
    )
    said = f"{azimuth:.0f}°, {elevation:.0f}°: {effect:+.3f} [{low:+.3f}, {high:+.3f}]"
    return cell(said, left=True, strong=row.get("iou_clear") == "1")


def choice(results: Results) -> Html:
    """Which of a shape's images to take."""
    rows = results.rows_if_any("evaluate/view_choice.csv", all_seeds=True)
    if not rows:
        return join([])
    rows.sort(key=lambda row: (row["model"], row["source"] != "views", [*_RULES].index(row["rule"])))
    columns: dict[str, Reader] = {
        "Model": words("model"),
        "Images": words("source"),
        "Rule": lambda row: word(_RULES[row["rule"]]),
        "IoU": fixed("iou"),
        "Gain over a random one": difference(Metric("gain", "")),
        "Rank correlation within a shape": difference(Metric("rank", "")),
    }
    note = (
        "IoU of the one image of each shape that a rule chooses, its gain over a random one, and the rank correlation of "
        "the rule's score with the IoU over the images of a shape; bold where the 95 % interval over shapes excludes 0."
    )
    return described(rows, columns, title="Which image of a shape", note=note)


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
