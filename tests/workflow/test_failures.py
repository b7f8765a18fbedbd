"""Kills, damaged files, a full disk, two runs at once: the same command again gives what an undisturbed run gives."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import h5py
import pytest

from tests.support.checkout import Checkout, contents, make_checkout, rows, write_meshes
from tests.support.waiting import until

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

SECONDS = (2.0, 14.0)  # when a run is killed: between its start and about its end


@pytest.fixture
def other(tmp_path, project) -> Checkout:
    """A checkout with the meshes of `finished`, in which nothing is made yet."""
    other = make_checkout(tmp_path / "other", project)
    write_meshes(other.path / "meshes")
    return other


def processes(group: int) -> list[int]:
    """The processes of a group."""
    actual = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            if int((entry / "stat").read_text().rpartition(")")[2].split()[2]) == group:
                actual.append(int(entry.name))
    return sorted(actual)


def kill(process: subprocess.Popen, victim: str, chance: random.Random) -> None:
    """SIGKILL to all processes of a run, to snakemake alone, or to some other one of them."""
    others = [pid for pid in processes(process.pid) if pid != process.pid]
    if victim == "all":
        os.killpg(process.pid, signal.SIGKILL)
    elif victim == "snakemake" or not others:
        process.kill()
    else:
        with suppress(ProcessLookupError):
            os.kill(chance.choice(others), signal.SIGKILL)
    process.stdout.close() if victim != "job" else process.communicate()
    process.wait()


def disturb(checkout: Checkout, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    for number in range(kills):
        victim = ("all", "job", "snakemake")[number % 3]
        process = checkout.start("preprocess")
        with suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(*SECONDS))
        if process.poll() is None:
            kill(process, victim, chance)
        else:
            process.communicate()
            # All is made: begin again, in part, so that later kills find work.
            shutil.rmtree(checkout.results / "pack", ignore_errors=True)
            for path in list(checkout.results.glob("preprocess/shapes/*/*.h5"))[::2]:
                path.unlink()


@pytest.mark.parametrize(
    ("kills", "seed"), [(5, 1), pytest.param(20, 2, marks=pytest.mark.long)], ids=["5", "20"]
)
def test_killed_at_random_moments_and_started_again(finished, other, kills, seed, request):
    if kills > 5 and request.config.getoption("-m") != "long":
        pytest.skip("takes minutes; runs with -m long")
    disturb(other, kills, seed)
    text = other.snakemake("preprocess")
    assert "--unlock" not in text
    # A worker that was killed alone is its shape's failure, as a crash of the shape's own would be.
    killed = [row for row in rows(other.results / "preprocess/shapes.csv") if "was killed" in row["reason"]]
    if killed:
        other.snakemake("--config=shape=failed", "rerun")
        other.snakemake("preprocess")
    assert contents(other) == contents(finished)
    assert other.jobs("preprocess") == {}
    left = [
        path.name for path in other.results.rglob(".*") if path.suffix != ".lock" and path.name != ".lock"
    ]
    assert left == [], "half-written files of killed processes"


def copy_of(finished: Checkout, other: Checkout) -> None:
    """Carry the results over, with what Snakemake knows of them."""
    for name in ("results", ".snakemake"):
        shutil.copytree(finished.path / name, other.path / name, symlinks=True)


def damage(path: Path, how: str, same_time: bool) -> None:
    before = path.stat()
    size = before.st_size
    with path.open("r+b") as file:
        if how == "truncated":
            file.truncate(size * 2 // 3)
        elif how == "empty":
            file.truncate(0)
        else:  # a byte within the points
            with h5py.File(path) as hdf5:
                points = hdf5["points"] if "images" in hdf5 else hdf5["points/points"]
                start = points.id.get_chunk_info(0).byte_offset if points.chunks else points.id.get_offset()
            file.seek(start + 1000)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 255]))
    if same_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def a_train_shape(checkout: Checkout) -> tuple[Path, str]:
    row = next(row for row in rows(checkout.results / "preprocess/shapes.csv") if row["status"] == "ok")
    shard = next(r["shard"] for r in rows(checkout.results / "catalogue/shapes.csv") if r["id"] == row["id"])
    return checkout.results / "preprocess/shapes" / row["category"] / f"{row['id']}.h5", shard


def test_damaged_shape_files_are_made_again(finished, other):
    copy_of(finished, other)
    shape, shard = a_train_shape(other)
    damage(shape, "truncated", same_time=False)
    other.snakemake("preprocess")
    assert contents(other) == contents(finished)
    # Without a trace in the file's time it is found by who reads it.
    damage(shape, "byte", same_time=True)
    (other.results / f"pack/{shard}.h5").unlink()
    assert "processed again" in other.snakemake("preprocess")
    assert contents(other) == contents(finished)
    assert other.jobs("preprocess") == {}


def test_a_damaged_pack_file_is_made_again_by_the_job_that_needs_it(finished, other):
    copy_of(finished, other)
    packs = sorted(other.results.glob("pack/test-*.h5"))
    for pack, how in zip(packs, ("byte", "truncated", "empty"), strict=False):
        damage(pack, how, same_time=True)
    (other.results / "analyse/statistics.csv").unlink()
    assert "packing it again" in other.snakemake("results/analyse/statistics.csv")
    assert contents(other) == contents(finished)
    assert other.jobs("report") == {}


def test_two_runs_at_once_on_one_results_folder(finished, other):
    first = other.start("preprocess")
    try:
        lock = other.results / ".lock"
        until(lambda: lock.exists() or first.poll() is not None, "the lock of the first run")
        assert first.poll() is None
        os.killpg(first.pid, signal.SIGSTOP)  # or it might have ended before the second looks
        text = other.snakemake("preprocess", check=False)
        lines = [line for line in text.splitlines() if "in use by another run" in line]
        assert len(lines) == 1, text
        assert f"process {first.pid}" in lines[0]
        assert other.jobs("preprocess")  # looking is allowed
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()


@pytest.fixture
def small_disk(other):
    """The results folder on a file system of three megabytes."""
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    other.results.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(other.results)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    yield other
    subprocess.run(["umount", "-l", str(other.results)], check=True)


def test_a_full_disk_gives_one_clear_line_and_no_broken_file(finished, small_disk):
    with (small_disk.results / "filler").open("wb") as file:
        file.write(bytes(2_300_000))
    text = small_disk.snakemake("preprocess", check=False)
    lines = [line for line in text.splitlines() if "No space left on its disk" in line]
    assert lines, text[-4000:]
    assert "results=" in lines[0]
    assert "Traceback" not in text, text
    for path in small_disk.results.rglob("*.h5"):
        with h5py.File(path) as file:
            assert file.attrs["schema_version"]
    assert not list(small_disk.results.rglob(".*.h5"))
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk.results)], check=True)
    small_disk.snakemake("preprocess")
    assert contents(small_disk) == contents(finished)
