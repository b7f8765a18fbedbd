"""How many files a process has open at once, however many it reads by turns."""

from __future__ import annotations

import os
import resource
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Protocol

MOST = 1024  # an open pack file takes 0.7 MB of memory


class Openable(Protocol):
    """What opens its file when told to, again after it was closed or the process forked."""

    def open_file(self) -> None:
        """Open it unless it is open."""

    def close_file(self) -> None:
        """Close it if it is open."""


def limit() -> int:
    """How many may be open: half of what `ulimit -n` allows; the rest is for whoever else opens files."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(MOST, allowed // 2)) if allowed != resource.RLIM_INFINITY else MOST


def raise_limit() -> None:
    """Take of the files that the system grants to this process as many as `MOST` needs."""
    allowed, granted = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MOST if granted == resource.RLIM_INFINITY else min(2 * MOST, granted)
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, granted))


class Handles:
    """Which files are open: beyond the limit, those least recently used are closed.

    A file that is being read stays open, whatever the limit. For threads and across forks: a child keeps accounts
    of its own.
    """

    def __init__(self) -> None:
        self._inherited: list[Openable] = []
        self._begin()
        os.register_at_fork(after_in_child=self._after_fork)

    def _begin(self) -> None:
        self._lock = threading.RLock()
        # Readers of each; the least recently used first. Weak: who drops a file closes it, as ever.
        self._readers: weakref.WeakKeyDictionary[Openable, int] = weakref.WeakKeyDictionary()

    def _after_fork(self) -> None:
        self._inherited = list(self._readers)
        self._begin()  # another thread may have held the parent's lock

    @contextmanager
    def holding(self, owner: Openable) -> Iterator[None]:
        """Have the file of `owner` open meanwhile."""
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
                if owner in self._readers:  # it is not in a child that was forked meanwhile
                    self._readers[owner] -= 1

    def close(self, owner: Openable) -> None:
        """Close the file of `owner`, which nobody reads."""
        with self._lock:
            self._readers.pop(owner, None)
            owner.close_file()

    def _close_some(self, count: int) -> None:
        idle = (owner for owner, readers in self._readers.items() if readers == 0)
        for owner in list(islice(idle, max(0, count))):
            self.close(owner)
