"""Field to mesh, network to mesh, and the folder of meshes."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from occnet_lib import cli
from occnet_lib.config import Config, ModelConfig, ReconstructConfig, SimplifyConfig
from occnet_lib.errors import ConfigError, DataError, MeshError
from occnet_lib.geometry.face_graph import dihedral_angles, face_neighbours
from occnet_lib.geometry.repair import check_watertight
from occnet_lib.networks.checkpoint import load_network, network_file, save_network
from occnet_lib.networks.folded import MeanField
from occnet_lib.networks.occupancy_network import OccupancyNetwork
from occnet_lib.reconstruction.extract import surface, threshold_logit
from occnet_lib.reconstruction.inference import batched_decoder, encoder_features
from occnet_lib.reconstruction.mise import mise
from occnet_lib.reconstruction.photo_meshes import mesh_of_photo
from occnet_lib.reconstruction.reconstruct import CUBE_EDGE, Reconstruction, field_normals, reconstruct
from occnet_lib.reconstruction.reconstructor import Reconstructor
from occnet_lib.reconstruction.shard import reconstruct_shard
from occnet_lib.storage.packs import PackedShape, Shard, write_shard
from occnet_lib.storage.reconstructions import read_mesh, read_status, writing
from occnet_lib.types import Mesh, PointSamples, ShapeKey, Views, Watertight
from tests.support.torch_fields import between, sloped


def ball(radius: float, centre=(0, 0, 0)):
    return lambda p: (10 * (radius - np.linalg.norm(p - np.float32(centre), axis=1))).astype(np.float32)


def volume(mesh: Mesh) -> float:
    a, b, c = mesh.triangles.transpose(1, 0, 2)
    return float(np.einsum("nd,nd->n", a, np.cross(b, c)).sum() / 6)


def closed(mesh: Mesh) -> bool:
    return check_watertight(mesh).closed


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# Extraction


@pytest.mark.parametrize("centre", [(0, 0, 0), (0.05, -0.1, 0.12)])
def test_a_ball_has_its_radius_and_place_and_points_outward(centre):
    mesh = surface(mise(ball(0.33, centre), 32, 2, 0.0).logits, 0.0)
    radius = np.linalg.norm(mesh.vertices - centre, axis=1)
    assert np.abs(radius - 0.33).max() < 1e-3
    assert closed(mesh)
    assert volume(mesh) == pytest.approx(4 / 3 * np.pi * 0.33**3, rel=1e-3)
    assert mesh.vertices.dtype == np.float64
    assert mesh.faces.dtype == np.int32


@pytest.mark.parametrize("tau", [0.2, 0.5, 0.7])
def test_the_surface_is_where_the_probability_is_the_threshold(tau):
    level = threshold_logit(tau)
    assert 1 / (1 + np.exp(-level)) == pytest.approx(tau)
    mesh = surface(mise(ball(0.3), 32, 1, level).logits, level)
    assert np.linalg.norm(mesh.vertices, axis=1).mean() == pytest.approx(0.3 - level / 10, abs=1e-3)


def test_an_inside_that_reaches_the_border_is_closed_there():
    mesh = surface(mise(ball(0.7), 32, 0, 0.0).logits, 0.0)
    assert closed(mesh)
    assert 0.55 <= np.abs(mesh.vertices).max() < 0.55 + 1.1 / 32
    full = surface(np.ones((9, 9, 9), np.float32), 0.0)
    assert closed(full)
    assert volume(full) > 0


def test_random_grids_with_ties_give_closed_surfaces():
    for seed in range(20):
        logits = np.random.default_rng(seed).integers(-2, 3, (9, 9, 9)).astype(np.float32)
        mesh = surface(logits, 0.0)
        assert volume(mesh) > 0
        a, b = mesh.faces.reshape(-1), np.roll(mesh.faces, -1, axis=1).reshape(-1)
        # Even where noise makes the surface touch itself, every edge is run along once in each direction.
        assert sorted(zip(a.tolist(), b.tolist(), strict=True)) == sorted(
            zip(b.tolist(), a.tolist(), strict=True)
        )


# The pipeline


def test_two_parts_become_one_closed_mesh_of_two_components():
    def field(points):
        return np.maximum(ball(0.15, (0.25, 0, 0))(points), ball(0.2, (-0.25, 0, 0))(points))

    config = ReconstructConfig(resolution0=16, upsampling_steps=2, threshold=0.5, simplify={"faces": 3000})
    result = reconstruct(field, config, rng=rng())
    assert result.status == "ok"
    assert closed(result.mesh)
    assert len(result.mesh.faces) <= 3000
    assert len(result.mesh.vertices) - len(result.mesh.faces) / 2 == 4  # Euler: two spheres
    assert volume(result.mesh) == pytest.approx(4 / 3 * np.pi * (0.15**3 + 0.2**3), rel=0.02)
    assert set(result.seconds) == {"mise", "extract", "simplify"}
    assert 0 < result.points < 65**3
    assert not result.refined


@pytest.mark.parametrize(("faces", "status"), [(10, "warn"), (None, "ok"), (100_000, "ok")])
def test_more_faces_than_wanted_are_said(faces, status):
    def field(points):
        centred = (points + 0.5) % 0.25 - 0.125  # 64 balls, of which none has fewer than four faces
        return np.float32(0.08) - np.linalg.norm(centred, axis=1)

    config = ReconstructConfig(resolution0=33, upsampling_steps=0, threshold=0.5, simplify={"faces": faces})
    result = reconstruct(field, config, rng=rng(), box=1.0)
    assert result.status == status
    assert result.reason.startswith(f"{len(result.mesh.faces)} faces, more than" if status == "warn" else "")


def test_refinement_takes_part_when_there_is_a_field_to_differentiate():
    def field(points: torch.Tensor) -> torch.Tensor:
        return 10 * (0.4 - points.norm(dim=1))

    config = ReconstructConfig(
        resolution0=16, upsampling_steps=1, threshold=0.5, simplify={"faces": 800}, refine_steps=20
    )
    queried = ball(0.4)
    plain = reconstruct(queried, config, rng=rng())
    result = reconstruct(queried, config, refine_field=sloped(field), rng=rng())
    assert result.refined
    assert result.loss_after < result.loss_before
    assert "refine" in result.seconds
    assert closed(result.mesh)
    off = [np.abs(np.linalg.norm(m.vertices, axis=1) - 0.4).mean() for m in (plain.mesh, result.mesh)]
    assert np.isfinite(off).all()
    without = reconstruct(
        queried, config.model_copy(update={"refine_steps": 0}), refine_field=sloped(field), rng=rng()
    )
    assert np.array_equal(without.mesh.vertices, plain.mesh.vertices)


def test_refinement_by_filtered_normals_keeps_the_faces_and_none_keeps_the_mesh():
    config = ReconstructConfig(
        resolution0=16, upsampling_steps=1, threshold=0.5, simplify={"faces": 800}, refinement="none"
    )
    field = sloped(lambda points: 10 * (0.4 - points.norm(dim=1)))
    plain = reconstruct(ball(0.4), config, refine_field=field, rng=rng())
    assert not plain.refined
    assert "refine" not in plain.seconds
    changed = config.model_copy(update={"refinement": "bilateral"})
    result = reconstruct(ball(0.4), changed, refine_field=field, rng=rng())
    assert result.refined
    assert np.isnan(result.loss_after)
    assert "refine" in result.seconds
    assert np.array_equal(result.mesh.faces, plain.mesh.faces)
    assert closed(result.mesh)
    angles = [np.abs(angles_to_neighbours(mesh)).mean() for mesh in (plain.mesh, result.mesh)]
    assert 0 < angles[1] < angles[0]


def angles_to_neighbours(mesh: Mesh) -> np.ndarray:
    return dihedral_angles(mesh, face_neighbours(mesh.faces, len(mesh.vertices)))


def test_a_field_without_a_surface_is_a_failed_record():
    config = ReconstructConfig(resolution0=8, upsampling_steps=1, threshold=0.5)
    result = reconstruct(lambda p: np.full(len(p), -4, np.float32), config, rng=rng())
    assert result.status == "failed"
    assert "nowhere above 0.5" in result.reason
    assert len(result.mesh.faces) == 0


def test_the_validation_threshold_needs_a_checkpoint():
    with pytest.raises(ConfigError, match="checkpoint"):
        reconstruct(ball(0.3), ReconstructConfig(threshold="validation"), rng=rng())
    result = reconstruct(
        ball(0.3), ReconstructConfig(resolution0=16, upsampling_steps=0), threshold=0.5, rng=rng()
    )
    assert result.status == "ok"


# Folders


def test_a_reconstructed_mesh_comes_back_as_it_was_and_other_readers_see_its_normals(tmp_path: Path):
    import trimesh

    mesh = surface(mise(ball(0.3), 12, 0, 0.0).logits, 0.0)
    key = ShapeKey("ball", "a")
    with writing(tmp_path / "made") as folder:
        folder.add(key, mesh)
    again = read_mesh(tmp_path / "made", key)
    assert again is not None
    assert np.array_equal(again.vertices, mesh.vertices.astype(np.float32))
    assert np.array_equal(again.faces, mesh.faces)
    normals = mesh.vertex_normals
    assert np.allclose((normals * mesh.vertices).sum(1), np.linalg.norm(mesh.vertices, axis=1), atol=0.02)
    path = tmp_path / "made/ball/a.ply"
    other = trimesh.load(path, process=False)
    assert np.array_equal(other.faces, mesh.faces)
    assert np.allclose(other.vertex_normals, normals, atol=1e-6)
    data = path.read_bytes()
    body = data.partition(b"end_header\n")[2]
    assert body[:24] == np.concatenate([mesh.vertices[0], normals[0]]).astype("<f4").tobytes()
    path.write_bytes(data[:-5])
    with pytest.raises(DataError, match=r"a\.ply: .*run reconstruct again"):
        read_mesh(tmp_path / "made", key)


def test_a_folder_appears_whole_or_stays_as_it_was(tmp_path: Path):
    mesh = surface(mise(ball(0.3), 12, 0, 0.0).logits, 0.0)
    first, second = ShapeKey("chair", "a"), ShapeKey("table", "b")
    target = tmp_path / "made"
    with writing(target) as folder:
        folder.add(first, mesh, faces=len(mesh.faces))
        folder.add(second, None, "failed", "no surface")
    assert read_status(target)["table/b"]["reason"] == "no surface"
    assert read_mesh(target, second) is None
    assert len(read_mesh(target, first).faces) == len(mesh.faces)

    def fail():
        with writing(target) as folder:
            folder.add(second, mesh)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert read_mesh(target, second) is None
    with writing(target) as folder:
        folder.add(second, mesh)
    assert set(read_status(target)) == {"table/b"}
    assert read_mesh(target, first) is None
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


# Networks


MODEL = ModelConfig(decoder="fc", hidden=32, c_dim=8, blocks=1)
TRAIN = {"image_size": 32}


def ball_network(size: float) -> OccupancyNetwork:
    """A network whose field is nearly a ball whatever the image: size - 30 · mean |direction · p|."""
    torch.manual_seed(0)
    network = OccupancyNetwork(MODEL, pretrained=False)
    with torch.no_grad():
        half = torch.nn.functional.normalize(torch.randn(16, 3), dim=1)
        network.decoder.fc_p.weight.copy_(torch.cat([half, -half]))
        network.decoder.fc_p.bias.zero_()
        for block in network.decoder.blocks:
            block.fc_c.weight.zero_()
            block.fc_c.bias.zero_()
            block.fc_1.bias.zero_()
        network.decoder.fc_out.weight.fill_(-30 / 16)
        network.decoder.fc_out.bias.fill_(size)
    return network.eval()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "best.ckpt"
    options = {"model": MODEL.model_dump(mode="json"), "train": TRAIN, "val_threshold": 0.35}
    save_network(path, network_file(ball_network(5.0).state_dict(), options))
    return path


def shard_file(path: Path, names: list[str]) -> Path:
    shapes = []
    for i, name in enumerate(names):
        images = np.full((2, 40 + i, 40 + i, 3), 255, np.uint8)  # photos need not be of one size
        images[:, 10:30, 5 + i : 25] = 40 * i
        samples = PointSamples(
            np.zeros((8, 3), np.float16),
            np.zeros(8, bool),
            np.zeros((4, 3), np.float16),
            np.zeros((4, 3), np.float16),
            np.zeros((4, 4, 4), bool),
        )
        turn = np.array([[np.cos(i), 0, np.sin(i), 0], [0, 1, 0, 0], [-np.sin(i), 0, np.cos(i), 0]])
        views = Views(images, np.zeros((2, 3, 3)), np.stack([turn, turn]), np.zeros(3), 1.0)
        closed = Watertight(Mesh(np.eye(3), np.array([[0, 1, 2]], np.int32)), np.zeros(3), 1.0)
        shapes.append(PackedShape.of(ShapeKey("chair", name), closed, samples, views))
    write_shard(path, shapes, path.stem, "test")
    return path


SMALL = ReconstructConfig(
    resolution0=16, upsampling_steps=1, simplify={"faces": 500}, refine_steps=3, accelerator="cpu"
)
AS_EXTRACTED = SMALL.model_copy(update={"simplify": SimplifyConfig(faces=None), "refine_steps": 0})


def test_a_network_reconstructs_an_image_at_its_validation_threshold(checkpoint):
    reconstructor = Reconstructor(checkpoint, SMALL)
    assert reconstructor.threshold == 0.35
    image = np.full((40, 40, 3), 200, np.uint8)
    result = reconstructor(image, rng())
    assert result.status == "ok"
    assert closed(result.mesh)
    logits = reconstructor.field(image).on_array(result.mesh.vertices)
    assert np.abs(1 / (1 + np.exp(-logits)) - 0.35).mean() < 0.02
    fixed = Reconstructor(checkpoint, SMALL.model_copy(update={"threshold": 0.2}))
    assert fixed.threshold == 0.2
    assert volume(fixed(image, rng()).mesh) > volume(result.mesh)


def test_arrays_that_cannot_be_written_to_are_taken_without_a_warning(checkpoint):
    """As numpy.asarray gives them of Pillow's images; torch would warn, once a process."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    reconstructor, turn, points = (
        Reconstructor(checkpoint, SMALL),
        np.eye(3, dtype=np.float32),
        np.zeros((5, 3), "f4"),
    )
    images = np.full((2, 40, 40, 3), 200, np.uint8)
    for array in (images, turn, points):
        array.setflags(write=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            mesh = reconstructor(images[0], rng(), turn, normals=True).mesh
            mesh.vertices.setflags(write=False)
            reconstructor.reconstruct_batch(list(images), [rng(), rng()], np.stack([turn, turn]))
            assert reconstructor.logits(images, np.broadcast_to(turn, (2, 3, 3)), points).shape == (2, 5)
            assert reconstructor.field(images[0], turn).on_array(points).shape == (5,)
            assert encoder_features(checkpoint)(images).shape == (2, MODEL.c_dim)
            assert (
                field_normals(reconstructor.field(images[0]).with_gradient, mesh).shape == mesh.vertices.shape
            )
    finally:
        torch.set_warn_always(before)


def test_a_model_of_the_cameras_frame_gives_meshes_of_the_unit_frame(tmp_path):
    """A rod along the camera's x axis: its mesh lies along what the camera turns to x; upright without a camera."""
    model = MODEL.model_copy(update={"frame": "camera"})
    network = ball_network(5.0)
    with torch.no_grad():  # |x + y| counts little, |x - y| and |z| much
        axes = torch.tensor([[0.3, 0.0, 0.0], [0.0, 1.0, -0.7], [0.0, 0.0, 1.0], [0.0, 1.0, 0.7]])
        half = axes.repeat(4, 1)
        network.decoder.fc_p.weight.copy_(torch.cat([half, -half]))
    path = tmp_path / "best.ckpt"
    options = {"model": model.model_dump(mode="json"), "train": TRAIN, "val_threshold": 0.5}
    save_network(path, network_file(network.state_dict(), options))
    reconstructor = Reconstructor(path, SMALL.model_copy(update={"refine_steps": 0}))
    image = np.full((40, 40, 3), 200, np.uint8)
    turn = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])
    points = np.random.default_rng(1).uniform(-0.5, 0.5, (50, 3))
    own = reconstructor.field(image, np.eye(3)).on_array(points @ turn.T)
    assert np.allclose(reconstructor.field(image, turn).on_array(points), own, atol=1e-3)
    longest = np.linalg.svd(reconstructor(image, rng(), turn).mesh.vertices, full_matrices=False)[2][0]
    assert abs(longest @ turn[0]) > 0.99
    upright = reconstructor.field(image).on_array(points)
    assert np.allclose(
        upright, reconstructor.field(image, np.eye(3)).on_array(points * [1, -1, -1]), atol=1e-3
    )


