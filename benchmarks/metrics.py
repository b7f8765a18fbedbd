"""Metrics: CPU seconds of one mesh at 100,000 samples, step by step, against a reference written plainly.

The reference asks scipy's trees and tests for inside with trimesh. The true surface is a bumpy ball of radius 0.4; trees
are slow where the predicted one lies far from it.

usage: python benchmarks/metrics.py [--repeats 5] [--samples 100000] [--cells 48 160] [--radii 0.38 0.25]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import product
from statistics import median
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from occnet_lib.evaluation.metrics import measure, surface_metrics
from occnet_lib.geometry.occupancy import contains
from occnet_lib.geometry.sampling import sample_surface
from occnet_lib.reconstruction.extract import surface
from occnet_lib.reconstruction.mise import mise
from occnet_lib.types import Mesh


def blob(radius: float, cells: int) -> Mesh:
    """A bumpy ball."""

    def field(points: NDArray[np.float32]) -> NDArray[np.float32]:
        bumps = 0.03 * np.sin(20 * points).prod(axis=1)
        return np.asarray(10 * (radius + bumps - np.linalg.norm(points, axis=1)), dtype=np.float32)

    return surface(mise(field, cells, 0, 0.0).logits, 0.0)


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """Median CPU seconds."""
    taken = []
    for _ in range(repeats):
        start = process_time()
        work()
        taken.append(process_time() - start)
    return median(taken)


def reference(mesh: Mesh, points: Any, surface_points: Any, samples: int, rng: np.random.Generator) -> None:
    """The same quantities with nothing chosen for speed."""
    import trimesh

    trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).contains(points)
    drawn, _, _ = sample_surface(mesh, samples, rng)
    cKDTree(drawn).query(surface_points)
    cKDTree(surface_points).query(drawn)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--cells", type=int, nargs="+", default=[48, 160])
    parser.add_argument("--radii", type=float, nargs="+", default=[0.38, 0.25])
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    n = args.samples
    true = blob(0.4, 96)
    points = rng.uniform(-0.55, 0.55, (n, 3)).astype(np.float16)
    occupancies = contains(true, points)
    on, normals, _ = sample_surface(true, n, rng)
    on, normals = on.astype(np.float16), normals.astype(np.float16)
    surface_metrics(on[:9], normals[:9], on[:9], normals[:9])  # compiles
    print("radius | faces | inside test | sampling | neighbours | all | reference | reference / all")
    for radius, cells in product(args.radii, args.cells):
        mesh = blob(radius, cells)
        drawn, drawn_normals, _ = sample_surface(mesh, n, rng)
        row = [
            seconds(lambda mesh=mesh: contains(mesh, points), args.repeats),
            seconds(lambda mesh=mesh: sample_surface(mesh, n, rng), args.repeats),
            seconds(lambda d=drawn, m=drawn_normals: surface_metrics(d, m, on, normals), args.repeats),
            seconds(lambda m=mesh: measure(m, points, occupancies, on, normals, n, rng), args.repeats),
            seconds(lambda m=mesh: reference(m, points, on.astype(float), n, rng), args.repeats),
        ]
        print(
            f"{radius} | {len(mesh.faces)} | "
            + " | ".join(f"{value:.3f}" for value in row)
            + f" | {row[4] / row[3]:.1f}"
        )


if __name__ == "__main__":
    main()
