"""Time and memory of the workflow's bookkeeping for many shapes: dry run, no-op run; its share of a real small run.

Makes a tree of tiny meshes in ShapeNet's layout, catalogues it, and asks `snakemake -n preprocess` what it
would do; then marks everything as made and asks again. The real run treats bundled shapes at full resolution.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
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


def mark_as_made(folder: Path) -> None:
    """Empty files where shapes, shard tables and packs would be: what a no-op run looks at."""
    sys.path.insert(0, str(PROJECT))
    from occnet_lib.storage.catalogue import read_table

    results = folder / "results"
    keys = read_table(results / "catalogue/shapes.csv")
    for category in {key.category for key in keys}:
        (results / "preprocess/shapes" / category).mkdir(parents=True)
    for key in keys:
        (results / f"preprocess/shapes/{key.category}/{key.id}.h5").touch()
    for place in ("preprocess/shards", "pack"):
        (results / place).mkdir(parents=True)
    shards = sorted({key.shard for key in keys})
    for shard in shards:
        (results / f"preprocess/shards/{shard}.csv").touch()
    (results / "preprocess/shapes.csv").touch()
    for shard in shards:
        (results / f"pack/{shard}.h5").touch()


def real_run(folder: Path, shapes: int, shard_size: int) -> dict[str, float]:
    """Preprocess bundled shapes; CPU seconds of all, of the stages, of snakemake's own process, and its jobs."""
    demo = f"demo={{shapes_per_category: {shapes}, categories: [chair]}}"
    dataset = f"dataset={{shard_size: {shard_size}}}"
    own = folder / "own.txt"
    command = [
        sys.executable,
        "-c",
        OWN,
        str(own),
        "--cores",
        "1",
        "--config",
        demo,
        dataset,
        "--",
        "preprocess",
    ]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(done.stdout[-3000:] + done.stderr[-3000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    with (folder / "results/preprocess/shapes.csv").open(newline="") as file:
        stages = sum(float(row["seconds"]) for row in csv.DictReader(file))
    whole = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    jobs = len(list((folder / "results/benchmarks").rglob("*.tsv")))
    return {"whole": whole, "stages": stages, "snakemake": float(own.read_text()), "jobs": jobs}


OWN = (
    "import atexit, resource, sys\n"
    "out = sys.argv.pop(1)\n"
    "def tell():\n"
    "    used = resource.getrusage(resource.RUSAGE_SELF)\n"
    "    open(out, 'w').write(str(used.ru_utime + used.ru_stime))\n"
    "atexit.register(tell)\n"
    "from snakemake.cli import main\n"
    "main()\n"
)


def linked(name: str) -> Path:
    """A folder in which snakemake runs as in the project's root."""
    folder = Path(name)
    for link in ("workflow", "occnet_lib", "envs", "config.yaml"):
        (folder / link).symlink_to(PROJECT / link)
    return folder


def print_real_run(shapes: int, shard_size: int) -> None:
    """Print what is not a shape's work in a real run."""
    with tempfile.TemporaryDirectory() as name:
        cost = real_run(linked(name), shapes, shard_size)
    whole, stages = cost["whole"], cost["stages"]
    print(
        f"real run of {shapes} shapes, {shard_size} a shard: {whole:.1f} CPU s, {stages:.1f} of them stages "
        f"({stages / shapes:.2f} a shape), snakemake itself {cost['snakemake']:.1f} for {cost['jobs']:.0f} jobs, "
        f"all that is not stages {(whole - stages) / whole:.1%}"
    )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", type=int, nargs="+", default=[1000, 10_000, 43_783])
    parser.add_argument("--real", type=int, default=16, help="bundled shapes of the real run; 0: none")
    parser.add_argument("--shard-size", type=int, default=16, help="shapes a job in the real run")
    args = parser.parse_args()
    if args.real:
        print_real_run(args.real, args.shard_size)
    print(f"{'shapes':>7} {'what':<22} {'wall s':>7} {'CPU s':>7} {'peak MB':>8} {'ms a shape':>11}")
    for shapes in args.shapes:
        with tempfile.TemporaryDirectory() as name:
            folder = linked(name)
            make_tree(folder / "meshes", shapes)
            data = ("--config", "dataset=meshes", "--")
            rows = [("catalogue", snakemake(folder, *data, "results/catalogue/shapes.csv"))]
            rows.append(("-n preprocess", snakemake(folder, "-n", *data, "preprocess")))
            mark_as_made(folder)
            rows.append(("no-op preprocess", snakemake(folder, *data, "preprocess")))
            one = next((folder / "results/preprocess/shapes").glob("*/*.h5"))
            one.unlink()
            rows.append(("-n, one shape lost", snakemake(folder, "-n", *data, "preprocess")))
            for what, (wall, cpu, megabytes) in rows:
                print(
                    f"{shapes:>7} {what:<22} {wall:>7.1f} {cpu:>7.1f} {megabytes:>8.0f} {1000 * cpu / shapes:>11.2f}"
                )


if __name__ == "__main__":
    main()
