"""Write the conda definitions and the container recipe from requirements.txt and apt.txt: `python envs/generate.py`.

requirements.txt is the one list of pins. On PyPI the pinned torch is the build with CUDA, which runs on CPUs too;
cpu.yaml and a container without CUDA take PyTorch's own much smaller CPU build of the same version.
"""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
PYTHON = "3.11"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
HEADER = "# Generated from requirements.txt and apt.txt by `python envs/generate.py`"


def listed(name: str) -> list[str]:
    """Lines of a list in this folder, without comments."""
    return [line for line in (HERE / name).read_text().splitlines() if line and line[0] != "#"]


def conda(build: str) -> str:
    """The text of cpu.yaml or cuda.yaml: Python from conda-forge, everything else by pip at the same pins."""
    pins = listed("requirements.txt")
    if build == "cpu":
        pins = [f"{pin}+cpu" if pin.split("==")[0] in ("torch", "torchvision") else pin for pin in pins]
        pins.insert(0, f"--extra-index-url {CPU_INDEX}")
    head = f"{HEADER}; used by `snakemake --sdm conda`.\nname: occnet-{build}\nchannels:\n"
    head += f"  - conda-forge\n  - nodefaults\ndependencies:\n  - python={PYTHON}\n  - pip\n  - pip:\n"
    return head + "".join(f"      - {pin}\n" for pin in pins)


def container() -> str:
    """The text of the Dockerfile: the packages of apt.txt, the pins of requirements.txt."""
    packages = " ".join(package for package in listed("apt.txt") if package != "python3-venv")
    packages += " gcc libc6-dev"  # torch.compile on a GPU calls it (`train.hardware.compile`)
    return f"""{HEADER}.
# docker build -t occnet -f envs/Dockerfile .                      with CUDA
# docker build -t occnet -f envs/Dockerfile --build-arg TORCH_INDEX={CPU_INDEX} .
# docker run --rm --gpus all --ipc=host -v "$PWD":/work occnet --cores 8 all
# apptainer build occnet.sif docker-daemon:occnet:latest          for clusters
FROM python:{PYTHON}-slim-bookworm
ARG TORCH_INDEX=https://pypi.org/simple
RUN apt-get update -q \\
    && apt-get install -y -q --no-install-recommends {packages} \\
    && rm -rf /var/lib/apt/lists/*
COPY envs/requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" --extra-index-url https://pypi.org/simple \\
        $(grep -E '^(torch|torchvision)==' /tmp/requirements.txt) \\
    && pip install --no-cache-dir -r /tmp/requirements.txt
ENV PYTHONUNBUFFERED=1 PYTHONPATH=/work
WORKDIR /work
ENTRYPOINT ["snakemake"]
"""


def files() -> dict[str, str]:
    """All generated files of this folder by name."""
    return {"cpu.yaml": conda("cpu"), "cuda.yaml": conda("cuda"), "Dockerfile": container()}


if __name__ == "__main__":
    for file_name, text in files().items():
        (HERE / file_name).write_text(text)
