"""Balanced points chosen for a whole batch."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from occnet_lib.training.dataset import (
    balanced_choice,
)
from occnet_lib.training.device_set import balanced_choice_batch


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 99), points=st.integers(1, 30), count=st.integers(1, 30), fraction=st.floats(0, 1))
def test_balanced_choices_of_many_are_those_of_each(seed, points, count, fraction):
    occupancies = np.random.default_rng(seed).random((4, points)) < fraction
    count = min(count, points)
    actual = balanced_choice_batch(torch.from_numpy(occupancies), count).numpy()
    np.testing.assert_array_equal(actual, [balanced_choice(row, count) for row in occupancies])
