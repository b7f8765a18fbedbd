"""The field of a network at the points of test shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from occnet_lib import cli
from occnet_lib.analysis.fields import query, write_fields
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.point_clouds import read_points
from occnet_lib.storage.tables import read_rows, write_rows
from tests.support.demo_results import POINTS, ball_logits


def test_outcomes_of_a_known_field(packs) -> None:
    shard = Shard(packs[2])
    points, occupied = shard.points(0)
    cloud = query(ball_logits, 0.0, shard, 0, view=99)  # views beyond the last one are the last one
    inside = np.linalg.norm(points.astype(float), axis=1) < 0.25
    np.testing.assert_array_equal(cloud.predicted, inside)
    np.testing.assert_array_equal(cloud.occupied, occupied)
    names = {(True, True): 1, (True, False): 2, (False, True): 3, (False, False): 0}
    assert cloud.outcomes.tolist() == [
        names[pair] for pair in zip(inside.tolist(), occupied.tolist(), strict=True)
    ]
    assert ((cloud.probability > 0.5) == inside).all()


def test_the_level_decides_and_large_logits_do_not_overflow(packs) -> None:
    def logits(images, rotations, points, projections):
        return np.tile(np.linspace(-2000.0, 2000.0, len(points), dtype=np.float32), (len(images), 1))

    cloud = query(logits, 1000.0, Shard(packs[2]), 0, 0)
    assert cloud.predicted.sum() == pytest.approx(POINTS / 4, abs=2)
    assert (cloud.probability[0], cloud.probability[-1]) == (0.0, 1.0)


def test_files_hold_what_the_table_counts(packs, tmp_path) -> None:
    rows = write_fields(ball_logits, 0.0, packs, ["chair/chair_0002", "car/car_0003"], 0, tmp_path)
    assert [row["id"] for row in rows] == ["car_0003", "chair_0002"]
    for row in read_rows(tmp_path / "fields.csv"):
        cloud = read_points(tmp_path / row["file"])
        assert {name.replace(" ", "_"): str(n) for name, n in cloud.counts().items()} == {
            name: row[name] for name in ("true_positive", "false_positive", "false_negative", "true_negative")
        }
        union = (cloud.predicted | cloud.occupied).sum()
        assert float(row["iou"]) == (cloud.predicted & cloud.occupied).sum() / union
        assert int(row["points"]) == POINTS


def test_the_job_agrees_with_evaluate(packs, tmp_path, capsys) -> None:
    """Both query a checkpoint in the same way: equal IoU of the same points and view."""
    import torch

    from occnet_lib.config import ModelConfig
    from occnet_lib.networks.checkpoint import network_file, save_network
    from occnet_lib.networks.occupancy_network import OccupancyNetwork
    from tests.support.random_networks import shaken
    from tests.support.small_encoder import small_encoder

    torch.manual_seed(3)
    model = ModelConfig(decoder="fc", hidden=16, c_dim=8, blocks=1)
    config, checkpoint = tmp_path / "config.yaml", tmp_path / "best.ckpt"
    config.write_text(
        f"evaluate: {{views: 1, view_points: {POINTS}, merged: []}}\nreport: {{examples: 1}}\n"
        "models: {onet: {decoder: fc, hidden: 16, c_dim: 8, blocks: 1}}\nreconstruct: {accelerator: cpu}\n"
    )
    options = {"model": model.model_dump(mode="json"), "train": {"image_size": 32}, "val_threshold": 0.4}
    scores = [{"model": "onet", "category": "car", "id": f"car_000{i}", "iou": i} for i in (2, 3)]
    write_rows(tmp_path / "scores.csv", scores)
    common = ["--config", str(config), "--checkpoint", str(checkpoint)]
    with small_encoder():
        save_network(
            checkpoint, network_file(shaken(OccupancyNetwork(model, pretrained=False)).state_dict(), options)
        )
        folder = ["--scores", str(tmp_path / "scores.csv"), "--out", str(tmp_path / "fields")]
        assert cli.main(["job", "fields", str(packs[2]), *common, *folder]) == 0
        # The ranking of a model that this configuration lacks counts as well: here the upper one has the lower name.
        write_rows(
            tmp_path / "others.csv", [score | {"model": "other", "iou": 5 - score["iou"]} for score in scores]
        )
        ranked = ["--scores", str(tmp_path / "others.csv"), "--out", str(tmp_path / "ranked")]
        assert cli.main(["job", "fields", str(packs[2]), *common, *ranked]) == 0
        assert read_rows(tmp_path / "ranked" / "fields.csv")[0]["id"] == "car_0002"
        write_rows(tmp_path / "no.csv", [{"id": "car_0002"}])
        ranked[1] = str(tmp_path / "no.csv")
        assert cli.main(["job", "fields", str(packs[2]), *common, *ranked]) == 1
        capsys.readouterr()
        assert cli.main(["job", "fields", str(packs[0]), *common, "--out", str(tmp_path / "none")]) == 0
        assert "no test shapes are given" in capsys.readouterr().err
        table = ["--model", "onet", "--out", str(tmp_path / "views.csv")]
        assert cli.main(["job", "evaluate_views", str(packs[2]), *common, *table]) == 0
    expected = {row["id"]: float(row["iou"]) for row in read_rows(tmp_path / "views.csv")}
    rows = read_rows(Path(tmp_path / "fields" / "fields.csv"))
    assert [row["id"] for row in rows] == [
        "car_0003",
        "chair_0003",
    ]  # of two, the upper one by IoU or by name
    for row in rows:
        assert float(row["iou"]) == expected[row["id"]]
    assert 0 < sum(expected.values()) < 4


def test_scores_without_a_network_are_refused(packs, tmp_path, capsys) -> None:
    assert cli.main(["analyse", str(packs[2]), "--scores", "scores.csv", "-o", str(tmp_path)]) == 1
    assert "add --checkpoint" in capsys.readouterr().err
