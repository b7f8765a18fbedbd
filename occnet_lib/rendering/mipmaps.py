"""Anisotropic texture filtering: an image pyramid in linear light, and its compiled sampler.

Each level halves the previous one by a box filter (Williams 1983, "Pyramidal parametrics"); an elongated footprint is
covered by several probes along its longer axis (as EXT_texture_filter_anisotropic does).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, DTypeLike, NDArray

from occnet_lib.geometry.colors import srgb_to_linear
from occnet_lib.types import Texture

_WRAPS = {"repeat": 0, "clamp": 1, "mirror": 2}
_MAX_PROBES = 16
_compiled = njit(cache=True, error_model="numpy")  # no test for division by zero in the inner loops
_STEPS = 65535  # of linear light in the levels above the image, as uint16: fine enough for dark colours


@dataclass(frozen=True, eq=False)
class Pyramid:
    """A texture and its halvings down to one pixel.

    Attributes:
        base: (H, W, 3) uint8 sRGB, the image itself.
        small: (N, 3) uint16 linear light, the pixels of all other levels, concatenated.
        levels: (L, 3) int64 of each level, the image first: offset into `small`, height, width.
        wrap: (2,) int64, wrapping along u and v.
    """

    base: NDArray[np.uint8]
    small: NDArray[np.uint16]
    levels: NDArray[np.int64]
    wrap: NDArray[np.int64]

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """The argument `texture` of `paint`: the attributes in order, and the linear light of the values of `base`."""
        return self.base, self.small, self.levels, self.wrap, _linear_light(True)

    @classmethod
    def of(cls, texture: Texture) -> Pyramid:
        """Build the pyramid of a texture; it takes two thirds of the image's memory in addition."""
        image = frozen(texture.pixels, np.uint8)
        levels = [(0, *image.shape[:2])]
        parts = [np.zeros((0, 3), np.uint16)]
        offset = 0
        source: NDArray[np.uint8] | NDArray[np.uint16] = image
        while max(source.shape[:2]) > 1:
            rows, columns = (_halving_weights(length) for length in source.shape[:2])
            out = np.zeros((len(rows), len(columns), 3), np.uint16)
            _halve(source, _linear_light(len(levels) == 1), rows, columns, out)
            levels.append((offset, *out.shape[:2]))
            parts.append(out.reshape(-1, 3))
            offset += len(parts[-1])
            source = frozen(out, np.uint16)
        wrap = [_WRAPS[way] for way in texture.wrap]
        return cls(
            image, frozen(np.concatenate(parts), np.uint16), frozen(levels, np.int64), frozen(wrap, np.int64)
        )


def frozen(values: ArrayLike, dtype: DTypeLike) -> NDArray[Any]:
    """A read-only contiguous array, so that functions are compiled for one array type only."""
    array = np.ascontiguousarray(values, dtype).view()
    array.setflags(write=False)
    return array


@functools.lru_cache
def _linear_light(is_srgb_byte: bool) -> NDArray[np.float32]:
    """Linear light in [0, 1] of all values of a level's type: (256,) of sRGB bytes, (65536,) of linear uint16."""
    if is_srgb_byte:
        return frozen(srgb_to_linear(np.arange(256, dtype=np.float32) / np.float32(255)), np.float32)
    return frozen(np.arange(_STEPS + 1) / _STEPS, np.float32)


