"""Chairs of many kinds, all with a seat and a back; facing -z, about one unit high."""

from __future__ import annotations

import numpy as np

from .draw import CLOTHS, METALS, WOODS, Draw
from .parts import Color, Part, block, box, chain, lathe, legs, polygon, rod, rotation, sheet


def build(draw: Draw) -> list[Part]:
    """A random chair: seat, back, underframe and possibly armrests."""
    if draw.chance(0.15):
        return _club(draw)
    wood, cloth = draw.color(WOODS + METALS), draw.color(CLOTHS + WOODS)
    width, depth = draw.between(0.42, 0.66), draw.between(0.42, 0.6)
    height, thick = draw.between(0.36, 0.52), draw.between(0.045, 0.11)
    parts = [_seat(draw, width, depth, height, thick, cloth)]
    parts += _back(draw, width, depth, height, thick, wood, cloth)
    parts += _under(draw, width, depth, height - thick, wood)
    if draw.chance(0.4):
        parts += _arms(draw, width, depth, height, wood)
    return parts


def _seat(draw: Draw, width: float, depth: float, height: float, thick: float, color: Color) -> Part:
    front = width * draw.between(0.95, 1.1)
    low, high = (0, 0, width, depth), (0, 0, front, depth)
    return block(height - thick, low, height, high, color, bevel=draw.one([0.0, 0.0, 0.1, 0.2]))


def _back(
    draw: Draw, width: float, depth: float, height: float, thick: float, wood: Color, cloth: Color
) -> list[Part]:
    """The back, built upright on the seat's rear edge and then tilted about it."""
    tall, half = draw.between(0.34, 0.66), draw.between(0.022, 0.04)
    w, base = width * draw.between(0.82, 1.0), -0.5 * thick
    top = w * draw.between(0.75, 1.15)
    kind = draw.one(["panel", "frame", "upright slats", "cross slats", "spindles", "round"])
    parts: list[Part] = []
    if kind == "panel":
        parts.append(block(base, (0, 0, w, 2.4 * half), tall, (0, 0, top, 1.6 * half), cloth))
    elif kind == "round":
        angle = np.linspace(0, np.pi, 11)
        rim = np.stack([-0.5 * w * np.cos(angle), tall * (0.45 + 0.55 * np.sin(angle)), 0 * angle], axis=1)
        rim = np.concatenate([[(-w / 2, base, 0)], rim, [(w / 2, base, 0)]])
        parts += chain(rim, half, wood)
        parts.append(
            block(base, (0, 0, 0.3 * w, 1.6 * half), 0.99 * tall, (0, 0, 0.36 * w, 1.6 * half), cloth)
        )
    else:
        posts = [(s * (w / 2 - half), s * (top / 2 - half)) for s in (-1, 1)]
        parts += [rod((a, base, 0), (b, tall, 0), half, wood, draw.one([4, 8])) for a, b in posts]
        inner = min(w, top) - 2 * half
        if kind == "frame":
            gap = draw.between(0.1, 0.3) * tall
            parts.append(
                block(gap, (0, 0, inner, 1.5 * half), tall, (0, 0, top - 2 * half, 1.5 * half), cloth)
            )
        elif kind == "cross slats":
            count = draw.whole(2, 4)
            tallness = tall / (2.1 * count)
            for y in np.linspace(0.3 * tall, tall - tallness / 2, count):
                parts.append(box((0, y, 0), (max(w, top) - 2 * half, tallness, 1.4 * half), cloth))
        else:
            rail = draw.between(0.06, 0.14)
            parts.append(box((0, tall - rail / 2, 0), (top, rail, 2.2 * half), wood))
            count = draw.whole(2, 4) if kind == "upright slats" else draw.whole(3, 5)
            broad = inner / (2.2 * count) if kind == "upright slats" else 1.5 * half
            for x in (np.arange(count) + 0.5) / count - 0.5:
                slat = (x * inner, 0, broad, 1.4 * half)
                parts.append(block(base, slat, tall - rail / 2, slat, cloth))
    lean = rotation("x", draw.between(2, 16))
    return [part.moved((0, height, depth / 2 - 1.2 * half), rotation=lean) for part in parts]


