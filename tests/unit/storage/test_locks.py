"""Locks hold against other processes and vanish with theirs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from occnet_lib.errors import OccnetError
from occnet_lib.storage import locks
from occnet_lib.storage.locks import job_lock, run_lock, some_locks

HOLD_RUN = "import sys, time; from occnet_lib.storage.locks import run_lock; f = run_lock(sys.argv[1]); "
HOLD_JOB = "import sys, time; from occnet_lib.storage.locks import job_lock\nwith job_lock(sys.argv[1]):\n "


@pytest.fixture
def hold(project):
    """Starts a process that holds a lock until it is killed."""
    started = []

    def start(code, path):
        command = [sys.executable, "-c", code + "print('held', flush=True); time.sleep(60)", str(path)]
        started.append(subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "held\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_second_run_names_the_owner_of_the_folder(tmp_path, hold):
    process = hold(HOLD_RUN, tmp_path)
    with pytest.raises(OccnetError, match=rf"in use by another run \(process {process.pid} on .*results=…"):
        run_lock(tmp_path)


def test_a_killed_run_leaves_no_lock(tmp_path, hold):
    process = hold(HOLD_RUN, tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    run_lock(tmp_path).close()
    run_lock(tmp_path).close()  # nor does a finished one


def test_a_job_waits_for_the_same_job_of_a_killed_run(tmp_path, hold, caplog):
    path = tmp_path / "logs" / ".train.lock"
    process = hold(HOLD_JOB, path)
    waiter = subprocess.Popen(
        [sys.executable, "-c", HOLD_JOB + "print('mine', flush=True)", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # Without the line the end of the process ends the reading; the holder ends by itself after a minute.
    assert any("waiting for the same job of an earlier run" in line for line in waiter.stderr)
    time.sleep(0.2)
    assert waiter.poll() is None
    process.kill()
    assert waiter.communicate(timeout=20)[0] == "mine\n"


def test_jobs_that_follow_one_another_do_not_wait(tmp_path, caplog):
    for _ in range(2):
        with job_lock(tmp_path / ".a.lock"):
            pass
    assert not caplog.records


def test_some_of_several_locks_are_waited_for(tmp_path, hold, monkeypatch, caplog):
    monkeypatch.setattr(locks, "_RETRY_INTERVAL", 0.01)
    paths = [tmp_path / name for name in "abc"]
    process = hold(HOLD_JOB, paths[1])
    with some_locks(paths, 2, "two") as actual:
        assert actual == [0, 2]
        assert not caplog.text
        threading.Timer(0.2, process.kill).start()
        with some_locks(paths, 1, "another") as more:  # the third comes free when its process is killed
            assert more == [1]
    assert f"waiting for another (process {os.getpid()} on " in caplog.text
    assert f", process {process.pid} on " in caplog.text
    with some_locks(paths, 3, "all") as actual:
        assert actual == [0, 1, 2]


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "theirs").write_text("content")
    (tmp_path / "lock").symlink_to(tmp_path / "theirs")
    with pytest.raises(OSError, match="symbolic"), job_lock(tmp_path / "lock"):
        pass
    assert (tmp_path / "theirs").read_text() == "content"


def test_a_results_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OccnetError, match=r"results: cannot be written: .+ \(set results="):
        run_lock(tmp_path / "file" / "results")
