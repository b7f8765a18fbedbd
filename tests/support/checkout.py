"""A checkout to run snakemake in, so that tests share neither results nor locks."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import yaml

from tests.support.snakemake_server import snakemake

LINKED = ("workflow", "occnet_lib", "snakemake_logger_plugin_occnet", "envs", "slurm", "config.yaml")

# Every branch of the workflow in a minute: small in numbers, real in every step.
TINY = {
    "dataset": {"root": "meshes", "shard_size": 4, "split": {"val": 0.2, "test": 0.3}},
    "preprocess": {"max_failed": 0.5},
    "watertight": {"resolution": 64, "views": 24, "image_size": 160},
    "points": {"uniform": 4000, "surface": 3000},
    "views": {"count": 4, "image_size": 48},
    "models": {
        "onet": None,
        "tiny": {"hidden": 16, "c_dim": 16, "blocks": 2},
        "tiny-fc": {"hidden": 16, "c_dim": 16, "blocks": 2, "decoder": "fc"},
    },
    "train": {
        "steps": 12,
        "data": {"batch_size": 4, "points": 128, "image_size": 32},
        "optimizer": {"learning_rate": 1e-3},
        "checkpoint": {"validate_every": 6, "checkpoint_every": 6, "validation_points": 512},
        "hardware": {"accelerator": "cpu", "threads": 1},
    },
    "reconstruct": {"upsampling_steps": 0, "resolution0": 16, "simplify": {"faces": 300}, "refine_steps": 2},
    "evaluate": {"surface": 2000, "bootstrap": 50},
    "analyse": {"perplexity": 3.0},
}


@dataclass(frozen=True)
class Checkout:
    """A folder in which `snakemake` runs as it does in the project's root.

    Attributes:
        path: the folder.
        workers: processes that share the shapes of a shard; of small shards, starting them takes most of the time.
    """

    path: Path
    workers: int = 1

    def words(self, *arguments: str, cores: int = 2) -> list[str]:
        """The command line behind `snakemake`: flags before targets."""
        flags = [word for word in arguments if word.startswith("-")]
        targets = [word for word in arguments if not word.startswith("-")]
        threads = f"--set-threads=preprocess_shard={self.workers}"
        return ["--cores", str(cores), threads, "--configfile", "tiny.yaml", *flags, "--", *targets]

    def snakemake(self, *arguments: str, cores: int = 2, check: bool = True) -> str:
        """Run snakemake; what it printed."""
        code, text = snakemake(self.words(*arguments, cores=cores), self.path, self.environment())
        assert code == 0 or not check, text[-6000:]
        return text

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.path), "OMP_NUM_THREADS": "1"}

    def jobs(self, *arguments: str) -> dict[str, int]:
        """The job counts of a dry run."""
        text = self.snakemake("-n", *arguments)
        tables = re.findall(r"job +count\n[- ]+\n((?:.+ +\d+\n)+)", text)
        if not tables:
            assert "Nothing to be done" in text, text
            return {}
        rows = (line.split() for line in tables[-1].splitlines())
        return {name: int(count) for name, count in rows if name != "total"}

    def start(self, *arguments: str, cores: int = 2) -> subprocess.Popen:
        """Start snakemake in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", *self.words(*arguments, cores=cores)],
            cwd=self.path,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    @property
    def results(self) -> Path:
        return self.path / "results"


def make_checkout(path: Path, project: Path, workers: int = 1, **overlay) -> Checkout:
    from occnet_lib.config import merge

    path.mkdir(parents=True, exist_ok=True)
    for name in LINKED:
        (path / name).symlink_to(project / name)
    (path / "tiny.yaml").write_text(yaml.safe_dump(merge(TINY, overlay)))
    return Checkout(path, workers)


def write_meshes(folder: Path, per_category: int = 6) -> None:
    """Raw meshes of two categories, and one file that is none."""
    from occnet_lib.config import DemoConfig
    from occnet_lib.demo import write

    write(folder, DemoConfig(categories=["chair", "lamp"], shapes_per_category=per_category), seed=1)
    (folder / "chair" / "broken").mkdir()
    (folder / "chair" / "broken" / "model.obj").write_text("v 0 0 0\nv 1 0 0\nf 1 2 99\n")


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def content(path) -> dict:
    """Datasets and attributes of an HDF5 file, but for how long things took."""
    actual = {}
    with h5py.File(path) as file:

        def visit(name, item):
            actual.update({f"{name}@{key}": str(value) for key, value in item.attrs.items()})
            if isinstance(item, h5py.Dataset):
                values = np.asarray(item[()])
                plain = values.tolist() if values.dtype == object else values.tobytes()
                actual[name] = (item.dtype.str, item.shape, plain)

        visit("", file)
        file.visititems(visit)
    actual.pop("@seconds", None)
    return actual


def contents(checkout: Checkout) -> dict:
    files = sorted(checkout.results.glob("preprocess/shapes/*/*.h5")) + sorted(
        checkout.results.glob("pack/*.h5")
    )
    return {str(file.relative_to(checkout.results)): content(file) for file in files}
