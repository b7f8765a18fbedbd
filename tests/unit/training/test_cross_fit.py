"""Halves of the training shapes, and training on one of them."""

from __future__ import annotations

from collections import Counter

from occnet_lib.training.cross_fit import halves
from occnet_lib.training.dataset import ShapeSet
from tests.support.train_config import train_config
from tests.support.training_shapes import make_shard


def test_halves_are_disjoint_whole_random_and_even_in_every_category():
    names = [f"{category}/{i}" for category, count in (("a", 7), ("b", 4), ("c", 1)) for i in range(count)]
    first, second = halves(names, 0)
    assert sorted(first + second) == sorted(names)
    counts = [Counter(name[0] for name in half) for half in (first, second)]
    assert all(abs(counts[0][category] - counts[1][category]) <= 1 for category in "abc")
    assert abs(len(first) - len(second)) <= 1
    assert halves(reversed(names), 0) == (first, second), "independent of the order"
    assert halves(names, 1) != (first, second)


def test_a_set_of_some_shapes_has_only_them(tmp_path):
    shards = [make_shard(tmp_path / f"train-{i}.h5", 3, seed=i) for i in range(2)]
    whole = ShapeSet(shards, train_config())
    only = whole.names[1::2]
    part = ShapeSet(shards, train_config(), only)
    assert part.names == only
    assert len(part) == len(only)
    for i, name in enumerate(only):
        j = whole.names.index(name)
        assert (part.image(i, 0) == whole.image(j, 0)).all()
        assert (part.points(i, 0, 8)[0] == whole.points(j, 0, 8)[0]).all()
    assert part.fingerprint() != whole.fingerprint()
    assert ShapeSet(shards, train_config(), whole.names).fingerprint() == whole.fingerprint()
