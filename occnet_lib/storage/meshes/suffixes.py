"""Which files are mesh files, by their names."""

from __future__ import annotations

# In order of preference where a shape has several.
SUFFIXES = (".obj", ".glb", ".gltf", ".ply", ".off", ".stl", ".dae")


def known_suffix(name: str) -> str:
    """The suffix of a mesh file's name in lower case, the longest of `SUFFIXES` that fits; empty if none does.

    Suffixes may have two dots (`.obj.gz`). A name that is all suffix (`.obj`) has none.
    """
    lower = name.lower()
    fitting = [suffix for suffix in SUFFIXES if lower.endswith(suffix) and len(lower) > len(suffix)]
    return max(fitting, key=len, default="")


def stem(name: str) -> str:
    """The name without the suffix of a mesh file, else without what follows its last dot."""
    if suffix := known_suffix(name):
        return name[: -len(suffix)]
    return name.rpartition(".")[0] or name
