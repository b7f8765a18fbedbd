"""Cars: saloon, hatchback, estate, van, pick-up, sports car, jeep and lorry; the bonnet towards -z."""

from __future__ import annotations

from dataclasses import dataclass

from .draw import GLASS, PAINTS, TYRE, Draw
from .parts import Color, Part, block, box, rod, sheet, slab


@dataclass(frozen=True)
class Body:
    """Proportions in units of the length: front end at z = -0.5, rear end at +0.5.

    Attributes:
        width, floor, belt, roof: width, and heights of underside, shoulder and roof.
        bonnet: height of the bonnet's front edge.
        screen: z where the windscreen starts and where it meets the roof.
        tail: z where the roof ends and where the rear window meets the shoulder.
    """

    width: float
    floor: float
    belt: float
    roof: float
    bonnet: float
    screen: tuple[float, float]
    tail: tuple[float, float]


# Limits of width, floor, belt, roof, bonnet; screen's foot and head; roof's end and rear window's foot.
# fmt: off
_LIMITS: dict[str, list[tuple[float, float]]] = {
    "saloon": [(0.34, 0.46), (0.045, 0.075), (0.175, 0.235), (0.27, 0.36), (0.125, 0.17),
               (-0.29, -0.16), (-0.12, 0.0), (0.13, 0.27), (0.31, 0.43)],
    "hatchback": [(0.38, 0.54), (0.05, 0.08), (0.2, 0.28), (0.33, 0.48), (0.15, 0.2),
                  (-0.34, -0.2), (-0.16, -0.02), (0.3, 0.42), (0.44, 0.49)],
    "estate": [(0.33, 0.46), (0.045, 0.075), (0.175, 0.24), (0.28, 0.38), (0.13, 0.175),
               (-0.3, -0.17), (-0.15, -0.03), (0.37, 0.46), (0.465, 0.49)],
    "van": [(0.34, 0.52), (0.045, 0.08), (0.2, 0.32), (0.38, 0.6), (0.15, 0.2),
            (-0.45, -0.32), (-0.3, -0.18), (0.44, 0.48), (0.482, 0.495)],
    "pickup": [(0.32, 0.45), (0.07, 0.12), (0.19, 0.25), (0.3, 0.42), (0.165, 0.185),
               (-0.28, -0.16), (-0.13, -0.04), (-0.02, 0.1), (0.11, 0.2)],
    "sports": [(0.38, 0.5), (0.035, 0.055), (0.145, 0.19), (0.215, 0.29), (0.08, 0.13),
               (-0.24, -0.08), (-0.03, 0.08), (0.1, 0.22), (0.32, 0.46)],
    "jeep": [(0.38, 0.54), (0.08, 0.13), (0.23, 0.34), (0.38, 0.55), (0.2, 0.23),
             (-0.28, -0.15), (-0.15, -0.05), (0.36, 0.46), (0.47, 0.485)],
    "lorry": [(0.27, 0.42), (0.065, 0.1), (0.18, 0.26), (0.3, 0.44), (0.16, 0.18),
              (-0.47, -0.41), (-0.41, -0.36), (-0.3, -0.18), (-0.175, -0.13)],
}
# fmt: on


def build(draw: Draw) -> list[Part]:
    """A car of one of the body kinds on four to six wheels."""
    kind = draw.one([*_LIMITS, "saloon"])
    paint = draw.color(PAINTS)
    radius = draw.between(0.06, 0.092) * {"jeep": 1.2, "pickup": 1.2, "sports": 0.85}.get(kind, 1.0)
    width, floor, belt, roof, bonnet, *lengths = (draw.between(*limits) for limits in _LIMITS[kind])
    body = Body(width, floor, belt, roof, bonnet, (lengths[0], lengths[1]), (lengths[2], lengths[3]))
    parts = _lower(draw, body, paint, kind) + _cabin(draw, body, paint) + _wheels(draw, body, radius, kind)
    parts += _lights(body)
    if kind == "lorry":
        parts += _load(draw, body)
    if kind == "sports" and draw.chance(0.6):
        parts += _spoiler(draw, body, paint)
    if kind == "jeep" and draw.chance(0.6):
        z = 0.52
        parts.append(rod((0, 0.25, z - 0.04), (0, 0.25, z + 0.02), 0.085, TYRE, 16))
    if draw.chance(0.2):
        parts += _mirrors(body, paint)
    return parts