def test_a_shape_that_stands_at_an_angle_to_the_camera_is_not_cut_off(tmp_path):
    """In the camera's frame the unit cube is turned: a ball beyond its faces stands for its edges."""
    model = MODEL.model_copy(update={"frame": "camera"})
    path = tmp_path / "best.ckpt"
    options = {"model": model.model_dump(mode="json"), "train": TRAIN, "val_threshold": 0.5}
    save_network(path, network_file(ball_network(11.0).state_dict(), options))
    reconstructor = Reconstructor(path, SMALL.model_copy(update={"refine_steps": 0}))
    image = np.full((40, 40, 3), 200, np.uint8)
    photo = reconstructor(image, rng()).mesh
    assert np.abs(photo.vertices).max() > 0.65
    assert (
        np.abs(reconstructor.field(image).on_array(photo.vertices)).mean() < 0.5
    )  # nowhere a wall of the box
    known = reconstructor(image, rng(), np.eye(3)).mesh
    assert 0.5 < np.abs(known.vertices).max() < 0.65


@pytest.mark.real_encoder
@pytest.mark.parametrize("frame", ["unit", "camera"])
def test_logits_of_several_images_are_their_fields(tmp_path, frame):
    torch.manual_seed(1)
    model = MODEL.model_copy(update={"frame": frame})
    path = tmp_path / "best.ckpt"
    options = {"model": model.model_dump(mode="json"), "train": TRAIN, "val_threshold": 0.5}
    save_network(path, network_file(OccupancyNetwork(model, pretrained=False).state_dict(), options))
    reconstructor = Reconstructor(path, SMALL)
    draw = np.random.default_rng(0)
    images = draw.integers(0, 255, (3, 40, 40, 3), dtype=np.uint8)
    turns = np.linalg.qr(draw.normal(size=(3, 3, 3)))[0]
    points = draw.uniform(-0.5, 0.5, (5000, 3))  # more than a chunk
    logits = reconstructor.logits(images, turns, points)
    assert logits.dtype == np.float32
    own = [reconstructor.field(i, t).on_array(points) for i, t in zip(images, turns, strict=True)]
    assert np.allclose(logits, own, atol=1e-3)
    assert not np.allclose(logits[0], logits[1], atol=1e-2)


