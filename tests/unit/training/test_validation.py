"""Validation against a slow reference."""

from __future__ import annotations

import numpy as np
import pytest

from occnet_lib.config import ModelConfig
from occnet_lib.networks.occupancy_network import OccupancyNetwork
from occnet_lib.training.data_loaders import (
    validation_loader,
)
from occnet_lib.training.dataset import (
    ShapeSet,
    ValidationItems,
)
from occnet_lib.training.validation import THRESHOLDS, validate
from tests.support.train_config import train_config
from tests.support.training_shapes import make_shard

SMALL = ModelConfig(hidden=16, c_dim=8, blocks=1)


class Ball(OccupancyNetwork):
    """Logits that fall with the distance from the origin, whatever the image."""

    def decode(self, points, code, rotations=None):
        return 4 - 10 * points.norm(dim=-1)


def test_validation_scores_against_a_naive_reference(tmp_path):
    train = train_config(validation_points=500)
    shapes = ShapeSet([make_shard(tmp_path / "val-0.h5", 20)], train)
    network = Ball(SMALL).train()
    scores = validate(network, validation_loader(ValidationItems(shapes, train)), 32)
    assert network.training
    losses, accuracies, table = [], [], []
    for i in range(20):
        points, truth = shapes.points(i, 0, 500)
        probability = 1 / (1 + np.exp(10 * np.linalg.norm(points.astype(np.float64), axis=1) - 4))
        losses.append(-np.where(truth, np.log(probability), np.log1p(-probability)).mean())
        accuracies.append(((probability > 0.5) == truth).mean())
        masks = [probability >= t for t in THRESHOLDS]
        table.append([(m & truth).sum() / (m | truth).sum() for m in masks])
    means = np.mean(table, axis=0)
    assert scores.loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert scores.accuracy == pytest.approx(np.mean(accuracies), abs=1e-6)
    assert scores.iou == pytest.approx(means.max(), abs=2e-4)  # a point on a threshold may fall either way
    assert scores.threshold == THRESHOLDS[int(means.argmax())]