def _lower(draw: Draw, body: Body, paint: Color, kind: str) -> list[Part]:
    """The body below the shoulder, in profile; a pick-up has a hollow bed, a lorry a bare frame."""
    w, nose = body.width / 2, draw.between(0.0, 0.03)
    rear = {"pickup": body.tail[1], "lorry": body.tail[0]}.get(kind, 0.5)
    mid = (body.floor + body.bonnet) / 2
    outline = [
        (-0.5 + nose, body.floor),
        (-0.5, mid),
        (-0.5 + nose, body.bonnet),
        (body.screen[0], body.belt),
        (rear - 0.01, body.belt),
        (rear, mid),
        (rear - nose, body.floor),
    ]
    parts = [slab(outline, -w, w, paint)]
    if kind == "pickup":
        middle, length, floor = (rear + 0.5) / 2, 0.5 - rear, body.floor + 0.06
        parts.append(box((0, (body.floor + floor) / 2, middle), (2 * w, floor - body.floor, length), paint))
        side, tall = 0.035, body.belt - body.floor
        y = body.floor + tall / 2
        parts += [box((s * (w - side / 2), y, middle), (side, tall, length), paint) for s in (-1, 1)]
        parts.append(box((0, y, 0.5 - side / 2), (2 * w, tall, side), paint))
    if kind != "lorry" and draw.chance(0.6):
        parts += [box((0, body.floor + 0.025, z), (0.96 * body.width, 0.05, 0.04), TYRE) for z in (-0.5, 0.5)]
    return parts


def _cabin(draw: Draw, body: Body, paint: Color) -> list[Part]:
    """Glass between shoulder and roof, and the painted roof on it."""
    low, high = 0.94 * body.width, draw.between(0.66, 0.9) * body.width
    (z0, z1), (z2, z3) = body.screen, body.tail
    under = body.roof - 0.03
    foot, head = (0, (z0 + z3) / 2, low, z3 - z0), (0, (z1 + z2) / 2, high, z2 - z1)
    top = (0, (z1 + z2) / 2, 0.93 * high, 0.93 * (z2 - z1))
    glass = block(body.belt - 0.02, foot, under, head, GLASS)
    return [glass, block(under, head, body.roof, top, paint)]


def _wheels(draw: Draw, body: Body, radius: float, kind: str) -> list[Part]:
    front, rear = draw.between(-0.37, -0.27), draw.between(0.22, 0.35)
    axles = [front, rear, rear - 2.3 * radius] if kind == "lorry" and draw.chance(0.5) else [front, rear]
    hub, wide = draw.color([(0.7, 0.7, 0.72), (0.3, 0.3, 0.32)]), 0.075
    parts: list[Part] = []
    for z in axles:
        for s in (-1, 1):
            inner, outer = s * (body.width / 2 - wide + 0.012), s * (body.width / 2 + 0.012)
            parts.append(rod((inner, radius, z), (outer, radius, z), radius, TYRE, 18))
            parts.append(rod((inner, radius, z), (outer + s * 0.008, radius, z), 0.55 * radius, hub, 10))
    return parts


def _lights(body: Body) -> list[Part]:
    x, low = 0.36 * body.width, body.floor + 0.62 * (body.bonnet - body.floor)
    rear = -1.0 if body.tail[0] < -0.1 else 0.5
    parts = [box((s * x, low, -0.495), (0.07, 0.035, 0.03), (0.95, 0.92, 0.7)) for s in (-1, 1)]
    if rear > 0:
        parts += [box((s * x, low, rear - 0.005), (0.06, 0.04, 0.03), (0.8, 0.08, 0.06)) for s in (-1, 1)]
    return parts


def _load(draw: Draw, body: Body) -> list[Part]:
    """A lorry's frame and its box, tank or flat bed."""
    start, color = body.tail[0] + 0.02, draw.color(PAINTS)
    z, length, base = (start + 0.5) / 2, 0.5 - start, body.floor + 0.08
    parts = [box((0, base - 0.03, (start + 0.48) / 2 - 0.02), (0.7 * body.width, 0.06, length), TYRE)]
    kind = draw.one(["box", "tank", "flat"])
    if kind == "box":
        tall = draw.between(0.16, 0.42)
        parts.append(box((0, base + tall / 2, z), (1.04 * body.width, tall, length), color))
    elif kind == "tank":
        r = 0.48 * body.width
        parts.append(rod((0, base + r - 0.02, start), (0, base + r - 0.02, 0.5), r, color, 16))
    else:
        parts.append(box((0, base + 0.02, z), (1.04 * body.width, 0.04, length), color))
        parts += [box((0.5 * s * body.width, base + 0.06, z), (0.03, 0.12, length), color) for s in (-1, 1)]
        parts.append(box((0, base + 0.06, 0.49), (body.width, 0.12, 0.03), color))
    return parts


def _spoiler(draw: Draw, body: Body, paint: Color) -> list[Part]:
    y = body.belt + draw.between(0.05, 0.08)
    parts = [
        box((s * 0.3 * body.width, (body.belt + y) / 2, 0.45), (0.03, y - body.belt + 0.02, 0.05), paint)
        for s in (-1, 1)
    ]
    return [*parts, box((0, y, 0.455), (0.9 * body.width, 0.028, 0.09), paint)]


def _mirrors(body: Body, paint: Color) -> list[Part]:
    """Mirrors as bare rectangles beside the windscreen."""
    z, y = body.screen[0] + 0.05, body.belt
    parts = []
    for s in (-1, 1):
        x0, x1 = s * 0.48 * body.width, s * (0.5 * body.width + 0.05)
        parts.append(sheet([(x0, y, z), (x1, y, z), (x1, y + 0.05, z), (x0, y + 0.05, z)], paint))
    return parts
