"""Near-duplicates: a copy, a scaled and rotated copy, a mirrored one; and the nearest training shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from occnet_lib import cli
from occnet_lib.analysis import duplicates
from occnet_lib.analysis.descriptors import QUANTILES, candidate_pairs, describe, sorted_quantiles
from occnet_lib.analysis.duplicates import NEAREST_COLUMNS, PAIR_COLUMNS, near_duplicates, surfaces_distance
from occnet_lib.geometry.normalise import unit_cube
from occnet_lib.geometry.occupancy import raycasting_scene, solid_voxels, surface_distance
from occnet_lib.geometry.sampling import sample_surface
from occnet_lib.geometry.similarity import Similarity
from occnet_lib.storage.packs import PackedShape, Shard, write_shard
from occnet_lib.storage.tables import read_rows
from occnet_lib.types import Mesh, PointSamples, ShapeKey, Views, Watertight


def solid(seed: int) -> Mesh:
    """A closed mesh without symmetry: the convex hull of random points."""
    from scipy.spatial import ConvexHull

    points = np.random.default_rng(seed).normal(size=(30, 3)) * [1.0, 0.6, 0.3]
    hull = ConvexHull(points)
    corners = points[hull.simplices]
    inward = (
        np.einsum(
            "fk,fk->f",
            np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]),
            corners[:, 0] - points.mean(0),
        )
        < 0
    )
    faces = hull.simplices.astype(np.int32)
    faces[inward] = faces[inward, ::-1]
    return Mesh(points, faces).compact()


def shape(name: str, split: str, mesh: Mesh, seed: int, points: int = 50_000) -> PackedShape:
    unit, loc, scale = unit_cube(mesh)
    surface, normals, _ = sample_surface(unit, points, np.random.default_rng(seed))
    none = np.zeros((8, 3), np.float16), np.zeros(8, bool)
    samples = PointSamples(
        *none, surface.astype(np.float16), normals.astype(np.float16), solid_voxels(unit, 16)
    )
    world = np.concatenate([np.eye(3), np.zeros((3, 1))], axis=1)[None]
    views = Views(np.full((1, 8, 8, 3), 255, np.uint8), np.eye(3)[None], world, np.zeros(3), 1.0)
    key = ShapeKey("solid", name, "", split, f"{split}-000")
    return PackedShape.of(key, Watertight(unit, loc, scale), samples, views)


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> dict[str, list[dict[str, str]]]:
    folder = tmp_path_factory.mktemp("packs")
    turn = Rotation.from_rotvec([0.3, 1.1, -0.4]).as_matrix()
    first, second, third = solid(1), solid(2), solid(3)
    mirrored = Mesh(third.vertices * [1, 1, -1], third.faces[:, ::-1])
    meshes = {
        "train": {"first": first, "second": second, "third": third, "other": solid(4)},
        "test": {
            "copy": Mesh(7.0 * first.vertices + [1, 2, 3], first.faces),
            "turned": Mesh(0.2 * second.vertices @ turn.T, second.faces),
            "mirror": mirrored,
            "new": solid(5),
        },
    }
    for k, (split, own) in enumerate(meshes.items()):
        shapes = [shape(name, split, mesh, 10 * k + i) for i, (name, mesh) in enumerate(own.items())]
        write_shard(folder / f"{split}-000.h5", shapes, f"{split}-000", split)
    config = folder / "config.yaml"
    config.write_text("seed: 0\n")
    assert (
        cli.main(["job", "duplicates", str(folder), "--config", str(config), "--out", str(folder / "out")])
        == 0
    )
    return {name: read_rows(Path(folder / "out" / f"{name}.csv")) for name in ("duplicates", "nearest")}


def test_copies_are_reported_with_their_kind_and_nothing_else_is(rows) -> None:
    pairs = {
        (row["id"], row["other_id"]): (row["kind"], row["split"], row["other_split"])
        for row in rows["duplicates"]
    }
    assert pairs == {
        ("copy", "first"): ("copy", "test", "train"),
        ("turned", "second"): ("rotated", "test", "train"),
        ("mirror", "third"): ("mirrored", "test", "train"),
    }
    assert tuple(rows["duplicates"][0]) == PAIR_COLUMNS


def test_the_nearest_training_shape_of_every_test_shape(rows) -> None:
    nearest = {row["id"]: row for row in rows["nearest"]}
    assert set(nearest) == {"copy", "turned", "mirror", "new"}
    assert tuple(rows["nearest"][0]) == NEAREST_COLUMNS
    assert nearest["copy"]["nearest_id"] == "first"
    assert float(nearest["copy"]["voxel_iou"]) == 1.0
    assert float(nearest["copy"]["distance"]) < 1e-3
    assert float(nearest["new"]["distance"]) > 0.01


def test_candidates_are_a_bounded_number_of_others() -> None:
    descriptors = np.zeros((20, 3))
    pairs = candidate_pairs(descriptors)
    assert len(pairs) < 20 * 9
    assert all(a < b for a, b in pairs)
    assert candidate_pairs(descriptors[:1]) == []
    assert candidate_pairs(np.arange(12.0)[:, None]) == []


def test_a_copy_with_few_surface_points_is_a_copy(tmp_path):
    for k, split in enumerate(("train", "test")):
        shapes = [shape(f"{split}-{i}", split, solid(i + k), 10 * k + i, points=300) for i in (1, 2)]
        write_shard(tmp_path / f"{split}.h5", shapes, f"{split}-000", split)
    rows = near_duplicates(describe([Shard(tmp_path / "train.h5"), Shard(tmp_path / "test.h5")]))
    assert [(row["id"], row["other_id"], row["kind"]) for row in rows] == [("test-1", "train-2", "copy")]


def test_quantiles_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    for values in (rng.random(1), rng.random(2), rng.normal(size=1001), rng.integers(0, 3, 99) / 2.0):
        assert sorted_quantiles(values).tolist() == np.quantile(values, QUANTILES).tolist()


@pytest.mark.parametrize("scale", [1.0, 0.7])
def test_a_distance_with_a_limit_is_exact_below_it_and_infinite_above(scale: float) -> None:
    rng = np.random.default_rng(1)
    transform = Similarity(
        scale, Rotation.from_rotvec([0.1, 0.2, 0.3]).as_matrix(), np.array([0.1, 0.0, 0.0])
    )
    meshes = solid(1), Mesh(transform.apply(solid(1).vertices) + 0.01, solid(1).faces)
    scenes = [raycasting_scene(mesh) for mesh in meshes]
    points = [sample_surface(mesh, count, rng)[0] for mesh, count in zip(meshes, (700, 1100), strict=True)]
    exact = surfaces_distance(points, scenes, transform)
    slow = 0.5 * (
        surface_distance(meshes[1], transform.apply(points[0])).mean()
        + surface_distance(meshes[0], transform.inverse().apply(points[1])).mean() * scale
    )
    assert exact == pytest.approx(slow, rel=1e-6)
    assert 0.001 < exact < 0.02
    assert surfaces_distance(points, scenes, transform, 1.01 * exact) == exact
    assert surfaces_distance(points, scenes, transform, 0.99 * exact) == np.inf
    coarse = duplicates._coarse_distances(
        points, scenes, [transform, Similarity(1.0, np.eye(3), np.zeros(3))]
    )
    assert coarse[0] == exact
    assert coarse[1] > coarse[0]
