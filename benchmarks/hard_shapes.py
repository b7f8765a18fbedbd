"""Five kinds of shapes that are hard to close, generated and real, and images of what methods make of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cut_open import cut_open, viewing_direction
from occnet_lib.config import ViewsConfig
from occnet_lib.geometry.occupancy import contains
from occnet_lib.types import Mesh
from tests.support import geometry_solids as solids

if TYPE_CHECKING:
    from benchmarks.watertight_shapes import Shape

REAL = ("kenney_lampSquareTable", "sh3d_lamp", "quat_Drawer_1", "pm_bench", "quat_Light_Chandelier")
SIZE = 200  # pixels
AZIMUTH, DISTANCE = 60.0, 1.2  # of the camera: degrees, and in diagonals of the shape
SAMPLES = 3  # along a pixel's edge, of the section
SECTION = np.array([209, 96, 61], float)  # RGB


def open_cup() -> Mesh:
    """A cup without wall thickness, open at the top, with a solid handle that runs through its wall."""
    profile = [(0.0, -0.5), (0.3, -0.5), (0.4, 0.5)]
    handle = solids.torus(0.2, 0.045, 128).mesh.vertices @ solids_turn(0).T + (0.36, 0.0, 0.0)
    return solids.join(
        [solids.revolved(profile, 128, ring=False), Mesh(handle, solids.torus(0.2, 0.045, 128).mesh.faces)]
    )


def solids_turn(axis: int) -> NDArray[np.float64]:
    """A quarter turn about an axis."""
    turn = np.eye(3)
    a, b = (axis + 1) % 3, (axis + 2) % 3
    turn[[a, a, b, b], [a, b, a, b]] = 0.0, -1.0, 1.0, 0.0
    return turn


def thin_sheets() -> Mesh:
    """A rack of single faces: four shelves, two sides, and a curtain of waves in front of a part of it."""
    shelves = [solids.box_mesh((0, y, 0), (1.0, 0, 0.4)) for y in (-0.45, -0.15, 0.15, 0.45)]
    sides = [solids.box_mesh((x, 0, 0), (0, 0.9, 0.4)) for x in (-0.5, 0.5)]
    u, v = np.meshgrid(np.linspace(-0.5, 0.1, 61), np.linspace(-0.45, 0.45, 2), indexing="ij")
    waves = np.stack([u, v, 0.24 + 0.03 * np.sin(40 * u)], axis=-1).reshape(-1, 3)
    index = np.arange(122).reshape(61, 2)
    a, b, c, d = index[:-1, 0], index[1:, 0], index[1:, 1], index[:-1, 1]
    curtain = Mesh(waves, np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32))
    single = [Mesh(part.vertices, part.faces[_one_side(part)]) for part in (*shelves, *sides)]
    return solids.join([*single, curtain])


def _one_side(mesh: Mesh) -> NDArray[np.bool_]:
    """(F,) faces with an area whose normal points along an axis, not against it: one side of a flat box."""
    return np.asarray(mesh.area_vectors.sum(axis=1) > 1e-12)


def drawers() -> Mesh:
    """A cabinet of panels with three drawers (open boxes) behind slits."""
    panels: list[solids.Box] = [
        ((0, 0.49, 0), (0.8, 0.02, 0.6)),
        ((0, -0.49, 0), (0.8, 0.02, 0.6)),
        ((-0.39, 0, 0), (0.02, 1.0, 0.6)),
        ((0.39, 0, 0), (0.02, 1.0, 0.6)),
        ((0, 0, -0.29), (0.8, 1.0, 0.02)),
    ]
    for y in (-0.32, 0.0, 0.32):
        panels += [
            ((0, y, 0.29), (0.74, 0.3, 0.02)),
            ((0, y - 0.1, 0), (0.7, 0.02, 0.56)),
            ((-0.34, y, 0), (0.02, 0.2, 0.56)),
            ((0.34, y, 0), (0.02, 0.2, 0.56)),
            ((0, y, 0.32), (0.2, 0.03, 0.04)),
        ]
    return solids.boxes(panels).mesh


def self_intersecting() -> Mesh:
    """A tube along a trefoil, so thick that it runs through itself."""
    t, a = np.meshgrid(np.arange(240) * (2 * np.pi / 240), np.arange(24) * (2 * np.pi / 24), indexing="ij")
    knot = np.stack([np.sin(t) + 2 * np.sin(2 * t), np.cos(t) - 2 * np.cos(2 * t), -np.sin(3 * t)], axis=-1)
    tangent = np.gradient(np.concatenate([knot[-1:], knot, knot[:1]]), axis=0)[1:-1]
    tangent /= np.linalg.norm(tangent, axis=-1, keepdims=True)
    side = np.cross(tangent, (0.0, 0.0, 1.0))
    side /= np.linalg.norm(side, axis=-1, keepdims=True)
    up = np.cross(side, tangent)
    vertices = knot + 1.05 * (np.cos(a)[..., None] * side + np.sin(a)[..., None] * up)
    index = np.arange(240 * 24).reshape(240, 24)
    p, q = np.roll(index, -1, axis=0), np.roll(index, -1, axis=1)
    r = np.roll(p, -1, axis=1)
    faces = np.concatenate(
        [np.stack([index, p, r], -1).reshape(-1, 3), np.stack([index, r, q], -1).reshape(-1, 3)]
    )
    return Mesh(vertices.reshape(-1, 3) @ solids_turn(0).T, faces.astype(np.int32))


def scene() -> Mesh:
    """A table with two chairs, a lamp with an open shade and a bowl, on a floor without thickness."""
    table: list[solids.Box] = [((0, 0, 0), (1.2, 0.05, 0.8))]
    table += [((x, -0.36, z), (0.06, 0.72, 0.06)) for x in (-0.55, 0.55) for z in (-0.35, 0.35)]
    chair = solids.chair().mesh
    left = Mesh(chair.vertices @ solids_turn(1).T + (-0.75, -0.22, 0.0), chair.faces)
    right = Mesh(chair.vertices @ solids_turn(1) + (0.75, -0.22, 0.0), chair.faces)
    shade = solids.revolved([(0.2, 0.4), (0.1, 0.65)], 48, ring=False)
    pole = solids.revolved(
        [(0.0, 0.0), (0.12, 0.0), (0.12, 0.05), (0.015, 0.05), (0.015, 0.6), (0.0, 0.6)], 48, ring=False
    )
    bowl = solids.revolved([(0.0, 0.03), (0.1, 0.05), (0.17, 0.15)], 48, ring=False)
    floor = Mesh(
        np.array([[-1.2, -0.72, -0.6], [1.2, -0.72, -0.6], [1.2, -0.72, 0.6], [-1.2, -0.72, 0.6]]),
        np.array([[0, 1, 2], [0, 2, 3]], np.int32),
    )
    moved = [
        Mesh(part.vertices + offset, part.faces)
        for part, offset in ((shade, (-0.2, 0, 0)), (pole, (-0.2, 0, 0)), (bowl, (0.3, 0, 0.1)))
    ]
    return solids.join([solids.boxes(table).mesh, left, right, *moved, floor])


GENERATED: dict[str, Callable[[], Mesh]] = {
    "open cup": open_cup,
    "thin sheets": thin_sheets,
    "drawers": drawers,
    "self-intersecting": self_intersecting,
    "scene": scene,
}


def sets(named: Sequence[tuple[str, Mesh]]) -> dict[str, list[tuple[str, Mesh]]]:
    """The generated shapes, and those of `REAL` that are there."""
    real = [(name, mesh) for name, mesh in named if name in REAL]
    return {"generated": [(name, make()) for name, make in GENERATED.items()]} | (
        {"real": real} if real else {}
    )


def draw(shapes: Sequence[Shape], methods: Sequence[str], meshes: Path, path: Path) -> None:
    """Two rows a shape: the input and every method's result, whole, and cut open and seen from the open side.

    Where the cutting plane runs inside a closed result, the section is orange.
    """
    from PIL import Image, ImageDraw

    columns = ["input", *methods]
    sheet = Image.new("RGB", (SIZE * len(columns), 2 * SIZE * len(shapes) + 20), "white")
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(columns):
        pen.text((SIZE * column + 5, 4), title, fill="black")
    for row, shape in enumerate(shapes):
        given = _load(shape.file)
        for column, title in enumerate(columns):
            corner = (SIZE * column, 2 * SIZE * row + 20)
            file = meshes / title.replace(" ", "-") / f"{shape.file.stem}.npz"
            if column and not file.exists():
                pen.text((corner[0] + 60, corner[1] + SIZE // 2), "no result", fill="black")
                continue
            for k, image in enumerate(_images(given, _load(file) if column else None)):
                sheet.paste(Image.fromarray(image), (corner[0], corner[1] + SIZE * k))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)


def _load(file: Path) -> Mesh:
    with np.load(file) as data:
        return Mesh(data["vertices"], data["faces"])


def _images(given: Mesh, made: Mesh | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """The result (without one the input) whole, and cut open in the middle of the input, with its section."""
    from occnet_lib.geometry.cameras import camera_centres, intrinsics, look_at_origin
    from occnet_lib.rendering.views import render_views

    config = ViewsConfig(count=1, image_size=SIZE)
    place = camera_centres(np.array([AZIMUTH]), np.array([25.0]), np.array([DISTANCE]))
    matrices = intrinsics(SIZE, config.focal)[None], look_at_origin(place)
    diagonal = np.linalg.norm(np.ptp(given.vertices, axis=0))
    shown = given if made is None else made
    whole = Mesh(shown.vertices / diagonal, shown.faces)
    normal = viewing_direction(matrices[1][0])
    middle = np.mean(given.bounds, axis=0) / diagonal + 1e-4  # not in a face
    first = render_views(whole, *matrices, config)[0][0]
    behind = cut_open(whole, normal, middle)
    # Of a result that has lost parts, nothing may be left behind the plane.
    half = render_views(behind, *matrices, config)[0][0] if len(behind.faces) else np.full_like(first, 255)
    if made is not None:
        covered = section(whole, matrices[0][0], matrices[1][0], normal, middle)[..., None]
        half = (half * (1 - covered) + SECTION * covered).astype(np.uint8)
    return first, half


def section(
    mesh: Mesh,
    camera_mat: NDArray[np.float64],
    world_mat: NDArray[np.float64],
    normal: NDArray[np.float64],
    origin: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(SIZE, SIZE) fraction of each pixel in which its ray meets a plane inside the mesh."""
    fine = SIZE * SAMPLES
    v, u = np.meshgrid(*[(np.arange(fine) + 0.5) / SAMPLES] * 2, indexing="ij")
    rays = np.stack([u, v, np.ones_like(u)], axis=-1).reshape(-1, 3) @ np.linalg.inv(camera_mat).T
    rays = rays @ world_mat[:, :3]
    centre = -world_mat[:, :3].T @ world_mat[:, 3]
    points = centre + rays * (((origin - centre) @ normal) / (rays @ normal))[:, None]
    return np.asarray(contains(mesh, points).reshape(SIZE, SAMPLES, SIZE, SAMPLES).mean(axis=(1, 3)))
