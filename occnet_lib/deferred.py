"""Modules that a library imports at its start and hardly anyone calls, imported at their first use instead."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any


@contextmanager
def deferring(module: str, *functions: str) -> Iterator[None]:
    """Within the context, `from <module> import <function>` yields functions that import the module when they are called.

    Any other name imports the module at once, so that whoever needs more of it gets it. Afterwards the module is imported
    as if this had not been; then its package has the functions themselves. A module that is imported already stays as it is.

    Args:
        module: full name of a module.
        functions: names of functions in it.
    """
    if module in sys.modules:
        yield
        return
    stand_in = _StandIn(module, functions)
    sys.modules[module] = stand_in
    try:
        yield
    finally:
        stand_in.leave()


class _StandIn(ModuleType):
    def __init__(self, name: str, functions: tuple[str, ...]) -> None:
        super().__init__(name)
        self._functions = {function: _at_call(self, function) for function in functions}
        vars(self).update(self._functions)

    def leave(self) -> None:
        """Make room for the module itself, unless its package has a function of the same name.

        The first import of the module would replace that function by the module.
        """
        if sys.modules.get(self.__name__) is not self:
            return
        del sys.modules[self.__name__]
        for function in self._functions:
            delattr(self, function)
        parent, _, name = self.__name__.rpartition(".")
        if name in vars(sys.modules.get(parent, object)):
            self.__spec__ = find_spec(self.__name__)
            sys.modules[self.__name__] = self

    def load(self) -> ModuleType:
        """The module itself; its package, where it has these functions, then has those of the module."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        parent, _, name = self.__name__.rpartition(".")
        package = vars(import_module(parent)) if parent else {}
        own = package.get(name)
        loaded = import_module(self.__name__)
        if own is not None:
            package[name] = own
        for function, stand_in in self._functions.items():
            if package.get(function) is stand_in:
                package[function] = getattr(loaded, function)
        return loaded

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":  # of `from <module> import *`
            names = [name for name in vars(self.load()) if not name.startswith("_")]
            return getattr(self.load(), name, names)
        if name.startswith("__"):  # the import system's questions
            raise AttributeError(name)
        return getattr(self.load(), name)


def _at_call(module: _StandIn, function: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(module.load(), function)(*args, **kwargs)

    return call
