"""Solids whose inside is known in closed form: oracles for tests and benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from occnet_lib.types import Mesh

Inside = Callable[[NDArray[np.float64]], NDArray[np.bool_]]
Box = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True)
class Solid:
    """A triangle soup and the exact inside test of what it bounds, both in one frame."""

    mesh: Mesh
    inside: Inside

    def rotated(self, rotation: NDArray[np.float64]) -> Solid:
        mesh = Mesh(self.mesh.vertices @ rotation.T, self.mesh.faces)
        return Solid(mesh, lambda p: self.inside(p @ rotation))


def join(meshes: Sequence[Mesh]) -> Mesh:
    """All faces of several meshes as one."""
    offset = np.cumsum([0] + [len(m.vertices) for m in meshes])
    faces = [m.faces + o for m, o in zip(meshes, offset, strict=False)]
    return Mesh(np.concatenate([m.vertices for m in meshes]), np.concatenate(faces).astype(np.int32))


def shapenet_like(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """The same surface with every face doubled, turned at random and shuffled."""
    faces = np.concatenate([mesh.faces, mesh.faces])
    turn = rng.random(len(faces)) < 0.5
    faces[turn] = faces[turn][:, ::-1]
    return Mesh(mesh.vertices, faces[rng.permutation(len(faces))])


def box_mesh(centre: Sequence[float], edges: Sequence[float]) -> Mesh:
    """Twelve outward triangles."""
    corner = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))], dtype=np.int32)
    return Mesh(np.asarray(centre) + corner * np.asarray(edges), faces)


def boxes(parts: Sequence[Box]) -> Solid:
    """The union of boxes (centre, edges); where they overlap the mesh has inner faces."""

    def inside(p: NDArray[np.float64]) -> NDArray[np.bool_]:
        hit = [(np.abs(p - np.asarray(c)) < np.asarray(e) / 2).all(axis=1) for c, e in parts]
        return np.any(hit, axis=0)

    return Solid(join([box_mesh(c, e) for c, e in parts]), inside)


def sphere(level: int = 6, radius: float = 0.5) -> Solid:
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=level, radius=radius)
    mesh = Mesh(np.asarray(ball.vertices, dtype=np.float64), np.asarray(ball.faces, dtype=np.int32))
    return Solid(mesh, lambda p: np.linalg.norm(p, axis=1) < radius)


def revolved(profile: Sequence[tuple[float, float]], sections: int, *, ring: bool) -> Mesh:
    """A profile (radius, height), ordered with the solid on its left, turned about y.

    ring: the profile is a closed curve; otherwise it begins and ends on the axis.
    """
    angle = np.arange(sections) * (2 * np.pi / sections)
    radius, height = np.array(profile).T
    vertices = np.stack(
        [
            np.outer(radius, np.cos(angle)),
            np.repeat(height[:, None], sections, axis=1),
            np.outer(radius, np.sin(angle)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    index = np.arange(len(profile) * sections).reshape(-1, sections)
    low, high = (index, np.roll(index, -1, axis=0)) if ring else (index[:-1], index[1:])
    a, b, c, d = low, np.roll(low, -1, axis=1), np.roll(high, -1, axis=1), high
    faces = np.concatenate([np.stack([a, d, c], -1).reshape(-1, 3), np.stack([a, c, b], -1).reshape(-1, 3)])
    corners = vertices[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    return Mesh(vertices, faces[area > 1e-12].astype(np.int32))


def torus(major: float = 0.375, minor: float = 0.125, sections: int = 512) -> Solid:
    """Quads: `sections` about the axis, half as many about the ring."""
    turn = np.arange(sections // 2) * (4 * np.pi / sections)
    profile = np.stack([major + minor * np.cos(turn), minor * np.sin(turn)], axis=1)
    mesh = revolved([(r, h) for r, h in profile], sections, ring=True)
    return Solid(mesh, lambda p: np.hypot(np.hypot(p[:, 0], p[:, 2]) - major, p[:, 1]) < minor)


def cup(outer: float = 0.3, inner: float = 0.26, height: float = 1.0, bottom: float = 0.05) -> Solid:
    """A cup more than three times as deep as wide at the wall's inner radius."""
    low, top, floor = -height / 2, height / 2, -height / 2 + bottom
    profile = [(0.0, low), (outer, low), (outer, top), (inner, top), (inner, floor), (0.0, floor)]

    def inside(p: NDArray[np.float64]) -> NDArray[np.bool_]:
        r = np.hypot(p[:, 0], p[:, 2])
        body = (r < outer) & (p[:, 1] > low) & (p[:, 1] < top)
        return body & ~((r < inner) & (p[:, 1] > floor))

    return Solid(revolved(profile, 512, ring=False), inside)


