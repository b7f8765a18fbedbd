"""The temporary folder."""

from __future__ import annotations

import subprocess
import sys
import tempfile

import pytest

from occnet_lib.app import workspace
from occnet_lib.app.workspace import Workspace


@pytest.fixture(autouse=True)
def _temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_it_is_removed_on_exit(tmp_path, monkeypatch):
    with Workspace() as folder:
        (folder.session_folder() / "photo.png").write_bytes(b"x" * 100)
        assert folder.folder.stat().st_mode & 0o077 == 0
        assert not folder.is_full
        monkeypatch.setattr(workspace, "MOST_BYTES", 99)
        assert folder.is_full
    assert not list(tmp_path.iterdir())


def test_that_of_a_killed_process_is_removed_and_that_of_a_running_one_stays(tmp_path):
    code = (
        "import os, signal, sys\n"
        "from occnet_lib.app.workspace import Workspace\n"
        "w = Workspace(); (w.cache / 'photo.png').write_bytes(b'x')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {"TMPDIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    with Workspace() as mine:
        subprocess.run([sys.executable, "-c", code], env=environment, check=False)
        assert len(list(tmp_path.iterdir())) == 2
        (tmp_path / "occnet-app-link").symlink_to(mine.folder)
        with Workspace() as other:
            names = {mine.folder.name, other.folder.name, "occnet-app-link"}
            assert {path.name for path in tmp_path.iterdir()} == names
