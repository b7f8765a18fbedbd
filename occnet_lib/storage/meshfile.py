"""Mesh files in and out."""

from __future__ import annotations

# In order of preference where a shape has several.
SUFFIXES = (".obj", ".glb", ".gltf", ".ply", ".off", ".stl", ".dae")
