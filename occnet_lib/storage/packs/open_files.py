"""A limit on the number of pack files that a process has open at once."""

from __future__ import annotations

import os
import resource
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Protocol

MAX_OPEN = 1024  # an open pack file takes 0.7 MB of memory


class Openable(Protocol):
    """An object with one file, which can be opened again after it was closed or the process forked."""

    def open_file(self) -> None:
        """Open it unless it is open."""

    def close_file(self) -> None:
        """Close it if it is open."""


def limit() -> int:
    """Maximum number of open files: half of `ulimit -n`; the rest is for other code."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(MAX_OPEN, allowed // 2)) if allowed != resource.RLIM_INFINITY else MAX_OPEN


def raise_limit() -> None:
    """Raise the soft limit of open files, as far as the hard limit allows, to what `MAX_OPEN` needs."""
    allowed, granted = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MAX_OPEN if granted == resource.RLIM_INFINITY else min(2 * MAX_OPEN, granted)
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, granted))


class OpenFiles:
    """The open files of a process; beyond the limit, the least recently used are closed.

    A file that is being read stays open. Safe in threads and across forks: a child process has its own state.
    """

    def __init__(self) -> None:
        self._inherited: list[Openable] = []
        self._reset()
        os.register_at_fork(after_in_child=self._after_fork)

    def _reset(self) -> None:
        self._lock = threading.RLock()
        # Number of readers of each file, least recently used first. Weak: a file that is no longer referenced closes.
        self._readers: weakref.WeakKeyDictionary[Openable, int] = weakref.WeakKeyDictionary()

    def _after_fork(self) -> None:
        self._inherited = list(self._readers)
        self._reset()  # another thread may have held the parent's lock

    @contextmanager
    def holding(self, owner: Openable) -> Iterator[None]:
        """Keep the file of `owner` open during the body."""
        with self._lock:
            while self._inherited:
                self._inherited.pop().close_file()
            readers = self._readers.pop(owner, 0)
            if readers == 0 and len(self._readers) >= limit():
                raise_limit()
                self._close_some(len(self._readers) + 1 - limit())
            owner.open_file()
            self._readers[owner] = readers + 1
        try:
            yield
        finally:
            with self._lock:
                if owner in self._readers:  # not in a child process that was forked during the body
                    self._readers[owner] -= 1

    def close(self, owner: Openable) -> None:
        """Close the file of `owner`, which has no readers."""
        with self._lock:
            self._readers.pop(owner, None)
            owner.close_file()

    def _close_some(self, count: int) -> None:
        idle = (owner for owner, readers in self._readers.items() if readers == 0)
        for owner in list(islice(idle, max(0, count))):
            self.close(owner)