def test_without_validation_shapes_the_threshold_is_onets(tmp_path, caplog):
    path = tmp_path / "last.ckpt"
    options = {"model": MODEL.model_dump(mode="json"), "train": TRAIN, "val_threshold": None}
    save_network(path, network_file(ball_network(5.0).state_dict(), options))
    assert Reconstructor(path, SMALL).threshold == 0.2
    assert "without validation shapes" in caplog.text


def test_encoder_features_are_the_codes(checkpoint):
    features = encoder_features(checkpoint, "cpu")
    images = np.random.default_rng(0).integers(0, 255, (3, 40, 40, 3), dtype=np.uint8)
    codes = features(images)
    assert codes.shape == (3, 8)
    assert codes.dtype == np.float32
    assert np.allclose(codes[1], features(images[1:2])[0], atol=1e-4)
    assert not np.allclose(codes[0], codes[1], atol=1e-4)


def test_a_shard_becomes_a_folder_that_is_the_same_each_time(checkpoint, tmp_path):
    shard = shard_file(tmp_path / "test-000.h5", ["a", "b", "c"])
    threads = torch.get_num_threads()
    for out, count in (("one", 1), ("two", 2)):
        torch.set_num_threads(count)
        reconstruct_shard(checkpoint, shard, SMALL, tmp_path / out, seed=3)
        assert torch.get_num_threads() == count
    torch.set_num_threads(threads)
    rows = read_status(tmp_path / "one")
    assert list(rows) == ["chair/a", "chair/b", "chair/c"]
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert {"threshold", "points", "faces", "refined", "seconds", "seconds_mise"} <= rows["chair/a"].keys()
    for name in rows:
        pair = [(tmp_path / out / f"{name}.ply").read_bytes() for out in ("one", "two")]
        assert pair[0] == pair[1]
    # A shape's mesh does not depend on which others are in its shard.
    alone = shard_file(tmp_path / "test-001.h5", ["a"])
    reconstruct_shard(checkpoint, alone, SMALL, tmp_path / "alone", seed=3)
    assert (tmp_path / "alone/chair/a.ply").read_bytes() == (tmp_path / "one/chair/a.ply").read_bytes()


