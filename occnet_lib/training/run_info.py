"""Device, precision and identity of a training run, and the metadata stored with it."""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import sysconfig
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from occnet_lib import __version__
from occnet_lib.config import Config, ImagesConfig, ModelConfig, TrainConfig, digest
from occnet_lib.errors import ConfigError
from occnet_lib.networks.hardware import has_fast_bf16
from occnet_lib.storage.atomic import write_text
from occnet_lib.storage.iou_calibration import file_digest
from occnet_lib.versions import VERSIONS

from .shape_set import ShapeSet

logger = logging.getLogger(__name__)

_MAX_WORKERS = 8  # supply two of today's fastest GPUs
_STEPS_TO_COMPILE = 10_000
_LIBRARIES = ("torch", "torchvision", "lightning", "numpy", "h5py", "pillow")
# Keys of `train` that do not affect the result: training resumes after they change.
_RUNTIME_ONLY_KEYS = frozenset(
    {
        "log_every",
        "validate_every",
        "checkpoint_every",
        "accelerator",
        "precision",
        "threads",
        "workers",
        "cache",
        "compile",
    }
)
# Keys of `images` that the first runs did not have, with the values that change nothing.
_LATER_IMAGE_KEYS: dict[str, Any] = {"gamma": 1.0, "mirror": False}


def select_device(train: TrainConfig) -> str:
    """cuda or cpu.

    Raises:
        ConfigError: more GPUs are requested than available.
    """
    hardware, available = train.hardware, torch.cuda.is_available()
    if hardware.accelerator == "gpu" and not available:
        raise ConfigError(
            "train.hardware.accelerator is gpu, but torch sees no CUDA device", hint="use auto or cpu"
        )
    if hardware.accelerator == "cpu" or not available:
        return "cpu"
    if hardware.devices > (count := torch.cuda.device_count()):
        raise ConfigError(
            f"train.hardware.devices is {hardware.devices}, but torch sees {count} CUDA devices"
        )
    return "cuda"


def uses_bf16(train: TrainConfig, device: str) -> bool:
    """Whether to compute in bfloat16: with `auto` where the hardware supports it."""
    if train.hardware.precision != "auto":
        return train.hardware.precision == "bf16"
    return has_fast_bf16(device)


def resolve_auto(train: TrainConfig, device: str) -> TrainConfig:
    """The section with values in place of `auto` for `workers` and `compile`.

    A GPU trains faster than one process loads data; compilation pays off within thousands of steps.
    """
    hardware = train.hardware
    changes: dict[str, Any] = {}
    if hardware.workers == "auto":
        spare = torch.get_num_threads() // hardware.devices - 1
        changes["workers"] = min(max(spare, 0), _MAX_WORKERS) if device == "cuda" else 0
    if hardware.compile == "auto":
        alone = hardware.devices * hardware.nodes == 1  # not yet tested with several GPUs
        worthwhile = device == "cuda" and alone and train.steps >= _STEPS_TO_COMPILE
        missing = _missing_for_compile() if worthwhile else ""
        if missing:
            logger.warning("training is slower because torch.compile is not available: %s", missing)
        changes["compile"] = worthwhile and not missing
    return train.model_copy(update={"hardware": hardware.model_copy(update=changes)})


def _missing_for_compile() -> str:
    """What `torch.compile` needs and does not find; empty if it can run. Triton compiles a C module to launch kernels."""
    if torch.cuda.get_device_capability() < (7, 0):
        return "Triton does not support a GPU this old"
    if find_spec("triton") is None:
        return "triton is not installed (`pip install triton`)"
    if "CC" not in os.environ and not any(shutil.which(name) for name in ("gcc", "clang")):
        return "no C compiler (`apt-get install gcc`)"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "no Python headers (`apt-get install python3-dev`)"
    return ""


def run_digest(
    model: ModelConfig,
    images: ImagesConfig,
    train: TrainConfig,
    seed: int,
    training: ShapeSet,
    validation: ShapeSet,
) -> str:
    """Digest of everything that affects the result; training resumes only from a run with the same one.

    The number of steps enters only if the learning rate depends on it, so that a run at constant rate can be continued.
    """
    excluded = {*_RUNTIME_ONLY_KEYS, *(["steps"] if train.optimizer.schedule == "constant" else [])}
    # As one flat section without later keys at their defaults, so that digests of earlier runs stay valid.
    sections = train.model_dump(mode="json")
    if not model.silhouettes:
        sections.pop("rays", None)
    flat = {"steps": sections.pop("steps")} | {k: v for part in sections.values() for k, v in part.items()}
    keys = {key: value for key, value in flat.items() if key not in excluded}
    seen = {k: v for k, v in images.model_dump(mode="json").items() if _LATER_IMAGE_KEYS.get(k) != v}
    data = [training.fingerprint(), validation.fingerprint()]
    if model.start:  # its content and not its place
        data.append([file_digest(model.start)])
        model = model.model_copy(update={"start": ""})
    if model.silhouette_cameras:
        data.append(["silhouette_cameras", file_digest(model.silhouette_cameras)])
        model = model.model_copy(update={"silhouette_cameras": ""})
    return digest(VERSIONS["train"], model, seen, keys, seed, data)


def checkpoint_metadata(config: Config, model_name: str, view_size: int) -> dict[str, Any]:
    """Metadata of a network's file, which make it self-contained; `view_size`: edge of the training images in pixels."""
    return {
        "model_name": model_name,
        "model": config.models[model_name].model_dump(mode="json"),
        "images": config.images_of(model_name).model_dump(mode="json"),
        "view_size": view_size,
        "train": config.train.model_dump(mode="json"),
        "seed": config.training_seed(model_name),
        "occnet": __version__,
    }


def environment_info(device: str) -> dict[str, Any]:
    """Versions and hardware."""
    hardware: dict[str, Any] = {
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    if device == "cuda":
        hardware["gpu"] = torch.cuda.get_device_name()
    versions = {"occnet": __version__, "python": platform.python_version()}
    for library in _LIBRARIES:
        with suppress(PackageNotFoundError):
            versions[library] = version(library)
    return {"hardware": hardware, "versions": versions}


def write_options(path: Path, config: Config, facts: dict[str, Any]) -> None:
    """Write options.json: the facts and the whole configuration."""
    text = json.dumps(facts | {"config": config.model_dump(mode="json")}, indent=2, sort_keys=True)
    write_text(path, text + "\n")


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()
