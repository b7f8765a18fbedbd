"""COLLADA files."""

from .reader import read_dae

__all__ = ["read_dae"]