@pytest.mark.real_encoder
def test_shapes_of_a_shard_evaluated_together_are_those_evaluated_alone(tmp_path):
    torch.manual_seed(1)
    checkpoint = tmp_path / "varied.ckpt"
    model = MODEL.model_copy(update={"frame": "camera"})
    options = {"model": model.model_dump(mode="json"), "train": TRAIN, "val_threshold": 0.5}
    network = OccupancyNetwork(model, pretrained=False)
    torch.nn.init.normal_(network.decoder.fc_out.weight)
    torch.nn.init.zeros_(network.decoder.fc_out.bias)
    save_network(checkpoint, network_file(network.state_dict(), options))
    shard = shard_file(tmp_path / "test-000.h5", ["a", "b", "c"])
    # No logit of the finest grid is so near to the level that rounding decides its sign.
    axis = CUBE_EDGE * (np.arange(33, dtype=np.float32) / np.float32(32) - np.float32(0.5))
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    reconstructor, packed = Reconstructor(checkpoint, AS_EXTRACTED), Shard(shard)
    fields = [reconstructor.field(packed.image(i, 0), packed.camera(i, 0)[1][:, :3]) for i in range(3)]
    level = between(np.concatenate([field.on_array(grid) for field in fields]))
    for batch in (1, 2):
        config = AS_EXTRACTED.model_copy(update={"batch": batch, "threshold": 1 / (1 + math.exp(-level))})
        reconstruct_shard(checkpoint, shard, config, tmp_path / str(batch), seed=3)
    alone, together = (read_status(tmp_path / name) for name in "12")
    assert [row["points"] for row in alone.values()] == [row["points"] for row in together.values()]
    assert {row["status"] for row in alone.values()} == {"ok"}
    for name in ("a", "b", "c"):
        pair = [read_mesh(tmp_path / folder, ShapeKey("chair", name)) for folder in "12"]
        assert len(pair[0].faces) > 100
        assert np.allclose(pair[0].vertices, pair[1].vertices, atol=0.1 / 32)


