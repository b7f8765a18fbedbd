"""Lamps: table, floor, tripod, desk and hanging lamps."""

from __future__ import annotations

import numpy as np

from .draw import METALS, SHADES, WOODS, Draw
from .parts import Color, Part, box, chain, ellipsoid, hoop, lathe, polygon, rod, rotation, sheet


def build(draw: Draw) -> list[Part]:
    """A random lamp, about one unit high."""
    kind = draw.one([_table, _table, _floor, _floor, _tripod, _desk, _pendant, _pendant, _arc])
    return kind(draw, draw.color(METALS + WOODS + SHADES), draw.color(SHADES))


def _shade(draw: Draw, low: float, high: float, broad: float, color: Color, x: float = 0.0) -> list[Part]:
    """A drum, cone, pyramid, globe or stepped shade; sometimes a bare surface open at both ends."""
    kind = draw.one(["drum", "cone", "cone", "pyramid", "globe", "bell"])
    if kind == "globe":
        return [ellipsoid((x, (low + high) / 2, 0), (broad, (high - low) / 2, broad), color)]
    narrow = broad * (draw.between(0.85, 1.0) if kind == "drum" else draw.between(0.35, 0.7))
    if kind == "bell":
        waist = 0.5 * (broad + narrow) * 0.85
        return lathe([(low, broad), (low + 0.4 * (high - low), waist), (high, narrow)], color, x=x)
    sides = 4 if kind == "pyramid" else 18
    solid = rod((x, low, 0), (x, high, 0), (broad, narrow), color, sides)
    if draw.chance(0.2):
        rings = solid.vertices.reshape(2, sides, 3)
        return [
            sheet([rings[0, i], rings[0, (i + 1) % sides], rings[1, (i + 1) % sides], rings[1, i]], color)
            for i in range(sides)
        ]
    return [solid]


def _foot(draw: Draw, radius: float, color: Color) -> list[Part]:
    thick = draw.between(0.03, 0.05)
    if draw.chance(0.3):
        return [box((0, thick / 2, 0), (1.8 * radius, thick, 1.8 * radius), color)]
    return lathe([(0, radius), (thick, radius), (2 * thick, 0.3 * radius)], color)


def _table(draw: Draw, color: Color, shade: Color) -> list[Part]:
    """A vase, block, ball or stacked body with a wide shade."""
    low, broad = draw.between(0.48, 0.66), draw.between(0.24, 0.42)
    kind = draw.one(["vase", "balls", "block", "bottle"])
    r = draw.between(0.1, 0.2)
    if kind == "vase":
        body = lathe(
            [(0, 0.7 * r), (0.04, 0.6 * r), (0.3 * low, r), (0.7 * low, 0.6 * r), (0.9 * low, 0.25 * r)],
            color,
        )
    elif kind == "balls":
        count = draw.whole(1, 3)
        tall = 0.9 * low / count
        body = [ellipsoid((0, (i + 0.5) * tall, 0), (r, 0.56 * tall, r), color) for i in range(count)]
        body += lathe([(0, 1.1 * r), (0.05, 1.1 * r)], color)
    elif kind == "block":
        body = [box((0, 0.4 * low, 0), (1.6 * r, 0.8 * low, draw.between(0.8, 1.6) * r), color)]
    else:
        body = lathe(
            [(0, r), (0.5 * low, r), (0.7 * low, 0.35 * r), (0.8 * low, 0.35 * r)],
            color,
            sides=draw.one([6, 8, 16]),
        )
    parts = [*body, rod((0, 0.7 * low, 0), (0, low + 0.15, 0), 0.025, (0.3, 0.3, 0.3))]
    return parts + _shade(draw, low, low + draw.between(0.28, 0.42), broad, shade)


def _floor(draw: Draw, color: Color, shade: Color) -> list[Part]:
    low, broad = draw.between(0.74, 0.82), draw.between(0.14, 0.22)
    parts = _foot(draw, draw.between(0.11, 0.17), color)
    parts.append(rod((0, 0.02, 0), (0, low + 0.08, 0), draw.between(0.018, 0.026), color))
    if draw.chance(0.3):
        parts += [box((0, draw.between(0.35, 0.5), 0), (0.28, 0.03, 0.28), color)]
    return parts + _shade(draw, low, low + draw.between(0.16, 0.26), broad, shade)


