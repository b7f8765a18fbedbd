"""Recovery of unknown similarity transforms by `occnet evaluate --align similarity`.

Every mesh is closed, and a copy is rotated, scaled and moved at random and written as GLB: a foreign system that predicts
the ground truth in frames of its own. For each shape: the largest distance of its vertices to the surface of the ground
truth after the alignment that transforms.json states, in longest edges (a symmetric shape may be recovered as its mirror
image or half turn), and the ratio of the recovered scale to the true one.

usage: python benchmarks/alignment.py [FOLDER] [--count 12]     without a folder: shapes of the demo
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

import occnet_lib as occnet
from occnet_lib import cli
from occnet_lib.demo import BUILDERS, generate
from occnet_lib.geometry.occupancy import raycasting_scene

BOUND = 1e-3
CATEGORIES = tuple(BUILDERS)
CONFIG = {"watertight": {"resolution": 64}, "points": {"uniform": 10_000, "surface": 5_000}}


def meshes(folder: Path | None, count: int) -> dict[str, occnet.Mesh]:
    """Raw meshes by name: evenly spread over a folder, or of the demo."""
    if folder is None:
        shapes = [generate(CATEGORIES[i % len(CATEGORIES)], i, 0) for i in range(count)]
        return {f"shape_{i}": shape.mesh for i, shape in enumerate(shapes)}
    keys = occnet.list_shapes(folder)
    places = np.unique(np.linspace(0, len(keys) - 1, min(count, len(keys))).astype(int))
    return {keys[i].name: occnet.load_mesh(folder / keys[i].path) for i in places.tolist()}


def main() -> int:
    """Print a line a shape; 1 if one is not recovered within `BOUND`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--count", type=int, default=12)
    options = parser.parse_args()
    config, rng = occnet.load_config(**CONFIG), np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        truths, scales = {}, {}
        for shape, raw in meshes(options.folder, options.count).items():
            closed = occnet.watertight(raw, config)
            for kind, suffix in (("expected", "ply"), ("foreign", "glb")):
                (root / kind / f"{shape}.{suffix}").parent.mkdir(parents=True, exist_ok=True)
            occnet.save_mesh(closed.mesh, root / "expected" / f"{shape}.ply")
            truths[shape], scales[shape] = closed.mesh, float(np.exp(rng.uniform(-3, 3)))
            rotation = Rotation.random(rng=rng).as_matrix()
            moved = scales[shape] * (closed.mesh.vertices @ rotation.T + rng.normal(size=3))
            occnet.save_mesh(occnet.Mesh(moved, closed.mesh.faces), root / "foreign" / f"{shape}.glb")
        (root / "config.yaml").write_text(json.dumps({"points": CONFIG["points"]}))
        words = [root / "foreign", root / "expected", "--align", "similarity", "-o", root / "out"]
        if cli.main(["evaluate", *map(str, words), "--config", str(root / "config.yaml")]):
            return 1
        records = json.loads((root / "out" / "transforms.json").read_text())["shapes"]
        return report(
            {s: occnet.load_mesh(root / "foreign" / f"{s}.glb") for s in truths}, truths, records, scales
        )


def report(
    foreign: dict[str, occnet.Mesh],
    truths: dict[str, occnet.Mesh],
    records: dict[str, dict],
    scales: dict[str, float],
) -> int:
    """Print the table."""
    import open3d as o3d

    worst = 0.0
    print(f"{'shape':40}{'scaled by':>12}{'rotated by':>12}{'largest error':>15}{'scale ratio':>13}")
    for shape, mesh in foreign.items():
        matrix = np.array(records[shape]["matrix"])
        moved = mesh.vertices @ matrix[:3, :3].T + matrix[:3, 3]
        query = o3d.core.Tensor(moved.astype(np.float32))
        edge = float(np.ptp(truths[shape].vertices, axis=0).max())
        error = float(raycasting_scene(truths[shape]).compute_distance(query).numpy().max()) / edge
        worst = max(worst, error)
        ratio, angle = records[shape]["scale"] * scales[shape], records[shape]["rotation_degrees"]
        print(f"{shape[-40:]:40}{scales[shape]:12.4f}{angle:11.1f}°{error:15.2e}{ratio:13.6f}")
    print(f"largest error of {len(foreign)} shapes: {worst:.2e} of the longest edge (bound {BOUND:g})")
    return int(worst > BOUND)


if __name__ == "__main__":
    sys.exit(main())