def test_shapes_that_ask_for_few_points_are_not_padded_to_the_largest():
    codes, calls = torch.arange(4.0)[:, None], []

    def decode(points, code):
        calls.append(points.shape[:2])
        return points.sum(-1) + code

    sizes = np.array([3, 5000, 0, 40])
    points = np.random.default_rng(0).normal(size=(sizes.sum(), 3)).astype(np.float32)
    shapes = np.repeat(np.arange(4), sizes)
    actual = batched_decoder(decode, codes)(points, shapes)
    np.testing.assert_allclose(actual, points.sum(1) + shapes, atol=1e-5)
    assert calls == [(5, 2048)]


def test_shards_without_surface_without_shapes_and_without_the_view(checkpoint, tmp_path):
    nothing = tmp_path / "nothing.ckpt"
    options = {"model": MODEL.model_dump(mode="json"), "train": TRAIN, "val_threshold": 0.5}
    save_network(nothing, network_file(ball_network(-9.0).state_dict(), options))
    shard = shard_file(tmp_path / "test-000.h5", ["a"])
    reconstruct_shard(nothing, shard, SMALL, tmp_path / "out")
    row = read_status(tmp_path / "out")["chair/a"]
    assert row["status"] == "failed"
    assert "no surface" in row["reason"]
    assert not list((tmp_path / "out").rglob("*.ply"))
    empty = shard_file(tmp_path / "test-001.h5", [])
    reconstruct_shard(checkpoint, empty, SMALL, tmp_path / "empty")
    assert read_status(tmp_path / "empty") == {}
    with pytest.raises(ConfigError, match="views 0 to 1"):
        reconstruct_shard(checkpoint, shard, SMALL.model_copy(update={"view": 2}), tmp_path / "none")


