"""Training of one model; it can be interrupted at any time and resumes from its last checkpoint."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from occnet_lib import seeds
from occnet_lib.config import Config, TrainConfig
from occnet_lib.errors import ConfigError, DataError
from occnet_lib.networks.checkpoint import read_plain

from . import previous_runs, run_info
from .checkpoint_callback import CHECKPOINT_KEY, CheckpointCallback
from .data_loaders import DeviceLoader, TrainingLoader, training_loader, validation_loader
from .dataset import TrainingItems, ValidationItems
from .distributed import Devices, reserve_devices, slurm_rank, started_processes, trainer_options
from .lightning_imports import TensorBoardLogger, Trainer
from .malloc import disable_heap_trimming
from .metrics_log import ProgressBar
from .module import OccupancyModule
from .predicted_cameras import predict_cameras
from .shape_set import ShapeSet
from .start import initial_weights
from .validation_images import ValidationImages

logger = logging.getLogger(__name__)


def train(
    config: Config,
    model_name: str,
    training_shards: Sequence[Path],
    validation_shards: Sequence[Path],
    out_dir: str | Path,
    resume: bool = True,
    only: Collection[str] | None = None,
) -> None:
    """Train a model.

    Writes into `out_dir`: best.ckpt (the network with the highest validation IoU, see
    `networks.checkpoint.load_network`), last.ckpt (the state to resume from, every `checkpoint_every` steps), metrics.csv,
    options.json and tensorboard/. An interrupted run resumes from last.ckpt; on a CPU it ends with identical weights (given
    the same kind of processor and number of threads, on which matrix products depend). With another configuration or other
    data training starts from the beginning, and the previous run is moved to `out_dir`/kept-001 (`previous_runs`). From
    then on the process does not return freed memory to the system (`malloc`).

    Args:
        config: `models[model_name]`, `train` and `seed` are used. With `train.hardware.devices` above 1 a script
            that calls this needs `if __name__ == "__main__":`, because processes are started.
        model_name: key of `models`.
        training_shards: pack files to train with.
        validation_shards: pack files that select the best network; without shapes it is the last one.
        out_dir: folder of the run.
        resume: whether to resume from an existing last.ckpt.
        only: names of the training shapes to use; None: all.

    Raises:
        ConfigError: unknown model, a GPU is requested and none is available, `start` has other layers, or
            `silhouette_cameras` predicts none.
        DataError: a shard is missing or corrupt, or the training split is empty.
        DependencyError: pretrained weights are requested and not available.
        OccnetError: the loss is not finite.
    """
    if model_name not in config.models:
        raise ConfigError(f"no model {model_name!r}", hint=f"models are {', '.join(config.models)}")
    initial = initial_weights(config.models[model_name], model_name)
    device = run_info.select_device(config.train)
    section, folder = run_info.resolve_auto(config.train, device), Path(out_dir)
    training, validation = ShapeSet(training_shards, section, only), ShapeSet(validation_shards, section)
    if len(training) == 0:
        raise DataError("no shape in the training split", hint="see preprocess/shapes.csv for failures")
    disable_heap_trimming()
    with reserve_devices(section, device) as devices:
        predict_cameras((training, validation), config.models[model_name], model_name, devices.device)
        _train(config, section, model_name, (training, validation), folder, resume, devices, initial)


def _train(
    config: Config,
    section: TrainConfig,
    model_name: str,
    sets: tuple[ShapeSet, ShapeSet],
    folder: Path,
    resume: bool,
    devices: Devices,
    initial: dict[str, Tensor],
) -> None:
    (training, validation), model, device = sets, config.models[model_name], devices.device
    images, seed = config.images_of(model_name), config.training_seed(model_name)
    if device == "cuda":
        torch.set_float32_matmul_precision("high")
    bf16 = run_info.uses_bf16(section, device)
    digest = run_info.run_digest(model, images, section, seed, training, validation)
    first_process = slurm_rank() == 0
    if first_process:
        _remove_unfinished(folder)
    state = _state_to_resume(folder / "last.ckpt", digest) if resume else None
    first = int(state["global_step"]) if state else 0
    if first_process:
        _keep_old_run(folder, state, digest, section.steps)

    torch.manual_seed(seeds.entropy(seed, "train") % 2**63)
    graphs = device == "cuda" and section.hardware.devices * section.hardware.nodes == 1
    module = OccupancyModule(model, section, training.names, graphs)
    if initial:
        for network in (module.network, module.average):
            if network is not None:
                network.load_state_dict(initial)
    about = run_info.checkpoint_metadata(config, model_name, training.image(0, 0).shape[1])
    facts = {
        "parameters": module.network.parameter_count,
        "precision": "bf16" if bf16 else "fp32",
        "device": device,
        "shapes": {"train": len(training), "val": len(validation)},
        "digest": digest,
    }
    if first_process:
        run_info.write_options(
            folder / "options.json", config, about | facts | run_info.environment_info(device)
        )
    # With the configured number of workers: processes started for each validation would decode all data each time.
    callback = _checkpoint_callback(
        folder, config.train, about, ValidationItems(validation, section, images, model), bf16, digest
    )
    if state and first >= section.steps:
        logger.info("%s is trained already (%d steps)", model_name, first)
        callback.load_state_dict(state["callbacks"][callback.state_key])
        if first_process:
            callback.restore_files()
        return
    del state  # Lightning reads the file itself
    items = TrainingItems(training, section, seed, images, model)
    loader = training_loader(items, section, seed, device)
    parameters, precision = facts["parameters"], facts["precision"]
    what = (model_name, parameters, precision, device, len(training), _data_place(loader, training))
    logger.info("training %s: %d parameters, %s on %s, %d shapes, data %s", *what)
    if section.hardware.compile:
        logger.info("the first step compiles the network, which takes about a minute")
    with _quiet_lightning(), started_processes():
        trainer = _trainer(folder, section, callback, devices, bf16, first)
        trainer.fit(module, loader, ckpt_path=folder / "last.ckpt" if first else None, weights_only=True)


def _checkpoint_callback(
    folder: Path, section: TrainConfig, about: dict[str, Any], items: ValidationItems, bf16: bool, digest: str
) -> CheckpointCallback:
    if len(items) == 0:
        logger.warning(
            "no shape in the validation split: the last network of %s counts as the best", about["model_name"]
        )
        return CheckpointCallback(folder, section, about, None, None, bf16, digest)
    batches = validation_loader(items, section.hardware.loading_processes)
    drawn = ValidationImages(items) if items.labelled else None  # they show the ground truth
    return CheckpointCallback(folder, section, about, batches, drawn, bf16, digest)


def _data_place(loader: TrainingLoader | DeviceLoader, training: ShapeSet) -> str:
    """Where the training data are kept."""
    if isinstance(loader, DeviceLoader):
        return "on the device"
    return "in memory" if training.cached else "on disk"


def _trainer(
    folder: Path, train: TrainConfig, callback: CheckpointCallback, devices: Devices, bf16: bool, first: int
) -> Trainer:
    return Trainer(
        accelerator=devices.device,
        precision="bf16-mixed" if bf16 else "32-true",
        max_steps=train.steps,
        max_epochs=-1,
        logger=TensorBoardLogger(folder, name="tensorboard", version="", purge_step=first + 1),
        callbacks=[callback, ProgressBar(train.steps)],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        **trainer_options(train, devices.devices),
    )


def _state_to_resume(path: Path, digest: str) -> dict[str, Any] | None:
    """The state in last.ckpt; None, with a log message, if training cannot resume from it."""
    if not path.exists():
        return None
    try:
        state = read_plain(path)
        stored = state["callbacks"][CHECKPOINT_KEY]["digest"]
        step = int(state["global_step"])
    except (DataError, KeyError, TypeError) as error:
        logger.warning("training starts from the beginning: last.ckpt cannot be used (%s)", error)
        return None
    if stored != digest:
        logger.warning(
            "training starts from the beginning: last.ckpt was made with another configuration or other data"
        )
        return None
    logger.info("training goes on from step %d", step)
    return state


def _keep_old_run(folder: Path, state: dict[str, Any] | None, digest: str, steps: int) -> None:
    """Move the folder's run aside unless it resumes; copy a finished one that is continued to more steps."""
    if state is None:
        previous_runs.move_aside(folder, digest, steps)
        return
    planned = state["callbacks"][CHECKPOINT_KEY].get("steps")
    if planned is not None and planned <= state["global_step"] < steps:
        previous_runs.copy_aside(folder)


def _remove_unfinished(folder: Path) -> None:
    """Remove temporary files of an interrupted run."""
    for path in [*folder.glob(".last.*.ckpt"), *folder.glob(".best.*.ckpt")]:
        path.unlink(missing_ok=True)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Suppress Lightning's warnings about deliberate choices."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # The number of workers is configured (train.hardware.workers); not using srun is deliberate.
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message="The `srun` command is available.*")
            # Lightning 2.6 uses a class that torch 2.13 is about to drop.
            warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*", category=FutureWarning)
            yield
    finally:
        logger.setLevel(level)
