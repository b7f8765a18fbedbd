"""torchmetrics, which Lightning imports, without `scipy.signal`.

torchmetrics imports it to add a name that only another library needs, a sixth of the time of all imports of training.
Import this module before lightning.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from occnet_lib.deferred import deferring
from occnet_lib.networks import torchvision_shim  # noqa: F401


def _import() -> ModuleType:
    with deferring("scipy.signal", "hamming"):
        return import_module("torchmetrics")


torchmetrics: ModuleType = _import()
