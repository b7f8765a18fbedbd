"""The demo's generator: exact occupancy, determinism, variety, and a mesh as messy as ShapeNet's."""

from __future__ import annotations

import filecmp
from collections import Counter

import numpy as np
import pytest

from occnet_lib.config import DemoConfig
from occnet_lib.demo import BUILDERS, exact, generate, shape_id, write
from occnet_lib.demo.draw import Draw
from occnet_lib.demo.parts import Part, block, box, ellipsoid, fin, hoop, rod, sheet
from occnet_lib.errors import ConfigError

CATEGORIES = sorted(BUILDERS)
SHAPES = [(category, index) for category in CATEGORIES for index in range(12)]


def winding_number(part: Part, points: np.ndarray) -> np.ndarray:
    """(N,) signed solid angles over 4π (van Oosterom and Strackee 1983): an independent inside test."""
    a, b, c = (part.vertices[part.faces[:, i]][None] - points[:, None] for i in range(3))
    la, lb, lc = (np.linalg.norm(x, axis=-1) for x in (a, b, c))
    numerator = np.einsum("nfi,nfi->nf", a, np.cross(b, c))
    dots = ((a * b).sum(-1) * lc, (b * c).sum(-1) * la, (c * a).sum(-1) * lb)
    return 2 * np.arctan2(numerator, la * lb * lc + sum(dots)).sum(1) / (4 * np.pi)


def edges(faces: np.ndarray) -> Counter[tuple[int, int]]:
    return Counter(
        map(tuple, np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist())
    )


def merged(part: Part) -> np.ndarray:
    """Faces with coinciding vertices (poles, cone tips) taken for one."""
    _, same = np.unique(part.vertices.round(9), axis=0, return_inverse=True)
    return same.reshape(-1)[part.faces]


@pytest.mark.parametrize(("category", "index"), SHAPES)
def test_parts_are_closed_convex_and_wound_outward(category: str, index: int) -> None:
    for part in generate(category, index, 0).parts:
        if part.sheet:
            continue
        normals, offsets = part.half_spaces()
        assert (part.vertices @ normals.T <= offsets + 1e-9).all(), (
            "a vertex outside a half-space: not convex"
        )
        count = edges(merged(part))
        assert all(n == 1 and count[b, a] == 1 for (a, b), n in count.items()), "not closed"
        tetrahedra = np.einsum(
            "fi,fi->f",
            part.vertices[part.faces[:, 0]],
            np.cross(*np.moveaxis(part.vertices[part.faces[:, 1:]], 1, 0)),
        )
        assert tetrahedra.sum() > 0


@pytest.mark.parametrize("category", CATEGORIES)
def test_occupancy_is_the_union_of_the_parts_winding_numbers(category: str) -> None:
    rng = np.random.default_rng(3)
    for index in range(3):
        shape = generate(category, index, 0)
        low, high = shape.mesh.vertices.min(0), shape.mesh.vertices.max(0)
        points = rng.uniform(low - 0.02, high + 0.02, (1500, 3))
        winding = [winding_number(part, points) for part in shape.parts if not part.sheet]
        expected = (np.array(winding) > 0.5).any(0)
        assert 0 < expected.mean() < 0.9
        np.testing.assert_array_equal(shape.occupancy(points), expected)


def test_volumes_of_the_primitives_are_those_of_the_formulas() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (200_000, 3))
    grey = (0.5, 0.5, 0.5)
    sides, rings = 64, 32
    cases = [
        ([box((0.1, 0, 0), (1, 0.5, 0.8), grey)], 0.4),
        ([block(-0.5, (0, 0, 1, 1), 0.5, (0.2, 0, 0.5, 0.5), grey)], (1 + 0.25 + 0.5) / 3),
        ([rod((0, -0.5, 0.1), (0.3, 0.5, 0), (0.4, 0.2), grey, sides)], np.pi / 3 * 1.1**0.5 * 0.28),
        ([ellipsoid((0, 0, 0), (0.9, 0.5, 0.7), grey, sides)], 4 / 3 * np.pi * 0.9 * 0.5 * 0.7),
        (hoop((0, 0, 0), 0.6, 0.15, grey, sides=rings * 2), 2 * np.pi * 0.6 * 0.09),
    ]  # fmt: skip
    for parts, volume in cases:
        inside = np.any([part.contains(points) for part in parts], axis=0)
        assert 8 * inside.mean() == pytest.approx(volume, rel=0.02)


