"""`python -m MODULE …` in forks of a process that has imported the libraries, which takes most of the time of a short run.

A server listens at a socket. For each request it forks, and the fork takes the arguments, folder, environment and
files of the request. Of the project's own modules none stays imported before. Processes that such a fork starts by
`multiprocessing` (spawn) are forks of the server, too.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NoReturn

PROJECT = str(Path(__file__).parents[2])
FILES = 64
REQUEST_BYTES = 2**17
SPAWNED = "--multiprocessing-fork"
KEPT: list[ModuleType] = []  # the declarations of the torchvision shim live as long as its module


def connect(path: str) -> socket.socket:
    """A connection to the server at `path`, which keeps each message whole."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(path)
    return connection


def send(connection: socket.socket, request: dict[str, object], streams: list[int]) -> None:
    """Request a run: `arguments` and `environment`, in `folder`, with these file descriptors as 0, 1, … or `numbers`."""
    socket.send_fds(connection, [json.dumps(request).encode()], streams)


def exit_code(connection: socket.socket) -> int:
    """Wait until the run ends; negative: the signal that ended it."""
    answer = connection.recv(64)
    if not answer:
        raise ConnectionError("the server has ended")
    return int(answer)


def serve(path: str, module: str) -> str:
    """Answer requests until standard input is closed. Returns in a fork only: the code to go on with, or "" for `module`."""
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
            request, streams, *_ = socket.recv_fds(connection, REQUEST_BYTES, FILES)
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
    spawning: str = "",
    numbers: list[int] | None = None,
) -> str:
    """Take folder, environment, module path and files of a process of its own; returns the code of a spawned one."""
    above = [fcntl.fcntl(stream, fcntl.F_DUPFD_CLOEXEC, 2 * FILES) for stream in streams]
    for source in streams:
        os.close(source)
    for target, source in zip(numbers or range(len(above)), above, strict=True):
        os.dup2(source, target, inheritable=target < 3)
        os.close(source)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = [folder, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.executable = executable or sys.executable
    if spawning:
        import_module("multiprocessing").set_executable(spawning)  # clients have no need of it
    spawned = arguments[-1:] == [SPAWNED]
    sys.argv = ["-c", SPAWNED] if spawned else [module, *arguments]
    return arguments[-2] if spawned else ""


def client(path: str, module: str, *arguments: str) -> None:
    """Be a Python interpreter that runs `-m module`, and what `multiprocessing` starts, by the server at `path`."""
    if arguments[:2] == ("-m", module):
        words, numbers = arguments[2:], [0, 1, 2]
    elif arguments[-1:] == (SPAWNED,):
        words, numbers = arguments[-2:], open_files()
    else:
        os.execv(sys.executable, [sys.executable, *arguments])
    with connect(path) as connection:
        request = {"arguments": words, "folder": os.getcwd(), "environment": dict(os.environ)}
        request |= {"numbers": numbers, "spawning": os.path.join(os.path.dirname(path), "python")}
        send(connection, request, numbers)
        for number in numbers[3:]:  # or they would stay open when the fork has closed them
            os.close(number)
        code = exit_code(connection)
    if code < 0:
        with suppress(OSError):  # SIGKILL
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


def open_files() -> list[int]:
    """The file descriptors of this process."""
    listed = [int(name) for name in os.listdir("/proc/self/fd")]
    return sorted(number for number in listed if os.path.exists(f"/proc/self/fd/{number}"))


def server(path: str, module: str, *libraries: str) -> None:
    """Import libraries, then serve; what follows that is done in forks."""
    sys.path.append(PROJECT)
    KEPT.extend(import_module(library) for library in libraries)
    sys.path.remove(PROJECT)
    for name in [name for name in sys.modules if name.partition(".")[0] == "occnet_lib"]:
        del sys.modules[name]
    gc.freeze()  # or each fork would go through all objects in its own collections
    code = serve(path, module)
    try:
        if code:
            exec(code, {"__name__": "__main__"})
        else:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except BaseException as error:
        end(error)
    end()


def end(error: BaseException | None = None) -> NoReturn:
    """End a fork as Python does, but without its destruction of all modules, which copies their memory: 0.3 CPU s."""
    status = 0
    if isinstance(error, SystemExit) and not isinstance(error.code, str):
        status = int(error.code or 0)
    elif error is not None:
        status = 1
        if isinstance(error, SystemExit):
            sys.stderr.write(f"{error.code}\n")
        else:
            sys.excepthook(type(error), error, error.__traceback__)
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status & 0xFF)


if __name__ == "__main__":
    {"server": server, "client": client}[sys.argv[1]](*sys.argv[2:])
