"""Reading glTF files: version 2.0 with the extensions of `extensions.py`, version 1.0 through Assimp."""

from .reader import read_gltf

__all__ = ["read_gltf"]
