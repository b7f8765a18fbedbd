"""The fast kernels of fusion against slow reference implementations and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from occnet_lib.geometry.cameras import random_directions
from occnet_lib.geometry.fusion.carving import carve, view_axes
from occnet_lib.geometry.fusion.depth_maps import TILE, DepthMaps, nearest_of_four, render_depth, tile_bounds
from occnet_lib.geometry.fusion.distance_band import cut_edges, distance_band
from occnet_lib.geometry.fusion.surfaces import NEAR, resolve_near
from occnet_lib.geometry.fusion.tsdf import OFFSET, TRUNCATION, tsdf_field
from occnet_lib.geometry.grid import Grid, grid_around
from occnet_lib.geometry.occupancy import surface_distance
from occnet_lib.types import Mesh
from tests.support.geometry_solids import Solid, bored_block, box_mesh, chair, rotation, shapenet_like, sphere

SIZE = 96
VIEWS = 24


@pytest.fixture(scope="module")
def turned_chair() -> Solid:
    return chair().rotated(rotation(4))


@pytest.fixture(scope="module")
def directions() -> np.ndarray:
    return random_directions(VIEWS, np.random.default_rng(2))


def copy(maps: DepthMaps) -> DepthMaps:
    return DepthMaps(maps.depth.copy(), maps.axes, maps.shift)


def indices(grid: Grid) -> np.ndarray:
    return np.stack(np.meshgrid(*(np.arange(s) for s in grid.shape), indexing="ij"), axis=-1).reshape(-1, 3)


def test_depth_maps_agree_with_ray_casting(turned_chair: Solid, directions: np.ndarray) -> None:
    import open3d as o3d

    from occnet_lib.geometry.occupancy import raycasting_scene

    maps = render_depth(turned_chair.mesh.triangles, directions, SIZE)
    scene = raycasting_scene(turned_chair.mesh)
    column, row = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    for view in range(0, VIEWS, 5):
        back = np.linalg.inv(np.concatenate([maps.axes[view], [[0, 0, 0, 1]]]))
        start = np.stack([column, row, np.full_like(row, -2), np.ones_like(row)], axis=-1) @ back.T
        forward = np.broadcast_to(maps.axes[view, 2, :3], (SIZE, SIZE, 3))
        rays = np.concatenate([start[..., :3], forward], axis=-1).astype(np.float32)
        expected = scene.cast_rays(o3d.core.Tensor.from_numpy(rays), nthreads=1)["t_hit"].numpy() - 2.0
        both = np.isfinite(expected) & np.isfinite(maps.depth[view])
        assert (np.isfinite(expected) != np.isfinite(maps.depth[view])).mean() < 1e-3  # pixels on an outline
        difference = np.abs(expected[both] - maps.depth[view][both])
        assert np.quantile(difference, 0.995) < 1e-5
        assert both.mean() > 0.05


def test_depth_does_not_depend_on_the_faces_order_or_side(
    turned_chair: Solid, directions: np.ndarray
) -> None:
    mixed = shapenet_like(turned_chair.mesh, np.random.default_rng(0))
    one, two = (render_depth(m.triangles, directions, SIZE).depth for m in (turned_chair.mesh, mixed))
    assert np.array_equal(np.isfinite(one), np.isfinite(two))
    np.testing.assert_allclose(one[np.isfinite(one)], two[np.isfinite(two)], atol=1e-6)


def test_no_cracks_between_triangles(directions: np.ndarray) -> None:
    # A closed ball covers every pixel within its outline.
    maps = render_depth(sphere(4).mesh.triangles, directions, SIZE)
    centre = (SIZE - 1) / 2.0
    pixels = np.linalg.norm(maps.axes[0, 0, :3])
    row, column = np.mgrid[:SIZE, :SIZE]
    within = np.hypot(row - centre, column - centre) < 0.495 * pixels
    assert np.isfinite(maps.depth[:, within]).all()
    assert np.isinf(maps.depth[:, [0, 0, -1, -1], [0, -1, 0, -1]]).all()
    np.testing.assert_allclose(maps.axes[:, 2, :3], directions)


def test_depth_of_a_face_seen_from_its_edge_stays_within_it() -> None:
    corners = np.array([[0, 0, 0], [0.5, 0, 0], [0, 0.5, 1e-13]])
    maps = render_depth(corners[None], np.array([[1.0, 0, 0], [0.6, 0.8, 0], [0, 0, 1.0]]), 32)
    hit = maps.depth[np.isfinite(maps.depth)]
    assert hit.min() >= -1e-6
    assert hit.max() <= 0.5 + 1e-6


def test_eroded_maps_and_tiles_are_minima(turned_chair: Solid, directions: np.ndarray) -> None:
    maps = render_depth(turned_chair.mesh.triangles, directions[:3], 50)
    d = maps.depth
    expected = np.minimum(np.minimum(d[:, :-1, :-1], d[:, 1:, :-1]), np.minimum(d[:, :-1, 1:], d[:, 1:, 1:]))
    eroded = nearest_of_four(copy(maps))
    np.testing.assert_array_equal(eroded.depth[:, :-1, :-1], expected)
    low, high = tile_bounds(eroded)
    for r in range(low.shape[1]):
        for c in range(low.shape[2]):
            tile = eroded.depth[:, TILE * r : TILE * r + TILE, TILE * c : TILE * c + TILE]
            np.testing.assert_array_equal(low[:, r, c], tile.min(axis=(1, 2)))
            np.testing.assert_array_equal(high[:, r, c], tile.max(axis=(1, 2)))


def look_up(maps: DepthMaps, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """For every view and sample: depth of the map where it projects (inf outside), and its own depth."""
    axes = view_axes(maps, grid)
    place = np.einsum("vab,nb->vna", axes[:, :, :3], indices(grid).astype(float)) + axes[:, None, :, 3]
    pixel = np.floor(place[..., :2]).astype(int)
    size = maps.depth.shape[1]
    seen = ((pixel >= 0) & (pixel < size)).all(axis=-1)
    pixel = pixel.clip(0, size - 1)
    view = np.arange(len(axes))[:, None]
    return np.where(seen, maps.depth[view, pixel[..., 1], pixel[..., 0]], np.inf), place[..., 2]


def test_carving_in_blocks_agrees_with_every_sample_in_every_view(
    turned_chair: Solid, directions: np.ndarray
) -> None:
    vertices = turned_chair.mesh.vertices
    grid = grid_around(vertices.min(0), vertices.max(0), 67, 4)
    maps = nearest_of_four(render_depth(turned_chair.mesh.triangles, directions, SIZE))
    depth, z = look_up(maps, grid)
    expected = (z < depth).any(axis=0).reshape(grid.shape)
    free = carve(maps, grid)
    assert np.array_equal(free, expected)
    assert 0.005 < 1 - free.mean() < 0.2


def test_carving_takes_nothing_from_a_convex_solid(directions: np.ndarray) -> None:
    box = Solid(box_mesh((0, 0, 0), (1, 0.5, 0.3)), lambda p: (np.abs(p) < [0.5, 0.25, 0.15]).all(1))
    turned = box.rotated(rotation(9))
    grid = grid_around(turned.mesh.vertices.min(0), turned.mesh.vertices.max(0), 80, 3)
    free = carve(nearest_of_four(render_depth(turned.mesh.triangles, directions, 128)), grid).ravel()
    inside = turned.inside(grid.to_unit(indices(grid)))
    # Only at the box's own edges may an edge between two pixels take a sample.
    assert (free & inside).sum() < 1e-3 * inside.sum()
    assert (~free & ~inside).sum() < 0.05 * inside.sum()


def test_mean_rule_in_blocks_agrees_with_the_dense_rule(turned_chair: Solid, directions: np.ndarray) -> None:
    vertices = turned_chair.mesh.vertices
    grid = grid_around(vertices.min(0), vertices.max(0), 67, 6)
    maps = render_depth(turned_chair.mesh.triangles, directions, SIZE)
    nearer = maps.depth - np.float32(OFFSET * grid.step)
    moved = ndimage.minimum_filter(nearer, size=(1, 3, 3), mode="nearest")
    depth, z = look_up(DepthMaps(moved, maps.axes), grid)
    difference = (depth - z) / grid.step
    counted = difference >= -TRUNCATION
    total = np.where(counted, np.minimum(difference, TRUNCATION), 0).sum(axis=0)
    expected = np.where(counted.any(axis=0), total / np.maximum(counted.sum(axis=0), 1), -TRUNCATION)
    expected = expected.reshape(grid.shape)
    field = tsdf_field(copy(maps), grid)
    assert np.array_equal(field < 0, expected < 0)
    beside = np.zeros(grid.shape, dtype=bool)
    for axis in range(3):
        change = np.diff((expected < 0).astype(np.int8), axis=axis) != 0
        for part in (slice(None, -1), slice(1, None)):
            where = [slice(None)] * 3
            where[axis] = part
            beside[tuple(where)] |= change
    np.testing.assert_allclose(field[beside], expected[beside], atol=1e-4)
    assert beside.sum() > 1000


@pytest.mark.parametrize("scale", [0.02, 0.2, 3.0])
def test_band_of_random_triangles_is_exact(scale: float) -> None:
    rng = np.random.default_rng(int(scale * 100))
    corners = rng.uniform(4, 20, (40, 1, 3)) + rng.normal(size=(40, 3, 3)) * scale * 8
    corners[0, 2] = corners[0, 1]  # no area
    grid = Grid(np.zeros(3), 1.0, (25, 23, 27))
    distance, nearest = distance_band(corners, grid.shape, 2.3)
    face = np.array([[0, 1, 2]], dtype=np.int32)
    apart = np.stack([surface_distance(Mesh(t, face), indices(grid)) for t in corners[1:]])
    expected = np.minimum(apart.min(axis=0), 2.3)
    np.testing.assert_allclose(distance.ravel(), expected, atol=2e-4)
    inside = nearest.ravel() >= 0
    assert np.array_equal(inside, distance.ravel() < 2.3)
    of = nearest.ravel()[inside] - 1
    np.testing.assert_allclose(apart[of, np.flatnonzero(inside)], expected[inside], atol=2e-4)


def test_cut_edges_agree_with_the_closed_form() -> None:
    block = bored_block().rotated(rotation(7))
    grid = grid_around(block.mesh.vertices.min(0), block.mesh.vertices.max(0), 40, 3)
    cut = cut_edges(grid.to_index(block.mesh.triangles), grid.shape)
    inside = block.inside(grid.to_unit(indices(grid))).reshape(grid.shape)
    for axis in range(3):
        changes = np.diff(inside, axis=axis)
        marked = np.delete((cut >> axis & 1).astype(bool), -1, axis=axis)
        assert changes.sum() > 500
        assert (changes & ~marked).sum() <= 2  # the bore is a polygon
        # Edges that cross a corner of the block are cut twice without a change.
        assert (marked & ~changes).sum() < 0.05 * changes.sum()


def test_signs_next_to_the_surface_become_exact() -> None:
    block = chair().rotated(rotation(3))
    grid = grid_around(block.mesh.vertices.min(0), block.mesh.vertices.max(0), 60, 3)
    soup = grid.to_index(block.mesh.triangles)
    distance, _ = distance_band(soup, grid.shape, 2.0)
    truth = ~block.inside(grid.to_unit(indices(grid))).reshape(grid.shape)
    near = distance < NEAR
    coin = np.random.default_rng(0).random(grid.shape) < 0.5
    resolved = resolve_near(np.where(near, coin, truth), distance, cut_edges(soup, grid.shape))
    # What is left lies in corners that no sure neighbour reaches, and keeps its coin.
    assert (resolved[near] != truth[near]).mean() < 0.01
    assert np.array_equal(resolved[~near], truth[~near])
    assert near.sum() > 1000
