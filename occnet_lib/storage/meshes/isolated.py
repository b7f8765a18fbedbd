"""Calls of native libraries that crash on damaged files, in a separate process."""

from __future__ import annotations

import ctypes
import os
import pickle
import re
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

CPU_SECONDS = 120  # the time limit of a shape does not include other processes
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_NOISE = re.compile(r"\x1b\[[0-9;]*m|\*+")


def call_isolated(function: Callable[..., T], *arguments: Any) -> tuple[T, list[str]]:
    """Call a function of a module in a new process.

    Returns:
        its result, and the lines that it printed, without colours.

    Raises:
        ValueError: the process crashed or exceeded its time limit.
        Exception: what the function raises.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result"
        done = subprocess.run(
            [sys.executable, "-c", f"from {__name__} import answer; answer()", str(out)],
            input=pickle.dumps((CPU_SECONDS, function, arguments)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=False,
        )
        text = _NOISE.sub("", done.stdout.decode(errors="replace"))
        lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
        if done.returncode:
            raise ValueError(_how_it_ended(done.returncode, lines))
        ok, value = pickle.loads(out.read_bytes())
    if not ok:
        raise value
    return value, lines


def _how_it_ended(code: int, lines: list[str]) -> str:
    if code == -signal.SIGXCPU:
        return f"its library took more than {CPU_SECONDS} seconds"
    if code < 0:
        return f"its library crashed with {signal.Signals(-code).name}"
    return f"its library ended with code {code}: {lines[-1] if lines else ''}"


def answer() -> None:
    """The new process: function and arguments come from the standard input, the result goes to a file."""
    seconds, function, arguments = pickle.load(sys.stdin.buffer)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))  # first SIGXCPU, then SIGKILL
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    die_with_parent()
    try:
        result = True, function(*arguments)
    except Exception as error:
        result = False, error
    Path(sys.argv[1]).write_bytes(pickle.dumps(result))


def die_with_parent() -> None:
    """Be killed when the parent ends, however it ends (Linux)."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
