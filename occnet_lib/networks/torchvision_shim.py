"""Torchvision beside a CPU-only torch.

Package registries offer torchvision built for CUDA; its compiled operators do not load beside a CPU-only
torch, and `import torchvision` then fails with "operator torchvision::nms does not exist", and with it every
library that imports torchvision when present (torchmetrics, lightning). The networks need none of these
operators, so it is enough to declare the two names for which torchvision registers shape functions. A matching pair is
left unchanged.

Import this module before lightning or torchmetrics.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

import torch

from occnet_lib.deferred import deferring
from occnet_lib.errors import DependencyError

_OPERATORS = ("nms", "qnms")
# Declarations live only as long as their library object.
_declared: list[torch.library.Library] = []


def import_torchvision() -> ModuleType:
    """The torchvision module, made importable if necessary.

    Raises:
        DependencyError: torchvision is missing or incompatible with the installed torch in another way.
    """
    try:
        return _import()
    except ImportError as error:
        raise DependencyError(f"cannot import torchvision: {error}", hint="install it") from error
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise DependencyError(
                f"torchvision is incompatible with torch {torch.__version__}: {error}",
                hint="install a matching pair",
            ) from error
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in _OPERATORS:
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)
    return _import()


def _import() -> ModuleType:
    """Import torchvision, but not the compiler of torch for its pooling of regions, which takes longer than all the rest."""
    with deferring("torch._dynamo.utils", "is_compile_supported"):
        return import_module("torchvision")


torchvision: ModuleType = import_torchvision()
