"""What training needs to be installed."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.training_shapes import make_shard

ROOT = Path(__file__).parents[3]


def with_requirements(names: tuple[str, ...]) -> set[str]:
    """Installed distributions and, transitively, those that they need."""
    actual: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in actual:
            continue
        try:
            needed = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # for another platform
            continue
        actual.add(name)
        requirements = [Requirement(text) for text in needed]
        waiting += [
            canonicalize_name(r.name)
            for r in requirements
            if not r.marker or r.marker.evaluate({"extra": ""})
        ]
    return actual


def linked(folder: Path, names: set[str]) -> Path:
    """A folder to import from in which there are these distributions alone."""
    folder.mkdir()
    for name in names:
        distribution = metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            place = folder / top
            if not place.exists():  # several share a folder
                place.symlink_to(Path(str(distribution.locate_file(top))).resolve())
    return folder


def test_training_needs_seven_libraries_alone(tmp_path):
    libraries = "torch", "torchvision", "lightning", "h5py", "numpy", "pydantic", "tensorboard"
    folder = linked(tmp_path / "libraries", with_requirements(libraries))
    assert not any((folder / name).exists() for name in ("open3d", "trimesh", "scipy", "rich", "snakemake"))
    make_shard(tmp_path / "train-0.h5", 4)
    make_shard(tmp_path / "val-0.h5", 1)
    code = (
        "import sys\n"
        "sys.stderr.isatty = lambda: True\n"  # there a bar would be shown
        "from pathlib import Path\n"
        "from occnet_lib.config import Config\n"
        "from occnet_lib.training.train import train\n"
        "data = {'batch_size': 2, 'points': 16, 'image_size': 32}\n"
        "sizes = {'steps': 2, 'data': data, 'hardware': {'accelerator': 'cpu'}}\n"
        "config = Config.model_validate({'train': sizes, 'models': {'m': {'hidden': 8, 'c_dim': 8}}})\n"
        "here = Path(sys.argv[1])\n"
        "train(config, 'm', [here / 'train-0.h5'], [here / 'val-0.h5'], here / 'run')\n"
    )
    command = [sys.executable, "-S", "-c", code, tmp_path]
    surroundings = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    done = subprocess.run(command, capture_output=True, text=True, env=surroundings, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "best.ckpt").exists()
