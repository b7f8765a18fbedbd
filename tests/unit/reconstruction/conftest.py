"""What the tests of reconstruction share."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from tests.support.small_encoder import small_encoder


@pytest.fixture(autouse=True)
def _small_encoder(request):
    """What a mesh is made of is the decoder's field; codes of random images differ with the real encoder alone."""
    with nullcontext() if request.node.get_closest_marker("real_encoder") else small_encoder():
        yield
