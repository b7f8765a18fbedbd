"""Snakemake in forks of one process that has imported it, which takes most of the time of a dry run.

A fork does what `python -m snakemake` does in its folder with its environment. Nothing of the project is imported before.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from select import select

LIMIT = 3600.0  # seconds of a run


def serve() -> None:
    """Run each request of standard input in a fork and answer its exit code; a fork returns and goes on to `main`."""
    import snakemake.cli  # noqa: F401

    assert "occnet_lib" not in sys.modules
    for line in sys.stdin:
        request = json.loads(line)
        if not (child := os.fork()):
            return become(**request)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()
    os._exit(0)


def become(arguments: list[str], folder: str, environment: dict[str, str], output: str) -> None:
    """Take folder, environment, module path and output of a process of its own."""
    file = os.open(output, os.O_WRONLY | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (file, 1), (file, 2)):
        os.dup2(source, target)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = [folder, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = ["snakemake", *arguments]


@cache
def _server() -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-I", __file__], stdin=pipe, stdout=pipe, text=True)
    atexit.register(_end, process)
    return process


def _end(server: subprocess.Popen[str]) -> None:
    """End the server, so that its processor time counts as that of the tests."""
    assert server.stdin is not None
    with suppress(OSError, subprocess.TimeoutExpired):
        server.stdin.close()
        server.wait(5)
    server.kill()


def snakemake(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """Exit code and output (both streams) of `snakemake` in a folder; TimeoutError after LIMIT."""
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.NamedTemporaryFile("r", encoding="utf-8", errors="surrogateescape") as output:
        request = {"arguments": [*arguments], "folder": str(folder), "environment": dict(environment)}
        server.stdin.write(json.dumps(request | {"output": output.name}) + "\n")
        server.stdin.flush()
        if not select([server.stdout], [], [], LIMIT)[0]:
            server.kill()
            raise TimeoutError(f"snakemake {' '.join(arguments)}: not done in {LIMIT} s\n{output.read()}")
        code = server.stdout.readline()
        text = output.read()
        assert code.strip(), f"the server of snakemake has ended\n{text}"
        return int(code), text


if __name__ == "__main__":
    serve()
    from snakemake.cli import main

    main(sys.argv[1:])
