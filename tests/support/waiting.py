"""Waiting with a deadline, so that a test that hangs fails and names what it waited for."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(true: Callable[[], object], what: str, seconds: float = 120.0, every: float = 0.01) -> None:
    """Evaluate a condition again and again until it holds; AssertionError after the deadline."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not in {seconds} s: {what}"
        time.sleep(every)
