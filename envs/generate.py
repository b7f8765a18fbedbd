"""Write the conda definition from the pinned requirements: `python envs/generate.py`."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
HEADER = "# Generated from requirements.txt by `python envs/generate.py`; used by `snakemake --sdm conda`.\n"


def conda() -> str:
    """The text of cpu.yaml: Python from conda-forge, everything else by pip at the same pins as .venv."""
    pins = [line for line in (HERE / "requirements.txt").read_text().splitlines() if line and line[0] != "#"]
    head = "name: occnet\nchannels:\n  - conda-forge\n  - nodefaults\ndependencies:\n  - python=3.11\n  - pip\n  - pip:\n"
    return HEADER + head + "".join(f"      - {pin}\n" for pin in pins)


if __name__ == "__main__":
    (HERE / "cpu.yaml").write_text(conda())
