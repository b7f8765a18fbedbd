"""Colours of glTF materials: factors, textures, vertex colours.

Views show the base colour, opaque and in diffuse light; alpha, metalness, roughness and normal maps are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.colors import DEFAULT_COLOR, linear_to_srgb, srgb_to_linear
from occnet_lib.storage.meshes.images import ImageReader
from occnet_lib.storage.meshes.parts import Part, finite_colors
from occnet_lib.types import Texture, Wrap

from .accessors import Accessors
from .document import Document, extension
from .primitives import Attributes

_WRAPS: dict[int, Wrap] = {33071: "clamp", 33648: "mirror", 10497: "repeat"}
_KTX2 = b"\xabKTX 20\xbb\r\n\x1a\n"
_IMAGE_EXTENSIONS = ("EXT_texture_webp", "EXT_texture_avif", "MSFT_texture_dds", "KHR_texture_basisu")


@dataclass(frozen=True)
class Look:
    """The colour of a material.

    Attributes:
        factor: (3,) float64 linear light.
        texture: multiplied by it, or None.
        uv_set: number of the TEXCOORD attribute.
        uv_matrix: (2, 3) from these to the texture's coordinates, or None for the identity.
    """

    factor: NDArray[np.float64]
    texture: Texture | None = None
    uv_set: int = 0
    uv_matrix: NDArray[np.float64] | None = None


class Materials:
    """The materials of a document, each read once.

    Attributes:
        unread: one line per texture that could not be read, which is replaced by grey.
    """

    def __init__(self, accessors: Accessors) -> None:
        self._accessors = accessors
        self._document: Document = accessors.document
        self._looks: dict[int, Look] = {}
        self._textures: dict[tuple[int, Wrap, Wrap], Texture] = {}
        self._pixels: dict[int, NDArray[np.uint8] | str] = {}
        self._images = ImageReader()
        self.unread: list[str] = []

    def colored(self, part: Part, primitive: dict[str, Any], attributes: Attributes) -> Part:
        """A primitive with its material × texture × vertex colours; without colours if it has none of them."""
        vertex_count = len(part.vertices)
        look = self._look(primitive["material"]) if "material" in primitive else None
        factor = np.ones((1, 3)) if look is None else look.factor[None]
        uv = None
        if look is not None and look.texture is not None:
            uv = self._uv(look, attributes, vertex_count)
            if uv is None:
                factor = factor * _grey()
        vertex_colors = "COLOR_0" in attributes
        if vertex_colors:
            values = attributes.floats("COLOR_0", 3, normalized=True)
            if len(values) != vertex_count:
                raise self._document.error("malformed glTF: the numbers of colours and vertices differ")
            factor = factor * finite_colors(values, self.unread, _grey())
        if look is None and not vertex_colors:
            return part
        colors = None
        if uv is None or not (factor == 1).all():
            srgb = linear_to_srgb(factor.astype(np.float32))
            colors = srgb if vertex_colors else np.repeat(srgb, vertex_count, axis=0)
        if uv is None or look is None:
            return replace(part, colors=colors)
        return replace(part, colors=colors, uv=uv[part.faces], texture=look.texture)

    def _uv(self, look: Look, attributes: Attributes, vertex_count: int) -> NDArray[np.float32] | None:
        """(V, 2) coordinates in the texture; None, which is reported, where the primitive has none."""
        semantic = f"TEXCOORD_{look.uv_set}"
        if semantic not in attributes:
            self.unread.append(f"a texture is not shown: its primitive has no {semantic}")
            return None
        uv = np.asarray(attributes.floats(semantic, 2), np.float64)
        if len(uv) != vertex_count:
            raise self._document.error(
                "malformed glTF: the numbers of texture coordinates and vertices differ"
            )
        if look.uv_matrix is not None:
            uv = uv @ look.uv_matrix[:, :2].T + look.uv_matrix[:, 2]
        return uv.astype(np.float32)

    def _look(self, index: Any) -> Look:
        material = self._document.entry("materials", index)
        if index not in self._looks:
            layers = list(_layers(material))
            # The first that is not black: metals of the specular workflow have no diffuse colour, and glowing
            # surfaces often have nothing but what they emit.
            factor, info = next(((factor, info) for factor, info in layers if factor.any()), layers[0])
            self._looks[index] = self._textured(factor, info)
        return self._looks[index]

    def _textured(self, factor: NDArray[np.float64], info: dict[str, Any] | None) -> Look:
        if info is None:
            return Look(factor)
        number = info.get("index")
        texture = self._texture(number)
        if isinstance(texture, str):
            reason = " ".join(texture.split())[:300]  # names in the file may have line breaks
            self.unread.append(f"texture {number} is not shown: {reason}")
            return Look(factor * _grey())
        transform = extension(info, "KHR_texture_transform")
        uv_set = (transform or {}).get("texCoord", info.get("texCoord", 0))
        return Look(factor, texture, uv_set, None if transform is None else _uv_matrix(transform))

    def _texture(self, index: Any) -> Texture | str:
        """A texture, or why it cannot be read."""
        try:
            texture = self._document.entry("textures", index)
            sampler = self._document.entry("samplers", texture["sampler"]) if "sampler" in texture else {}
            wraps = [_WRAPS.get(sampler.get(axis, 10497), "repeat") for axis in ("wrapS", "wrapT")]
            reason = "it has no image"
            for source in _sources(texture):
                pixels = self._read(source)
                if not isinstance(pixels, str):
                    return self._textures.setdefault(
                        (source, wraps[0], wraps[1]), Texture(pixels, (wraps[0], wraps[1]))
                    )
                reason = pixels
        except Exception as error:  # a malformed texture does not affect the geometry
            return getattr(error, "message", f"{type(error).__name__}: {error}")
        return reason

    def _read(self, source: int) -> NDArray[np.uint8] | str:
        """Pixels of an image, or why they cannot be read."""
        if source not in self._pixels:
            try:
                data = self._image_data(self._document.entry("images", source))
                self._pixels[source] = self._images.read(data)
            except ValueError as error:
                self._pixels[source] = f"image {source}: {error}"
        return self._pixels[source]

    def _image_data(self, image: dict[str, Any]) -> bytes:
        if "uri" in image:
            source = self._document.uri(image["uri"])
            try:
                data = source if isinstance(source, bytes) else source.read_bytes()
            except OSError as error:
                raise ValueError(f"{image['uri']} cannot be read ({error.strerror})") from error
        else:
            data = bytes(self._accessors.view(image["bufferView"])[0])
        if data.startswith(_KTX2):
            raise ValueError("KTX2 images (KHR_texture_basisu) are not read; convert it to PNG or JPEG")
        return data


def _layers(material: dict[str, Any]) -> Iterator[tuple[NDArray[np.float64], dict[str, Any] | None]]:
    """(3,) factors in linear light and textures that may define the colour of a material, in order of preference."""
    specular = extension(material, "KHR_materials_pbrSpecularGlossiness")
    if specular is not None:
        yield _factor(specular.get("diffuseFactor", (1, 1, 1))), specular.get("diffuseTexture")
        yield (_factor(specular.get("specularFactor", (1, 1, 1))), specular.get("specularGlossinessTexture"))
    else:
        pbr = material.get("pbrMetallicRoughness") or {}
        yield _factor(pbr.get("baseColorFactor", (1, 1, 1))), pbr.get("baseColorTexture")
    yield _factor(material.get("emissiveFactor", (0, 0, 0))), material.get("emissiveTexture")


def _factor(values: Any) -> NDArray[np.float64]:
    return np.clip(np.nan_to_num(np.array(values[:3], np.float64).reshape(3)), 0.0, 1.0)


def _sources(texture: dict[str, Any]) -> Iterator[int]:
    """The images of a texture; extensions name alternatives to the first."""
    if "source" in texture:
        yield texture["source"]
    for name in _IMAGE_EXTENSIONS:
        alternative = extension(texture, name)
        if alternative is not None and "source" in alternative:
            yield alternative["source"]


def _uv_matrix(transform: dict[str, Any]) -> NDArray[np.float64]:
    """(2, 3) matrix of KHR_texture_transform: scale, then rotation, then offset.

    The rotation is counter-clockwise as seen with v pointing down, as in the text and examples of the extension and in
    renderers. (Its GLSL fragment has the opposite sign.)
    """
    angle = float(transform.get("rotation", 0.0))
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.array([[cos, sin], [-sin, cos]]) * np.array(transform.get("scale", (1.0, 1.0)), np.float64)
    return np.hstack([matrix, np.array(transform.get("offset", (0.0, 0.0)), np.float64).reshape(2, 1)])


def _grey() -> float:
    """The default colour in linear light."""
    return float(srgb_to_linear(np.array([DEFAULT_COLOR], np.float32))[0])
