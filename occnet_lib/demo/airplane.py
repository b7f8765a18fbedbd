"""Airplanes: airliners, propeller planes, fighters, gliders and biplanes; the nose towards -z."""

from __future__ import annotations

from itertools import pairwise

from .draw import GLASS, PAINTS, Draw
from .parts import Color, Part, box, ellipsoid, fin, mirrored, rod, sheet

WHITE: list[Color] = [(0.88, 0.88, 0.9), (0.8, 0.82, 0.85), (0.6, 0.64, 0.7)]
DARK: Color = (0.2, 0.21, 0.24)
Point = tuple[float, float, float]
Ends = tuple[float, float]


def build(draw: Draw) -> list[Part]:
    """A random airplane, one unit from nose to tail."""
    kinds = [_airliner, _airliner, _airliner, _propeller, _propeller, _fighter, _glider, _biplane]
    return draw.one(kinds)(draw)


def _pair(*parts: Part) -> list[Part]:
    """Each part and its mirror image."""
    return [p for part in parts for p in (part, mirrored(part))]


def _fuselage(draw: Draw, r: float, nose: float, tail: float, color: Color) -> list[Part]:
    """A tube along z with a pointed nose and a tail that rises: convex pieces around the axis."""
    lift = draw.between(0.2, 0.7) * r
    stations = [
        (-0.5, 0.15 * r, -0.2 * r),
        (-0.5 + 0.3 * nose, 0.62 * r, -0.1 * r),
        (-0.5 + nose, r, 0.0),
        (0.5 - tail, r, 0.0),
        (0.5 - 0.4 * tail, 0.68 * r, 0.6 * lift),
        (0.5, 0.22 * r, lift),
    ]
    parts = []
    for (z0, r0, y0), (z1, r1, y1) in pairwise(stations):
        piece = rod((0, 0, z0), (0, 0, z1), (r0, r1), color, 14)
        # shear: a slanted piece keeps its end sections upright, so that the next one fits to it
        rise = y0 + (y1 - y0) * (piece.vertices[:, 2] - z0) / (z1 - z0)
        vertices = piece.vertices.copy()
        vertices[:, 1] += rise
        parts.append(Part(vertices, piece.faces, color))
    return parts


def _tail(draw: Draw, r: float, color: Color, kinds: list[str]) -> list[Part]:
    """Fin and tailplane: conventional, T, double or V."""
    kind, z, tall = draw.one(kinds), 0.42, draw.between(0.1, 0.22)
    span, chord = draw.between(0.12, 0.24), draw.between(0.09, 0.18)
    sweep = draw.between(0.0, 0.12)

    def surface(root: Point, tip: Point, ends: Ends = (1.0, 0.6), thickness: Ends = (0.042, 0.03)) -> Part:
        """A fin whose chords at root and tip are these multiples of the tail's."""
        return fin(root, tip, (ends[0] * chord, ends[1] * chord), thickness, color)

    if kind == "v":
        return _pair(surface((0, 0.2 * r, z), (0.75 * span, 0.8 * tall, z + sweep)))
    if kind == "double":
        x, y = 0.75 * span, 0.3 * r
        level = surface((0, y, z), (x, y, z + 0.3 * sweep), (1.0, 0.8), (0.042, 0.034))
        return _pair(level, surface((x, y - 0.2 * tall, z), (x, y + 0.7 * tall, z + sweep)))
    y, shift = (tall + 0.4 * r, sweep) if kind == "t" else (0.35 * r, 0.0)
    upright = surface((0, 0.2 * r, z), (0, tall + 0.5 * r, z + sweep), (1.2, 0.7), (0.044, 0.032))
    level = surface((0, y, z + shift), (span, y, z + shift + 0.7 * sweep))
    return [upright, *_pair(level)]