def _tripod(draw: Draw, color: Color, shade: Color) -> list[Part]:
    low, reach, hub = draw.between(0.6, 0.7), draw.between(0.18, 0.3), draw.between(0.5, 0.6)
    r = draw.between(0.02, 0.028)
    feet = np.insert(polygon(3, reach, 0.25), 1, 0.0, axis=1)
    parts = [rod(foot, (0, hub, 0), (0.8 * r, r), color, 6) for foot in feet]
    parts += [rod((0, hub - 0.03, 0), (0, low + 0.05, 0), 1.4 * r, color)]
    return parts + _shade(draw, low, low + draw.between(0.22, 0.34), draw.between(0.18, 0.28), shade)


def _desk(draw: Draw, color: Color, shade: Color) -> list[Part]:
    """A foot, two arms with a bend, and a tilted conical head."""
    parts = _foot(draw, draw.between(0.16, 0.22), color)
    elbow = (draw.between(0.1, 0.25), draw.between(0.4, 0.55))
    head = (elbow[0] - draw.between(0.35, 0.5), elbow[1] + draw.between(0.15, 0.3))
    r = draw.between(0.018, 0.026)
    parts += chain([(0, 0.03, 0), (*elbow, 0), (*head, 0)], r, color)
    parts.append(ellipsoid((*elbow, 0), (1.9 * r, 1.9 * r, 1.9 * r), color, sides=8))
    cone = lathe([(-0.16, draw.between(0.13, 0.19)), (0.02, 0.06), (0.1, 0.05)], shade)
    tilt = rotation("z", draw.between(-50, -15))
    return parts + [part.moved((*head, 0), rotation=tilt) for part in cone]


def _pendant(draw: Draw, color: Color, shade: Color) -> list[Part]:
    """A canopy, a cord and a shade, a cluster of globes or a ring of candles."""
    parts = lathe([(0.96, 0.08), (1.0, 0.11)], color)
    kind = draw.one(["shade", "shade", "cluster", "chandelier"])
    if kind == "shade":
        high = draw.between(0.4, 0.62)
        parts.append(rod((0, high - 0.1, 0), (0, 0.97, 0), 0.02, color, 6))
        return parts + _shade(draw, high - draw.between(0.2, 0.4), high, draw.between(0.22, 0.38), shade)
    arms, reach, level = draw.whole(3, 6), draw.between(0.26, 0.36), draw.between(0.35, 0.5)
    tips = np.insert(polygon(arms, reach), 1, level, axis=1)
    parts.append(rod((0, level - 0.06, 0), (0, 0.97, 0), 0.022, color))
    if kind == "cluster":
        parts += [rod((0, level + 0.15, 0), tip, 0.02, color, 6) for tip in tips]
        r = draw.between(0.08, 0.12)
        return parts + [ellipsoid(tip, (r, r, r), shade, sides=10) for tip in tips]
    parts += hoop((0, level, 0), reach, draw.between(0.018, 0.026), color, sides=18)
    parts += [rod((0, level, 0), tip, 0.018, color, 6) for tip in tips]
    return parts + [
        p for x, _, z in tips for p in lathe([(level - 0.02, 0.05), (level + 0.16, 0.065)], shade, x, z, 10)
    ]


def _arc(draw: Draw, color: Color, shade: Color) -> list[Part]:
    """A heavy foot and a bow from which the shade hangs."""
    reach, tall, r = draw.between(0.5, 0.75), draw.between(0.85, 1.0), draw.between(0.02, 0.026)
    angle = np.linspace(np.pi, 0.12 * np.pi, 9)
    bow = np.stack(
        [reach / 2 * (1 + np.cos(angle)), 0.45 * tall + 0.55 * tall * np.sin(angle), 0 * angle], axis=1
    )
    parts = lathe([(0, 0.16), (0.06, 0.15)], color)
    parts += chain(np.concatenate([[(0, 0.03, 0)], bow]), r, color)
    x, y = float(bow[-1, 0]), float(bow[-1, 1])
    return parts + _shade(draw, y - draw.between(0.16, 0.24), y + 0.02, draw.between(0.14, 0.2), shade, x=x)