def test_a_sheet_holds_nothing_and_a_fin_stands_on_its_root() -> None:
    grey = (0.5, 0.5, 0.5)
    flat = sheet([(0, 0, 0), (1, 0, 0), (1, 0, 1)], grey)
    assert not flat.contains(np.array([[0.5, 0.0, 0.2], [0.5, 0.1, 0.2]])).any()
    wing = fin((0, 0, 0), (1, 0.2, 0.3), (0.4, 0.2), (0.05, 0.02), grey)
    inside = wing.contains(
        np.array([[0.5, 0.1, 0.15], [0.5, 0.2, 0.15], [0.01, 0.003, 0.19], [0.99, 0.198, 0.45]])
    )
    assert inside.tolist() == [True, False, True, False]


@pytest.mark.parametrize("category", CATEGORIES)
def test_pose_and_size_are_shapenets(category: str) -> None:
    vertices = generate(category, 4, 0).mesh.vertices
    low, high = vertices.min(0), vertices.max(0)
    assert np.linalg.norm(high - low) == pytest.approx(1)
    np.testing.assert_allclose(low + high, 0, atol=1e-9)


def test_fronts_look_towards_minus_z_and_up_is_plus_y() -> None:
    rng = np.random.default_rng(5)
    for index in range(10):
        chair = generate("chair", index, 0)
        points = rng.uniform(-0.5, 0.5, (20_000, 3))
        inside = points[chair.occupancy(points)]
        low, high = inside.min(0), inside.max(0)
        upper = inside[inside[:, 1] > low[1] + 0.85 * (high - low)[1]]
        assert upper[:, 2].mean() > 0.05, "the top of the back is behind the seat's middle"
        car = generate("car", index, 0)
        tyres = [p for p in car.parts if p.color == (0.08, 0.08, 0.08)]
        assert min(p.vertices[:, 1].min() for p in tyres) == pytest.approx(
            car.mesh.vertices[:, 1].min(), abs=1e-9
        )
        plane = generate("airplane", index, 0)
        extent = np.ptp(plane.mesh.vertices, axis=0)
        assert extent[1] < extent[0]
        assert extent[1] < extent[2]


def test_nothing_solid_is_thinner_than_a_small_network_can_learn() -> None:
    for category in CATEGORIES:
        fraction = [
            np.mean(
                generate(category, i, 0).occupancy(np.random.default_rng(i).uniform(-0.5, 0.5, (20_000, 3)))
            )
            for i in range(10)
        ]
        assert min(fraction) > 0.002
        assert max(fraction) < 0.6


def test_a_shape_depends_on_its_own_name_and_the_seed_alone() -> None:
    first, again, other = generate("chair", 7, 0), generate("chair", 7, 0), generate("chair", 7, 1)
    assert first.id == shape_id("chair", 7) == "chair_0007"
    np.testing.assert_array_equal(first.mesh.vertices, again.mesh.vertices)
    np.testing.assert_array_equal(first.mesh.faces, again.mesh.faces)
    assert first.mesh.vertices.shape != other.mesh.vertices.shape or not np.allclose(
        first.mesh.vertices, other.mesh.vertices
    )
    points = np.random.default_rng(1).uniform(-0.5, 0.5, (5000, 3))
    np.testing.assert_array_equal(exact("chair", 7, 0)(points), first.occupancy(points))