def _under(draw: Draw, width: float, depth: float, top: float, color: Color) -> list[Part]:
    """Four legs (straight, tapered, splayed), a pedestal, a star base, a sled or a box."""
    kind = draw.one(["legs", "legs", "tapered", "splayed", "pedestal", "star", "sled"])
    r = draw.between(0.024, 0.042)
    x, z = width / 2 - 1.2 * r, depth / 2 - 1.2 * r
    if kind == "pedestal":
        foot, stem = draw.between(0.2, 0.3), draw.between(0.03, 0.06)
        return lathe([(0, foot), (0.045, 0.9 * foot), (0.09, stem), (top, 1.2 * stem)], color)
    if kind == "star":
        arms, reach = draw.one([4, 5]), draw.between(0.26, 0.34)
        feet = np.insert(polygon(arms, reach, 0.25), 1, 0.06, axis=1)
        parts = [rod((0, 0.1, 0), foot, (0.04, 0.028), color) for foot in feet]
        parts += [rod((fx, 0.0, fz), (fx, 0.07, fz), 0.035, (0.1, 0.1, 0.1)) for fx, _, fz in feet]
        return [*parts, rod((0, 0.05, 0), (0, top, 0), 0.04, color, 12)]
    if kind == "sled":
        frame = [(z, 0, top), (z, 0, r), (-z, 0, r), (-z, 0, top)]
        return [
            p
            for s in (-1, 1)
            for p in chain([(s * x, b, a) for a, _, b in frame], r, color, draw.one([4, 8]))
        ]
    sides, spread = draw.one([4, 4, 8]), draw.between(0.04, 0.12) if kind == "splayed" else 0.0
    foot = r if kind == "legs" else 0.65 * r
    parts = legs(x, z, top, (foot, r), color, sides, spread)
    if kind != "splayed" and draw.chance(0.45):
        y, bar = draw.between(0.15, 0.5) * top, 0.75 * min(foot, r)
        parts += [rod((s * x, y, -z), (s * x, y, z), bar, color, sides) for s in (-1, 1)]
        parts.append(rod((-x, y, 0), (x, y, 0), bar, color, sides))
    return parts


def _arms(draw: Draw, width: float, depth: float, height: float, color: Color) -> list[Part]:
    rise, r, broad = draw.between(0.15, 0.25), 0.026, draw.between(0.05, 0.08)
    length = depth * draw.between(0.75, 0.95)
    z = depth / 2 - length / 2
    parts: list[Part] = []
    panel, thin = draw.chance(0.3), draw.chance(0.3)
    for s in (-1, 1):
        x = s * (width / 2 - r / 2)
        parts.append(box((x, height + rise, z), (broad, 0.05, length), color))
        front = z - 0.4 * length
        if panel and thin:
            ends = [(height, front), (height + rise, front), (height + rise, depth / 2), (height, depth / 2)]
            parts.append(sheet([(x, y, depth_) for y, depth_ in ends], color))
        elif panel:
            parts.append(box((x, height + rise / 2, z), (0.045, rise, length), color))
        if not panel or thin:
            parts.append(rod((x, height - 0.04, front), (x, height + rise, front), r, color, 4))
    return parts


def _club(draw: Draw) -> list[Part]:
    """An upholstered armchair: blocks on short feet."""
    cloth, wood = draw.color(CLOTHS), draw.color(WOODS)
    w, d, seat = draw.between(0.75, 0.95), draw.between(0.7, 0.9), draw.between(0.3, 0.42)
    arm, side, tall = draw.between(0.5, 0.62), draw.between(0.1, 0.18), draw.between(0.72, 1.0)
    foot, thick, bevel = draw.between(0.05, 0.12), draw.between(0.14, 0.22), draw.one([0.0, 0.3])
    base, cushion = (0, 0, w, d), (0, -thick / 2, w - 2 * side, d - thick)
    rear = (0, d / 2 - thick / 2, w, thick)
    lean = (0, d / 2 - thick / 2 + draw.between(0, 0.1), w * draw.between(0.85, 1), 0.8 * thick)
    parts = [
        block(foot, base, seat - 0.1, base, cloth),
        block(seat - 0.12, cushion, seat, cushion, cloth),
        block(foot, rear, tall, lean, cloth, bevel=bevel),
    ]
    for s in (-1, 1):
        x = s * (w - side) / 2
        low, high = (x, -0.02, side, d - 0.04), (x * 1.03, -0.02, side, d - 0.04)
        parts.append(block(foot, low, arm, high, cloth, bevel=bevel))
        at = [(s * 0.42 * w, t * 0.42 * d) for t in (-1, 1)]
        parts += [rod((x, 0, z), (x, foot + 0.02, z), (0.03, 0.045), wood) for x, z in at]
    return parts
