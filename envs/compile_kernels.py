"""Compile the numerical kernels, so that the first run need not: `python envs/compile_kernels.py`.

numba keeps compiled code beside the modules. Without this the first shapes of a run take 15 CPU s each instead of 0.1.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import numpy as np

from occnet_lib import demo
from occnet_lib.config import check
from occnet_lib.evaluation.metrics import measure
from occnet_lib.stages.plan import AUDIT
from occnet_lib.stages.process_shape import process
from occnet_lib.storage import shape_file
from occnet_lib.types import ShapeKey

SMALL = {
    "watertight": {"resolution": 96},
    "points": {"uniform": 1000, "surface": 1000, "near_surface": 0.05},
    "views": {"count": 1},
    "demo": {"shapes_per_category": 1},
}


def preprocess_and_measure(folder: Path) -> None:
    """One shape of each category of the demo through the stages; its mesh against itself."""
    config = check(SMALL)
    for path in demo.write(folder, config.demo, config.seed):
        key = ShapeKey(path.parts[-3], path.parts[-2], str(path.relative_to(folder)))
        row = process(key, config, folder, folder / "shape.h5")
        if row["status"] == "failed" and row["stage"] != AUDIT:  # one view is too few for its figures
            raise SystemExit(f"{key.name}: {row['reason']}")
        mesh, samples = (
            shape_file.read_watertight(folder / "shape.h5").mesh,
            shape_file.read_points(folder / "shape.h5"),
        )
        drawing = np.random.default_rng(0)
        measure(mesh, samples.points, samples.occupancies, samples.surface, samples.normals, 1000, drawing)


def train_step() -> None:
    """A step of the decoder with conditional batch norm, whose norms have kernels on a CPU."""
    import torch

    from occnet_lib.networks.blocks import CbnBlock

    block = CbnBlock(8, 128)
    block(torch.rand(32, 64, 128, requires_grad=True), torch.rand(32, 8)).sum().backward()


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        preprocess_and_measure(Path(name))
    train_step()
