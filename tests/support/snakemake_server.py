"""Snakemake and its jobs in forks of two processes that have imported the libraries."""

from __future__ import annotations

import atexit
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from select import select

from tests.support import fork_server

LIMIT = 3600.0  # seconds of a run
# Without what opens a display or starts threads; torchvision needs the project's shim.
LIBRARIES = (
    *("h5py", "numba", "open3d", "scipy.ndimage", "scipy.spatial", "sklearn.cluster", "trimesh"),
    "occnet_lib.training.lightning_imports",
)


@cache
def _server(module: str, *libraries: str) -> str:
    """Start a server; the path of its socket."""
    folder = tempfile.mkdtemp(prefix="occnet-tests-")
    path = os.path.join(folder, "socket")
    command = [sys.executable, "-I", fork_server.__file__, "server", path, module, *libraries]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    atexit.register(_end, process, Path(folder))
    return path


def _end(server: subprocess.Popen[str], folder: Path) -> None:
    """End a server, so that its processor time counts as that of the tests."""
    assert server.stdin is not None
    with suppress(OSError, subprocess.TimeoutExpired):
        server.stdin.close()
        server.wait(5)
    server.kill()
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


@cache
def python() -> str:
    """A program that does what Python does, and runs `-m occnet_lib` in a fork."""
    path = Path(_server("occnet_lib", *LIBRARIES)).with_name("python")
    words = [
        sys.executable,
        "-IS",
        fork_server.__file__,
        "client",
        str(path.with_name("socket")),
        "occnet_lib",
    ]
    path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    path.chmod(0o700)
    return str(path)


def snakemake(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """Exit code and output (both streams) of `snakemake` in a folder; TimeoutError after LIMIT."""
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogateescape") as output,
        open(os.devnull) as nothing,
        fork_server.connect(_server("snakemake", "snakemake.cli")) as connection,
    ):
        request = {"arguments": [*arguments], "folder": str(folder), "environment": dict(environment)}
        request["executable"] = sys.executable if "-n" in arguments else python()
        fork_server.send(connection, request, [nothing.fileno(), output.fileno(), output.fileno()])
        done = bool(select([connection], [], [], LIMIT)[0])
        code = fork_server.exit_code(connection) if done else -1
        output.seek(0)
        text = output.read()
        if not done:
            raise TimeoutError(f"snakemake {shlex.join(arguments)}: not done in {LIMIT} s\n{text}")
        return code, text
