"""Lightning, imported behind the torchvision shim (see there); the only place that imports it."""

from __future__ import annotations

from . import torchmetrics_import  # noqa: F401

# isort: split
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher as MultiProcessingLauncher

__all__ = [
    "Callback",
    "DDPStrategy",
    "LightningEnvironment",
    "LightningModule",
    "MultiProcessingLauncher",
    "SLURMEnvironment",
    "TensorBoardLogger",
    "Trainer",
]
