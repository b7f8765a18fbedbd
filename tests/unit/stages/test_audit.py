"""Limits of the audit."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from occnet_lib.config import AuditConfig
from occnet_lib.stages.audit import judge

VOXEL = 1 / 100
GOOD: dict[str, dict[str, Any]] = {
    "watertight": {
        "voxel": VOXEL,
        "surface_error_p95": 0.1 * VOXEL,
        "input_error_p95": 0.7 * VOXEL,
        "edge_ratio": 1.002,
        "volume": 0.2,
        "repaired": False,
    },
    "points": {"occupied_share": 0.15},
    "views": {"inside": 1.0, "covered": 0.999},
}


def judged(
    stage: str = "watertight", limits: dict[str, Any] | None = None, **figures: Any
) -> tuple[str, str]:
    audits = {**GOOD, stage: {**GOOD[stage], **figures}}
    return judge(audits, AuditConfig.model_validate(limits or {}))


@pytest.mark.parametrize(
    ("stage", "figure", "warn", "failed", "words"),
    [
        (
            "watertight",
            "surface_error_p95",
            2.5 * VOXEL,
            11 * VOXEL,
            "closed mesh to input within 2.5 voxels",
        ),
        ("watertight", "input_error_p95", 2.5 * VOXEL, 11 * VOXEL, "input to closed mesh within 2.5 voxels"),
        ("watertight", "edge_ratio", 1.05, 1.2, "longest edge off by 5 voxels"),
        ("watertight", "edge_ratio", 0.95, 0.8, "longest edge off by 5 voxels"),
        ("watertight", "volume", 2e-4, 2e-5, "volume 0.0002, below audit.least_volume 0.0005"),
        ("watertight", "volume", 1.05, 1.3, "volume 1.05, above audit.most_volume 1.02"),
        (
            "watertight",
            "ragged",
            0.005,
            0.1,
            "0.005 of the closed mesh far from the input, above audit.ragged 0.002",
        ),
        (
            "views",
            "inside",
            0.985,
            0.5,
            "0.985 of the closed surface in the silhouettes, below audit.silhouette",
        ),
        ("views", "covered", 0.95, 0.5, "0.95 of the silhouettes covered, below audit.silhouette 0.99"),
    ],
)
def test_a_figure_beyond_its_limits(stage: str, figure: str, warn: float, failed: float, words: str) -> None:
    status, reason = judged(stage, **{figure: warn})
    assert (status, words in reason) == ("warn", True), reason
    assert judged(stage, **{figure: failed})[0] == "failed"


def test_good_and_absent_figures_are_ok() -> None:
    assert judged() == ("ok", "")
    assert judge({}, AuditConfig()) == ("ok", "")
    assert judge({"watertight": {"edge_ratio": 3.0}}, AuditConfig()) == (
        "ok",
        "",
    )  # in voxels of unknown size


def test_the_worst_comes_first_and_all_are_reported() -> None:
    status, reason = judged(volume=2e-4, edge_ratio=1.2)
    assert status == "failed"
    first, second = reason.split("; ")
    assert "longest edge off by 20 voxels, above audit.edge 12" in first
    assert "volume" in second


def test_a_repair_is_what_the_configuration_says() -> None:
    assert judged(repaired=True) == ("warn", "repaired by MeshFix (audit.repaired: warn)")
    assert judged(limits={"repaired": "failed"}, repaired=True)[0] == "failed"
    assert judged(limits={"repaired": "ok"}, repaired=True)[0] == "ok"


def test_more_faces_than_wanted_are_said_but_not_a_few_more() -> None:
    assert judged(faces_ratio=1.2, faces_out=24_000) == ("ok", "")
    status, reason = judged(faces_ratio=7.5, faces_out=150_000)
    assert status == "warn"
    assert reason == "150000 faces, 7.5 times watertight.max_faces, above audit.faces 1.25"
    assert judged(faces_ratio=1e9, faces_out=10**9)[0] == "warn"
    assert judged(limits={"faces": 10.0}, faces_ratio=7.5, faces_out=150_000)[0] == "ok"
    assert judged(method="exact", faces_ratio=7.5, faces_out=150_000) == ("ok", "")  # closed, as it came


@pytest.mark.parametrize(
    "limits", [{"distance": (3, 2)}, {"edge": (-1, 2)}, {"silhouette": (0.9, 0.99)}, {"distance": 2}]
)
def test_limits_that_cannot_be(limits: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AuditConfig.model_validate(limits)
