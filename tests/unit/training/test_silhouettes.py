"""Training by silhouettes: rays of items, the loss against a loop over rays, whole runs, degenerate views."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from occnet_lib.config import Config, ImagesConfig, ModelConfig, TrainConfig, check
from occnet_lib.errors import ConfigError, DataError, OccnetError
from occnet_lib.networks.checkpoint import load_network
from occnet_lib.networks.images import encoder_input
from occnet_lib.networks.rays import rays_of
from occnet_lib.reconstruction.reconstruct import CUBE_EDGE
from occnet_lib.training.batch import collate
from occnet_lib.training.data_loaders import training_loader
from occnet_lib.training.dataset import MIRROR, ShapeSet, TrainingItems, ValidationItems
from occnet_lib.training.module import OccupancyModule
from occnet_lib.training.run_info import run_digest
from occnet_lib.training.silhouettes import (
    FREE_EDGE,
    Silhouettes,
    checked_points,
    mask_ious,
    silhouette_loss,
    training_points,
)
from occnet_lib.training.train import train
from occnet_lib.training.validation import validate
from occnet_lib.training.visual_hull import POINTS, HullLabels, in_hull
from tests.support.silhouette_shapes import TRAIN, inside, meets, seen_shard
from tests.support.train_config import train_config

MODEL = ModelConfig(hidden=16, c_dim=8, blocks=1, labels="none", silhouettes=1.0)


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> tuple[Path, list[tuple[np.ndarray, np.ndarray]]]:
    path = tmp_path_factory.mktemp("pack") / "train-0.h5"
    return path, seen_shard(path, 4)


@pytest.mark.parametrize("mirror", [False, True])
def test_rays_of_items_meet_the_shape_or_do_not(seen, mirror):
    path, solids = seen
    images = ImagesConfig(mirror=mirror)
    items = TrainingItems(ShapeSet([path], TRAIN), TRAIN, 0, images, MODEL)
    sides = set()
    for epoch in range(6):
        for shape, (centre, radii) in enumerate(solids):
            item, mirrored = items[epoch, shape], items.draw(epoch, shape).mirrored
            sides.add(mirrored)
            centre = centre * MIRROR.astype(float) if mirrored else centre
            assert len(item.points) == len(item.near) == 0
            pixels = item.silhouettes
            assert pixels.hits.shape == (2, 3, 2)
            assert pixels.free.shape == (2, 24, 2)
            for places, wanted in ((pixels.hits, True), (pixels.free, False)):
                origins, directions = (part.double().numpy() for part in rays_of(pixels.cameras, places))
                # At the boundary a pixel of the object is half covered; a slightly larger solid is certainly met.
                met = meets(origins, directions, centre, radii * (1.06 if wanted else 0.98))
                assert (met == wanted).all()
            batch = Silhouettes.stack([pixels])
            points = training_points(batch, 8)
            assert points.shape == (1, 2 * (3 * 8 + 24), 3)
            free = points[0, 48:].numpy()
            assert not inside(free, centre, radii * 0.98).any()
            assert np.abs(free).max() <= FREE_EDGE / 2 + 1e-5
    assert sides == ({False, True} if mirror else {False})


def test_the_cube_of_rays_is_that_of_meshes():
    assert FREE_EDGE == CUBE_EDGE


def test_items_are_the_same_each_time_and_differ_between_epochs(seen):
    items = TrainingItems(ShapeSet([seen[0]], TRAIN), TRAIN, 0, model=MODEL)
    one, again, later = items[0, 1].silhouettes, items[0, 1].silhouettes, items[1, 1].silhouettes
    assert torch.equal(one.hits, again.hits)
    assert not torch.equal(one.hits, later.hits)
    plain = TrainingItems(ShapeSet([seen[0]], TRAIN), TRAIN, 0)[0, 1]
    beside = TrainingItems(
        ShapeSet([seen[0]], TRAIN), TRAIN, 0, model=MODEL.model_copy(update={"labels": "3d"})
    )[0, 1]
    assert (plain.points == beside.points).all()
    assert (plain.image == beside.image).all()


def slow_loss(logits: np.ndarray, pixels: Silhouettes, samples: int) -> float:
    """Ray by ray, in double precision."""
    hits, free = [], []
    for row, camera_hits, camera_free in zip(logits, pixels.hits, pixels.free, strict=True):
        place = 0
        for x, _ in camera_hits.reshape(-1, 2).tolist():
            p = 1 / (1 + np.exp(-row[place : place + samples]))
            place += samples
            if not math.isnan(x):
                hits.append(-math.log(1 - np.prod(1 - p)))
        for x, _ in camera_free.reshape(-1, 2).tolist():
            if not math.isnan(x):
                free.append(-math.log(1 - 1 / (1 + math.exp(-row[place]))))
            place += 1
    return sum(map(np.mean, (part for part in (hits, free) if part)))


def test_the_loss_is_that_of_a_loop_over_rays(seen):
    items = TrainingItems(ShapeSet([seen[0]], TRAIN), TRAIN, 0, model=MODEL)
    pixels = collate([items[0, i] for i in range(4)]).silhouettes
    pixels.hits[1, 0] = pixels.free[1, 0] = math.nan  # a view that shows nothing
    pixels.free[2] = math.nan  # and a shape without background
    logits = 3 * torch.randn(training_points(pixels, 8).shape[:2], dtype=torch.float64)
    expected = slow_loss(logits.numpy(), pixels, 8)
    assert silhouette_loss(logits, pixels).item() == pytest.approx(expected, rel=1e-5)


def test_the_iou_of_silhouettes_is_that_of_all_pixels(tmp_path):
    solids = seen_shard(tmp_path / "train-0.h5", 2, views=3, pixels=97)
    train = train_config(validation_points=10**6, views=2)
    items = ValidationItems(ShapeSet([tmp_path / "train-0.h5"], train), train, model=MODEL)
    pixels = collate([items[i] for i in range(2)]).silhouettes
    points = checked_points(pixels)
    for factor, low, high in ((1.0, 0.96, 1.0), (1.3, 0.56, 0.68), (0.8, 0.6, 0.7)):
        fields = [
            torch.from_numpy(inside(own.numpy(), centre, factor * radii)).float()
            for own, (centre, radii) in zip(points, solids, strict=True)
        ]
        # Areas are as the squares of lengths, but for pixels at the boundary, which do not count.
        ious = mask_ious(torch.stack(fields).amax(-1), pixels, torch.tensor([0.5, 2.0]))
        assert ((ious[:, 0] >= low) & (ious[:, 0] <= high)).all()
        assert not ious[:, 1].any()


def trained(path: Path, out: Path, model: ModelConfig = MODEL, **changes) -> dict[str, torch.Tensor]:
    section = TRAIN.model_copy(update=changes)
    train(Config(models={"m": model}, train=section), "m", [path], [path], out)
    return torch.load(out / "best.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize("labels", ["none", "hull"])
def test_without_labels_occupancies_change_nothing(seen, tmp_path, labels):
    """A pack whose points and occupancies are others gives the same network, to the last bit."""
    other = tmp_path / "train-0.h5"
    seen_shard(other, 4, points=512)
    import h5py

    with h5py.File(other, "r+") as file:
        file["occupancies"][...] = 255
        file["points"][...] = 0.1
    model = MODEL.model_copy(update={"labels": labels})
    one, two = (trained(path, tmp_path / path.parent.name, model) for path in (seen[0], other))
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"labels": "hull", "consistency": 0.5},
        pytest.param({"pose": True, "local": True, "consistency": 0.5}, marks=pytest.mark.real_encoder),
    ],
)
def test_a_run_stopped_on_the_way_ends_as_the_whole_one(seen, tmp_path, monkeypatch, changes):
    model = ModelConfig.model_validate(MODEL.model_dump() | {"encoder": "resnet10"} | changes)
    whole = trained(seen[0], tmp_path / "whole", model)
    step = OccupancyModule.training_step

    def stop(self, batch, batch_idx):
        if self.global_step == 4:
            raise OccnetError("stopped")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(OccupancyModule, "training_step", stop)
    with pytest.raises(OccnetError, match="stopped"):
        trained(seen[0], tmp_path / "parts", model)
    monkeypatch.undo()
    parts = trained(seen[0], tmp_path / "parts", model)
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def learned(tmp_path: Path, **keys) -> tuple[float, list[float]]:
    """IoU of silhouettes in validation, and IoU of the fields of two shapes, after 120 steps."""
    path = tmp_path / "train-0.h5"
    solids = seen_shard(path, 2, views=8)
    model = ModelConfig(hidden=32, c_dim=8, blocks=2, **keys)
    data = TRAIN.data.model_copy(update={"points": 256, "balance": 8})
    checks = TRAIN.checkpoint.model_copy(update={"validation_points": 10_000, "validate_every": 40})
    section = TRAIN.model_copy(update={"steps": 120, "data": data, "checkpoint": checks})
    train(Config(models={"m": model}, train=section), "m", [path], [path], tmp_path / "run")
    network, options = load_network(tmp_path / "run" / "best.ckpt")
    shapes, ious = ShapeSet([path], section), []
    points = torch.from_numpy(np.random.default_rng(1).uniform(-0.55, 0.55, (1, 20_000, 3))).float()
    for shape, (centre, radii) in enumerate(solids):
        item = collate([ValidationItems(shapes, section, Config().images)[shape]])
        with torch.no_grad():
            logits = network.eval()(encoder_input(item.images, 32, item.windows), points)[0]
        field, exact = (
            logits.sigmoid().numpy() > options["val_threshold"],
            inside(points[0].numpy(), centre, radii),
        )
        ious.append((field & exact).sum() / (field | exact).sum())
    return options["val_iou"], ious


def test_silhouettes_are_learned_by_rays_alone(tmp_path):
    silhouettes, ious = learned(tmp_path, labels="none", silhouettes=1.0)
    assert silhouettes > 0.7  # of views that are not the input
    assert min(ious) > 0.1  # any solid with these silhouettes will do, a hollow one, too


def test_shapes_are_learned_by_visual_hulls(tmp_path):
    silhouettes, ious = learned(tmp_path, labels="hull")
    assert silhouettes > 0.7
    assert min(ious) > 0.5


def test_hulls_are_those_of_rays_through_all_views(seen):
    path, solids = seen
    shapes = ShapeSet([path], TRAIN)
    hull = HullLabels(shapes, 0)
    for shape, (centre, radii) in enumerate(solids):
        points, occupied = hull.points(shape, 0, 4096)
        window, part = hull.points(shape, 1024, 640)
        assert (window == points[1024:1664]).all()
        assert (part == occupied[1024:1664]).all()
        more, repeated = hull.points(shape, 0, POINTS + 8)
        assert (more[-8:] == points[:8]).all()
        assert (repeated[-8:] == occupied[:8]).all()
        assert np.abs(points).max() <= FREE_EDGE / 2
        assert occupied[inside(points.astype(float), centre, radii * 0.93)].all()
        for i in range(0, 4096, 64):  # each point by itself
            seen_as = []
            for view in range(6):
                u, v, depth = shapes.camera(shape, view) @ np.append(points[i].astype(np.float64), 1)
                column, row = math.floor(u / depth * 33), math.floor(v / depth * 33)
                if 0 <= column < 33 and 0 <= row < 33:
                    seen_as.append(shapes.image(shape, view)[row, column].min() < 250)
            assert occupied[i] == (bool(seen_as) and all(seen_as))
    points = np.array([[0, 0, 0], [0, 0, 0.4], [5, 5, 0]], np.float32)
    behind = np.array([[0.5, 0, 0.5, 0], [0, 0.5, 0.5, 0], [0, 0, 1.0, -1]], np.float32)
    assert in_hull(points, [np.ones((4, 4), np.uint8)], [behind]).tolist() == [False] * 3


def test_views_without_object_or_background_have_defined_losses(seen, tmp_path, caplog):
    shapes = ShapeSet([seen[0]], TRAIN)
    blank, full = np.full((33, 33, 3), 255, np.uint8), np.zeros((33, 33, 3), np.uint8)
    images = {(0, view): blank for view in range(6)} | {(1, view): full for view in range(6)}
    shapes._images.update(images)
    items = TrainingItems(shapes, TRAIN, 0, Config().images, MODEL)
    batch = collate([items[0, i] for i in range(4)])
    assert "ellipsoid/train-0-0 shows no object: its silhouette is not used" in caplog.text
    assert not HullLabels(shapes, 0).points(0, 0, 64)[1].any()
    assert "no view of ellipsoid/train-0-0 shows an object" in caplog.text
    assert batch.silhouettes.hits[0].isnan().all()
    assert batch.silhouettes.free[1].isnan().all()
    module = OccupancyModule(MODEL, TRAIN, shapes.names)
    module.trainer = None
    loss = module.training_step(batch, 0)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.network.parameters())
    checked = ValidationItems(shapes, TRAIN, Config().images, MODEL)
    scores = validate(module.network, [collate([checked[0]])], 32)
    assert (scores.loss, scores.iou) == (0, 0)


def test_a_pack_without_points_is_enough(tmp_path):
    path = tmp_path / "train-0.h5"
    seen_shard(path, 2, points=0)
    state = trained(path, tmp_path / "run", MODEL.model_copy(update={"labels": "hull"}))
    assert all(value.isfinite().all() for value in state.values())


def test_rays_are_part_of_a_run_only_with_silhouettes(seen):
    shapes, other = ShapeSet([seen[0]], TRAIN), train_config(**TRAIN.data.model_dump(), per_view=5)
    same = train_config(**TRAIN.data.model_dump())
    images = ImagesConfig()

    def digest(model: ModelConfig, section: TrainConfig) -> str:
        return run_digest(model, images, section, 0, shapes, shapes)

    plain = ModelConfig()
    assert digest(plain, other) == digest(plain, same)
    assert digest(MODEL, other) != digest(MODEL, same)


def test_what_cannot_be_is_one_line(seen, tmp_path):
    with pytest.raises(ConfigError, match=r"`models.m.labels: none` needs `silhouettes` above 0"):
        check({"models": {"m": {"labels": "none"}}})
    single = tmp_path / "train-1.h5"
    seen_shard(single, 2, views=1)
    with pytest.raises(DataError, match="at least two views"):
        TrainingItems(ShapeSet([single], TRAIN), TRAIN, 0, model=ModelConfig(consistency=1.0))
    on_gpu = train_config(cache="gpu", points=32)
    items = TrainingItems(ShapeSet([seen[0]], on_gpu), on_gpu, 0, model=MODEL)
    with pytest.raises(ConfigError, match="models with `silhouettes`, `consistency` or `labels: hull`"):
        training_loader(items, on_gpu, 0, "cpu")


def test_the_second_view_has_the_same_points(seen):
    items = TrainingItems(
        ShapeSet([seen[0]], TRAIN),
        TRAIN,
        0,
        ImagesConfig(mirror=True, gamma=2.0),
        ModelConfig(consistency=1.0),
    )
    for shape in range(4):
        item = items[2, shape]
        assert item.other is not None
        assert item.other.points is item.points
        assert not np.array_equal(item.other.image, item.image)
        assert not np.allclose(item.other.rotation, item.rotation)
        assert item.other.gamma != item.gamma
    batch = collate([items[2, shape] for shape in range(4)])
    moved = batch.to("cpu")
    assert torch.equal(moved.other.images, batch.other.images)
