"""STEP and IGES files, by Open CASCADE (the package cascadio, occnet's extra `step`)."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

from occnet_lib.errors import MeshError

from .gltf import read_gltf
from .isolated import call_isolated
from .parts import FileContents
from .suffixes import known_suffix

Kind = Literal["step", "iges"]

# Maximum distance of triangles from a curved surface, relative to its edges, and angle between them in radians.
_DISTANCE, _ANGLE = 0.001, 0.2

_TROUBLE = re.compile(r"ERR|WARN|error|warning|fail|skipped", re.IGNORECASE)


def read_step(path: Path, data: bytes) -> FileContents:
    """Read a STEP file as triangles in metres, or an IGES file in the unit of the file.

    Raises:
        MeshError: the library is missing, cannot read the file, or crashes.
    """
    if importlib.util.find_spec("cascadio") is None:
        hint = "pip install cascadio, or occnet with its extra `step`"
        raise MeshError("STEP and IGES need Open CASCADE", path=path, hint=hint)
    kind: Kind = "iges" if known_suffix(path.name).startswith(".ig") else "step"
    try:
        glb, printed = call_isolated(to_glb, data, kind)
    except ValueError as error:
        raise MeshError(f"malformed {kind} file: {error}", path=path) from error
    lines = [line for line in printed if _TROUBLE.search(line)]
    if not glb:
        reason = lines[0] if lines else "it has nothing that Open CASCADE reads"
        raise MeshError(f"malformed {kind} file: {reason}", path=path)
    contents = read_gltf(path, glb)
    return replace(contents, unread=[*contents.unread, *lines])


def to_glb(data: bytes, kind: Kind) -> bytes:
    """A GLB file of a STEP or IGES file; empty if it cannot be read. Prints errors."""
    import cascadio

    glb: bytes = cascadio.load(
        data, file_type=kind, tol_linear=_DISTANCE, tol_angular=_ANGLE, tol_relative=True, use_parallel=False
    )
    return glb
