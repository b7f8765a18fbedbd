"""Time and memory of the workflow's bookkeeping for many shapes, and its fraction of a real small run.

Makes a tree of tiny meshes in ShapeNet's layout, catalogues it, asks `snakemake -n preprocess` what it would do, runs
all of it with jobs that only touch their output (so that what is measured is scheduling), and asks again. The real
run processes bundled shapes at full resolution, beside what starting a job's processes with all imports costs.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).parents[1]
CUBE = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 2 3 4\nf 1 4 3\n"


def make_tree(root: Path, shapes: int, categories: int = 13) -> None:
    """`shapes` tiny tetrahedra as `<category>/<id>/model.obj`."""
    for index in range(shapes):
        folder = root / f"{index % categories:08d}" / f"{index:032x}"
        folder.mkdir(parents=True)
        (folder / "model.obj").write_text(CUBE)


def cpu_of_children() -> float:
    """CPU seconds of all processes that ended so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def snakemake(folder: Path, *arguments: str) -> tuple[float, float, float]:
    """Run snakemake; wall seconds, CPU seconds, peak megabytes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    command = [sys.executable, "-m", "snakemake", "--cores", "32", *arguments]
    watched = [sys.executable, "-c", WATCH, *command]
    done = subprocess.run(
        watched, cwd=folder, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(folder)}
    )
    if done.returncode:
        raise SystemExit(done.stdout[-3000:] + done.stderr[-3000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, cpu, float(done.stderr.strip().splitlines()[-1])


WATCH = (
    "import resource, subprocess, sys\n"
    "code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode\n"
    "sys.stderr.write(f'\\n{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f}\\n')\n"
    "sys.exit(code)\n"
)


# Stands in for `python -m occnet_lib job …`: makes the output and nothing else.
STUB = """#!/bin/sh
for word; do
    if [ "$before" = --out ]; then : > "$word"; fi
    before=$word
done
"""

# Snakemake in this very process, so that its own CPU time is apart from its jobs'; `sys.executable` runs the jobs.
OWN = """
import atexit, resource, sys
out, sys.executable = sys.argv[1:3]
del sys.argv[1:3]
def report():
    used = resource.getrusage(resource.RUSAGE_SELF)
    open(out, "w").write(f"{used.ru_utime + used.ru_stime} {used.ru_maxrss / 1024}")
atexit.register(report)
from snakemake.cli import main
main()
"""


def own_cost(folder: Path, executable: str, *arguments: str) -> tuple[float, float, float]:
    """Run snakemake with jobs started by `executable`; wall s, CPU s and peak MB of its own process."""
    out = folder / "own.txt"
    command = [sys.executable, "-c", OWN, str(out), executable, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(done.stdout[-3000:] + done.stderr[-3000:])
    seconds, megabytes = map(float, out.read_text().split())
    return time.perf_counter() - start, seconds, megabytes


def touch_shapes(folder: Path) -> int:
    """Empty files where shape files would be, which a no-op run looks at; how many shards there are."""
    sys.path.insert(0, str(PROJECT))
    from occnet_lib.storage.dataset.catalogue import read_table

    keys = read_table(folder / "results/catalogue/shapes.csv")
    for category in {key.category for key in keys}:
        (folder / "results/preprocess/shapes" / category).mkdir(parents=True)
    for key in keys:
        (folder / f"results/preprocess/shapes/{key.category}/{key.id}.h5").touch()
    return len({key.shard for key in keys})


def real_run(folder: Path, shapes: int, shard_size: int) -> dict[str, float]:
    """Preprocess bundled shapes; CPU seconds of all, of the stages, of snakemake's own process, and its jobs."""
    demo = f"demo={{shapes_per_category: {shapes}, categories: [chair]}}"
    dataset = f"dataset={{shard_size: {shard_size}}}"
    before = cpu_of_children()
    _, own, _ = own_cost(
        folder, sys.executable, "--cores", "1", "--config", demo, dataset, "--", "preprocess"
    )
    whole = cpu_of_children() - before
    with (folder / "results/preprocess/shapes.csv").open(newline="") as file:
        stages = sum(float(row["seconds"]) for row in csv.DictReader(file))
    jobs = len(list((folder / "results/benchmarks").rglob("*.tsv")))
    shards = len(list((folder / "results/preprocess/shards").glob("*.csv")))
    return {"whole": whole, "stages": stages, "snakemake": own, "jobs": jobs, "shards": shards}


# So coarse that a shape takes next to nothing, and every library is used once.
COARSE = (
    "watertight={resolution: 32, views: 4, image_size: 64}",
    "points={uniform: 64, surface: 64, voxels: 4}",
    "views={count: 1, image_size: 16}",
)


def start_costs(folder: Path) -> dict[str, float]:
    """Least CPU seconds of three of jobs with next to nothing to do: what starting and importing costs."""
    make_tree(folder / "meshes", 4, categories=1)
    dataset = "dataset={root: meshes, split: {val: 0, test: 0}}"
    snakemake(folder, "--config", dataset, *COARSE, "--", "results/catalogue/shapes.csv")
    shard, tables, catalogue = "train-000", "results/preprocess/shards", "results/catalogue/shapes.csv"
    shapes = ("--shapes", "results/preprocess/shapes")
    name = f"{tables}/{shard}.csv"
    jobs = {
        "shard, 1 worker": (
            "shard",
            "--table",
            catalogue,
            "--shard",
            shard,
            "--workers",
            "1",
            *shapes,
            "--out",
            name,
        ),
        "shard, 4 workers": (
            "shard",
            "--table",
            catalogue,
            "--shard",
            shard,
            "--workers",
            "4",
            *shapes,
            "--out",
            name,
        ),
        "pack": ("pack", "--table", name, *shapes, "--out", f"results/pack/{shard}.h5"),
        "table": ("table", "--out", "results/preprocess/shapes.csv"),
    }
    return {what: min(job_cost(folder, job) for _ in range(3)) for what, job in jobs.items()}


