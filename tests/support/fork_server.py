"""`python -m MODULE …` in forks of a process that has imported the libraries, which takes most of the time of a short run.

A server listens at a socket. For each request it forks, and the fork takes the arguments, folder, environment and
standard streams of the request. Of the project's own modules none stays imported before.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

PROJECT = str(Path(__file__).parents[2])
STREAMS = 3
REQUEST_BYTES = 2**17


def connect(path: str) -> socket.socket:
    """A connection to the server at `path`, which keeps each message whole."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(path)
    return connection


def send(connection: socket.socket, request: dict[str, object], streams: list[int]) -> None:
    """Request a run: `arguments` and `environment`, in `folder`, with these three file descriptors."""
    socket.send_fds(connection, [json.dumps(request).encode()], streams)


def exit_code(connection: socket.socket) -> int:
    """Wait until the run ends; negative: the signal that ended it."""
    answer = connection.recv(64)
    if not answer:
        raise ConnectionError("the server has ended")
    return int(answer)


def serve(path: str, module: str) -> None:
    """Answer requests until standard input is closed. Returns in a fork only, which goes on with `module`."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen()
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    runs: dict[int, socket.socket] = {}
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        ready = select.select([0, listener, ended, *runs.values()], [], [])[0]
        if 0 in ready:
            break
        if ended in ready:
            os.read(ended, 4096)
            report_ended(runs)
        for pid, connection in runs.items():
            if connection in ready:  # closed: who requested the run has gone
                os.kill(pid, signal.SIGTERM)
        if listener in ready:
            connection, _ = listener.accept()
            request, streams, *_ = socket.recv_fds(connection, REQUEST_BYTES, STREAMS)
            if not (pid := os.fork()):
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for each in (listener, connection, *runs.values()):
                    each.close()
                return become(module, streams, **json.loads(request))
            runs[pid] = connection
            for stream in streams:
                os.close(stream)
    for pid in runs:
        os.kill(pid, signal.SIGTERM)
    while runs:
        report_ended(runs, 0)
    os._exit(0)


def report_ended(runs: dict[int, socket.socket], options: int = os.WNOHANG) -> None:
    """Answer those whose runs have ended."""
    while runs and (status := os.waitpid(-1, options))[0]:
        with suppress(OSError), runs.pop(status[0]) as connection:
            connection.send(str(os.waitstatus_to_exitcode(status[1])).encode())


def become(
    module: str,
    streams: list[int],
    arguments: list[str],
    folder: str,
    environment: dict[str, str],
    executable: str = "",
) -> None:
    """Take folder, environment, module path and streams of a process of its own."""
    for target, source in enumerate(streams):
        os.dup2(source, target)
        os.close(source)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = [folder, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = [module, *arguments]
    sys.executable = executable or sys.executable


def client(path: str, module: str, *arguments: str) -> None:
    """Be a Python interpreter that runs `-m module` by the server at `path`."""
    if arguments[:2] != ("-m", module):
        os.execv(sys.executable, [sys.executable, *arguments])
    with connect(path) as connection:
        request = {"arguments": arguments[2:], "folder": os.getcwd(), "environment": dict(os.environ)}
        send(connection, request, [0, 1, 2])
        code = exit_code(connection)
    sys.exit(code if code >= 0 else 128 - code)


def server(path: str, module: str, *libraries: str) -> None:
    """Import libraries, then serve; what follows that is done in forks."""
    sys.path.append(PROJECT)
    kept = [import_module(library) for library in libraries]
    sys.path.remove(PROJECT)
    for name in [name for name in sys.modules if name.partition(".")[0] == "occnet_lib"]:
        del sys.modules[name]
    gc.freeze()  # or each fork would go through all objects in its own collections
    serve(path, module)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    del kept  # not before: the torchvision shim's declarations live as long as its module


if __name__ == "__main__":
    {"server": server, "client": client}[sys.argv[1]](*sys.argv[2:])
