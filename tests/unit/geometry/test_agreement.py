"""Fields of several images of one object: the statistic and who is named."""

from __future__ import annotations

import numpy as np
import pytest

from occnet_lib.geometry.agreement import RATIO, TWO, agreement, disagreeing, mean_logits

POINTS = np.random.default_rng(0).uniform(-0.55, 0.55, (20_000, 3))


def ball(radius: float, x: float = 0.0, steep: float = 500.0) -> np.ndarray:
    return steep * (radius - np.linalg.norm(POINTS - np.array([x, 0, 0]), axis=1))


def test_the_agreement_of_sharp_fields_is_their_mean_iou():
    actual = agreement(np.stack([ball(0.4), ball(0.36), ball(0.32)]), 0.0)
    large, wide, small = 0.9**3, 0.8**3, (0.32 / 0.36) ** 3
    expected = [(large + wide) / 2, (large + small) / 2, (wide + small) / 2]
    assert actual.values == pytest.approx(expected, abs=0.03)
    assert actual.others == pytest.approx([small, wide, large], abs=0.03)
    assert actual.outliers == ()
    assert not actual.can_drop


def test_probabilities_count_from_the_level_of_the_surface():
    fields = np.stack([ball(0.4), ball(0.36), ball(0.3, 0.1)])
    assert agreement(fields + 1.5, 1.5).values == pytest.approx(agreement(fields, 0.0).values)
    assert mean_logits(fields) == pytest.approx(fields.sum(axis=0) / 3)
    # Blurred fields of two balls that do not meet have more in common than sharp ones, which have nothing.
    sharp, blurred = (
        agreement(np.stack([ball(0.2, -0.25, steep), ball(0.2, 0.25, steep)]), 0.0).values[0]
        for steep in (500.0, 8.0)
    )
    assert sharp < 0.01 < 0.1 < blurred


def test_a_field_of_another_object_is_named_and_two_are_only_said_to_disagree():
    fields = np.stack([ball(0.3, -0.2), ball(0.15, 0.4), ball(0.3, -0.2), ball(0.28, -0.2)])
    strange = agreement(fields, 0.0)
    assert strange.outliers == (1,)
    assert strange.can_drop
    assert strange.values[1] < 0.01
    assert strange.others[1] > 0.8
    two = agreement(np.stack([ball(0.3, -0.3), ball(0.3, 0.3)]), 0.0)
    assert two.outliers == (0, 1)
    assert not two.can_drop
    assert agreement(np.stack([ball(0.3), ball(0.3, 0.05)]), 0.0).outliers == ()


@pytest.mark.parametrize("places", [(-0.3, 0.0, 0.3), (-0.3, -0.3, 0.3, 0.3), (-0.4, -0.2, 0.0, 0.2, 0.4)])
def test_fields_of_as_many_objects_or_of_two_in_equal_parts_all_disagree(places):
    apart = agreement(np.stack([ball(0.12, x) for x in places]), 0.0)
    assert apart.outliers == ()
    assert not apart.can_drop
    assert apart.all_disagree == (len(places) != 4), "two pairs that agree have a mean above the bound"
    assert apart.groups == (((0, 1), (2, 3)) if len(places) == 4 else ())


def test_photos_of_two_objects_are_two_groups_whatever_their_order():
    two = [ball(0.3, -0.2), ball(0.28, -0.2), ball(0.15, 0.35), ball(0.16, 0.36), ball(0.3, -0.19)]
    for order in ([0, 1, 2, 3, 4], [2, 0, 3, 1, 4], [2, 3, 0, 1]):
        groups = agreement(np.stack([two[i] for i in order]), 0.0).groups
        small = tuple(place for place, i in enumerate(order) if i in (2, 3))
        assert small in groups
        assert sorted(groups[0] + groups[1]) == list(range(len(order)))
    assert agreement(np.stack(two[:2]), 0.0).groups == ()
    one = [ball(0.3 - 0.01 * i, 0.01 * i) for i in range(6)]
    assert agreement(np.stack(one), 0.0).groups == ()
    assert agreement(np.stack([*one[:4], two[2]]), 0.0).groups == (), "a group has two at least"


def test_all_disagree_of_two_but_not_of_good_fields_nor_of_one_outlier():
    assert agreement(np.stack([ball(0.3, -0.3), ball(0.3, 0.3)]), 0.0).all_disagree
    assert not agreement(np.stack([ball(0.3), ball(0.28), ball(0.3, 0.02)]), 0.0).all_disagree
    assert not agreement(np.stack([ball(0.1, -0.3), ball(0.1, -0.3), ball(0.1, 0.3)]), 0.0).all_disagree


def test_an_empty_field_disagrees_with_those_that_see_something():
    empty = agreement(np.stack([ball(0.3), ball(-0.2), ball(0.3), ball(0.3)]), 0.0)
    assert empty.outliers == (1,)
    assert np.isfinite(agreement(np.stack([ball(-1.0), ball(-1.0)]), 0.0).values).all()


def test_who_is_named_depends_on_how_the_others_agree_and_never_is_half():
    others = np.array([0.3, 0.3, 0.8])
    assert disagreeing(np.array([0.55, 0.5, 0.8 * RATIO - 0.01]), others) == (2,)
    assert disagreeing(np.array([0.55, 0.5, 0.8 * RATIO + 0.01]), others) == ()
    assert disagreeing(np.array([TWO - 0.01] * 2), np.ones(2)) == (0, 1)
    assert disagreeing(np.array([TWO + 0.01] * 2), np.ones(2)) == ()
    assert disagreeing(np.array([0.1, 0.1, 0.9, 0.9]), np.ones(4)) == ()
    assert disagreeing(np.array([0.1, 0.1, 0.9, 0.9, 0.9]), np.ones(5)) == (0, 1)
