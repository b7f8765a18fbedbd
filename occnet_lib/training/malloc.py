"""glibc's heap: memory of freed arrays is reused instead of returned to the system."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # option numbers of glibc's malloc.h


def disable_heap_trimming() -> bool:
    """Make this process keep the memory that it frees.

    glibc returns arrays of more than 32 MB, and free memory above 64 MB, to the system. The next training step then gets
    the same memory back, which the system clears page by page: half of a step in single precision on a CPU
    (benchmarks/step.py). Not for work with varying memory needs: holes in the heap are not returned.

    Returns:
        whether the C library supports these options.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))
