"""Calls in a process of their own."""

from __future__ import annotations

import os
import signal

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
