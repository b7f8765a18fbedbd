"""Judging a finished shape by the audits of its stages; the limits are those of the section `audit`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from occnet_lib.config import AuditConfig
from occnet_lib.types import Status

_LEVELS: tuple[Status, ...] = ("ok", "warn", "failed")


def judge(figures: Mapping[str, Mapping[str, Any]], config: AuditConfig) -> tuple[Status, str]:
    """Compare the audits of a shape with the limits.

    Args:
        figures: audit of each stage, by stage; absent figures are not judged.
        config: section `audit`.

    Returns:
        the status, and as its reason every figure beyond a limit, worst first; empty for ok.
    """
    findings = sorted(_findings(figures, config), key=lambda finding: -finding[0])
    if not findings:
        return "ok", ""
    return _LEVELS[findings[0][0]], "; ".join(reason for _, reason in findings)


def _findings(figures: Mapping[str, Mapping[str, Any]], config: AuditConfig) -> Iterator[tuple[int, str]]:
    """Level (1 warn, 2 failed) and reason of every figure beyond a limit."""
    closed = figures.get("watertight", {})
    views = figures.get("views", {})
    voxel = closed.get("voxel")
    if voxel:
        for name, words in (
            ("surface_error", "closed mesh to input"),
            ("input_error", "input to closed mesh"),
        ):
            distance = closed.get(f"{name}_p95")
            yield from _above(distance, voxel, f"95 % of {words} within {{}} voxels", "distance", config)
        edge = closed.get("edge_ratio")
        off = None if edge is None else abs(edge - 1.0)
        yield from _above(off, voxel, "longest edge off by {} voxels", "edge", config)
    volume = closed.get("volume")
    yield from _below(volume, "volume {}", "least_volume", config)
    yield from _above(volume, 1.0, "volume {}", "most_volume", config)
    yield from _above(closed.get("ragged"), 1.0, "{} of the closed mesh far from the input", "ragged", config)
    if closed.get("repaired"):
        level = _LEVELS.index(config.repaired)
        if level:
            yield level, f"repaired by MeshFix (audit.repaired: {config.repaired})"
    ratio = closed.get("faces_ratio")
    # The method exact keeps the input's faces, however many.
    if ratio is not None and ratio > config.faces and closed.get("method") != "exact":
        count = closed.get("faces_out")
        yield 1, f"{count} faces, {ratio:.3g} times watertight.max_faces, above audit.faces {config.faces:g}"
    yield from _below(
        views.get("inside"), "{} of the closed surface in the silhouettes", "silhouette", config
    )
    if views.get("unread"):
        yield _LEVELS.index("warn"), views["unread"]
    yield from _below(views.get("covered"), "{} of the silhouettes covered", "silhouette", config)


def _above(
    value: float | None, unit: float, words: str, key: str, config: AuditConfig
) -> Iterator[tuple[int, str]]:
    limits = getattr(config, key)
    if value is not None and value / unit > limits[0]:
        yield _finding(value / unit, value / unit > limits[1], words, key, "above", limits)


def _below(value: float | None, words: str, key: str, config: AuditConfig) -> Iterator[tuple[int, str]]:
    limits = getattr(config, key)
    if value is not None and value < limits[0]:
        yield _finding(value, value < limits[1], words, key, "below", limits)


def _finding(
    value: float, beyond: bool, words: str, key: str, side: str, limits: tuple[float, float]
) -> tuple[int, str]:
    """Level and reason, which names the figure and the limit that it exceeds."""
    return 1 + beyond, f"{words.format(f'{value:.3g}')}, {side} audit.{key} {limits[beyond]:g}"