def bored_block(edges: Sequence[float] = (1.0, 0.4, 0.6), radius: float = 0.2) -> Solid:
    """A block less a bore along y: the part of constructive solid geometry."""
    n = 512
    angle = (np.arange(n) + 0.5) * (2 * np.pi / n)
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    half = np.array([edges[0], edges[2]]) / 2
    rim = direction / np.abs(direction / half).max(axis=1, keepdims=True)
    corners = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * half
    for corner in corners:  # the point of the rim closest to a corner becomes the corner
        rim[np.argmin(np.linalg.norm(rim - corner, axis=1))] = corner
    layers = [(rim, -1), (rim, 1), (radius * direction, 1), (radius * direction, -1)]
    vertices = np.concatenate(
        [np.stack([xz[:, 0], np.full(n, s * edges[1] / 2), xz[:, 1]], axis=1) for xz, s in layers]
    )
    index = np.arange(4 * n).reshape(4, n)
    a, d = index, np.roll(index, -1, axis=0)
    b, c = np.roll(a, -1, axis=1), np.roll(d, -1, axis=1)
    faces = np.concatenate([np.stack([a, d, c], -1).reshape(-1, 3), np.stack([a, c, b], -1).reshape(-1, 3)])

    def inside(p: NDArray[np.float64]) -> NDArray[np.bool_]:
        return (np.abs(p) < np.asarray(edges) / 2).all(axis=1) & (np.hypot(p[:, 0], p[:, 2]) > radius)

    return Solid(Mesh(vertices, faces.astype(np.int32)), inside)


def chair() -> Solid:
    """Seat, back and four legs that run into the seat."""
    legs: list[Box] = [((x, -0.25, z), (0.05, 0.5, 0.05)) for x in (-0.22, 0.22) for z in (-0.22, 0.22)]
    return boxes([((0, 0, 0), (0.5, 0.06, 0.5)), ((0, 0.25, -0.22), (0.5, 0.5, 0.06)), *legs])


def rods(width: float) -> Solid:
    """A lattice of thin square rods."""
    parts: list[Box] = [((x, 0, z), (width, 1, width)) for x in (-0.3, 0.0, 0.3) for z in (-0.3, 0.3)]
    parts += [((0, y, z), (0.6 + width, width, width)) for y in (-0.4, 0.1, 0.4) for z in (-0.3, 0.3)]
    parts += [((x, y, 0), (width, width, 0.6 + width)) for y in (-0.4, 0.1, 0.4) for x in (-0.3, 0.0, 0.3)]
    return boxes(parts)


def rotation(seed: int) -> NDArray[np.float64]:
    from occnet_lib.geometry.cameras import random_rotation

    return random_rotation(np.random.default_rng(seed))


def lathed(profile: Sequence[tuple[float, float]], sections: int = 256) -> Solid:
    """A profile as in `revolved`, which begins and ends on the axis, turned about y."""
    corner = np.array(profile)

    def inside(p: NDArray[np.float64]) -> NDArray[np.bool_]:
        r, h = np.hypot(p[:, 0], p[:, 2]), p[:, 1]
        crossings = np.zeros(len(p), dtype=np.int64)
        for (r0, h0), (r1, h1) in zip(corner, np.roll(corner, -1, axis=0), strict=True):
            if h0 != h1:
                crossings += ((h0 > h) != (h1 > h)) & (r < r0 + (h - h0) / (h1 - h0) * (r1 - r0))
        return crossings % 2 == 1

    return Solid(revolved(profile, sections, ring=False), inside)


def deep_cup(depth: float, wall: float = 0.06) -> Solid:
    """A cup with an inner diameter of 1."""
    outer, top = 0.5 + wall, depth + wall
    return lathed([(0, 0), (outer, 0), (outer, top), (0.5, top), (0.5, wall), (0, wall)])


