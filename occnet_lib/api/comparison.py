"""Pages and images of measured systems: comparison.html, meshes coloured by their error."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from occnet_lib.config import Config
from occnet_lib.storage.meshes import MeshFrame, Up
from occnet_lib.storage.tables import write_rows
from occnet_lib.types import Mesh

from .frames import UnitMesh, prediction_mesh, solid_mesh

if TYPE_CHECKING:
    from occnet_lib.evaluation.pair_tables import Measured, Report
    from occnet_lib.evaluation.pairs import Pair
    from occnet_lib.report.comparison import Example


class MeasuredSystem(NamedTuple):
    """A system and its report."""

    name: str
    report: Report


def write_comparison(systems: Sequence[MeasuredSystem], config: Config, out: Path) -> None:
    """Write one HTML page about systems that were measured against the same ground truth.

    Args:
        systems: one or more; `report.examples` shapes of each category are shown.
        config: the configuration that they were measured with.
        out: the HTML file.
    """
    from occnet_lib.report import comparison

    pages = [
        comparison.System(system.name, system.report.rows, system.report.shape_rows()) for system in systems
    ]
    names = comparison.example_names(pages[0], config.report.examples)
    comparison.write_comparison(pages, _examples(systems, names, config), _facts(systems, config), out)


def write_error_maps(system: MeasuredSystem, config: Config, folder: Path) -> None:
    """Write every mesh of a system coloured by its error: `<name>.glb`, `<name>.png`, and errors.csv (report.error_map).

    A failed prediction and a shape without a usable ground truth have a row with status and reason, but no files.
    """
    from occnet_lib.report.error_map import COLUMNS, write_error_map

    report, rows = system.report, []
    for shape in report.shapes:
        name, numbers = shape.pair.name, {}
        true, mesh = measured_meshes(shape, config, report.up.axis)
        if mesh is not None:
            title = f"{system.name}: {name}" + (
                "" if report.align == "none" else f" (aligned: {report.align})"
            )
            numbers = write_error_map(mesh, true.mesh, folder / name, _frame(true), title)
        rows.append(_error_row(shape.pair, shape.status, shape.reason) | numbers)
    rows += [_error_row(pair, "excluded", reason) for pair, reason in report.excluded]
    write_rows(folder / "errors.csv", rows, COLUMNS)


def _error_row(pair: Pair, status: str, reason: str) -> dict[str, Any]:
    return {"category": pair.category, "id": pair.id, "status": status, "reason": reason}


def measured_meshes(shape: Measured, config: Config, up: Up | None) -> tuple[UnitMesh, Mesh | None]:
    """Ground truth and prediction of a pair in the unit frame, as they were measured; None for a failed prediction."""
    true = solid_mesh(shape.pair.ground_truth, config)
    if shape.status == "failed" or shape.pair.prediction is None:
        return true, None
    mesh = prediction_mesh(shape.pair.prediction, true, config, up)
    if mesh is not None and shape.alignment is not None:
        mesh = replace(mesh, vertices=shape.alignment.transform.apply(mesh.vertices))
    return true, mesh


def _examples(systems: Sequence[MeasuredSystem], names: Sequence[str], config: Config) -> Iterator[Example]:
    from occnet_lib.report.comparison import Example

    shapes = [{shape.pair.name: shape for shape in system.report.shapes} for system in systems]
    for name in names:
        meshes: list[Mesh | None] = []
        for system, own in zip(systems, shapes, strict=True):
            true, mesh = measured_meshes(own.get(name, shapes[0][name]), config, system.report.up.axis)
            meshes.append(mesh if name in own else None)
        yield Example(name, true.mesh, meshes)


def _frame(true: UnitMesh) -> MeshFrame:
    """The frame of the file of the ground truth."""
    x, y, z = true.loc.tolist()
    if true.frame is None:
        return MeshFrame("source", true.mesh.up, (x, y, z), true.scale)
    if true.frame.frame == "unit":
        return MeshFrame("unit", "y", (x, y, z), true.scale)
    return MeshFrame("source", true.frame.up, (x, y, z), true.scale)


def _facts(systems: Sequence[MeasuredSystem], config: Config) -> dict[str, str]:
    from occnet_lib.evaluation.alignment import DEGREES_OF_FREEDOM
    from occnet_lib.evaluation.pair_tables import DEFINITIONS

    report = systems[0].report
    facts = {"Alignment": f"{DEGREES_OF_FREEDOM[report.align]} (--align {report.align})"}
    facts |= {f"Up axis of {system.name}": system.report.up.stated for system in systems}
    facts |= {
        f"Largest scale of the alignment, {s.name}": scale for s in systems if (scale := _scales(s.report))
    }
    facts |= DEFINITIONS
    facts["samples"] = (
        f"{config.points.uniform:,} points for the IoU, {config.points.surface:,} of the ground truth's surface, "
        f"{config.evaluate.surface:,} of the prediction's"
    )
    facts["seed"] = str(config.seed)
    return facts


def _scales(report: Report) -> str:
    """Range of the scales of the alignments."""
    scales = [shape.alignment.transform.scale for shape in report.shapes if shape.alignment]
    if not scales or math.isclose(min(scales), max(scales), abs_tol=1e-12):
        return ""
    return f"{max(scales):.4g} (least {min(scales):.4g})"
