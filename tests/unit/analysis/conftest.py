"""Packs for the tests of the analysis."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.demo_results import write_packs


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_packs(tmp_path_factory.mktemp("pack"))
