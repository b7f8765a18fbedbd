"""Memory that large arrays leave behind is kept for the next ones."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # numbers of options in glibc's malloc.h


def keep_freed_memory(most: int = -1) -> bool:
    """Have this process keep the memory that it frees.

    glibc gives back to the system all arrays of more than 32 MB and what is free above 64 MB. The next step or shape
    then gets the same memory again, which the system clears page by page: a tenth of a shape's preprocessing, and half
    of a training step in single precision on a CPU (benchmarks/step.py).

    Args:
        most: bytes, below 2³¹, that are kept at the end of the heap; -1: all.

    Returns:
        whether the C library is one that can be told so.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, most))
