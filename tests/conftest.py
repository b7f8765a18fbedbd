"""What all tests share."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[1]
LONG_FIRST = ("workflow", "slow")
FINISHED = tuple(f"tests/workflow/test_{name}.py" for name in ("end_to_end", "everyday", "failures"))

# Tests run beside one another on few cores: numeric libraries get one thread each.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Libraries and tests stay to the end: the garbage collector does not go through them, now and later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with long tests come first, so that parallel workers end together: Snakemake, Slurm, slow, the rest."""
    groups = [
        {path for item in items if mark in item.keywords and (path := item.path)} for mark in LONG_FIRST
    ]

    def place(item: pytest.Item) -> int:
        return next((n for n, paths in enumerate(groups) if item.path in paths), len(groups))

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file stays with one worker, and so do the files that use the checkout of `finished`."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "finished" if file.startswith(FINISHED) else file

    config.option.loadscopereorder = False
    return Scheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable():
    """Reports of parallel workers travel as UTF-8: bytes of file names that are not text become escapes."""
    return _encodable((yield))


def _encodable(value: Any) -> Any:
    """The value with surrogates written as escapes, in lists and dicts too."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {key: _encodable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_encodable, value))
    return value


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