def _halving_weights(length: int) -> NDArray[np.float32]:
    """Weights (M, 3) with which pixels 2i, 2i + 1, 2i + 2 make pixel i of half the length, each by its overlap."""
    half = max(1, length // 2)
    i = np.arange(half)
    if length == 1:
        weights = np.array([[1.0, 0.0, 0.0]])
    elif length % 2 == 0:
        weights = np.tile([0.5, 0.5, 0.0], (half, 1))
    else:
        weights = np.stack([half - i, np.full(half, half), i + 1], axis=1) / length
    return frozen(weights, np.float32)


@_compiled
def _halve(source, linear, rows, columns, out):  # type: ignore[no-untyped-def]
    for r in range(len(rows)):
        for c in range(len(columns)):
            red, green, blue = np.float32(0), np.float32(0), np.float32(0)
            for i in range(3):
                if rows[r, i] == 0:
                    continue
                for j in range(3):
                    weight = rows[r, i] * columns[c, j]
                    if weight > 0:
                        red += weight * linear[source[2 * r + i, 2 * c + j, 0]]
                        green += weight * linear[source[2 * r + i, 2 * c + j, 1]]
                        blue += weight * linear[source[2 * r + i, 2 * c + j, 2]]
            out[r, c, 0] = np.uint16(min(red, np.float32(1)) * np.float32(_STEPS) + np.float32(0.5))
            out[r, c, 1] = np.uint16(min(green, np.float32(1)) * np.float32(_STEPS) + np.float32(0.5))
            out[r, c, 2] = np.uint16(min(blue, np.float32(1)) * np.float32(_STEPS) + np.float32(0.5))


@_compiled
def paint(samples, ids, width, mesh, light, camera, texture, out):  # type: ignore[no-untyped-def]
    """Colour samples by their point on the face: texture times interpolated corner colours, times the face's light.

    The weights of the corners and the derivatives of the texture coordinates are exact in perspective: both follow from
    functions that are linear in the image (Olano & Greer 1997, "Triangle scan conversion using 2D
    homogeneous coordinates").

    Args:
        samples: (N,) which samples of the flattened image; `width` is its row length.
        ids: (S,) the face visible at each sample of the image.
        mesh: vertices (V, 3), faces (F, 3), colours (V, 3) in linear light, texture coordinates (F, 3, 2), finite.
        light: (F,) factor of sRGB values.
        camera: its centre (3,), and the matrix (3, 3) that turns (column, row, 1) into a ray's direction.
        texture: `Pyramid.arrays`.
        out: (S, 3) uint8 sRGB, modified.
    """
    vertices, faces, colors, uv = mesh
    origin, rays = camera
    height, length = texture[2][0, 1], texture[2][0, 2]
    corners, weights = np.zeros((3, 3)), np.zeros((3, 3))
    color = np.zeros(3)
    for number in range(len(samples)):
        sample = samples[number]
        f = ids[sample]
        row, column = sample // width + 0.5, sample % width + 0.5
        for k in range(3):
            for axis in range(3):
                corners[k, axis] = vertices[faces[f, k], axis] - origin[axis]
        _corner_weights(corners, rays, column, row, weights)
        u = v = 0.0
        for k in range(3):
            u += weights[k, 0] * uv[f, k, 0]
            v += weights[k, 0] * uv[f, k, 1]
        # Pixels of the texture for one sample to the right and one down.
        u_across = u_along = v_across = v_along = 0.0
        for k in range(3):
            u_across += weights[k, 1] * (uv[f, k, 0] - u) * length
            v_across += weights[k, 1] * (uv[f, k, 1] - v) * height
            u_along += weights[k, 2] * (uv[f, k, 0] - u) * length
            v_along += weights[k, 2] * (uv[f, k, 1] - v) * height
        _filtered(u, v, u_across, u_along, v_across, v_along, texture, color)
        for channel in range(3):
            tint = 0.0
            for k in range(3):
                tint += weights[k, 0] * colors[faces[f, k], channel]
            value = tint * color[channel]
            value = 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055
            out[sample, channel] = np.uint8(255 * min(max(value * light[f], 0.0), 1.0) + 0.5)


@_compiled
def _corner_weights(corners, rays, column, row, weights):  # type: ignore[no-untyped-def]
    """Weights of a face's corners (3, 3) at a sample: each's value and the parts of its derivatives.

    With e_k the ray's product with the plane through the camera and the edge opposite of corner k, the weight
    is e_k / Σ e; a quantity Σ e_k q_k / Σ e =: q has the derivatives Σ (q_k - q) e_k' / Σ e. Columns hold the
    weight, and e_k' / Σ e to the right and down.
    """
    total = 0.0
    for k in range(3):
        b, c = corners[(k + 1) % 3], corners[(k + 2) % 3]
        x, y, z = b[1] * c[2] - b[2] * c[1], b[2] * c[0] - b[0] * c[2], b[0] * c[1] - b[1] * c[0]
        weights[k, 1] = x * rays[0, 0] + y * rays[1, 0] + z * rays[2, 0]
        weights[k, 2] = x * rays[0, 1] + y * rays[1, 1] + z * rays[2, 1]
        ahead = x * rays[0, 2] + y * rays[1, 2] + z * rays[2, 2]
        weights[k, 0] = ahead + column * weights[k, 1] + row * weights[k, 2]
        total += weights[k, 0]
    if abs(total) < 1e-30:  # without area or seen edge-on: its centre, unfiltered
        weights[:, 0], weights[:, 1:] = 1.0 / 3.0, 0.0
        return
    weights /= total
    # A sample may lie just beside the face that the renderer returns for it.
    total = 0.0
    for k in range(3):
        weights[k, 0] = min(max(weights[k, 0], 0.0), 1.0)
        total += weights[k, 0]
    weights[:, 0] /= total


@_compiled
def _filtered(u, v, u_across, u_along, v_across, v_along, texture, color):  # type: ignore[no-untyped-def]
    """Linear light of the texture around (u, v) for a footprint: the parallelogram of two vectors in pixels."""
    levels = texture[2]
    # Axes of the ellipse: singular values of [[u_across, u_along], [v_across, v_along]].
    uu, vv = u_across**2 + u_along**2, v_across**2 + v_along**2
    mixed = u_across * v_across + u_along * v_along
    root = math.sqrt((uu - vv) ** 2 + 4 * mixed**2)
    major = math.sqrt(0.5 * (uu + vv + root))
    minor = math.sqrt(max(0.5 * (uu + vv - root), 0.0))
    major = min(major, 2.0 * max(levels[0, 1], levels[0, 2]))  # also where a face is seen edge-on
    probes = int(min(max(math.ceil(major / max(minor, 1.0) - 1e-6), 1), _MAX_PROBES))
    level = math.log2(max(major / probes, 1.0))
    lower = min(int(level), len(levels) - 1)
    blend = level - lower if lower + 1 < len(levels) else 0.0
    u_step = v_step = 0.0
    if probes > 1:
        cosine = (uu - vv) / root  # of twice the angle between the longer axis and u
        u_step = major / probes * math.sqrt(max(0.5 + 0.5 * cosine, 0.0)) / levels[0, 2]
        v_step = major / probes * math.sqrt(max(0.5 - 0.5 * cosine, 0.0)) / levels[0, 1]
        v_step = v_step if mixed > 0 else -v_step
    color[:] = 0.0
    for probe in range(probes):
        shift = probe - 0.5 * (probes - 1)
        x, y = u + shift * u_step, v + shift * v_step
        for upper in range(2 if blend > 0 else 1):
            weight = (blend if upper else 1.0 - blend) / probes
            _add_bilinear(x, y, lower + upper, weight, texture, color)


@_compiled
def _add_bilinear(u, v, level, factor, texture, color):  # type: ignore[no-untyped-def]
    """Add `factor` times the linear light at (u, v) of one level to `color`."""
    base, small, levels, wrap, linear = texture
    height, width = levels[level, 1], levels[level, 2]
    x, y = _one_period(u, wrap[0]) * width - 0.5, _one_period(v, wrap[1]) * height - 0.5
    left, top = math.floor(x), math.floor(y)
    red = green = blue = 0.0
    for i in range(2):
        r = _wrapped(int(top) + i, height, wrap[1])
        weight_y = factor * (y - top if i else 1.0 - (y - top))
        for j in range(2):
            c = _wrapped(int(left) + j, width, wrap[0])
            weight = weight_y * (x - left if j else 1.0 - (x - left))
            if level == 0:
                red += weight * linear[base[r, c, 0]]
                green += weight * linear[base[r, c, 1]]
                blue += weight * linear[base[r, c, 2]]
            else:
                at = levels[level, 0] + r * width + c
                weight *= 1.0 / _STEPS
                red += weight * small[at, 0]
                green += weight * small[at, 1]
                blue += weight * small[at, 2]
    color[0] += red
    color[1] += green
    color[2] += blue


@_compiled
def _one_period(coordinate, wrap):  # type: ignore[no-untyped-def]
    if wrap == 0:
        return coordinate - math.floor(coordinate)
    if wrap == 1:
        return min(max(coordinate, 0.0), 1.0)
    return coordinate - 2.0 * math.floor(0.5 * coordinate)


@_compiled
def _wrapped(index, size, wrap):  # type: ignore[no-untyped-def]
    """Index of a pixel, also of one just outside a period."""
    if wrap == 2 and index >= size:
        index = 2 * size - 1 - index
    elif wrap == 0:
        index = index + size if index < 0 else index
        index = index - size if index >= size else index
    return min(max(index, 0), size - 1)
