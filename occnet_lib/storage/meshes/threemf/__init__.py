"""3MF files."""

from .reader import read_3mf
