"""`snakemake --profile slurm …` on a real cluster: grouped jobs, GPUs, jobs cancelled, killed, preempted and too long."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml

from tests.support.checkout import TINY, Checkout, make_checkout, write_meshes
from tests.support.waiting import until

pytestmark = [pytest.mark.slurm, pytest.mark.workflow, pytest.mark.slow]

# What a cluster without accounting needs, and shorter waits than a real one deserves.
HERE = ("--slurm-status-command=squeue", "--slurm-no-account", "--slurm-init-seconds-before-status-checks=2")
GPU = {
    "steps": 24,
    "checkpoint": {"validate_every": 12, "checkpoint_every": 2},
    "hardware": {"accelerator": "auto"},
}
MODELS = ("tiny", "second", "third")
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
    return [sys.executable, "-m", "snakemake", "--profile", "slurm", *HERE, "--latency-wait=10", *words]


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
            try:
                process.communicate(timeout=60)
            finally:
                process.kill()


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


def show(job: str) -> dict[str, str]:
    """What Slurm knows of a job."""
    text = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, check=True).stdout
    return dict(word.split("=", 1) for word in text.split() if "=" in word)


def freeze(checkout: Checkout, jobs: list[str]) -> dict[str, str]:
    """Stop trainings as soon as they have a checkpoint, so that nothing ends before its time; job: model."""
    models = {job: re.search("|".join(MODELS), show(job)["Comment"])[0] for job in jobs}
    running = dict(models)

    def all_stopped() -> bool:
        for job, model in list(running.items()):
            if (checkout.results / f"train/{model}/last.ckpt").exists():
                subprocess.run(["scancel", "--signal=STOP", job], check=True)
                del running[job]
        return not running

    until(all_stopped, "checkpoints of all", seconds=400)
    return models


def trainings() -> list[str]:
    return [job for job, partition, what in queue() if partition == "gpu" and "train_model" in what]


def kill_training(checkout: Checkout, model: str) -> None:
    """SIGKILL to the process that trains, as by the system when memory is short."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (entry / "cmdline").read_text().split("\0")
            here = (entry / "cwd").resolve() == checkout.path.resolve()
            if here and {"occnet_lib", "train", model} <= set(words):
                os.kill(int(entry.name), signal.SIGKILL)
                return
    raise AssertionError(f"no process trains {model}")


def test_training_is_killed_preempted_and_out_of_time_and_goes_on(checkout):
    models = dict.fromkeys(MODELS, TINY["models"]["tiny"])
    with started(checkout, "train", "--config", f"models={json.dumps(models)}") as process:
        until(lambda: len(trainings()) == 3, "three trainings", seconds=400, every=0.3)
        jobs = trainings()
        assert {show(job)["TresPerJob"] for job in jobs} == {"gres:gpu:1"}
        on = {job: show(job)["NodeList"] for job in jobs}
        preempted = next(job for job in jobs if on[job] == "g2")
        killed, late = (job for job in jobs if job != preempted)
        names = freeze(checkout, jobs)
        kill_training(checkout, names[killed])
        subprocess.run(["scancel", "--signal=CONT", killed], check=True)
        subprocess.run(["scontrol", "update", f"JobId={late}", "EndTime=now+1second"], check=True)
        urgent = "sbatch --partition=urgent --nodelist=g2 --gpus=1 --output=/dev/null --wrap=true"
        subprocess.run(urgent.split(), check=True, capture_output=True)
        text = finish(process)
    assert f"SLURM-job '{killed}' failed, SLURM status is: 'FAILED'" in text, text
    assert f"SLURM-job '{late}' failed, SLURM status is: 'TIMEOUT'" in text, text
    assert text.count("Trying to restart") == 2, "the preempted job is not Snakemake's matter"
    assert show(preempted)["Restarts"] == "1"
    assert show(preempted)["JobState"] == "COMPLETED"
    for name in names.values():
        assert "goes on from step" in (checkout.results / f"logs/train/{name}.log").read_text()
        assert (checkout.results / f"train/{name}/best.ckpt").exists()
    again = re.findall(r"submitted with SLURM jobid (\d+) \(log: .*train_model/(\w+)", text)
    retry = next(job for job, model in again if model == names[late] and job != late)
    assert show(retry)["TimeLimit"] == "2-00:00:00", "twice the day of the first attempt"


def test_report(checkout):
    run(checkout, "report")
    page = (checkout.results / "report/report.html").read_text()
    assert "tiny" in page
    assert "broken" in page
    assert "Nothing to be done" in run(checkout, "preprocess", "train", "report")
