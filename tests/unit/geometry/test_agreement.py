"""Fields of several images of one object: the statistic and who is named."""

from __future__ import annotations

import numpy as np
import pytest

from occnet_lib.geometry.agreement import RATIO, TOGETHER, agreement, disagreeing, mean_logits

POINTS = np.random.default_rng(0).uniform(-0.55, 0.55, (20_000, 3))


def ball(radius: float, x: float = 0.0) -> np.ndarray:
    return 10 * (radius - np.linalg.norm(POINTS - np.array([x, 0, 0]), axis=1))


def test_the_agreement_is_the_iou_with_the_mean_of_the_others():
    fields = np.stack([ball(0.4), ball(0.36), ball(0.4)])
    values = agreement(fields, 0.0).values
    # The mean of balls about one centre is the ball of the mean radius.
    expected = [(0.38 / 0.4) ** 3, (0.36 / 0.4) ** 3, (0.38 / 0.4) ** 3]
    assert values == pytest.approx(expected, abs=0.03)
    assert agreement(fields, 0.0).outliers == ()
    assert mean_logits(fields) == pytest.approx(ball((0.4 + 0.36 + 0.4) / 3))
    shifted = agreement(fields + 1.5, 1.5)  # another level of the surface
    assert shifted.values == pytest.approx(values, abs=1e-3)


def test_a_field_of_another_object_is_named_and_two_are_only_said_to_disagree():
    strange = agreement(np.stack([ball(0.3, -0.2), ball(0.15, 0.4), ball(0.3, -0.2), ball(0.28, -0.2)]), 0.0)
    assert strange.outliers == (1,)
    assert strange.can_drop
    low = min(np.delete(strange.values, 1))
    assert f"others {low:.2f} to " in strange.text(1)
    assert strange.text(1).startswith("agreement 0.00")
    two = agreement(np.stack([ball(0.3, -0.3), ball(0.3, 0.3)]), 0.0)
    assert two.outliers == (0, 1)
    assert not two.can_drop
    assert agreement(np.stack([ball(0.3), ball(0.3, 0.05)]), 0.0).outliers == ()


def test_empty_fields_agree_with_each_other_and_with_nothing_else():
    assert agreement(np.stack([ball(-1), ball(-1)]), 0.0).values.tolist() == [1, 1]
    empty = agreement(np.stack([ball(0.3), ball(-0.2), ball(0.3), ball(0.3)]), 0.0)
    assert empty.values[1] == 0
    assert empty.outliers == (1,)


def test_who_is_named_depends_on_the_others_median_and_never_is_half():
    assert disagreeing(np.array([0.8, 0.8, 0.8 * RATIO - 0.01])) == (2,)
    assert disagreeing(np.array([0.8, 0.8, 0.8 * RATIO + 0.01])) == ()
    assert disagreeing(np.array([TOGETHER - 0.01] * 2)) == (0, 1)
    assert disagreeing(np.array([TOGETHER + 0.01] * 2)) == ()
    assert disagreeing(np.array([0.1, 0.1, 0.9, 0.9])) == ()
    assert disagreeing(np.array([0.1, 0.1, 0.9, 0.9, 0.9])) == (0, 1)
