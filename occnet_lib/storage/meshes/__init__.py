"""Mesh files in and out; whatever is wrong with a file ends as a `MeshError` of one line."""

from .read import SUFFIXES, digest, load_mesh
from .write import WRITABLE, save_mesh

__all__ = ["SUFFIXES", "WRITABLE", "digest", "load_mesh", "save_mesh"]
