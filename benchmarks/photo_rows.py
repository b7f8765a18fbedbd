"""What the report promises against what a photo gets: IoU of meshes, through the command line.

Four rows for the test shapes of a results folder: the report's meshes (of view 0); the same image as a PNG through `occnet
reconstruct`; the first photo of `evaluate.photos` through it; view 0 with `--as-is`, which neither cuts out nor frames. All
meshes are measured by `occnet evaluate` against the packs' closed meshes: mean of class means with its 95 % interval.

usage: python benchmarks/photo_rows.py results/demo [--model resnet10-cbn]
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from occnet_lib import load_config, open_pack, save_mesh


def occnet(*arguments: str | Path, checked: bool = True) -> None:
    """Run a command as a user does. Not checked: photos that are refused are counted later, as missing meshes."""
    done = subprocess.run(
        [sys.executable, "-m", "occnet_lib", *map(str, arguments)], capture_output=True, text=True
    )
    if checked and done.returncode:
        sys.exit(done.stderr)


def collect(results: Path, model: str, folder: Path) -> None:
    """Folders `<category>/<id>` of test shapes: `expected`, `report` with meshes, `view`, `photo` with images."""
    for path in sorted((results / "pack").glob("test-*.h5")):
        shard = open_pack(path)
        for i, key in enumerate(shard.keys):
            for kind in ("expected", "report", "view", "photo"):
                (folder / kind / key.category).mkdir(parents=True, exist_ok=True)
            save_mesh(shard.mesh(i), folder / "expected" / f"{key.name}.ply")
            (folder / "view" / f"{key.name}.png").write_bytes(shard.image_bytes(i, 0))
            mesh = results / "reconstruct" / model / path.stem / f"{key.name}.ply"
            photo = results / "photos" / path.stem / key.name / "0.png"
            for source, kind in ((mesh, "report"), (photo, "photo")):
                shutil.copy(source, folder / kind / f"{key.name}{source.suffix}")


def reconstruct(images: Path, out: Path, checkpoint: Path, *options: str | Path) -> Path:
    """Meshes of a folder of images, one call per category."""
    for category in sorted(images.iterdir()):
        files = sorted(category.iterdir())
        occnet(
            "reconstruct",
            *files,
            "--checkpoint",
            checkpoint,
            "-o",
            out / category.name,
            *options,
            checked=False,
        )
    return out


def iou(meshes: Path, expected: Path) -> str:
    """Mean of class means, interval and counts of a folder of meshes."""
    out = meshes.with_name(f"{meshes.name}-metrics")
    occnet("evaluate", meshes, expected, "-o", out)
    mean = next(
        row for row in json.loads((out / "summary.json").read_text())["rows"] if row["category"] == "mean"
    )
    return f"{mean['iou']:.3f} [{mean['iou_low']:.3f}, {mean['iou_high']:.3f}] | {mean['shapes']} | {mean['failed']}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--model", help="by default the first of the configuration")
    args = parser.parse_args()
    model = args.model or next(iter(load_config(args.results / "config.json").models))
    checkpoint, options = (
        args.results / "train" / model / "best.ckpt",
        ("--config", args.results / "config.json"),
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        collect(args.results, model, folder)
        expected, view = folder / "expected", folder / "view"
        print(f"image, {model} | IoU | shapes | failed")
        print("view 0 in the report |", iou(folder / "report", expected))
        for label, images, extra in (
            ("view 0, occnet reconstruct", view, ()),
            ("photo 0, occnet reconstruct", folder / "photo", ()),
            ("view 0, occnet reconstruct --as-is", view, ("--as-is",)),
        ):
            meshes = reconstruct(images, folder / f"meshes-{label}", checkpoint, *options, *extra)
            print(label, "|", iou(meshes, expected))


if __name__ == "__main__":
    main()
