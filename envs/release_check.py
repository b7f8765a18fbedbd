"""Build the release, install it elsewhere and use it: `python envs/release_check.py`.

The environment is clean but for the dependencies, which it takes from the one that runs this script. All commands run
outside of the checkout, so that what is missing in the wheel (a module, a shader) is missed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("occnet_lib", "snakemake_logger_plugin_occnet")
SMALL = """\
watertight: {resolution: 48, views: 30, image_size: 128, max_faces: 1500}
points: {uniform: 1000, surface: 1000}
views: {count: 2, renderer: RENDERER}
evaluate: {surface: 1000}
demo: {categories: [chair], shapes_per_category: 1}
models: {onet: null, tiny: {hidden: 32, c_dim: 32, blocks: 2}}
train:
  steps: 80
  data: {batch_size: 2, points: 512, image_size: 32}
  optimizer: {learning_rate: 3.0e-3}
  checkpoint: {validate_every: 40, validation_points: 1000}
  hardware: {accelerator: cpu, threads: 1}
reconstruct: {resolution0: 16, upsampling_steps: 1, refine_steps: 2, accelerator: cpu}
"""
PACK = """import sys
import occnet_lib as occnet
config = occnet.load_config("raycast.yaml")
closed = occnet.watertight(sys.argv[1], config)
shape = closed, occnet.sample_points(closed, config), occnet.render_views(sys.argv[1], config)
for split in ("train", "val"):
    occnet.write_pack(f"packs/{split}-000.h5", {"chair/one": shape}, split)
"""


def main() -> None:
    """Run all checks; the first that fails ends the script."""
    validate()
    with tempfile.TemporaryDirectory() as folder:
        wheel = build(Path(folder) / "dist")
        use(install(wheel, Path(folder) / "venv"), Path(folder) / "elsewhere")
    sys.stdout.write("the release is complete\n")


def validate() -> None:
    """CITATION.cff and the CI workflow follow their schemas, and the versions agree."""
    check = Path(sys.executable).with_name("check-jsonschema")
    run(check, "--builtin-schema", "vendor.citation-file-format", ROOT / "CITATION.cff")
    run(check, "--builtin-schema", "vendor.github-workflows", ROOT / ".github/workflows/ci.yml")


def build(out: Path) -> Path:
    """Source distribution and, from it, the wheel; both hold everything that git tracks of the packages."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT)
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    listing = run("git", "-C", ROOT, "ls-files", *PACKAGES)
    tracked = {line for line in listing.splitlines() if not line.endswith((".md", ".gitignore"))}
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    for name, names in (("wheel", in_wheel), ("source distribution", in_sdist)):
        if missing := sorted(tracked - names):
            sys.exit(f"release-check: the {name} lacks {', '.join(missing)}")
    top = {name.partition("/")[0] for name in in_wheel if ".dist-info" not in name}
    if extra := sorted(top - {*PACKAGES}):
        sys.exit(f"release-check: the wheel holds {', '.join(extra)} beside the packages")
    return wheel


def install(wheel: Path, venv: Path) -> Path:
    """A new environment with the wheel alone, which sees the dependencies that are installed here."""
    run(sys.executable, "-m", "venv", venv)
    bin_folder = venv / "bin"
    run(
        bin_folder / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", wheel
    )
    (site,) = venv.glob("lib/python*/site-packages")
    # Behind the environment's own packages; an editable install of the checkout is not followed from here.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return bin_folder


def use(bin_folder: Path, folder: Path) -> None:
    """Every stage of one shape: closed, sampled, rendered by both renderers, packed, trained on, reconstructed."""
    folder.mkdir()
    (folder / "raycast.yaml").write_text(SMALL.replace("RENDERER", "raycast"))
    (folder / "auto.yaml").write_text(SMALL.replace("RENDERER", "auto"))
    where = run(bin_folder / "python", "-c", "import occnet_lib; print(occnet_lib.__file__)", cwd=folder)
    if not Path(where.strip()).is_relative_to(bin_folder.parent):
        sys.exit(f"release-check: the checkout is used instead of the wheel: {where}")
    occnet, common = bin_folder / "occnet", ("--config", "raycast.yaml")
    version = run(occnet, "--version", cwd=folder).split()[-1]
    stated = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.M)
    if stated is None or stated[1] != version:
        sys.exit(f"release-check: CITATION.cff does not state version {version}")
    run(occnet, "--help", cwd=folder)
    run(occnet, "demo", "meshes", *common, cwd=folder)
    (raw,) = folder.glob("meshes/chair/*/model.obj")
    run(occnet, "watertight", raw, *common, "-o", "closed.ply", cwd=folder)
    run(occnet, "points", "closed.ply", *common, "-o", "points.npz", cwd=folder)
    run(occnet, "views", raw, *common, "-o", "raycast", cwd=folder)
    run(occnet, "views", raw, "--config", "auto.yaml", "-o", "auto", cwd=folder)  # reads the shaders
    run(occnet, "evaluate", "closed.ply", "closed.ply", *common, cwd=folder)
    run(bin_folder / "python", "-c", PACK, raw, cwd=folder)
    run(occnet, "train", "packs", *common, "--model", "tiny", "-o", "run", cwd=folder)
    photo = ("raycast/00.png", "--checkpoint", "run/best.ckpt")
    text = run(occnet, "reconstruct", *photo, *common, "-o", "mesh.glb", cwd=folder)
    sys.stdout.write(f"occnet {version}: {text.splitlines()[-1]}\n")


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Standard output of a command; its errors end the script."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"release-check: {' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
