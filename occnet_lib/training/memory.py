"""Memory that large arrays leave behind is kept for the next ones."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # numbers of options in glibc's malloc.h


def keep_freed_memory() -> bool:
    """Have this process keep the memory that it frees.

    glibc gives back to the system what is free above 64 MB, and all arrays of more than 32 MB; the next step then
    gets the same memory again, which the system clears page by page: a seventh of a step on a CPU, more in single
    precision (benchmarks/step.py).

    Returns:
        whether the C library is one that can be told so.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))