def test_an_error_of_the_size_of_the_cube_is_a_mistake():
    for value in (-0.1, 1.0, 500, float("inf"), float("nan")):
        with pytest.raises(ValueError):
            Config.model_validate({"reconstruct": {"simplify": {"error": value}}})


def test_configuration_of_the_threshold():
    for value in (0.0, 1.0, "best"):
        with pytest.raises(ValueError):
            Config.model_validate({"reconstruct": {"threshold": value}})
    assert Config.model_validate({"reconstruct": {"threshold": 0.2}}).reconstruct.threshold == 0.2
    assert Config().reconstruct.threshold == "validation"


# Several views, vertex normals, the command line


def test_several_views_of_one_object_are_one_field(checkpoint, tmp_path):
    torch.manual_seed(1)
    path = tmp_path / "varied.ckpt"
    options = {"model": MODEL.model_dump(mode="json"), "train": TRAIN, "val_threshold": 0.5}
    save_network(path, network_file(OccupancyNetwork(MODEL, pretrained=False).state_dict(), options))
    reconstructor = Reconstructor(path, SMALL)
    images = np.random.default_rng(0).integers(0, 255, (3, 40, 40, 3), dtype=np.uint8)
    points = np.random.default_rng(1).uniform(-0.5, 0.5, (50, 3)).astype(np.float32)
    fields = [reconstructor.field(image) for image in images]
    mean = MeanField(fields)
    expected = np.mean([field.on_array(points) for field in fields], axis=0)
    assert np.allclose(mean.on_array(points), expected, atol=1e-6)
    assert np.allclose(mean(torch.from_numpy(points)).numpy(), expected, atol=1e-6)
    each = [field.with_gradient(torch.from_numpy(points)) for field in fields]
    for actual, of_fields in zip(
        mean.with_gradient(torch.from_numpy(points)), zip(*each, strict=True), strict=True
    ):
        assert np.allclose(actual.numpy(), np.mean([part.numpy() for part in of_fields], axis=0), atol=1e-6)
    ball_of = Reconstructor(checkpoint, SMALL)
    one, three = (ball_of(drawing, rng()).mesh for drawing in (images[0], images[[0, 0, 0]]))
    assert np.allclose(one.vertices, three.vertices, atol=1e-4)


def test_several_photos_need_cameras_in_the_cameras_frame(tmp_path):
    model = MODEL.model_copy(update={"frame": "camera"})
    path = tmp_path / "best.ckpt"
    options = {"model": model.model_dump(mode="json"), "train": TRAIN, "val_threshold": 0.5}
    save_network(path, network_file(ball_network(5.0).state_dict(), options))
    reconstructor = Reconstructor(path, SMALL)
    images = np.full((2, 40, 40, 3), 200, np.uint8)
    with pytest.raises(ConfigError, match="needs the cameras"):
        reconstructor(images, rng())
    assert reconstructor(images, rng(), np.stack([np.eye(3)] * 2)).status == "ok"


