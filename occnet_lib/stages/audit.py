"""Judging a finished shape by the audits of its stages; the limits are those of the section `audit`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

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
    if voxel := closed.get("voxel"):
        lengths = {
            ("95 % of closed mesh to input within {} voxels", "distance"): closed.get("surface_error_p95"),
            ("95 % of input to closed mesh within {} voxels", "distance"): closed.get("input_error_p95"),
            ("longest edge off by {} voxels", "edge"): abs(closed.get("edge_ratio", 1.0) - 1.0),
        }
        for (words, key), length in lengths.items():
            yield from _beyond(None if length is None else length / voxel, "above", words, key, config)
    volume = closed.get("volume")
    yield from _beyond(volume, "below", "volume {}", "least_volume", config)
    yield from _beyond(volume, "above", "volume {}", "most_volume", config)
    far = "{} of the closed mesh far from the input"
    yield from _beyond(closed.get("ragged"), "above", far, "ragged", config)
    if closed.get("repaired"):
        level = _LEVELS.index(config.repaired)
        if level:
            yield level, f"repaired by MeshFix (audit.repaired: {config.repaired})"
    ratio = closed.get("faces_ratio")
    # The method exact keeps the input's faces, however many.
    if ratio is not None and ratio > config.faces and closed.get("method") != "exact":
        count = closed.get("faces_out")
        yield 1, f"{count} faces, {ratio:.3g} times watertight.max_faces, above audit.faces {config.faces:g}"
    inside = "{} of the closed surface in the silhouettes"
    yield from _beyond(views.get("inside"), "below", inside, "silhouette", config)
    if views.get("unread"):
        yield _LEVELS.index("warn"), views["unread"]
    covered = "{} of the silhouettes covered"
    yield from _beyond(views.get("covered"), "below", covered, "silhouette", config)


def _beyond(
    value: float | None, side: Literal["above", "below"], words: str, key: str, config: AuditConfig
) -> Iterator[tuple[int, str]]:
    """Level and reason of a figure on the wrong side of a limit; the reason names both."""
    if value is None:
        return
    limits = getattr(config, key)
    if passed := [limit for limit in limits if (value > limit if side == "above" else value < limit)]:
        yield len(passed), f"{words.format(f'{value:.3g}')}, {side} audit.{key} {passed[-1]:g}"
