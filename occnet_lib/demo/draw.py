"""Random draws and palettes of the five categories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from .parts import Color

T = TypeVar("T")

WOODS: list[Color] = [
    (0.55, 0.36, 0.2),
    (0.7, 0.5, 0.3),
    (0.36, 0.22, 0.13),
    (0.8, 0.65, 0.45),
    (0.45, 0.25, 0.16),
]
METALS: list[Color] = [(0.25, 0.25, 0.27), (0.6, 0.62, 0.65), (0.75, 0.6, 0.3), (0.15, 0.15, 0.17)]
CLOTHS: list[Color] = [
    (0.7, 0.15, 0.15),
    (0.15, 0.3, 0.6),
    (0.2, 0.45, 0.25),
    (0.55, 0.5, 0.42),
    (0.3, 0.3, 0.34),
    (0.8, 0.55, 0.15),
    (0.42, 0.2, 0.45),
]
PAINTS: list[Color] = [
    (0.75, 0.1, 0.1),
    (0.1, 0.25, 0.6),
    (0.85, 0.85, 0.86),
    (0.2, 0.2, 0.22),
    (0.9, 0.7, 0.1),
    (0.1, 0.45, 0.3),
    (0.6, 0.63, 0.67),
    (0.85, 0.4, 0.1),
]
SHADES: list[Color] = [
    (0.92, 0.86, 0.7),
    (0.9, 0.9, 0.88),
    (0.75, 0.25, 0.2),
    (0.25, 0.45, 0.55),
    (0.85, 0.7, 0.35),
    (0.35, 0.5, 0.35),
]
TYRE: Color = (0.08, 0.08, 0.08)
GLASS: Color = (0.12, 0.17, 0.24)


class Draw:
    """A random generator with the draws that the shapes need."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def between(self, low: float, high: float) -> float:
        """Uniform in [low, high)."""
        return float(self.rng.uniform(low, high))

    def whole(self, low: int, high: int) -> int:
        """An integer from low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def one(self, choices: Sequence[T]) -> T:
        """One of the choices."""
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return bool(self.rng.random() < probability)

    def color(self, palette: Sequence[Color]) -> Color:
        """A colour near one of the palette's, rounded as in a material file."""
        shade = np.array(self.one(palette)) * self.rng.uniform(0.85, 1.15) + self.rng.uniform(-0.03, 0.03, 3)
        r, g, b = np.round(shade.clip(0.02, 0.98), 3).tolist()
        return (r, g, b)