def _airliner(draw: Draw) -> list[Part]:
    color, wing = draw.color(WHITE), draw.color(WHITE + PAINTS)
    r = draw.between(0.045, 0.09)
    parts = _fuselage(draw, r, draw.between(0.08, 0.18), draw.between(0.18, 0.36), color)
    span, root = draw.between(0.32, 0.6), draw.between(0.13, 0.28)
    z, sweep, rise = draw.between(-0.14, 0.08), draw.between(0.02, 0.3), draw.between(0.0, 0.09)
    y, rise = (0.7 * r, 0.0) if draw.chance(0.2) else (-0.5 * r, rise)
    taper = draw.between(0.3, 0.5) * root
    tip = (span, y + rise, z + sweep)
    parts += _pair(fin((0, y, z), tip, (root, taper), (0.055, 0.03), wing))
    parts += _tail(draw, r, wing, ["low", "low", "t"])
    rear = draw.chance(0.25)
    e, length = draw.between(0.027, 0.048), draw.between(0.08, 0.16)
    if rear:
        engines = [(r + 0.9 * e, 0.35 * r, 0.22)]
    else:
        at = [draw.between(0.3, 0.38)] if draw.chance(0.6) else [0.28, 0.58]
        engines = [(u * span, y + u * rise - 1.05 * e, z + u * sweep - 0.6 * root) for u in at]
    for x, ey, ez in engines:
        parts += _pair(
            rod((x, ey, ez), (x, ey, ez + length), (e, 0.75 * e), DARK, 10),
            rod((x, ey, ez + 0.2 * length), (x, ey, ez + 0.6 * length), (1.12 * e, e), color, 10),
        )
    parts.append(box((0, 0.62 * r, -0.5 + 0.075), (0.9 * r, 0.35 * r, 0.03), GLASS))
    if draw.chance(0.3):
        corners = [(0.0, -1.0), (0.0, 1.0), (0.06, 1.3), (0.06, 0.5)]  # up, and back in halves of the chord
        winglet = [(span, tip[1] + up, tip[2] + back * (0.5 * taper)) for up, back in corners]
        parts += _pair(sheet(winglet, wing))
    return parts


def _propeller(draw: Draw) -> list[Part]:
    """A single- or two-engined plane with straight wings and a fixed gear."""
    color, wing = draw.color(PAINTS), draw.color(WHITE + PAINTS)
    r = draw.between(0.055, 0.1)
    parts = _fuselage(draw, r, draw.between(0.12, 0.2), draw.between(0.45, 0.55), color)
    span, root, high = draw.between(0.38, 0.7), draw.between(0.12, 0.25), draw.chance(0.5)
    y, z, rise = 0.9 * r if high else -0.6 * r, draw.between(-0.22, -0.04), draw.between(0.0, 0.1)
    chords = root, root * draw.between(0.55, 1.0)
    parts += _pair(fin((0, y, z), (span, y + rise, z + 0.02), chords, (0.055, 0.036), wing))
    parts += _tail(draw, r, wing, ["low", "low", "t", "v"])
    parts.append(ellipsoid((0, 0.85 * r, z), (0.75 * r, 0.7 * r, 0.13), GLASS, 12, axis="z"))
    if draw.chance(0.35):
        x = 0.36 * span
        nacelle = rod((x, y, z - 0.2), (x, y, z + 0.1), (0.03, 0.04), color, 10)
        parts += _pair(nacelle, *_blades(draw, x, y, z - 0.21, 0.11))
    else:
        parts += _blades(draw, 0.0, -0.15 * r, -0.51, 0.13)
    if draw.chance(0.6):
        x = 0.12
        wheel = rod((x - 0.014, -r - 0.075, z), (x + 0.014, -r - 0.075, z), 0.036, (0.1, 0.1, 0.1), 12)
        parts += _pair(rod((0.3 * r, -0.5 * r, z), (x, -r - 0.075, z), 0.014, DARK, 6), wheel)
    return parts


def _blades(draw: Draw, x: float, y: float, z: float, reach: float) -> list[Part]:
    hub = rod((x, y, z - 0.04), (x, y, z + 0.03), (0.008, 0.024), DARK, 10)
    if draw.chance(0.5):
        return [hub, box((x, y, z), (0.03, 2 * reach, 0.022), DARK)]
    return [hub, box((x, y, z), (2 * reach, 0.03, 0.022), DARK)]


