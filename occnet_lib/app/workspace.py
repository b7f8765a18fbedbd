"""The folder that holds everything the page writes: uploads, masks, meshes. It is removed on exit."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from occnet_lib.errors import OccnetError
from occnet_lib.storage.locks import run_lock

_PREFIX = "occnet-app-"
MOST_BYTES = 1_000_000_000
"""Bytes in the workspace above which uploads are refused."""


class Workspace:
    """A temporary folder of this process; those that killed processes left are removed first.

    Attributes:
        folder: the workspace.
        cache: folder in it for Gradio's uploads and files to download.
    """

    def __init__(self) -> None:
        parent = Path(tempfile.gettempdir()).resolve()
        remove_abandoned(parent)
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        self._lock = run_lock(self.folder)
        self.cache = self.folder / "cache"
        self.cache.mkdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()

    def session_folder(self) -> Path:
        """A new folder for the photos and meshes of one browser tab."""
        return Path(tempfile.mkdtemp(prefix="session-", dir=self.folder))

    @property
    def is_full(self) -> bool:
        """Whether the files take more than `MOST_BYTES`."""
        sizes = (file.lstat().st_size for file in self.folder.rglob("*") if file.is_file())
        return sum(sizes) > MOST_BYTES


def remove_abandoned(parent: Path) -> None:
    """Remove workspaces of this user whose process has ended without doing so."""
    for folder in parent.glob(f"{_PREFIX}*"):
        if folder.is_symlink() or not folder.is_dir() or folder.stat().st_uid != os.getuid():
            continue
        try:
            lock = run_lock(folder)
        except OccnetError:  # in use
            continue
        with lock:
            shutil.rmtree(folder, ignore_errors=True)
