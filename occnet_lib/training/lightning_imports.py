"""Lightning, imported behind the torchvision shim (see there); the only place that imports it."""

from __future__ import annotations

from occnet_lib.deferred import deferring
from occnet_lib.networks import torchvision_shim  # noqa: F401

# torchmetrics imports scipy.signal to add a name that only another library needs: a fifth of the time of these imports.
with deferring("scipy.signal", "hamming"):
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
