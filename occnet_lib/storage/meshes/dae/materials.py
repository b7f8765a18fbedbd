"""Colours and textures of COLLADA materials."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import MeshError
from occnet_lib.storage.meshes.images import TextureReader
from occnet_lib.storage.meshes.side_files import find_uri
from occnet_lib.types import Texture, Wrap

from .document import Document, descend, numbers, text_of

_WRAPS: dict[str, Wrap] = {"MIRROR": "mirror", "CLAMP": "clamp", "BORDER": "clamp", "NONE": "clamp"}
_MODELS = ("phong", "lambert", "blinn", "constant")


@dataclass(frozen=True)
class Look:
    """The diffuse part of a material: a colour or a texture with the name of its coordinates, or neither."""

    color: NDArray[np.float32] | None = None
    texture: Texture | None = None
    texcoord: str = ""


class Materials:
    """The materials of a document; `unread` of the document lists what cannot be read."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._looks: dict[str, Look] = {}
        self._textures = TextureReader(document.unread)

    def look(self, url: str) -> Look:
        """The look of the material at a URL; an empty one if it cannot be read."""
        if url not in self._looks:
            try:
                self._looks[url] = self._read(url)
            except (MeshError, ValueError) as error:
                message = error.message if isinstance(error, MeshError) else str(error)
                self._document.unread.append(f"material {url.removeprefix('#')}: {message}")
                self._looks[url] = Look()
        return self._looks[url]

    def _read(self, url: str) -> Look:
        instance = self._document.target(url).find("instance_effect")
        if instance is None:
            return Look()
        profile = self._document.target(instance.get("url")).find("profile_COMMON")
        technique = descend(profile, "technique")
        model = next((m for tag in _MODELS if (m := descend(technique, tag)) is not None), None)
        diffuse = descend(model, "diffuse")
        if diffuse is None:
            diffuse = descend(model, "emission")
        color, texture = descend(diffuse, "color"), descend(diffuse, "texture")
        if texture is not None and profile is not None:
            return Look(None, self._texture(profile, texture), texture.get("texcoord", ""))
        if color is None:
            return Look()
        values = numbers(color)
        if len(values) < 3:
            raise ValueError(f"a colour of {len(values)} numbers")
        return Look(np.clip(np.nan_to_num(values[:3]), 0, 1).astype(np.float32))

    def _texture(self, profile: Element, statement: Element) -> Texture | None:
        name = statement.get("texture", "")
        sampler = _parameter(profile, name, "sampler2D")
        wraps = [_wrap(sampler, tag) for tag in ("wrap_s", "wrap_t")]
        image = self._image(profile, sampler, name)
        key = (image if isinstance(image, str) else image.get("id", ""), wraps[0], wraps[1])

        def load() -> Texture:
            return Texture(self._textures.read(self._source(image)), (wraps[0], wraps[1]))

        return self._textures.texture(key, _file_name(image) or name, load)

    def _image(self, profile: Element, sampler: Element | None, name: str) -> Element | str:
        """The image of a sampler, or the file name in place of it.

        In COLLADA 1.4 a sampler refers to a surface and that to an image, in 1.5 the sampler refers to the image; many
        files refer to the image, or to a file, at any step.
        """
        instance = descend(sampler, "instance_image")
        if instance is not None:
            return self._document.target(instance.get("url"))
        surface_name = text_of(descend(sampler, "source")) or name.strip()
        surface = _parameter(profile, surface_name, "surface")
        image_name = text_of(descend(surface, "init_from")) or surface_name
        image = self._document.find(image_name)
        return image_name if image is None or image.tag != "image" else image

    def _source(self, image: Element | str) -> bytes:
        embedded = None if isinstance(image, str) else image.find("data")
        if embedded is None and not isinstance(image, str):
            embedded = descend(image, "init_from", "hex")
        if embedded is not None:
            return bytes.fromhex("".join((embedded.text or "").split()))
        name = _file_name(image)
        path = find_uri(self._document.path.parent, name) if name else None
        if path is None:
            raise ValueError("no such file" if name else "the image has no file")
        return path.read_bytes()


def _parameter(profile: Element, name: str, kind: str) -> Element | None:
    """The `kind` of the parameter with a name, of an effect's profile or its technique."""
    for parameter in profile.iter("newparam"):
        if parameter.get("sid") == name and (inner := parameter.find(kind)) is not None:
            return inner
    return None


def _wrap(sampler: Element | None, tag: str) -> Wrap:
    return _WRAPS.get(text_of(descend(sampler, tag)), "repeat")


def _file_name(image: Element | str) -> str:
    if isinstance(image, str):
        return image
    return text_of(descend(image, "init_from", "ref")) or text_of(descend(image, "init_from"))
