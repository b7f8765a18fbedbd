"""Appearance of a view: the lights of Choy's protocol, or random lights and colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.cameras import camera_centres
from occnet_lib.types import Mesh

from .surface_colors import varying_faces


@dataclass(frozen=True, eq=False)
class Lights:
    """Distant lamps, ambient light and a headlight at the camera.

    Attributes:
        directions: (L, 3) float64 unit vectors towards the lamps, view frame.
        weights: (L,) float64 relative brightness of the lamps.
        softness: (L,) float64 in [0, 1]: a face of normal n receives max(0, (s + n·l) / (1 + s)) of a lamp's light. 0 is
            a distant point (Lambert), 1 a hemisphere.
        energy: factor of the weights.
        ambient: light that all faces receive.
        headlight: fraction of the light that is proportional to how much a face is turned to the camera.
    """

    directions: NDArray[np.float64]
    weights: NDArray[np.float64]
    softness: NDArray[np.float64]
    energy: float
    ambient: float
    headlight: float

    def on(self, normals: NDArray[np.float64], facing: NDArray[np.float64]) -> NDArray[np.float64]:
        """(F,) factors of sRGB values.

        Args:
            normals: (F, 3) unit normals on the camera's side.
            facing: (F,) |cosine| between normal and viewing direction.
        """
        received = np.maximum((self.softness + normals @ self.directions.T) / (1.0 + self.softness), 0.0)
        lamps = self.ambient + self.energy * (self.weights * received).sum(axis=1)
        return lamps * (1.0 - self.headlight + self.headlight * facing)


@dataclass(frozen=True, eq=False)
class Look:
    """What a view does not take from the mesh: its lights, and colours that replace those of the mesh.

    Attributes:
        lights: lamps and other light.
        paint: (F, 3) float64 sRGB in [0, 1], in place of the colours and textures of the mesh; None keeps these.
    """

    lights: Lights
    paint: NDArray[np.float64] | None = None


def choy_look() -> Look:
    """Two hemispherical lamps at (0, 2, 2) and (0, 2, -2) (Choy et al. 2016, y up), and a light at the camera.

    Choy's lamps have energy 0.7; less energy keeps white faces distinct from the white background. Without the
    headlight, all upright faces would look the same.
    """
    directions = np.array([[0.0, 2.0, 2.0], [0.0, 2.0, -2.0]]) / np.sqrt(8.0)
    return Look(Lights(directions, np.ones(2), np.ones(2), energy=0.57, ambient=0.0, headlight=0.3))


def everyday_looks(mesh: Mesh, n: int, rng: np.random.Generator, paint: float) -> list[Look]:
    """Draw the lights of n views, and random colours for some of them.

    A key lamp is 15° to 80° high, up to two weaker ones anywhere above -10°; all are between point-like and
    hemispherical. A fully lit white face has a brightness of 0.75 to 1.1, of which 0.15 to 0.45 is ambient.

    Args:
        mesh: the mesh to colour.
        n: number of views.
        rng: generator.
        paint: probability that each material of a view has a random colour instead of its own.
    """
    materials = _materials(mesh) if paint > 0 else np.zeros(0, np.intp)
    looks = []
    for _ in range(n):
        lights = _everyday_lights(rng)
        painted = paint > 0 and rng.random() < paint
        looks.append(
            Look(lights, _random_colors(int(materials.max()) + 1, rng)[materials] if painted else None)
        )
    return looks


def _everyday_lights(rng: np.random.Generator) -> Lights:
    count = int(rng.integers(1, 4))
    elevation = rng.uniform(np.where(np.arange(count) == 0, 15.0, -10.0), 80.0)
    weights = np.where(np.arange(count) == 0, 1.0, rng.uniform(0.1, 0.6, count))
    directions = camera_centres(rng.uniform(0.0, 360.0, count), elevation, np.ones(count))
    brightness, ambient = rng.uniform(0.75, 1.1), rng.uniform(0.15, 0.45)
    softness = rng.uniform(0.0, 1.0, count)
    headlight = rng.uniform(0.0, 0.5)
    energy = (brightness - ambient) / weights.sum()
    return Lights(directions, weights, softness, float(energy), float(ambient), float(headlight))


def _materials(mesh: Mesh) -> NDArray[np.intp]:
    """(F,) numbers from 0, one for each texture and each colour; colours that vary within faces count as one."""
    code = np.zeros(len(mesh.faces), np.int64)
    if mesh.colors is not None:
        levels = np.round(255 * mesh.colors[mesh.faces[:, 0]]).astype(np.int64)
        code = levels @ np.array([1 << 16, 1 << 8, 1])
        code[varying_faces(mesh)] = -1
    if mesh.texturing is not None:
        index = mesh.texturing.index.astype(np.int64)
        code = np.where(index >= 0, -2 - index, code)
    return np.unique(code, return_inverse=True)[1]


def _random_colors(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(n, 3) sRGB of any hue, mostly of low saturation, neither black nor white (from HSV)."""
    hue = rng.uniform(0.0, 6.0, (n, 1))
    saturation = rng.uniform(0.0, 1.0, (n, 1)) ** 2
    k = (np.array([5.0, 3.0, 1.0]) + hue) % 6.0
    return rng.uniform(0.2, 0.95, (n, 1)) * (1.0 - saturation * np.clip(np.minimum(k, 4.0 - k), 0.0, 1.0))