def test_normals_are_against_the_gradient_or_the_faces():
    mesh = surface(mise(ball(0.3), 24, 0, 0.0).logits, 0.0)
    outward = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    normals = field_normals(sloped(lambda p: 10 * (0.3 - p.norm(dim=1))), mesh)
    assert normals.dtype == np.float32
    assert np.allclose(normals, outward, atol=1e-5)
    for wrong in (lambda p: p.norm(dim=1) - 0.3, lambda p: p.sum(1) * 0):
        assert np.allclose(field_normals(sloped(wrong), mesh), mesh.vertex_normals, atol=1e-6)


PHOTO = np.full((60, 60, 3), 255, np.uint8)
PHOTO[20:40, 15:45] = 90


@pytest.mark.parametrize("suffix", ["obj", "ply", "glb", "stl", "off"])
def test_a_photo_becomes_a_file_of_any_kind_with_normals(checkpoint, tmp_path, capsys, suffix):
    import trimesh
    from PIL import Image

    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    out = tmp_path / f"mesh.{suffix}"
    arguments = ["--resolution", "40", "--simplify", "300", "--refine", "2", "--threshold", "0.5"]
    command = ["reconstruct", str(tmp_path / "photo.png"), "--checkpoint", str(checkpoint), "-o", str(out)]
    assert cli.main([*command, *arguments]) == 0
    said = capsys.readouterr().out
    for step in ("encode", "mise", "extract", "simplify", "refine", "normals"):
        assert f"{step} " in said
    mesh = trimesh.load(out, force="mesh", process=suffix == "stl")  # STL has no shared vertices
    assert 100 < len(mesh.faces) <= 300
    assert mesh.is_watertight
    assert mesh.volume > 0
    if suffix == "obj":
        assert out.read_text().count("\nvn ") == len(mesh.vertices)
    if suffix in ("obj", "ply", "glb"):
        radial = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
        assert (mesh.vertex_normals * radial).sum(1).min() > 0.5
    if suffix == "glb":
        assert b"NORMAL" in out.read_bytes()
    if suffix == "ply":
        assert b"property float nx" in out.read_bytes()


def test_the_command_simplifies_to_faces_or_to_an_error(checkpoint, tmp_path):
    import trimesh
    from PIL import Image

    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    command = [
        "reconstruct",
        str(tmp_path / "photo.png"),
        "--checkpoint",
        str(checkpoint),
        "--resolution",
        "64",
    ]
    counts = []
    for simplify in ("0", "0.0005", "0.005", "500"):
        out = tmp_path / f"{simplify}.ply"
        assert cli.main([*command, "--refine", "0", "--simplify", simplify, "-o", str(out)]) == 0
        counts.append(len(trimesh.load(out, process=False).faces))
    assert counts[0] > 2 * counts[1]
    assert counts[1] > 2 * counts[2]
    assert counts[3] <= 500


@pytest.mark.parametrize("simplify", ["-1", "2.5", "nan"])
def test_no_number_of_faces_and_no_error_is_one_line(checkpoint, tmp_path, capsys, simplify):
    from PIL import Image

    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    command = ["reconstruct", str(tmp_path / "photo.png"), "--checkpoint", str(checkpoint), "-o", "mesh.ply"]
    assert cli.main([*command, f"--simplify={simplify}"]) == 1
    said = capsys.readouterr().err.strip()
    assert "reconstruct.simplify.faces" in said
    assert "Traceback" not in said


