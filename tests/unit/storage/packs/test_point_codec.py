"""The order of points: random, recoverable, and free of charge."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from occnet_lib.storage.packs import point_codec

BITS = arrays.arrays(np.uint16, st.tuples(st.integers(0, 60), st.just(3)))


@settings(deadline=None, max_examples=60)
@given(bits=BITS)
def test_every_bit_pattern_survives(bits: np.ndarray) -> None:
    """Also infinities, zeros with a sign and what is not a number."""
    points = bits.view(np.float16)
    columns = point_codec.encode(points)
    assert (columns.dtype, columns.shape) == (np.int16, (3, len(points)))
    np.testing.assert_array_equal(point_codec.decode(columns).view(np.uint16), bits)


@settings(deadline=None, max_examples=40)
@given(bits=BITS, seed=st.integers(0, 99))
def test_order_depends_on_the_set_alone(bits: np.ndarray, seed: int) -> None:
    points = bits.view(np.float16)
    other = points[np.random.default_rng(seed).permutation(len(points))]
    one, two = (p[point_codec.mixed_order(p)].view(np.uint16) for p in (points, other))
    np.testing.assert_array_equal(one, two)
    assert sorted(map(tuple, one)) == sorted(map(tuple, bits))


def test_stored_points_are_sorted_by_value() -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (500, 3)).astype(np.float16)
    x, *_ = np.cumsum(point_codec.encode(points[point_codec.mixed_order(points)]), axis=1, dtype=np.int16)
    assert (np.diff(x.astype(int)) >= 0).all()


def test_order_is_random() -> None:
    """Ranks of neighbours are unrelated, and every window covers the set evenly."""
    count = 20_000
    points = np.zeros((count, 3), np.float16)
    points[:, 0] = np.arange(count, dtype=np.int16).view(np.float16)
    rank = points[point_codec.mixed_order(points)][:, 0].view(np.int16).astype(float)
    assert not np.array_equal(rank, np.arange(count))
    for lag in (1, 2, 3, 7, 64, 1024):
        assert abs(np.corrcoef(rank[:-lag], rank[lag:])[0, 1]) < 4 / np.sqrt(count)
    counts = np.array([np.histogram(window, 8, (0, count))[0] for window in rank.reshape(40, -1)])
    chi2 = ((counts - 62.5) ** 2 / 62.5).sum()
    degrees = 40 * 7
    assert abs(chi2 - degrees) < 5 * np.sqrt(2 * degrees)


def shape(count: int, seed: int, radius: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Uniform points and which of them are in a ball."""
    points = np.random.default_rng(seed).uniform(-0.55, 0.55, (count, 3)).astype(np.float16)
    return points, np.linalg.norm(points.astype(float), axis=1) < radius


@pytest.mark.parametrize("radius", [0.0, 0.01, 0.03, 0.3, 1.0])
def test_runs_of_random_order_are_alike(radius: float) -> None:
    for seed in range(20):
        points, occupancies = shape(100_000, seed, radius)
        assert point_codec.runs_are_random_samples(points, occupancies), seed
        for count in (600, 3000):
            assert point_codec.runs_are_random_samples(points[:count], occupancies[:count]), (seed, count)
    assert point_codec.runs_are_random_samples(points[:0], occupancies[:0])


@pytest.mark.parametrize(
    ("order", "count"),
    [
        *(
            (order, count)
            for order in ("inside first", "along x", "outwards")
            for count in (600, 4_000, 100_000)
        ),
        *(("near ones last", count) for count in (4_000, 100_000)),
    ],
)
def test_runs_of_other_orders_are_not(order: str, count: int) -> None:
    points, occupancies = shape(count, 0)
    distance = np.linalg.norm(points.astype(float), axis=1)
    rows = {
        "inside first": np.argsort(~occupancies, kind="stable"),
        "along x": np.argsort(points[:, 0]),
        "outwards": np.argsort(distance),
        "near ones last": np.argsort(np.abs(distance - 0.3) < 0.03, kind="stable"),
    }[order]
    assert not point_codec.runs_are_random_samples(points[rows], occupancies[rows])
    mixed = rows[point_codec.mixed_order(points[rows])]
    assert point_codec.runs_are_random_samples(points[mixed], occupancies[mixed])


def test_order_takes_no_room() -> None:
    """Of log2(N!) / N bits a point most are saved."""
    points = np.random.default_rng(0).uniform(-0.55, 0.55, (50_000, 3)).astype(np.float16)

    def size(values: np.ndarray) -> int:
        return len(zlib.compress(np.ascontiguousarray(values).view(np.uint8).reshape(-1, 2).T.tobytes()))

    plain = size(points)
    coded = size(point_codec.encode(points[point_codec.mixed_order(points)]))
    assert plain - coded > 0.85 * 50_000 * (np.log2(50_000) - np.log2(np.e)) / 8


@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_shuffled_rows_come_back(count: int) -> None:
    rows = np.arange(2 * count).reshape(count, 2)
    np.testing.assert_array_equal(point_codec.unshuffled(point_codec.shuffled(rows)), rows)


def test_order_of_files_that_exist_stays() -> None:
    """A change of the shuffle would mix up the points of every file there is."""
    assert point_codec.shuffled(np.arange(10)).tolist() == [2, 4, 6, 8, 5, 1, 7, 0, 9, 3]


@given(
    count=st.sampled_from([100, 5_000, 100_000]),
    low=st.tuples(*[st.floats(-2, 1)] * 3),
    edge=st.tuples(*[st.floats(0.1, 3)] * 3),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=30, deadline=None)
def test_uniform_points_of_any_box_are_uniform(count, low, edge, seed):
    points = np.random.default_rng(seed).random((count, 3)) * edge + low
    assert point_codec.is_uniform(points.astype(np.float16))


@pytest.mark.parametrize("fraction", [0.05, 0.5, 1.0])
def test_points_near_a_surface_are_not_uniform(fraction):
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.55, 0.55, (100_000, 3))
    near = rng.normal(size=(int(fraction * len(points)), 3))
    near *= 0.3 / np.linalg.norm(near, axis=1, keepdims=True)
    points[: len(near)] = near + rng.normal(0, 0.01, near.shape)
    assert not point_codec.is_uniform(points.astype(np.float16))