@pytest.mark.parametrize("category", CATEGORIES)
def test_no_two_shapes_are_alike(category: str) -> None:
    """Any two shapes of a category differ in what they occupy, most of them clearly."""
    points = np.random.default_rng(2).uniform(-0.35, 0.35, (8000, 3))
    fields = np.array([generate(category, i, 0).occupancy(points) for i in range(16)])
    both = (fields[:, None] & fields[None]).sum(-1)
    either = (fields[:, None] | fields[None]).sum(-1)
    iou = (both / either)[np.triu_indices(16, 1)]
    assert iou.max() < 0.99
    assert np.median(iou) < 0.75


def test_the_mesh_is_a_soup() -> None:
    shapes = [generate(category, index, 0) for category, index in SHAPES]
    for shape in shapes:
        mesh = shape.mesh
        assert mesh.vertices.dtype == np.float64
        assert mesh.faces.dtype == np.int32
        assert mesh.colors is not None
        assert mesh.colors.dtype == np.float32
        assert mesh.colors.shape == mesh.vertices.shape
        assert any(n != 1 for n in edges(mesh.faces).values()), "some edge is run through twice the same way"
        assert len(np.unique(mesh.colors, axis=0)) > 1
        assert mesh.faces.max() < len(mesh.vertices)
    doubled = [len(np.unique(np.sort(s.mesh.faces, axis=1), axis=0)) < len(s.mesh.faces) for s in shapes]
    assert 0.15 < np.mean(doubled) < 0.6
    assert 0.05 < np.mean([s.sheets for s in shapes]) < 0.5


def test_solid_parts_run_into_each_other() -> None:
    """A random point in one part is often in a second one too: the soup has interior faces."""
    rng = np.random.default_rng(4)
    for category in CATEGORIES:
        shape = generate(category, 2, 0)
        points = rng.uniform(-0.5, 0.5, (60_000, 3))
        depth = sum(part.contains(points).astype(int) for part in shape.parts)
        assert (depth >= 2).any()


def test_written_files_are_the_shape_and_always_the_same_bytes(tmp_path) -> None:
    demo = DemoConfig(categories=["car", "lamp"], shapes_per_category=2)
    paths = write(tmp_path / "a", demo, 0)
    assert [str(p.relative_to(tmp_path / "a")) for p in paths][:2] == [
        "car/car_0000/model.obj",
        "car/car_0001/model.obj",
    ]
    write(tmp_path / "b", DemoConfig(categories=["lamp", "car"], shapes_per_category=3), 0)
    for path in paths:
        reference = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert filecmp.cmp(path, reference, shallow=False)
        assert filecmp.cmp(path.with_suffix(".mtl"), reference.with_suffix(".mtl"), shallow=False)
    lines = [line.split() for line in paths[3].read_text().splitlines()]
    shape = generate("lamp", 1, 0)
    vertices = np.array([line[1:] for line in lines if line[0] == "v"], float)
    faces = np.array([line[1:] for line in lines if line[0] == "f"], int) - 1
    np.testing.assert_allclose(vertices, shape.mesh.vertices, atol=6e-9)
    np.testing.assert_array_equal(faces, shape.mesh.faces)
    kd, colors, current = {}, [], ""
    for line in paths[3].with_suffix(".mtl").read_text().splitlines():
        word, *values = line.split() or [""]
        if word == "newmtl":
            current = values[0]
        elif word == "Kd":
            kd[current] = [float(v) for v in values]
    for line in lines:
        if line[0] == "usemtl":
            current = line[1]
        elif line[0] == "f":
            colors.append(kd[current])
    assert shape.mesh.colors is not None
    np.testing.assert_allclose(colors, shape.mesh.colors[shape.mesh.faces[:, 0]], atol=1e-6)
    assert not list(tmp_path.rglob(".*")), "no temporary files stay behind"


def test_an_unknown_category_is_one_line_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match=r"sofa.*airplane, car, chair, lamp, table"):
        generate("sofa", 0, 0)


def test_colours_stay_in_range() -> None:
    draw = Draw(np.random.default_rng(0))
    colors = np.array([draw.color([(0.0, 0.5, 1.0)]) for _ in range(100)])
    assert colors.min() > 0
    assert colors.max() < 1
