"""3MF files."""

from .reader import read_3mf

__all__ = ["read_3mf"]
