"""The tutorial's commands, read from its page, in their order, with smaller numbers."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from occnet_lib.config import merge
from tests.support.checkout import TINY, make_checkout
from tests.support.snakemake_server import python, snakemake

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

SMALLER = {
    **{section: TINY[section] for section in ("watertight", "points", "reconstruct", "analyse")},
    "views": {"count": 4},
    "demo": {"shapes_per_category": 6},
    "dataset": {"split": {"val": 0.2, "test": 0.3}},
    "models": {"small": {"hidden": 32, "c_dim": 32, "blocks": 2}},
    "train": {
        "steps": 20,
        "data": {"batch_size": 8},
        "optimizer": {"warmup": 5, "ema": 0.9, "learning_rate": 3e-3},
        "checkpoint": {"validate_every": 10, "checkpoint_every": 10, "validation_points": 2000},
    },
    "evaluate": {"surface": 2000, "bootstrap": 50},
}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.S | re.M)


def run(line: str, folder: Path, environment: dict[str, str], first: bool) -> tuple[int, str]:
    """Exit code and output of a line of the shell; the first is run by the shell, the others in forks."""
    name, *words = shlex.split(line)
    if name == "snakemake":
        return snakemake(words, folder, environment)
    command = ["bash", "-c", line] if first or name != "occnet" else [python(), "-m", "occnet_lib", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1800)
    return done.returncode, done.stdout + done.stderr


def test_the_commands_of_the_tutorial_work(tmp_path, project):
    checkout = make_checkout(tmp_path / "project", project)
    page = (project / "docs/tutorial.md").read_text(encoding="utf-8")
    (settings,) = blocks(page, "yaml")
    tutorial = yaml.safe_load(settings)
    (checkout.path / "tutorial.yaml").write_text(yaml.safe_dump(merge(tutorial, SMALLER)))
    environment = {
        **checkout.environment(),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    lines = [line for block in blocks(page, "bash") for line in block.splitlines()]
    assert [line.split()[0] for line in lines].count("snakemake") == 2
    for n, line in enumerate(lines):
        code, text = run(line, checkout.path, environment, n == 0)
        assert code == 0, f"{line}\n{text[-6000:]}"
    for name in re.findall(r"`(results/tutorial/[\w./]+)`", page):
        assert (checkout.path / name).exists(), name
    for name in ("closed.ply", "points.npz", "views/00.png", "mesh.ply"):
        assert (checkout.path / name).is_file()
