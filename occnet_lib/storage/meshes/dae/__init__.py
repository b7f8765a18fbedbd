"""COLLADA files."""

from .reader import read_dae
