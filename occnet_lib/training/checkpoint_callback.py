"""What is done after a step: validate, record, keep the best network, write the state to go on from."""

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
    """Everything between two steps, in one order, so that a state is saved only when its step is done with.

    The state that goes into last.ckpt holds all that a run needs to go on as if it had never stopped: beside
    Lightning's own (weights, optimiser, schedule, position) the sums behind the next record, the rows of
    metrics.csv and the best network; the last two files are made again from last.ckpt. What chance decides in a
    step (dropped layers) follows from the seed, the step and the process, so that no generator's state is kept.

    Args:
        folder: of the run.
        train: section `train`.
        options: plain values for the options of the best network.
        validation: batches of the validation split; None where it has no shape: the last network is the best.
        validation_images: of some of its shapes, for TensorBoard.
        bf16: whether training computes in bfloat16.
        digest: of everything that decides the result; stored.
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
        self._watch = ThroughputMeter()
        self._settings = ProcessSettings(train.hardware.devices)

    @property
    @override
    def state_key(self) -> str:
        """Key of this state in last.ckpt."""
        return CHECKPOINT_KEY

    @override
    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors only."""
        return {
            "digest": self._digest,
            "rows": self._rows,
            "best": self._best,
            "steps": self._train.steps,
        }

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a state; metrics.csv and best.ckpt become what they were then."""
        self._rows, self._best = state_dict["rows"], state_dict["best"]

    def restore_files(self) -> None:
        """Write metrics.csv and best.ckpt as the state has them."""
        self._table = MetricsTable(self.folder / "metrics.csv", self._rows)
        if self._best is not None:
            save_network(self.folder / "best.ckpt", self._best)

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Add the sums behind the next record, which are no weights."""
        checkpoint["occnet_sums"] = pl_module.sums.cpu()

    @override
    def on_load_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Take the sums back; of several processes the first has them all."""
        if trainer.is_global_zero:
            pl_module.sums = checkpoint["occnet_sums"].to(pl_module.device)

    @override
    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """The beginning of a process."""
        self._settings.restore(trainer.global_rank)

    @override
    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Put the files where the state left them."""
        if trainer.is_global_zero:
            self.restore_files()
        self._watch.resume()

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """The batch is there."""
        self._watch.begin()
        words = "train step", str(trainer.global_step), str(trainer.global_rank)
        torch.manual_seed(seeds.entropy(self._options["seed"], *words) % 2**63)

    @override
    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, _: int) -> None:
        """The end of a step."""
        self._watch.end(len(batch.shapes) * trainer.world_size)
        step, train = trainer.global_step, self._train
        pl_module.update_average(step)
        last = step == train.steps
        every = train.checkpoint
        validating = self._validation is not None and (last or step % every.validate_every == 0)
        saving = last or step % every.checkpoint_every == 0
        if not (validating or saving or step % every.log_every == 0):
            return
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize()  # what it has still to do belongs to the steps' time
        self._watch.pause()
        pl_module.check_losses()
        pl_module.sums = trainer.strategy.reduce(pl_module.sums, reduce_op="sum")
        if not trainer.is_global_zero:
            pl_module.sums = torch.zeros_like(pl_module.sums)
            if saving:  # takes part, but the first process writes
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
            self._keep(pl_module, step, scores)
        if saving:
            with replacing(self.folder / "last.ckpt") as temporary:
                trainer.save_checkpoint(temporary)
        self._watch.resume()

    def _scores(self, module: OccupancyModule) -> Scores:
        assert self._validation is not None
        return validate(module.result, self._validation, self._train.data.image_size, bf16=self._bf16)

    def _record(self, trainer: Trainer, module: OccupancyModule, scores: Scores | None) -> None:
        loss, accuracy, overlap = module.means()
        row: Row = {"train_loss": loss, "train_accuracy": accuracy, "train_iou": overlap}
        if scores is not None:
            row |= {f"val_{name}": value for name, value in scores._asdict().items()}
        rate, wait = self._watch.read()
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

    def _keep(self, module: OccupancyModule, step: int, scores: Scores | None) -> None:
        options = self._options | {
            "step": step,
            "val_iou": None if scores is None else scores.iou,
            "val_threshold": None if scores is None else scores.threshold,
        }
        self._best = network_file(module.result.state_dict(), options)
        save_network(self.folder / "best.ckpt", self._best)