def job_cost(folder: Path, job: tuple[str, ...]) -> float:
    """CPU seconds of a job, done again."""
    if job[0] == "shard":
        shutil.rmtree(folder / "results/preprocess", ignore_errors=True)
    name, *rest = job
    command = [
        sys.executable,
        "-m",
        "occnet_lib",
        "job",
        name,
        "--config",
        "results/config.json",
        "--log",
        "log.txt",
    ]
    before = cpu_of_children()
    subprocess.run(
        [*command, *rest],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
    )
    return cpu_of_children() - before


def linked(name: str) -> Path:
    """A folder in which snakemake runs as in the project's root."""
    folder = Path(name)
    for link in ("workflow", "occnet_lib", "envs", "config.yaml"):
        (folder / link).symlink_to(PROJECT / link)
    return folder


def print_real_run(shapes: int, shard_size: int) -> None:
    """Print what is not a shape's work in a real run, and how much of it is starting processes."""
    with tempfile.TemporaryDirectory() as name:
        start = start_costs(linked(name))
    with tempfile.TemporaryDirectory() as name:
        cost = real_run(linked(name), shapes, shard_size)
    whole, stages, own = cost["whole"], cost["stages"], cost["snakemake"]
    light = cost["jobs"] - 2 * cost["shards"]
    starts = cost["shards"] * (start["shard, 1 worker"] + start["pack"]) + light * start["table"]
    print("CPU s of a job with nothing to do: " + ", ".join(f"{what} {s:.2f}" for what, s in start.items()))
    print(f"real run of {shapes} shapes, {shard_size} a shard, {cost['jobs']:.0f} jobs: {whole:.1f} CPU s")
    for what, seconds in (
        ("stages", stages),
        ("starting processes, imports", starts),
        ("snakemake itself", own),
        ("raw meshes, writing, packing", whole - stages - starts - own),
    ):
        print(f"  {what:<30} {seconds:>7.1f} {seconds / whole:>6.1%} {seconds / shapes:>7.3f} a shape")
    for size in (16, 64, 256):
        fraction = [
            (start[f"shard, {workers}"] + start["pack"]) / (size * stages / shapes)
            for workers in ("1 worker", "4 workers")
        ]
        print(
            f"  starts against stages at {size} shapes a shard: {fraction[0]:.1%} with 1 worker, {fraction[1]:.1%} with 4"
        )


def print_scale(shapes: int, shard_size: int) -> None:
    """Print what bookkeeping costs for so many shapes."""
    with tempfile.TemporaryDirectory() as name:
        folder = linked(name)
        make_tree(folder / "meshes", shapes)
        (folder / "stub").write_text(STUB)
        (folder / "stub").chmod(0o755)
        data = ("--config", f"dataset={{root: meshes, shard_size: {shard_size}}}", "--")
        rows = [("catalogue", snakemake(folder, *data, "results/catalogue/shapes.csv"))]
        rows.append(("-n preprocess", snakemake(folder, "-n", *data, "preprocess")))
        shards = touch_shapes(folder)
        run = own_cost(folder, str(folder / "stub"), "--cores", "32", *data, "preprocess")
        rows.append(("run, jobs do nothing", run))
        idle = own_cost(folder, sys.executable, "--cores", "32", *data, "preprocess")
        rows.append(("no-op preprocess", idle))
        next((folder / "results/preprocess/shapes").glob("*/*.h5")).unlink()
        rows.append(("-n, one shape lost", snakemake(folder, "-n", *data, "preprocess")))
        next((folder / "meshes").glob("*/*/model.obj")).touch()
        rows.append(("-n, one mesh touched", snakemake(folder, "-n", *data, "preprocess")))
        rows.append(("catalogue once more", snakemake(folder, *data, "results/catalogue/shapes.csv")))
    for what, (wall, cpu, megabytes) in rows:
        print(
            f"{shapes:>7} {what:<22} {wall:>7.1f} {cpu:>7.1f} {megabytes:>8.0f} {1000 * cpu / shapes:>11.2f}"
        )
    jobs = 2 * shards + 1
    print(
        f"{shapes:>7} scheduling: {jobs} jobs, {1000 * (run[1] - idle[1]) / jobs:.1f} ms of CPU each above a no-op run"
    )


def main() -> None:
    """Print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", type=int, nargs="*", default=[1000, 10_000, 43_783])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64], help="dataset.shard_size at scale")
    parser.add_argument("--real", type=int, default=16, help="bundled shapes of the real run; 0: none")
    parser.add_argument("--shard-size", type=int, default=16, help="shapes a job in the real run")
    args = parser.parse_args()
    if args.real:
        print_real_run(args.real, args.shard_size)
    for size in args.sizes:
        print(f"{size} shapes a shard")
        print(f"{'shapes':>7} {'what':<22} {'wall s':>7} {'CPU s':>7} {'peak MB':>8} {'ms a shape':>11}")
        for shapes in args.shapes:
            print_scale(shapes, size)


if __name__ == "__main__":
    main()
