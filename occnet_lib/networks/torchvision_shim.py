"""Torchvision beside a CPU-only torch.

Package registries offer torchvision built for CUDA; its compiled operators do not load beside a CPU-only
torch, and `import torchvision` then fails with "operator torchvision::nms does not exist", and with it every
library that imports torchvision when present (torchmetrics, lightning). The networks need none of these
operators, so declaring the two names that torchvision registers shape functions for is enough. With a
fitting pair nothing is changed.

Import this module before lightning or torchmetrics.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

import torch

from occnet_lib.errors import DependencyError

_OPERATORS = ("nms", "qnms")
# Declarations live only as long as their library object.
_declared: list[torch.library.Library] = []


def import_torchvision() -> ModuleType:
    """The torchvision module, made importable if need be.

    Raises:
        DependencyError: torchvision is missing or does not fit the installed torch in some other way.
    """
    try:
        return import_module("torchvision")
    except ImportError as error:
        raise DependencyError(f"cannot import torchvision: {error}", hint="install it") from error
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise DependencyError(
                f"torchvision does not fit torch {torch.__version__}: {error}", hint="install a matching pair"
            ) from error
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in _OPERATORS:
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)
    return import_module("torchvision")


torchvision: ModuleType = import_torchvision()
