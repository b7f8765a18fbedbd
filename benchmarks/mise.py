"""MISE: points evaluated and CPU seconds against the dense grid, on the field of a chair of boxes.

usage: python benchmarks/mise.py [--repeats 7]
"""

from __future__ import annotations

import argparse
from statistics import median
from time import process_time

import numpy as np
from numpy.typing import NDArray

from occnet_lib.reconstruction.mise import mise

# Centres and half edges of seat, back and legs.
_BOXES = [((0, 0, 0), (0.25, 0.03, 0.25)), ((0, 0.25, -0.22), (0.25, 0.25, 0.03))] + [
    ((0.21 * x, -0.25, 0.21 * z), (0.03, 0.25, 0.03)) for x in (-1, 1) for z in (-1, 1)
]


def chair(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Minus ten times the signed distance to a chair; (N, 3) to (N,)."""
    distance = np.full(len(points), np.inf, np.float32)
    for centre, half in _BOXES:
        q = np.abs(points - np.float32(centre)) - np.float32(half)
        outside = np.sqrt((np.maximum(q, 0) ** 2).sum(1))
        distance = np.minimum(distance, outside + np.minimum(q.max(1), 0))
    return -10 * distance


class Timed:
    """The field, with the CPU seconds spent in it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 3) to (N,)."""
        start = process_time()
        values = chair(points)
        self.seconds += process_time() - start
        return values


# What ONet's MISE took for a chair of boxes, not quite this one, on a machine of this class: points, CPU seconds of
# bookkeeping.
_ONET = {(32, 2): (130_213, 0.108), (32, 3): (427_391, 0.467)}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    print(
        "first grid, halvings | points | of dense | bookkeeping s | field s | dense field s | dense / MISE"
        " | points and bookkeeping of ONet's"
    )
    for resolution0, steps in ((32, 2), (16, 3), (32, 3)):
        own, inside = [], []
        for _ in range(repeats):
            field = Timed()
            start = process_time()
            grid = mise(field, resolution0, steps, 0.0)
            own.append(process_time() - start - field.seconds)
            inside.append(field.seconds)
        dense = Timed()
        n = resolution0 * 2**steps
        ground_truth = mise(dense, n, 0, 0.0)
        assert np.array_equal(ground_truth.logits > 0, grid.logits > 0), "signs differ from the dense grid's"
        ratio = dense.seconds / (median(own) + median(inside))
        points, bookkeeping = _ONET.get((resolution0, steps), (0, 0.0))
        onet = f"{grid.evaluated / points:.2f}, {median(own) / bookkeeping:.2f}" if points else "-"
        print(
            f"{resolution0}, {steps} | {grid.evaluated} | {grid.evaluated / ground_truth.evaluated:.1%} | "
            f"{median(own):.3f} | {median(inside):.3f} | {dense.seconds:.2f} | {ratio:.1f} | {onet}"
        )


if __name__ == "__main__":
    main()