def vase() -> Solid:
    """A vase with a neck a quarter as wide as its belly."""
    outer = [(0, 0), (0.3, 0), (0.4, 0.35), (0.12, 0.75), (0.16, 1.0)]
    return lathed([*outer, (0.13, 1.0), (0.09, 0.75), (0.36, 0.35), (0.26, 0.05), (0, 0.05)])


def pot(gap: float = 0.004) -> tuple[Solid, Solid]:
    """A pot and a lid that stands off its rim by a gap: as they are, and with the hollow between them filled."""
    body = lathed([(0, 0), (0.5, 0), (0.5, 0.6), (0.45, 0.6), (0.45, 0.05), (0, 0.05)])
    low = 0.6 + gap
    knob = [(0.08, low + 0.05), (0.08, low + 0.15), (0, low + 0.15)]
    lid = lathed([(0, low), (0.5, low), (0.5, low + 0.05), *knob])
    both = Solid(join([body.mesh, lid.mesh]), lambda p: body.inside(p) | lid.inside(p))
    filled = lathed([(0, 0), (0.5, 0), (0.5, 0.6), (0, 0.6)])
    return both, Solid(both.mesh, lambda p: filled.inside(p) | lid.inside(p))


def niche(depth: float = 3.0, wall: float = 0.2) -> Solid:
    """A block less a 1 x 1 x `depth` niche from its front."""
    high = np.array([0.5 + wall, 0.5 + wall, (depth + wall) / 2])
    top = float(high[2])
    floor = top - depth
    corner = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    outer, inner = (0.5 + wall) * corner, 0.5 * corner
    layers = [(outer, -top), (outer, top), (inner, top), (inner, floor)]
    vertices = np.concatenate([np.column_stack([xy, np.full(4, z)]) for xy, z in layers])
    faces = [(0, 2, 1), (0, 3, 2), (12, 13, 14), (12, 14, 15)]
    for first in (0, 4, 8):
        for i in range(4):
            a, b = first + i, first + (i + 1) % 4
            faces += [(a, b, b + 4), (a, b + 4, a + 4)]

    def inside(p: NDArray[np.float64]) -> NDArray[np.bool_]:
        body = (np.abs(p) < high).all(axis=1)
        return body & ~((np.abs(p[:, :2]) < 0.5).all(axis=1) & (p[:, 2] > floor))

    return Solid(Mesh(vertices, np.array(faces, dtype=np.int32)), inside)


def drawers(slit: float = 0.008, board: float = 0.025) -> Solid:
    """A hollow carcass of boards with three drawer fronts between slits; what is behind them counts as inside."""
    w, h, d = 1.0, 0.8, 0.4
    parts: list[Box] = [((s * (w - board) / 2, 0, 0), (board, h, d)) for s in (-1, 1)]
    parts += [((0, s * (h - board) / 2, 0), (w, board, d)) for s in (-1, 1)]
    parts += [((0, 0, -(d - board) / 2), (w, h, board))]
    front = (h - 2 * board - 4 * slit) / 3
    for n in (-1, 0, 1):
        centre = (0, n * (front + slit), (d - board) / 2)
        parts.append((centre, (w - 2 * board - 2 * slit, front, board)))
    solid = boxes(parts)
    half = np.array([w, h, d]) / 2

    def inside(p: NDArray[np.float64]) -> NDArray[np.bool_]:
        return solid.inside(p) | ((np.abs(p) < half).all(axis=1) & (p[:, 2] < half[2] - board))

    return Solid(solid.mesh, inside)


def cage(bar: float = 0.008, spacing: float = 0.024) -> Solid:
    """A floor and a roof with thin bars between them all around."""
    parts: list[Box] = [((0, y, 0), (1.0, 0.03, 0.6)) for y in (-0.3, 0.3)]
    for x in np.arange(-0.49, 0.491, spacing):
        parts += [((x, 0, z), (bar, 0.6, bar)) for z in (-0.29, 0.29)]
    for z in np.arange(-0.29, 0.291, spacing):
        parts += [((x, 0, z), (bar, 0.6, bar)) for x in (-0.49, 0.49)]
    return boxes(parts)
