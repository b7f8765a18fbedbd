"""Memory that large arrays leave behind is kept for the next ones."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # numbers of options in glibc's malloc.h


def disable_heap_trimming() -> bool:
    """Have this process keep the memory that it frees.

    glibc gives back to the system all arrays of more than 32 MB and what is free above 64 MB. The next step of a
    training then gets the same memory again, which the system clears page by page: half of a step in single precision
    on a CPU (benchmarks/step.py). Not for work whose need of memory varies, as holes in the heap are not given back.

    Returns:
        whether the C library is one that can be told so.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))
