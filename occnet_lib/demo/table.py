"""Tables: dining, coffee and side tables, desks; longer along x, the user sits towards -z."""

from __future__ import annotations

import numpy as np

from .draw import METALS, WOODS, Draw
from .parts import Color, Part, block, box, chain, lathe, legs, polygon, rod, sheet, slab


def build(draw: Draw) -> list[Part]:
    """A table top on legs, a pedestal, trestles or drawers."""
    top_color, color = draw.color(WOODS + METALS), draw.color(WOODS + METALS)
    round_top = draw.chance(0.35)
    length = draw.between(0.75, 1.0) if round_top else draw.between(0.9, 1.5)
    depth = length * (draw.between(0.85, 1.0) if round_top else draw.between(0.4, 0.8))
    height = draw.one([draw.between(0.32, 0.5), draw.between(0.6, 0.8), draw.between(0.6, 0.8)])
    under = height - draw.between(0.04, 0.085)
    if round_top:
        outline = polygon(draw.one([6, 8, 20, 20, 20]), 1.0, 0.5) * (length / 2, depth / 2)
        parts = [slab(outline, under, height, top_color, axis="y")]
        kind = draw.one(["pedestal", "pedestal", "legs", "cross", "drum"])
        length, depth = 0.7 * length, 0.7 * depth
    else:
        size = (0, 0, length, depth)
        parts = [block(under, size, height, size, top_color, bevel=draw.one([0.0, 0.0, 0.0, 0.12]))]
        kind = draw.one(["legs", "legs", "apron", "trestle", "desk", "pedestal", "panels", "x"])
    return parts + _KINDS[kind](draw, length, depth, under, color)


def _legs(draw: Draw, length: float, depth: float, top: float, color: Color) -> list[Part]:
    r, splay = draw.between(0.025, 0.055), draw.one([0.0, 0.0, draw.between(0.03, 0.1)])
    foot, sides = r * draw.one([1.0, 0.6]), draw.one([4, 4, 10])
    x, z = length / 2 - 1.5 * r, depth / 2 - 1.5 * r
    return legs(x, z, top, (foot, r), color, sides, splay) + _shelf(draw, length, depth, top, color)


def _shelf(draw: Draw, length: float, depth: float, top: float, color: Color) -> list[Part]:
    """With some probability, a shelf between the legs, in rare cases without thickness."""
    if not draw.chance(0.35):
        return []
    y, w, d = draw.between(0.2, 0.5) * top, 0.9 * length, 0.9 * depth
    if draw.chance(0.3):
        return [
            sheet([(-w / 2, y, -d / 2), (-w / 2, y, d / 2), (w / 2, y, d / 2), (w / 2, y, -d / 2)], color)
        ]
    return [box((0, y, 0), (w, 0.04, d), color)]


def _apron(draw: Draw, length: float, depth: float, top: float, color: Color) -> list[Part]:
    r, drop = draw.between(0.028, 0.05), draw.between(0.07, 0.14)
    x, z = length / 2 - 1.5 * r, depth / 2 - 1.5 * r
    foot = r * draw.one([1.0, 0.6])
    parts = legs(x, z, top, (foot, r), color, 4)
    parts += [box((0, top - drop / 2, t * z), (2 * x, drop, 1.2 * r), color) for t in (-1, 1)]
    return parts + [box((s * x, top - drop / 2, 0), (1.2 * r, drop, 2 * z), color) for s in (-1, 1)]


def _trestle(draw: Draw, length: float, depth: float, top: float, color: Color) -> list[Part]:
    x, w = length * draw.between(0.28, 0.38), draw.between(0.05, 0.1)
    parts: list[Part] = []
    for s in (-1, 1):
        parts.append(box((s * x, top / 2, 0), (w, top, 0.28 * depth), color))
        parts.append(box((s * x, 0.035, 0), (1.3 * w, 0.07, 0.85 * depth), color))
        parts.append(box((s * x, top - 0.03, 0), (1.3 * w, 0.06, 0.8 * depth), color))
    return [*parts, box((0, draw.between(0.2, 0.6) * top, 0), (2 * x, 0.09, 0.05), color)]


