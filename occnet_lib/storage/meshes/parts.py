"""The result of the readers of mesh files: parts with colours, and what could not be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import MeshError, one_line
from occnet_lib.geometry.colors import DEFAULT_COLOR
from occnet_lib.types import Mesh, Texture, Texturing

from .frame import Up

MAX_CORNERS = 2**27  # of all faces together: a small file can place one mesh a million times
MAX_INSTANCES = 1_000_000  # of nodes of a scene: a few lines can place one 2^40 times
_LINES = 10  # of `unread`; more are counted


@dataclass(frozen=True)
class Part:
    """One part of a file, in the frame of the scene.

    Attributes:
        vertices: (V, 3) float64, the file's frame.
        faces: (F, 3) int32 or int64.
        colors: (V, 3) float32 sRGB in [0, 1], or None.
        uv: (F, 3, 2) float32 as in `types.Texturing`, or None.
        texture: image of all faces if `uv` is set, multiplied by `colors`.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.integer]
    colors: NDArray[np.float32] | None = None
    uv: NDArray[np.float32] | None = None
    texture: Texture | None = None

    @property
    def textured(self) -> bool:
        """Whether the part has a texture."""
        return self.uv is not None and self.texture is not None


@dataclass
class FileContents:
    """A mesh file as read.

    Attributes:
        parts: including parts without faces.
        unread: one line per item that could not be read; such a shape gets the status `warn`. Items without which the
            geometry is wrong are errors instead.
        up: the up axis defined by the file or its format, which overrides `dataset.up`; or None.
    """

    parts: list[Part] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    up: Up | None = None
    _corners: int = 0

    def add(self, part: Part, path: Path) -> None:
        """Add a part; one mesh may be placed many times.

        Raises:
            MeshError: there are more than `MAX_CORNERS` corners of faces; `path` is that of the file.
        """
        self.parts.append(part)
        self._corners += part.faces.size
        if self._corners > MAX_CORNERS:
            raise MeshError(f"more than {MAX_CORNERS // 3} faces with all instances", path=path)


def finite_colors(
    colors: NDArray[np.floating], unread: list[str], grey: float = DEFAULT_COLOR
) -> NDArray[np.floating]:
    """Colours (…, 3) clipped to [0, 1]; values that are not finite numbers are grey, which `unread` reports."""
    finite = np.isfinite(colors)
    if lost := int((~finite).any(axis=-1).sum()):
        unread.append(
            f"{lost} of {finite[..., 0].size} colours are not finite numbers, which are taken as grey"
        )
        colors = np.where(finite, colors, colors.dtype.type(grey))
    return np.clip(colors, 0, 1)


def report_skipped(sizes: NDArray[np.integer], unread: list[str]) -> None:
    """Report in `unread` the polygons (P,) of fewer than three corners, which have no triangles."""
    if lost := int((sizes < 3).sum()):
        unread.append(f"{lost} of {len(sizes)} faces have fewer than three corners and are skipped")


def compact(
    vertices: NDArray[np.float64],
    faces: NDArray[np.integer],
    colors: NDArray[np.float32] | None,
    uv: NDArray[np.float32] | None = None,
    texture: Texture | None = None,
) -> Part:
    """A part with the used vertices only, if that saves memory."""
    if 3 * len(faces) < len(vertices):
        used, inverse = np.unique(faces, return_inverse=True)
        faces = inverse.reshape(-1, 3)
        vertices, colors = vertices[used], None if colors is None else colors[used]
    return Part(vertices, faces, colors, uv, texture)


def of_one_color(
    vertices: NDArray[np.float64], faces: NDArray[np.integer], color: NDArray[np.float32]
) -> Part:
    """A part of one colour (3,)."""
    part = compact(vertices, faces, None)
    return replace(part, colors=np.tile(color, (len(part.vertices), 1)))


def of_faces(corners: NDArray[np.float64], colors: NDArray[np.float32] | None) -> Part:
    """A part in which each face has its own vertices: (F, 3, 3) corners and (F, 3, 3) their colours."""
    number = np.arange(3 * len(corners)).reshape(-1, 3)
    return Part(corners.reshape(-1, 3), number, None if colors is None else colors.reshape(-1, 3))


def turned(part: Part, mirrored: NDArray[np.bool_] | bool = True) -> Part:
    """A part whose faces, or those that are `mirrored` (F,), are reversed, as after a reflection."""
    mask = np.broadcast_to(mirrored, len(part.faces))
    if not mask.any():
        return part
    faces = np.where(mask[:, None], part.faces[:, ::-1], part.faces)
    uv = None if part.uv is None else np.where(mask[:, None, None], part.uv[:, ::-1], part.uv)
    return replace(part, faces=faces, uv=uv)


def join(contents: FileContents) -> Mesh:
    """All parts as one mesh.

    If other parts have colours, parts without colours are grey, or white below a texture.
    """
    parts = contents.parts
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    faces = [part.faces + int(start) for part, start in zip(parts, starts, strict=False)]
    return Mesh(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate(faces),
        _join_colors(parts),
        _join_textures(parts),
        _shortened(list(dict.fromkeys(map(one_line, contents.unread)))),
    )


def _shortened(lines: list[str]) -> tuple[str, ...]:
    more = [f"and {len(lines) - _LINES} more"] if len(lines) > _LINES else []
    return (*lines[:_LINES], *more)


def _join_colors(parts: Sequence[Part]) -> NDArray[np.float32] | None:
    if all(part.colors is None and not part.textured for part in parts):
        return None
    return np.concatenate(
        [
            np.full((len(part.vertices), 3), np.float32(1.0 if part.textured else DEFAULT_COLOR))
            if part.colors is None
            else part.colors
            for part in parts
        ]
    )


def _join_textures(parts: Sequence[Part]) -> Texturing | None:
    textures = {id(part.texture): part.texture for part in parts if part.textured}
    if not textures:
        return None
    number = {key: i for i, key in enumerate(textures)}
    uv = [part.uv if part.textured else np.zeros((len(part.faces), 3, 2), np.float32) for part in parts]
    index = [
        np.full(len(part.faces), number[id(part.texture)] if part.textured else -1, np.int32)
        for part in parts
    ]
    images = tuple(texture for texture in textures.values() if texture is not None)
    return Texturing(np.concatenate([a for a in uv if a is not None]), np.concatenate(index), images)
