"""What all tests share."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]

# Tests run beside one another on few cores: numeric libraries get one thread each.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's root."""
    return PROJECT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real meshes (`dev/`, `broken/`); the test is skipped where there is none."""
    folder = Path(os.environ.get("OCCNET_REAL_DATA", PROJECT.parent / "shared" / "data"))
    if not (folder / "dev").is_dir():
        pytest.skip(f"no real meshes at {folder}; set OCCNET_REAL_DATA")
    return folder


@pytest.fixture
def keep_logging():
    """`logs.configure` sets up the root logger of a process; give pytest's back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)
