"""ShapeNet-like raw meshes whose exact occupancy is known.

A shape is a union of convex solids (parts.py) and perhaps sheets without thickness. Its mesh has
the defects of ShapeNet's meshes: an unordered triangle soup of intersecting parts, with interior faces, inconsistent
winding, and for some shapes duplicate triangles. As in ShapeNet, +y is up, the front faces -z, and the bounding box is
centred with a diagonal of 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import DemoConfig
from occnet_lib.errors import ConfigError
from occnet_lib.seeds import rng
from occnet_lib.storage.atomic import write_text
from occnet_lib.types import Mesh

from . import airplane, car, chair, lamp, table
from .draw import Draw
from .parts import Part

Bool = NDArray[np.bool_]

BUILDERS: dict[str, Callable[[Draw], list[Part]]] = {
    "airplane": airplane.build,
    "car": car.build,
    "chair": chair.build,
    "lamp": lamp.build,
    "table": table.build,
}

_DOUBLED = 0.35  # fraction of shapes with every triangle in both windings, as in SketchUp exports
_FLIPPED_PART = 0.3  # fraction of parts wound inward
_FLIPPED_FACE = 0.04  # fraction of single flipped triangles


@dataclass(frozen=True)
class DemoShape:
    """A generated shape.

    Attributes:
        category, id: as in the catalogue; the id is `<category>_<index>` with four digits.
        mesh: the triangle soup, source frame, coloured by part.
        parts: its closed convex solids and sheets, source frame.
    """

    category: str
    id: str
    mesh: Mesh
    parts: tuple[Part, ...]

    @property
    def sheets(self) -> bool:
        """Whether some parts have no thickness and therefore no volume in `occupancy`."""
        return any(part.sheet for part in self.parts)

    def occupancy(self, points: NDArray[np.floating]) -> Bool:
        """Which of the points (N, 3), source frame, lie in the union of the solid parts; exact."""
        precise = np.asarray(points, np.float64)
        inside = np.zeros(len(precise), bool)
        for part in self.parts:
            rest = np.flatnonzero(~inside)
            inside[rest] = part.contains(precise[rest])
        return inside


def shape_id(category: str, index: int) -> str:
    """The id of the index-th shape: `chair_0007`."""
    return f"{category}_{index:04d}"


def generate(category: str, index: int, seed: int) -> DemoShape:
    """The index-th shape of a category; it depends only on the three arguments.

    Raises:
        ConfigError: the generator has no such category.
    """
    if category not in BUILDERS:
        raise ConfigError(f"the demo has no category {category!r}", hint=f"it has {', '.join(BUILDERS)}")
    name = shape_id(category, index)
    random = rng(seed, "demo", f"{category}/{name}")
    parts = _normalised(BUILDERS[category](Draw(random)))
    return DemoShape(category, name, _soup(parts, random), parts)


def exact(category: str, index: int, seed: int) -> Callable[[NDArray[np.floating]], Bool]:
    """The exact occupancy of that shape: points (N, 3) in the source frame to bool (N,)."""
    return generate(category, index, seed).occupancy


def write(root: Path, demo: DemoConfig, seed: int) -> list[Path]:
    """Write the demo dataset in the layout of ShapeNet: `<root>/<category>/<id>/model.obj` and `.mtl`.

    The same arguments give the same bytes; a larger `shapes_per_category` adds shapes and changes none.

    Returns:
        The paths of the .obj files.
    """
    paths = []
    for category in demo.categories:
        for index in range(demo.shapes_per_category):
            shape = generate(category, index, seed)
            paths.append(root / category / shape.id / "model.obj")
            write_obj(paths[-1], shape.mesh, shape.parts)
    return paths


def _normalised(parts: list[Part]) -> tuple[Part, ...]:
    """The parts with their common bounding box centred at the origin and of diagonal 1."""
    corners = np.concatenate([part.vertices for part in parts])
    low, high = corners.min(0), corners.max(0)
    scale = 1.0 / float(np.linalg.norm(high - low))
    return tuple(part.moved(-scale * (low + high) / 2, scale) for part in parts)


def _soup(parts: tuple[Part, ...], random: np.random.Generator) -> Mesh:
    """The parts' triangles in one mesh: parts have no common vertices; some are wound inward, some doubled."""
    faces, colors, start = [], [], 0
    for part in parts:
        flip = random.random(len(part.faces)) < _FLIPPED_FACE
        flip ^= bool(random.random() < _FLIPPED_PART)
        faces.append(np.where(flip[:, None], part.faces[:, ::-1], part.faces) + start)
        colors.append(np.tile(np.array(part.color, np.float32), (len(part.vertices), 1)))
        start += len(part.vertices)
    if random.random() < _DOUBLED:
        faces += [f[:, ::-1] for f in faces]
    vertices = np.concatenate([part.vertices for part in parts])
    return Mesh(vertices, np.concatenate(faces).astype(np.int32), np.concatenate(colors))


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
    write_text(material, "\n".join(_MATERIAL % (i, *color) for i, color in enumerate(colors)))
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
    write_text(path, "\n".join(lines) + "\n")
