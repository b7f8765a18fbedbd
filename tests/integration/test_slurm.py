"""`snakemake --profile slurm …` on a real cluster: grouped jobs, a GPU job, a cancelled job, a report."""

from __future__ import annotations

import csv
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.workflow.checkout import TINY, Checkout, make_checkout, write_meshes

pytestmark = [pytest.mark.slurm, pytest.mark.workflow, pytest.mark.slow]

# What a cluster without accounting needs, and shorter waits than a real one deserves.
HERE = ("--slurm-status-command=squeue", "--slurm-no-account", "--slurm-init-seconds-before-status-checks=2")
GPU = {"accelerator": "auto", "steps": 6, "validate_every": 3, "checkpoint_every": 2}
OVERLAY = {"models": {"tiny-fc": None}, "train": GPU, "evaluate": {"baselines": []}}


@pytest.fixture(scope="module")
def checkout(slurm, tmp_path_factory, project) -> Checkout:
    """A checkout whose own config.yaml is small, so that commands are those of the README."""
    from occnet_lib.config import merge

    checkout = make_checkout(tmp_path_factory.mktemp("cluster"), project)
    (checkout.path / "config.yaml").unlink()
    (checkout.path / "config.yaml").write_text(yaml.safe_dump(merge(TINY, OVERLAY)))
    write_meshes(checkout.path / "meshes", per_category=4)
    return checkout


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "snakemake", "--profile", "slurm", *HERE, "--latency-wait=10", "--", *words]


def run(checkout: Checkout, *words: str) -> str:
    with started(checkout, *words) as process:
        return finish(process)


@contextmanager
def started(checkout: Checkout, *words: str):
    """A running snakemake, interrupted at the end if need be, so that it cancels its jobs."""
    process = subprocess.Popen(
        command(*words),
        cwd=checkout.path,
        env=checkout.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)


def finish(process: subprocess.Popen, seconds: float = 400.0) -> str:
    text, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, text[-6000:]
    return text


def queue() -> list[tuple[str, str, str]]:
    """Running jobs: id, partition, what for (the plugin's comment)."""
    wanted = ["squeue", "--noheader", "--states=RUNNING", "--format=%i|%P|%k"]
    lines = subprocess.run(wanted, capture_output=True, text=True, check=True).stdout.split()
    return [(*line.split("|")[:2], line.split("|")[2]) for line in lines]


def wait_for(what: str, seconds: float = 120.0) -> tuple[str, str, str]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for job in queue():
            if what in job[2]:
                return job
        time.sleep(0.2)
    raise AssertionError(f"no running job for {what} in {seconds} s")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_shapes_in_grouped_jobs_and_a_cancelled_one_is_done_again(checkout):
    with started(checkout, "preprocess") as process:
        job, partition, _ = wait_for("shard")
        assert partition == "cpu"
        subprocess.run(["scancel", job], check=True)
        text = finish(process)
    assert "CANCELLED" in text, text
    assert "Trying to restart" in text
    shapes = rows(checkout.results / "preprocess/shapes.csv")
    assert [row["id"] for row in shapes if row["status"] == "failed"] == ["broken"]
    shards = {row["shard"] for row in rows(checkout.results / "catalogue/shapes.csv")}
    # One Slurm job a shard and its pack file, and one more for the cancelled one.
    assert len(re.findall("has been submitted with SLURM jobid", text)) == len(shards) + 1
    assert len(shapes) > len(shards)
    assert {path.stem for path in checkout.results.glob("pack/*.h5")} == shards


def test_training_asks_for_a_gpu_and_goes_on_where_it_was_cancelled(checkout):
    last = checkout.results / "train/tiny/last.ckpt"
    with started(checkout, "train") as process:
        job, partition, _ = wait_for("train_model")
        assert partition == "gpu"
        assert (
            "gpu" in subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True).stdout
        )
        end = time.monotonic() + 200
        while not last.exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        subprocess.run(["scancel", "--signal=KILL", "--full", job], check=True)
        text = finish(process)
    assert "Trying to restart" in text, text
    assert "goes on from step" in (checkout.results / "logs/train/tiny.log").read_text()
    assert (checkout.results / "train/tiny/best.ckpt").exists()


def test_report(checkout):
    run(checkout, "report")
    page = (checkout.results / "report/report.html").read_text()
    assert "tiny" in page
    assert "broken" in page
    assert "Nothing to be done" in run(checkout, "preprocess", "train", "report")
