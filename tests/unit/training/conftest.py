"""What the tests of training share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.training_shapes import make_shard


@pytest.fixture(scope="module")
def shard(tmp_path_factory) -> Path:
    return make_shard(tmp_path_factory.mktemp("pack") / "train-0.h5", 5, near=160)
