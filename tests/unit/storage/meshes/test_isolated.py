"""Calls in a process of their own."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from occnet_lib.errors import MeshError
from occnet_lib.storage.meshes import isolated
from occnet_lib.storage.meshes.isolated import call_isolated


def test_results_and_what_is_printed() -> None:
    assert call_isolated(divmod, 7, 3) == ((2, 1), [])
    code = "import os; os.write(1, b'\\x1b[31;1m*** ERR  one\\x1b[0m\\n\\ntwo\\n')"
    assert call_isolated(exec, code) == (None, ["ERR one", "two"])


def test_errors_come_back() -> None:
    with pytest.raises(ZeroDivisionError, match="by zero"):
        call_isolated(divmod, 1, 0)
    with pytest.raises(MeshError, match=r"a\.obj: bad"):
        call_isolated(exec, "from occnet_lib.errors import MeshError; raise MeshError('bad', path='a.obj')")


def test_crashes_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="crashed with SIGSEGV"):
        call_isolated(signal.raise_signal, signal.SIGSEGV)
    with pytest.raises(ValueError, match="ended with code 3"):
        call_isolated(os._exit, 3)
    monkeypatch.setattr(isolated, "CPU_SECONDS", 1)
    with pytest.raises(ValueError, match="took more than 1 seconds"):
        call_isolated(exec, "while True: pass")


def test_a_large_image_is_held_once(tmp_path: Path) -> None:
    """Of 96 MB of pixels: they and what is left of them, but not several copies."""
    from PIL import Image

    Image.new("RGB", (8, 4_000_000)).save(tmp_path / "t.png")
    code = f"""if True:
        import resource
        from pathlib import Path
        from PIL import Image
        from occnet_lib.storage.meshes.images import read_pixels
        Image.new("RGB", (9, 9)).resize((3, 3))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert read_pixels(Path({str(tmp_path / "t.png")!r})).shape == (2048, 1, 3)
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1000)"""
    _, lines = call_isolated(exec, code)
    assert int(lines[-1]) < 220  # MB; pixels in memory have four bytes