def test_the_command_takes_many_photos_as_objects_or_as_views(checkpoint, tmp_path, capsys):
    from PIL import Image

    files = []
    for name in ("a", "b"):
        files.append(str(tmp_path / f"{name}.png"))
        Image.fromarray(PHOTO).save(files[-1])
    small = tmp_path / "small.yaml"
    small.write_text("reconstruct: {resolution0: 16, upsampling_steps: 0, refine_steps: 0}\n")
    command = ["reconstruct", *files, "--checkpoint", str(checkpoint), "--config", str(small)]
    assert cli.main([*command, "-o", str(tmp_path / "out"), "--format", "obj"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.obj", "b.obj"]
    assert cli.main([*command, "-o", str(tmp_path / "one.glb"), "--merge"]) == 0
    assert (tmp_path / "one.glb").exists()
    assert "is given" not in capsys.readouterr().err
    twice = [*command[:3], f"{tmp_path}/./a.png", *command[3:]]
    assert cli.main([*twice, "-o", str(tmp_path / "one.glb"), "--merge"]) == 0
    assert "a.png is given 2 times and counts as often" in capsys.readouterr().err
    alone = [*command[:2], *command[3:], "-o", str(tmp_path / "folder"), "--format", "obj"]
    assert cli.main(alone) == 0
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["a.obj"]
    capsys.readouterr()
    assert cli.main([*command, "-o", str(tmp_path / "two.glb")]) == 1
    assert "a file cannot hold the meshes of 2 photos (give a folder, or --merge" in capsys.readouterr().err
    assert cli.main([*command, "-o", str(tmp_path / "two.jpg"), "--merge"]) == 1
    assert "unknown mesh format" in capsys.readouterr().err
    again = [*command[:2], str(tmp_path / "there" / "a.jpg"), *command[3:]]
    assert cli.main([*again, "-o", str(tmp_path / "again")]) == 1
    assert "would have the same mesh as" in capsys.readouterr().err
    assert not (tmp_path / "again").exists()
    for wrong, word in (
        (["--threshold", "1.5"], "reconstruct.threshold"),
        (["--resolution", "0"], "resolution0"),
    ):
        assert cli.main([*command, "-o", str(tmp_path / "out"), *wrong]) == 1
        error = capsys.readouterr().err
        assert word in error
        assert error.count("\n") == 1


def test_a_photo_that_fails_takes_no_other_along(checkpoint, tmp_path, capsys):
    from PIL import Image

    files = [tmp_path / name for name in ("broken.png", "photo.png", "missing.png")]
    files[0].write_text("no image")
    Image.fromarray(PHOTO).save(files[1])
    command = ["reconstruct", *map(str, files), "--checkpoint", str(checkpoint), "--refine", "0"]
    assert cli.main([*command, "-o", str(tmp_path / "out"), "--resolution", "32"]) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo.ply"]
    said = capsys.readouterr().err.splitlines()
    assert [name in line for line in said for name in ("broken.png", "missing.png")].count(True) == 2
    assert said[-1].startswith("occnet: 2 of 3 photos gave no mesh")


def test_the_image_that_the_network_sees_can_be_kept(checkpoint, tmp_path, capsys):
    from PIL import Image

    for name in ("a", "b"):
        Image.fromarray(PHOTO).save(tmp_path / f"{name}.png")
    a, b = str(tmp_path / "a.png"), str(tmp_path / "b.png")
    tail = ["--checkpoint", str(checkpoint), "--refine", "0", "--resolution", "32"]
    command = ["reconstruct", a, *tail, "-o", str(tmp_path / "a.ply"), "--save-input"]
    assert cli.main([*command, str(tmp_path / "seen.png")]) == 0
    assert f"{a}: object from white background" in capsys.readouterr().out
    seen = Image.open(tmp_path / "seen.png")
    size = load_network(checkpoint)[1]["train"]["image_size"]
    assert seen.size == (size, size)
    assert 0.45 < (np.asarray(seen).min(axis=2) < 128).any(axis=0).mean() < 0.8
    command = ["reconstruct", a, b, *tail, "-o", str(tmp_path / "out"), "--save-input"]
    assert cli.main([*command, str(tmp_path / "seen.png")]) == 1
    assert "a folder for 2" in capsys.readouterr().err
    assert cli.main([*command, str(tmp_path / "seen")]) == 0
    assert sorted(path.name for path in (tmp_path / "seen").iterdir()) == ["a.png", "b.png"]
    photo = (tmp_path / "a.png").read_bytes()
    for photos, place in (([a, b], tmp_path), ([a], tmp_path / "seen" / ".." / "a.png")):
        command = ["reconstruct", *photos, *tail, "-o", str(tmp_path / "out"), "--save-input", str(place)]
        assert cli.main(command) == 1
        assert "would replace this photo" in capsys.readouterr().err
    assert (tmp_path / "a.png").read_bytes() == photo


def test_three_lines_of_python(checkpoint, tmp_path):
    from PIL import Image

    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    config = Config(reconstruct=SMALL)
    result = mesh_of_photo(tmp_path / "photo.png", checkpoint, config)
    result.save(tmp_path / "mesh.glb")
    assert closed(result.mesh)
    assert result.normals.shape == result.mesh.vertices.shape
    twice = mesh_of_photo([tmp_path / "photo.png"] * 2, checkpoint, config)
    assert np.allclose(twice.mesh.vertices, result.mesh.vertices, atol=1e-4)
    with pytest.raises(MeshError, match="no surface"):
        Reconstruction(Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int32)), reason="no surface").save("x.ply")
