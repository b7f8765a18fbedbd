"""Work between steps: validation, logging, the best network, and the state to resume from."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from typing_extensions import override

from occnet_lib import seeds
from occnet_lib.config import TrainConfig
from occnet_lib.networks.checkpoint import network_file, save_network
from occnet_lib.storage.atomic import replacing

from .batch import Batch
from .distributed import ProcessSettings
from .lightning_imports import Callback, Trainer
from .metrics_log import MetricsTable, Row, ThroughputMeter, describe
from .module import OccupancyModule
from .validation import Scores, validate
from .validation_images import ValidationImages

logger = logging.getLogger(__name__)
CHECKPOINT_KEY = "Bookkeeping"
"""Key of the callback's state in last.ckpt; the name that all runs since the first have in their files."""


class CheckpointCallback(Callback):
    """All work between two steps in a fixed order, so that a state is saved only after its step is complete.

    The state in last.ckpt holds everything a run needs to resume as if it had never stopped: besides Lightning's own
    (weights, optimiser, schedule, position) the running sums of the next record, the rows of metrics.csv and the best
    network; both files are restored from last.ckpt. Random numbers of a step (dropped layers) depend on the seed, the step
    and the process, so no generator state is saved.

    Args:
        folder: of the run.
        train: section `train`.
        options: plain values, stored with the best network.
        validation: batches of the validation split; None if it is empty, then the last network is the best.
        validation_images: renders some of its shapes for TensorBoard.
        bf16: whether training computes in bfloat16.
        digest: identifies everything that affects the result (`run_info.run_digest`); stored.
    """

    def __init__(
        self,
        folder: Path,
        train: TrainConfig,
        options: dict[str, Any],
        validation: Iterable[Batch] | None,
        validation_images: ValidationImages | None,
        bf16: bool,
        digest: str,
    ) -> None:
        self.folder, self._train, self._options, self._digest = folder, train, options, digest
        self._validation, self._validation_images, self._bf16 = validation, validation_images, bf16
        self._best: dict[str, Any] | None = None
        self._rows: list[Row] = []
        self._throughput = ThroughputMeter()
        self._settings = ProcessSettings(train.hardware.devices)

    @property
    @override
    def state_key(self) -> str:
        """Key of this state in last.ckpt."""
        return CHECKPOINT_KEY

    @override
    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors only."""
        return {"digest": self._digest, "rows": self._rows, "best": self._best, "steps": self._train.steps}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore rows and the best network."""
        self._rows, self._best = state_dict["rows"], state_dict["best"]

    def restore_files(self) -> None:
        """Write metrics.csv and best.ckpt of the restored state."""
        self._table = MetricsTable(self.folder / "metrics.csv", self._rows)
        if self._best is not None:
            save_network(self.folder / "best.ckpt", self._best)

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Add the running sums of the next record, which are not part of the weights."""
        checkpoint["occnet_sums"] = pl_module.sums.cpu()

    @override
    def on_load_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Restore the sums; of several processes the first one holds them."""
        if trainer.is_global_zero:
            pl_module.sums = checkpoint["occnet_sums"].to(pl_module.device)

    @override
    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Apply the parent's settings in a started process."""
        self._settings.restore(trainer.global_rank)

    @override
    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Restore metrics.csv and best.ckpt."""
        if trainer.is_global_zero:
            self.restore_files()
        self._throughput.resume()

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Seed the step's random numbers."""
        self._throughput.begin()
        words = "train step", str(trainer.global_step), str(trainer.global_rank)
        torch.manual_seed(seeds.entropy(self._options["seed"], *words) % 2**63)

    @override
    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, _: int) -> None:
        """Validate, log and save where the step's number calls for it."""
        self._throughput.end(len(batch.shapes) * trainer.world_size)
        step, train = trainer.global_step, self._train
        pl_module.update_average(step)
        last = step == train.steps
        every = train.checkpoint
        validating = self._validation is not None and (last or step % every.validate_every == 0)
        saving = last or step % every.checkpoint_every == 0
        if not (validating or saving or step % every.log_every == 0):
            return
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize()  # pending GPU work belongs to the steps' time
        self._throughput.pause()
        pl_module.check_losses()
        pl_module.sums = trainer.strategy.reduce(pl_module.sums, reduce_op="sum")
        if not trainer.is_global_zero:
            pl_module.sums = torch.zeros_like(pl_module.sums)
            if saving:  # all processes take part; the first one writes
                trainer.save_checkpoint(self.folder / "last.ckpt")
            return
        scores = self._scores(pl_module) if validating else None
        if validating or last or step % every.log_every == 0:
            self._record(trainer, pl_module, scores)
        if scores is not None and self._validation_images is not None:
            size = self._train.data.image_size
            drawn = self._validation_images.draw(pl_module.result, scores.threshold, size, self._bf16)
            for board in trainer.loggers:
                board.experiment.add_image("validation", drawn, step, dataformats="HWC")  # type: ignore[attr-defined]
        if self._is_best(scores, saving):
            self._save_best(pl_module, step, scores)
        if saving:
            with replacing(self.folder / "last.ckpt") as temporary:
                trainer.save_checkpoint(temporary)
        self._throughput.resume()

    def _scores(self, module: OccupancyModule) -> Scores:
        assert self._validation is not None
        return validate(module.result, self._validation, self._train.data.image_size, bf16=self._bf16)

    def _record(self, trainer: Trainer, module: OccupancyModule, scores: Scores | None) -> None:
        loss, accuracy, overlap = module.means()
        row: Row = {"train_loss": loss, "train_accuracy": accuracy, "train_iou": overlap}
        if scores is not None:
            row |= {f"val_{name}": value for name, value in scores._asdict().items()}
        rate, wait = self._throughput.read()
        row |= {
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "samples_per_second": rate,
            "data_wait": wait,
        }
        for board in trainer.loggers:
            board.log_metrics(row, trainer.global_step)
            board.save()
        row = {"step": trainer.global_step} | {name: float(f"{value:.6g}") for name, value in row.items()}
        self._table.add(row)
        logger.info(describe(row))

    def _is_best(self, scores: Scores | None, saving: bool) -> bool:
        if self._validation is None:
            return saving
        if scores is None:
            return False
        return self._best is None or scores.iou > self._best["options"]["val_iou"]

    def _save_best(self, module: OccupancyModule, step: int, scores: Scores | None) -> None:
        options = self._options | {
            "step": step,
            "val_iou": None if scores is None else scores.iou,
            "val_threshold": None if scores is None else scores.threshold,
        }
        self._best = network_file(module.result.state_dict(), options)
        save_network(self.folder / "best.ckpt", self._best)
