"""Memory of the own process."""

from __future__ import annotations

from pathlib import Path


def peak_memory() -> float:
    """GB that this process has held at the most (ru_maxrss would count the parent's, too)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1e6
    return float("nan")