def _fighter(draw: Draw) -> list[Part]:
    """A jet with a long nose, a delta or swept wing, intakes and one or two fins."""
    color = draw.color([(0.45, 0.48, 0.5), (0.4, 0.45, 0.36), (0.55, 0.57, 0.62)])
    r = draw.between(0.045, 0.08)
    parts = _fuselage(draw, r, draw.between(0.22, 0.4), 0.12, color)
    span, root = draw.between(0.2, 0.44), draw.between(0.26, 0.55)
    z, tip = draw.between(0.04, 0.17), draw.between(0.05, 0.16)
    delta = (0, 0, z), (span, draw.between(-0.02, 0.02), z + (root - tip) * draw.between(0.3, 0.5))
    parts += _pair(fin(*delta, (root, tip), (0.058, 0.03), color))
    parts += _tail(draw, r, color, ["double", "low", "v"])
    x = r + 0.012
    parts += _pair(box((x, -0.15 * r, 0.1), (0.05, 1.3 * r, 0.42), color))
    parts += [
        rod((s * 0.035, 0.1 * r, 0.4), (s * 0.035, 0.1 * r, 0.53), (0.036, 0.03), DARK, 10) for s in (-1, 1)
    ]
    parts.append(ellipsoid((0, 0.75 * r, -0.2), (0.6 * r, 0.7 * r, 0.13), GLASS, 12, axis="z"))
    if draw.chance(0.4):
        parts += _pair(fin((0, 0.3 * r, -0.12), (0.15, 0.3 * r, -0.06), (0.1, 0.04), (0.036, 0.028), color))
    return parts


def _glider(draw: Draw) -> list[Part]:
    color = draw.color(WHITE)
    r = draw.between(0.04, 0.065)
    parts = _fuselage(draw, r, 0.14, draw.between(0.6, 0.68), color)
    span, y, z, rise = draw.between(0.45, 0.85), 0.4 * r, draw.between(-0.24, -0.1), draw.between(0.02, 0.09)
    parts += _pair(fin((0, y, z), (span, y + rise, z + 0.02), (0.13, 0.075), (0.045, 0.03), color))
    parts.append(ellipsoid((0, 0.5 * r, -0.34), (0.75 * r, 0.8 * r, 0.12), GLASS, 12, axis="z"))
    return parts + _tail(draw, r, color, ["t", "low", "v"])


def _biplane(draw: Draw) -> list[Part]:
    color, wing = draw.color(PAINTS), draw.color(PAINTS)
    r = draw.between(0.055, 0.09)
    parts = _fuselage(draw, r, 0.1, draw.between(0.5, 0.6), color)
    span, chord, z = draw.between(0.3, 0.58), draw.between(0.12, 0.22), draw.between(-0.28, -0.16)
    gap, stagger = draw.between(0.13, 0.24), draw.between(0.0, 0.07)
    upper = 0.5 * gap + 0.4 * r
    for y, dz in ((-0.7 * r, 0.0), (upper, -stagger)):
        parts += _pair(fin((0, y, z + dz), (span, y, z + dz), (chord, chord), (0.042, 0.042), wing))
    x = 0.75 * span
    for dz in (-0.25, 0.25):
        foot, head = (x, -0.7 * r, z + dz * chord), (x, upper, z + dz * chord - stagger)
        parts += _pair(rod(foot, head, 0.014, DARK, 4))
        parts += _pair(rod((0.5 * r, 0.3 * r, foot[2]), (0.5 * r, upper, head[2]), 0.014, DARK, 4))
    wheel = rod((0.1, -r - 0.09, z), (0.13, -r - 0.09, z), 0.045, (0.1, 0.1, 0.1), 12)
    parts += _pair(wheel, rod((0.3 * r, -0.6 * r, z), (0.115, -r - 0.09, z), 0.015, DARK, 6))
    return parts + _blades(draw, 0.0, -0.1 * r, -0.51, 0.13) + _tail(draw, r, wing, ["low"])
