"""Modules that a library imports at its start and hardly anyone calls, imported at their first use instead."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


@contextmanager
def deferring(module: str, *functions: str) -> Iterator[None]:
    """Within the context, `from <module> import <function>` yields functions that import the module when they are called.

    Any other name imports the module at once, so that whoever needs more of it gets it. Afterwards the module is imported
    as if this had not been. A module that is imported already stays as it is.

    Args:
        module: full name of a module.
        functions: names of functions in it.
    """
    if module in sys.modules:
        yield
        return
    stand_in = _StandIn(module)
    for function in functions:
        setattr(stand_in, function, _at_call(module, function))
    sys.modules[module] = stand_in
    try:
        yield
    finally:
        stand_in.leave()


class _StandIn(ModuleType):
    def leave(self) -> None:
        """Make room for the module itself."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system's questions
            raise AttributeError(name)
        self.leave()
        return getattr(import_module(self.__name__), name)


def _at_call(module: str, function: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(_imported(module), function)(*args, **kwargs)

    return call


def _imported(module: str) -> ModuleType:
    """The module; what its package has under the same name stays, which the first import would replace by the module."""
    parent, _, name = module.rpartition(".")
    package = vars(import_module(parent)) if parent else {}
    own = package.get(name)
    loaded = import_module(module)
    if own is not None:
        package[name] = own
    return loaded
