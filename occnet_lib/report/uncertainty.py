"""The section on uncertainty: calibration of occupancies, expected against true IoU."""

from __future__ import annotations

from collections import defaultdict

from occnet_lib.errors import DataError
from occnet_lib.storage.iou_calibration import COVERAGE, IouCalibration, read_iou_calibration
from occnet_lib.storage.tables import read_rows

from . import poses
from .columns import Reader, described, fixed, words
from .differences import with_interval
from .html import Html, join, paragraph, table, tag, word
from .measures import Metric
from .readings import plotted
from .results import Results, Row, if_there, number, percent, shown
from .uncertainty_plots import Bin, expected_against_true, reliability

_SOURCES = ("views", "photos")
_EVERY_CLASS = "all classes"


def section(results: Results) -> Html:
    """All parts; empty where uncertainty was not measured."""
    evaluate = results.config.evaluate
    parts = (_calibration, _expected, poses.poses, poses.choice) if evaluate.uncertainty else ()
    return join([if_there(part, results) for part in (*parts, poses.next_view)])


def _calibration(results: Results) -> Html:
    rows = results.brief(results.rows("evaluate/calibration.csv", "table of calibration", all_seeds=True))
    curves: dict[str, dict[str, dict[str, list[Bin]]]] = defaultdict(lambda: defaultdict(dict))
    for row in results.rows("evaluate/reliability.csv", "reliability curve"):
        values = [number(row, name) for name in ("probability", "occupied", "occupied_low", "occupied_high")]
        own = curves[row["model"]]["by source" if not row["category"] else f"by class, {row['source']}"]
        name = row["source"] if not row["category"] else results.category(row["category"])
        if values[0] is not None and values[1] is not None:
            own.setdefault(name, []).append(Bin(values[0], values[1], values[2], values[3]))
    note = paragraph(
        "Calibration of the occupancy probabilities at uniform points of the cube. ECE: expected calibration error, the "
        "mean difference between the probability and the occupied fraction in 20 bins of probability; most points are far "
        "outside, where every field is right, so it also stands for the points in between (probability 0.05 to 0.95). "
        "Overconfidence: probability less occupied fraction where the probability is above 1/2. Brier score beside that "
        "of a constant probability. Small print: 95 % intervals of bootstrap samples of the shapes. Differences by chance "
        "count as errors of calibration: an ECE is too large by about the bias in small print, its interval by twice that.",
        note=True,
    )
    model, figure = poses.pictured(results), Html("")
    if model in curves:
        panels = dict(sorted(curves[model].items(), key=lambda item: item[0] != "by source"))
        caption = f"Reliability of {model}: below the diagonal it is overconfident. Bars: 95 % intervals over shapes."
        figure = plotted(reliability(panels), f"reliability of {model}", caption)
    columns: dict[str, Reader] = {
        "Model": words("model"),
        "Images": words("source"),
        "Class": lambda row: word(results.category(row["category"]) or _EVERY_CLASS),
        "Shapes": lambda row: row["shapes"],
        "ECE": lambda row: with_interval(row, Metric("ece", "")),
        "ECE in between": lambda row: with_interval(row, Metric("ece_uncertain", "")),
        "Overconfidence": lambda row: with_interval(row, Metric("overconfidence", "")),
        "Brier": lambda row: with_interval(row, Metric("brier", "")),
        "constant": fixed("brier_base"),
    }
    return join([tag("h3", "Calibration"), note, figure, described(rows, columns)])


def _expected(results: Results) -> Html:
    rows = results.brief(results.rows("evaluate/expected_iou.csv", "table of expected IoU", all_seeds=True))
    heads = (
        *("Model", "Images", "Merged", "Class", "Shapes", "Field's own", "Expected IoU", "True IoU", "Error"),
        *("of a constant", "±", f"Within ± (goal {100 * COVERAGE:.0f} %)", "Rank, shapes", "Rank, views"),
    )
    body = [
        (
            *(word(row["model"]), word(row["source"]), row["images"]),
            *(word(results.category(row["category"]) or _EVERY_CLASS), row["shapes"]),
            *(shown(number(row, name)) for name in ("raw", "expected", "iou", "error", "error_constant")),
            shown(number(row, "half_width"), 2),
            _coverage(row),
            *(shown(number(row, name), 2) for name in ("rank_shapes", "rank_views")),
        )
        for row in rows
        if not row["category"] or row["images"] == "1"
    ]
    note = paragraph(
        "The field's own expected IoU comes from its probabilities alone. Calibrated with a line on the validation set, it "
        "is the number that occnet reconstruct prints, with an interval for "
        f"{100 * COVERAGE:.0f} % of the images of shapes like these. Error: mean difference from the true IoU, beside that "
        "of the mean IoU as a constant. All classes: means of class means, as everywhere in this report. Rank: Spearman's "
        "correlation with the true IoU, over shapes and over the views of a shape (mean over shapes): near 0, the number "
        "cannot choose between views.",
        note=True,
    )
    return join(
        [tag("h3", "Expected IoU"), note, _scatter(results, poses.pictured(results)), table(heads, body)]
    )


def _scatter(results: Results, model: str) -> Html:
    """Expected against true IoU of every image of a model; empty where it is not known."""
    try:
        calibration = read_iou_calibration(results.root / f"train/{model}/best.calibration.json")
    except DataError:
        return Html("")
    panels = {source: _points(results, model, source, calibration) for source in _SOURCES}
    panels = {source: groups for source, groups in panels.items() if groups}
    fit = calibration(0.5)
    if not panels or fit is None:
        return Html("")
    caption = f"{model}: expected and true IoU of every image. Band: the interval of the validation set."
    plot = expected_against_true(panels, fit.half_width)
    return plotted(plot, f"expected and true IoU of {model}", caption)


def _points(
    results: Results, model: str, source: str, calibration: IouCalibration
) -> dict[str, list[tuple[float, float, str]]]:
    groups: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for path in sorted((results.root / "evaluate" / model).glob(f"*.{source}.csv")):
        for row in read_rows(path):
            raw, iou = number(row, "expected_iou"), number(row, "iou")
            if raw is not None and iou is not None and (one := calibration(raw)):
                image = f"{row['id']}, {source[:-1]} {row.get(source[:-1], '')}"
                groups[results.category(row["category"])].append(
                    (one.value, iou, f"{image}: expected {one.value:.2f}, is {iou:.2f}")
                )
    return dict(sorted(groups.items()))


def _coverage(row: Row) -> Html | str | None:
    value, low, high = (number(row, f"coverage{end}") for end in ("", "_low", "_high"))
    if value is None:
        return None
    ends = "" if low is None or high is None else f" [{100 * low:.0f}, {100 * high:.0f}]"
    return join([percent(value), tag("small", ends)])
