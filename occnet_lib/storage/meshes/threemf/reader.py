"""Reading of a 3MF file as placed parts."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import MeshError
from occnet_lib.storage.meshes.images import TextureReader
from occnet_lib.storage.meshes.packed import read_member
from occnet_lib.storage.meshes.parts import (
    MAX_INSTANCES,
    FileContents,
    Part,
    compact,
    of_faces,
    of_one_color,
    turned,
)
from occnet_lib.types import Texture

from .model import Model, Object, Transform, parse_model

_MODEL_TYPE = "/3dmodel"  # end of the type of the relationship to the root model
_DEEPEST = 100  # depth of components


def read_3mf(path: Path, data: bytes) -> FileContents:
    """Read the build of a 3MF file, in the unit of the file; +z is up, as defined by the format.

    Base materials, colour groups and textures are read. Opacity is not used.

    Raises:
        MeshError: a required extension is not supported, or too many faces.
        ValueError, KeyError and others: malformed.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return _Reader(path, archive).read()


class _Reader:
    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path = path
        self._archive = archive
        self._names = {name.lower().lstrip("/"): name for name in archive.namelist()}
        self._models: dict[str, Model] = {}
        self._contents = FileContents(up="z")
        self._textures = TextureReader(self._contents.unread)
        self._instances = 0

    def read(self) -> FileContents:
        root = self._root()
        for part, name, transform in self._model(root).items:
            self._place(part or root, name, transform, 0)
        for model in self._models.values():
            self._contents.unread += [f"<{tag}> is not read" for tag in sorted(model.unread)]
        return self._contents

    def _root(self) -> str:
        """The name of the root model."""
        if "_rels/.rels" in self._names:
            relations = ElementTree.fromstring(self._member("_rels/.rels"))
            for relation in relations.iter():
                if relation.get("Type", "").endswith(_MODEL_TYPE):
                    return relation.get("Target", "")
        return "3D/3dmodel.model"

    def _member(self, name: str) -> bytes:
        key = name.lower().lstrip("/")
        if key not in self._names:
            raise ValueError(f"{name} is not in the archive")
        return read_member(self._archive, self._names[key])

    def _model(self, name: str) -> Model:
        key = name.lower().lstrip("/")
        if key not in self._models:
            try:
                self._models[key] = parse_model(self._member(name))
            except NotImplementedError as error:
                raise MeshError(str(error), path=self._path) from error
        return self._models[key]

    def _place(self, part: str, name: str, transform: Transform, depth: int) -> None:
        """Add an object and its components."""
        model = self._model(part)
        if name not in model.objects:
            raise ValueError(f"object {name} is not in {part}")
        if depth > _DEEPEST:
            raise ValueError("components in a circle")
        self._instances += 1
        if self._instances > MAX_INSTANCES:
            raise MeshError(f"more than {MAX_INSTANCES} components", path=self._path)
        of = model.objects[name]
        for inner, component, own in of.components:
            matrix = own @ transform[:3]
            matrix[3] += transform[3]
            self._place(inner or part, component, matrix, depth + 1)
        if len(of.triangles):
            self._add(model, of, transform)

    def _add(self, model: Model, of: Object, transform: Transform) -> None:
        with np.errstate(invalid="ignore", over="ignore"):
            vertices = np.array(of.vertices).reshape(-1, 3) @ transform[:3] + transform[3]
        faces = np.array(of.triangles).reshape(-1, 3)
        if faces.min() < 0 or faces.max() >= len(vertices):
            raise IndexError(f"a face refers to a vertex outside 0..{len(vertices) - 1}")
        properties = np.array(of.properties).reshape(-1, 4)
        none = properties[:, 0] < 0
        properties[none] = (of.group, *[of.index] * 3)
        mirrored = bool(np.linalg.det(transform[:3]) < 0)
        for group in np.unique(properties[:, 0]):
            chosen = properties[:, 0] == group
            part = self._part(model, vertices, faces[chosen], int(group), properties[chosen, 1:])
            self._contents.add(turned(part, mirrored), self._path)

    def _part(
        self,
        model: Model,
        vertices: NDArray[np.float64],
        faces: NDArray[np.int64],
        group: int,
        index: NDArray[np.int64],
    ) -> Part:
        """Faces with one property group; (F, 3) `index` of the corners in it."""
        if group in model.texture_groups:
            name, numbers = model.texture_groups[group]
            uv = _at(np.array(numbers).reshape(-1, 2), index).astype(np.float32)
            texture = self._texture(model, name)
            if texture is None:
                return compact(vertices, faces, None)
            return compact(vertices, faces, None, np.stack([uv[..., 0], 1 - uv[..., 1]], axis=-1), texture)
        if group not in model.colors:
            return compact(vertices, faces, None)
        colors = _at(np.array(model.colors[group]).reshape(-1, 3), index).astype(np.float32) / np.float32(255)
        if (colors == colors[:1, :1]).all():
            return of_one_color(vertices, faces, colors[0, 0])
        return of_faces(vertices[faces], colors)

    def _texture(self, model: Model, name: str) -> Texture | None:
        path, wraps = model.textures.get(name, ("", ("repeat", "repeat")))
        key = (path, "".join(wraps))
        return self._textures.texture(
            key, path or name, lambda: Texture(self._textures.read(self._member(path)), wraps)
        )


def _at(values: NDArray[np.float64 | np.int64], index: NDArray[np.int64]) -> NDArray[np.float64 | np.int64]:
    if index.min() < 0 or index.max() >= len(values):
        raise IndexError(f"a property outside 0..{len(values) - 1}")
    return values[index]
