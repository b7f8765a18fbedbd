"""The verb that measures meshes of any system: one mesh, or folders of them."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from occnet_lib.api import evaluation
from occnet_lib.config import Config
from occnet_lib.errors import ConfigError
from occnet_lib.storage.atomic import check_folder

from .arguments import progress_bar

if TYPE_CHECKING:
    from occnet_lib.api.comparison import MeasuredSystem
    from occnet_lib.evaluation.alignment import Align
    from occnet_lib.evaluation.metrics import Comparison
    from occnet_lib.storage.meshes import Up

logger = logging.getLogger(__name__)
_AXES = ("x", "y", "z", "auto")


def evaluate(
    predictions: Annotated[list[Path], "predicted mesh, or a folder of meshes of each system"],
    ground_truth: Annotated[Path, "closed ground-truth mesh (of `occnet watertight`), or folder of such"],
    config: Config,
    *,
    align: Annotated[
        Literal["none", "scale", "similarity", "yaw", "icp"],
        "what may be changed before measuring: uniform scale and translation; also rotation; also rotation about the up "
        "axis only; rotation and translation without scale",
    ] = "none",
    pairs: Annotated[
        Path | None, "CSV with the columns prediction, ground_truth and optionally name, for folders"
    ] = None,
    up: Annotated[
        list[str] | None,
        "up axis of predictions (x, y, z), if not that of the ground truth; auto: that with the best fit, with a warning; "
        "SYSTEM=AXIS: of one system (repeatable)",
        "AXIS",
    ] = None,
    error_map: Annotated[
        Path | None,
        "folder for meshes coloured by their distance to the ground truth (GLB, and PNG with the scale)",
    ] = None,
    out: Annotated[Path | None, "folder for tables, transforms and comparison.html"] = None,
) -> str:
    """IoU, Chamfer distances, normal consistency and F-scores of meshes against their ground truth."""
    if error_map is not None:
        _refuse_inputs(error_map, [*predictions, ground_truth])
    folders = [path.is_dir() for path in (*predictions, ground_truth)]
    if any(folders) != all(folders):
        if missing := next((path for path in (*predictions, ground_truth) if not path.exists()), None):
            raise ConfigError("no such file or folder", path=missing)
        paths = " and ".join(map(str, (*predictions, ground_truth)))
        raise ConfigError(f"{paths} must be two meshes or only folders")
    if not all(folders):
        if pairs:
            raise ConfigError("--pairs needs two folders, to which its paths are relative")
        if len(predictions) > 1:
            raise ConfigError(
                "several predictions need folders, one of each system, and that of the ground truth"
            )
        (axis,) = _up_axes(up or [], []).values()
        _check_outputs(out, error_map)
        return _evaluate_mesh(predictions[0], ground_truth, config, align, axis, error_map, out)
    names = _system_names(predictions)
    axes = _up_axes(up or [], names)
    if error_map is not None and len(names) > 1:
        for name in names:
            _refuse_inputs(error_map / name, [*predictions, ground_truth])
    _check_outputs(out, error_map)
    systems = [
        _measured_system(name, folder, ground_truth, config, align, pairs, axes[name], len(names) == 1)
        for name, folder in zip(names, predictions, strict=True)
    ]
    _write(systems, config, error_map, out)
    if len(systems) == 1:
        return systems[0].report.text()
    return "\n\n".join(f"{system.name}\n{system.report.text()}" for system in systems)


def _measured_system(
    name: str,
    predictions: Path,
    ground_truth: Path,
    config: Config,
    align: Align,
    table: Path | None,
    up: Up | Literal["auto"] | None,
    is_only: bool,
) -> MeasuredSystem:
    from occnet_lib.api.comparison import MeasuredSystem
    from occnet_lib.api.frames import guess_up
    from occnet_lib.evaluation.pair_tables import UpAxis
    from occnet_lib.evaluation.pairs import match_folders, read_pairs

    folders, system = (predictions, ground_truth), "" if is_only else name
    pairs = read_pairs(table, *folders) if table else match_folders(*folders)
    axis = guess_up(pairs, config, align, system) if up == "auto" else UpAxis(up)
    report = evaluation.evaluate_pairs(progress_bar(pairs, f"evaluate {name}"), config, align, axis, system)
    return MeasuredSystem(name, report)


def _up_axes(given: list[str], systems: list[str]) -> dict[str, Up | Literal["auto"] | None]:
    """The up axis of each system from `AXIS` (of all) and `SYSTEM=AXIS` (of one, which prevails).

    Raises:
        ConfigError: an axis or a system that does not exist, or one that is given twice.
    """
    axes: dict[str, Any] = {}
    for text in given:
        system, _, axis = text.rpartition("=")
        if axis not in _AXES:
            raise ConfigError(f"--up {text}: {axis!r} is not one of {', '.join(_AXES)}")
        if system and system not in systems:
            named = f"the systems are {', '.join(systems)}" if systems else "SYSTEM=AXIS needs folders"
            raise ConfigError(f"--up {text}: there is no system {system!r}", hint=named)
        if system in axes:
            raise ConfigError(f"--up is given twice for {system or 'all systems'}")
        axes[system] = axis
    return {system: axes.get(system, axes.get("")) for system in systems or [""]}


def _check_outputs(*folders: Path | None) -> None:
    """Refuse folders that cannot be written, before anything is measured."""
    for folder in folders:
        if folder is not None:
            check_folder(folder)


def _refuse_inputs(error_map: Path, inputs: list[Path]) -> None:
    """Refuse a folder of coloured meshes that is, or lies in, a folder of the meshes to measure.

    They would replace meshes of the same name, and the next evaluation would take them for predictions.

    Raises:
        ConfigError: it is one.
    """
    place = error_map.resolve()
    for path in inputs:
        folder = path if path.is_dir() else path.parent
        inside = place.is_relative_to(folder.resolve()) if path.is_dir() else place == folder.resolve()
        if inside:
            text = f"--error-map {error_map}: its meshes would mix with those of {folder}, which are measured"
            raise ConfigError(text, hint="name a folder outside, e.g. --error-map errors")


def _system_names(folders: list[Path]) -> list[str]:
    """Names of systems: of their folders, with as many parents as make them different.

    Raises:
        ConfigError: a folder is given twice.
    """
    parts = [folder.resolve().parts[1:] for folder in folders]
    if len(set(parts)) < len(parts):
        raise ConfigError("the same folder of predictions is given twice")
    depth = 1
    while len({part[-depth:] for part in parts}) < len(parts):
        depth += 1
    return ["-".join(part[-depth:]) or "predictions" for part in parts]


def _write(systems: list[MeasuredSystem], config: Config, error_map: Path | None, out: Path | None) -> None:
    """Write tables, the page and error maps; those of several systems into a folder of each."""
    from occnet_lib.api.comparison import write_comparison, write_error_maps

    for system in systems:
        part = system.name if len(systems) > 1 else ""
        if out is not None:
            system.report.write(out / part, config)
        if error_map is not None:
            write_error_maps(system, config, error_map / part)
    if out is not None:
        write_comparison(systems, config, out / "comparison.html")


def _evaluate_mesh(
    prediction: Path,
    ground_truth: Path,
    config: Config,
    align: Align,
    up: Up | Literal["auto"] | None,
    error_map: Path | None,
    out: Path | None,
) -> str:
    from occnet_lib.api.comparison import MeasuredSystem
    from occnet_lib.evaluation.metrics import NO_SURFACE
    from occnet_lib.evaluation.pair_tables import Measured, Report, UpAxis
    from occnet_lib.evaluation.pairs import Pair
    from occnet_lib.storage.meshes.suffixes import stem

    pair = Pair("", stem(ground_truth.name), prediction, ground_truth)
    result = evaluation.evaluate(prediction, ground_truth, config, align=align, up=up)
    axis = UpAxis(result.up, guessed=up == "auto")
    if result.note:
        worst = ", which counts as the worst value of every metric" if result.note == NO_SURFACE else ""
        logger.warning("%s %s%s", prediction, result.note, worst)
    if out is not None or error_map is not None:
        report = Report.of(align, [Measured.of(pair, result)], [], config, axis)
        _write([MeasuredSystem(stem(prediction.name), report)], config, error_map, out)
    return _as_json(result, align, axis.stated if axis.guessed else "")


def _as_json(result: Comparison, align: Align, up: str) -> str:
    """Metrics, alignment and intervals of a mesh, one a line."""
    numbers = {name: None if math.isnan(value) else value for name, value in result.values.items()}
    intervals = {name: list(bounds) for name, bounds in result.intervals.items() if numbers[name] is not None}
    lines = [f"  {json.dumps(name)}: {json.dumps(value)}," for name, value in numbers.items()]
    lines.append(f'  "align": {json.dumps(align)},')
    if up:
        lines.append(f'  "up_axis": {json.dumps(up)},')
    if result.alignment is not None:
        lines.append(f'  "transform": {json.dumps(result.alignment.record())},')
    lines += ['  "sampling_interval_95": {']
    lines += [f"    {json.dumps(name)}: {json.dumps(interval)}," for name, interval in intervals.items()]
    lines[-1] = lines[-1].rstrip(",")
    return "\n".join(["{", *lines, "  }", "}"])