def _panels(draw: Draw, length: float, depth: float, top: float, color: Color) -> list[Part]:
    thick = draw.between(0.035, 0.09)
    x, d = length / 2 - thick / 2 - draw.one([0.0, 0.08]), depth * draw.between(0.8, 1.0)
    parts = [box((s * x, top / 2, 0), (thick, top, d), color) for s in (-1, 1)]
    if draw.chance(0.6):
        drop = draw.between(0.3, 0.7) * top
        parts.append(box((0, top - drop / 2, 0.3 * depth), (2 * x, drop, 0.04), color))
    return parts


def _desk(draw: Draw, length: float, depth: float, top: float, color: Color) -> list[Part]:
    """Drawers on one or both sides with fronts that stand out and have knobs."""
    w, d, knob = length * draw.between(0.26, 0.34), 0.9 * depth, (0.85, 0.8, 0.65)
    foot, rows = draw.one([0.0, 0.06]), draw.whole(2, 4)
    sides = (-1, 1) if draw.chance(0.4) else (draw.one([-1, 1]),)
    parts: list[Part] = []
    for s in (-1, 1):
        x = s * (length - w) / 2
        if s not in sides:
            at = [(s * (length / 2 - 0.05), t * 0.42 * depth) for t in (-1, 1)]
            parts += [rod((x, 0, z), (x, top, z), 0.035, color, 4) for x, z in at]
            continue
        parts.append(box((x, (foot + top) / 2, 0), (w, top - foot, d), color))
        if foot:
            parts.append(box((x, foot / 2, 0), (0.85 * w, foot, 0.85 * d), (0.1, 0.1, 0.1)))
        tall = (top - foot) / rows
        for row in range(rows):
            y = foot + (row + 0.5) * tall
            parts.append(box((x, y, -d / 2), (0.88 * w, 0.8 * tall, 0.03), color))
            parts.append(box((x, y, -d / 2 - 0.025), (0.25 * w, 0.035, 0.035), knob))
    return parts


def _pedestal(draw: Draw, length: float, depth: float, top: float, color: Color) -> list[Part]:
    foot, stem = min(length, depth) * draw.between(0.35, 0.48), draw.between(0.04, 0.09)
    belly = stem * draw.between(0.8, 2.0)
    profile = [
        (0, foot),
        (0.04, foot),
        (0.1, stem),
        (0.45 * top, belly),
        (0.8 * top, stem),
        (top, 1.8 * stem),
    ]
    return lathe(profile, color, sides=draw.one([4, 8, 16]))


def _cross(draw: Draw, length: float, depth: float, top: float, color: Color) -> list[Part]:
    """A column on three or four spreading feet."""
    feet, reach, stem = draw.one([3, 4]), 0.55 * min(length, depth), draw.between(0.04, 0.07)
    tips = np.insert(polygon(feet, reach, 0.5), 1, 0.03, axis=1)
    parts = [rod((0, 0.25 * top, 0), tip, (0.045, 0.03), color, 6) for tip in tips]
    return [*parts, rod((0, 0.12 * top, 0), (0, top, 0), stem, color, 12)]


def _drum(draw: Draw, length: float, depth: float, top: float, color: Color) -> list[Part]:
    r = min(length, depth) / 2
    waist = r * draw.between(0.4, 1.0)
    return lathe([(0, r * draw.between(0.7, 1.1)), (top / 2, waist), (top, r)], color)


def _x(draw: Draw, length: float, depth: float, top: float, color: Color) -> list[Part]:
    """Two crossed frames joined by a bar."""
    x, z, r = length * draw.between(0.3, 0.42), 0.42 * depth, draw.between(0.03, 0.045)
    parts: list[Part] = []
    for s in (-1, 1):
        parts += chain([(s * x, 0.02, -z), (s * x, top - 0.01, z)], r, color, 4)
        parts += chain([(s * x, 0.02, z), (s * x, top - 0.01, -z)], r, color, 4)
    return [*parts, rod((-x, top / 2, 0), (x, top / 2, 0), r, color, 6)]


_KINDS = {
    "legs": _legs,
    "apron": _apron,
    "trestle": _trestle,
    "panels": _panels,
    "desk": _desk,
    "pedestal": _pedestal,
    "cross": _cross,
    "drum": _drum,
    "x": _x,
}
