"""What the tests of training share."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.support.small_encoder import small_encoder
from tests.support.training_shapes import make_shard


@pytest.fixture(scope="module")
def shard(tmp_path_factory) -> Path:
    return make_shard(tmp_path_factory.mktemp("pack") / "train-0.h5", 5, near=160)


@pytest.fixture(autouse=True)
def _small_encoder(request):
    """Networks have a small encoder but where other processes build it too, or where it is what is tested."""
    with nullcontext() if request.node.get_closest_marker("real_encoder") else small_encoder():
        yield
