"""STEP and IGES files, by Open CASCADE (the package cascadio, occnet's extra `step`)."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from occnet_lib.errors import MeshError

from .gltf import read_gltf
from .parts import FileContents
from .suffixes import known_suffix

# How far triangles may be from a curved surface, relative to its edges, and its turn from one to the next, in radians.
_DISTANCE, _ANGLE = 0.001, 0.2

_NOISE = re.compile(r"\x1b\[[0-9;]*m|\*+")
_TROUBLE = re.compile(r"ERR|WARN|error|warning|fail|skipped", re.IGNORECASE)


def read_step(path: Path, data: bytes) -> FileContents:
    """Read a STEP file as triangles in metres, or an IGES file in its own unit.

    Raises:
        MeshError: the library is missing, or it cannot read the file.
    """
    try:
        import cascadio
    except ImportError as error:
        hint = "pip install cascadio, or occnet with its extra `step`"
        raise MeshError("STEP and IGES need Open CASCADE", path=path, hint=hint) from error

    kind: Literal["iges", "step"] = "iges" if known_suffix(path.name).startswith(".ig") else "step"
    with _printed() as lines:
        glb = cascadio.load(
            data,
            file_type=kind,
            tol_linear=_DISTANCE,
            tol_angular=_ANGLE,
            tol_relative=True,
            use_parallel=False,
        )
    if not glb:
        reason = lines[0] if lines else "it holds nothing that Open CASCADE reads"
        raise MeshError(f"malformed {kind} file: {reason}", path=path)
    contents = read_gltf(path, glb)
    return replace(contents, unread=[*contents.unread, *lines])


@contextlib.contextmanager
def _printed() -> Iterator[list[str]]:
    """Errors and warnings that are printed meanwhile, also by C++: afterwards in the list, not on the terminal."""
    lines: list[str] = []
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with tempfile.TemporaryFile() as file:
        kept = [os.dup(number) for number in (1, 2)]
        try:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            yield lines
        finally:
            for number, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, number)
                os.close(copy)
        file.seek(0)
        text = _NOISE.sub("", file.read().decode(errors="replace"))
    lines += [" ".join(line.split()) for line in text.splitlines() if _TROUBLE.search(line)]
