"""Wavefront files of demo shapes: one group per part, one material per colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from occnet_lib.storage.atomic import replacing
from occnet_lib.types import Mesh

from .parts import Part

_VERTEX = "v %.8f %.8f %.8f"  # 1e-8 of the diagonal: far below any voxel, and the same bytes on any machine
_MATERIAL = "newmtl m%d\nKd %.3f %.3f %.3f\nKa 0.000 0.000 0.000\nd 1.0\nillum 1\n"


def write_obj(path: Path, mesh: Mesh, parts: tuple[Part, ...]) -> None:
    """Write `path` and the .mtl file of the same stem; the bytes are deterministic.

    Args:
        path: the .obj file; missing folders are created.
        mesh: its vertices are those of `parts`, concatenated.
        parts: the groups and their colours.
    """
    colors = list(dict.fromkeys(part.color for part in parts))
    material = path.with_suffix(".mtl")
    with replacing(material) as temporary:
        text = "\n".join(_MATERIAL % (i, *color) for i, color in enumerate(colors))
        temporary.write_text(text, encoding="ascii", newline="\n")
    lines = [f"mtllib {material.name}"]
    lines += [_VERTEX % tuple(vertex) for vertex in (mesh.vertices + 0.0).tolist()]
    ends = np.cumsum([len(part.vertices) for part in parts])
    owners = np.searchsorted(ends, mesh.faces[:, 0], side="right").tolist()
    current = -1
    for owner, (a, b, c) in zip(owners, (mesh.faces + 1).tolist(), strict=True):
        if owner != current:
            lines += [f"g part{owner}", f"usemtl m{colors.index(parts[owner].color)}"]
            current = owner
        lines.append(f"f {a} {b} {c}")
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="ascii", newline="\n")
