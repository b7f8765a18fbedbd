"""Cameras of photos by the command line: files, known ones, predicted ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from occnet_lib import cli
from occnet_lib.config import Config, ModelConfig, ReconstructConfig
from occnet_lib.errors import ConfigError, DataError
from occnet_lib.geometry.cameras import Camera, camera_of, project
from occnet_lib.networks.checkpoint import network_file, save_network
from occnet_lib.networks.framing import input_projections, network_input
from occnet_lib.networks.occupancy_network import OccupancyNetwork
from occnet_lib.networks.pose import Pose, pose_of
from occnet_lib.reconstruction import face_samples as module
from occnet_lib.reconstruction.cameras import box_overlap
from occnet_lib.reconstruction.face_features import face_features
from occnet_lib.reconstruction.photo import framed_photo
from occnet_lib.reconstruction.photo_meshes import contradicted_cameras, mesh_of_photo
from occnet_lib.reconstruction.reconstructor import Reconstructor
from occnet_lib.reconstruction.shard import reconstruct_shard
from occnet_lib.storage.cameras import read_camera, write_camera
from occnet_lib.storage.meshes import load_mesh
from occnet_lib.storage.meshes.frame import read_frame
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.reconstructions import read_mesh
from occnet_lib.types import Mesh
from tests.support.dotted_images import cameras, dots, hull_shard
from tests.support.random_networks import shaken

pytestmark = pytest.mark.real_encoder
RECONSTRUCT = ReconstructConfig(resolution0=16, upsampling_steps=0, simplify={"faces": None}, refine_steps=0)
EDGE = 40


def checkpoint(path: Path, framing: str, **keys) -> Path:
    """A random network, whose surface depends on the camera."""
    torch.manual_seed(1)
    model = ModelConfig(encoder="resnet10", decoder="fc", hidden=16, c_dim=8, blocks=1, **keys)
    network = OccupancyNetwork(model, pretrained=False)
    if network.local is not None:
        shaken(network.local)
    shaken(network.decoder)
    options = {
        "model": model.model_dump(),
        "images": {"framing": framing, "fill": 0.8},
        "train": {"image_size": 32},
        "view_size": EDGE,
        "val_threshold": 0.5,
    }
    with torch.no_grad():  # half of the cube is inside
        points = torch.rand(1, 500, 3) - 0.5
        seen = network_input(dots(np.zeros((1, 3)), 1, EDGE, radius=9).images, options, "cpu")
        code, *maps = network.eval().features(seen)
        pose = torch.tensor([[[2.5, 0, 0, 0], [0, 2.5, 0, 0], [0, 0, 1, 2]]])
        network.decoder.fc_out.bias -= network.decode(points, code, torch.eye(3)[None], pose, *maps).median()
    save_network(path, network_file(network.state_dict(), options))
    return path


def of_pack(shard: Shard, i: int) -> Camera:
    camera_mat, world_mat, loc, scale = shard.camera(i, 0)
    return Camera(camera_mat, world_mat, EDGE, EDGE, loc, scale)


@pytest.mark.parametrize("framing", ["object", "camera"])
def test_a_view_with_its_camera_gives_the_mesh_of_the_workflow(tmp_path, framing, capsys):
    best, pack = (
        checkpoint(tmp_path / "best.ckpt", framing, local=True),
        hull_shard(tmp_path / "test-0.h5", 2, EDGE),
    )
    reconstruct_shard(best, pack, RECONSTRUCT, tmp_path / "made")
    overlay, shard = tmp_path / "small.yaml", Shard(pack)
    overlay.write_text(Config(reconstruct=RECONSTRUCT).model_dump_json())
    photos = []
    for i, key in enumerate(shard.keys):
        photos.append(tmp_path / f"{key.id}.png")
        photos[-1].write_bytes(shard.image_bytes(i, 0))
        write_camera(tmp_path / "known" / f"{key.id}.json", of_pack(shard, i))
    command = ["reconstruct", *map(str, photos), "--checkpoint", str(best), "--config", str(overlay)]
    known = ["--camera", str(tmp_path / "known")]
    assert cli.main([*command, "-o", str(tmp_path / "out"), *known]) == 0
    for photo, key in zip(photos, shard.keys, strict=True):
        mine, theirs = load_mesh(tmp_path / "out" / f"{photo.stem}.ply"), read_mesh(tmp_path / "made", key)
        np.testing.assert_array_equal(mine.faces, theirs.faces)
        np.testing.assert_allclose(mine.vertices, theirs.vertices, atol=1e-4)
    # Together, each photo has its own camera, as in Python.
    assert cli.main([*command, "-o", str(tmp_path / "one.ply"), "--merge", *known]) == 0
    files = [tmp_path / "known" / f"{photo.stem}.json" for photo in photos]
    merged = mesh_of_photo(photos, best, Config(reconstruct=RECONSTRUCT), camera=files)
    np.testing.assert_allclose(load_mesh(tmp_path / "one.ply").vertices, merged.mesh.vertices, atol=1e-5)
    with pytest.raises(ConfigError, match="1 cameras for 2 photos"):
        mesh_of_photo(photos, best, camera=files[0])
    # Of several objects, one without its camera is named and the others get their meshes.
    files[0].unlink()
    capsys.readouterr()
    assert cli.main([*command, "-o", str(tmp_path / "rest"), *known]) == 1
    said = capsys.readouterr().err
    assert f"--camera needs the camera of {photos[0]}" in said
    assert "1 of 2 photos gave no mesh" in said
    assert [path.name for path in (tmp_path / "rest").iterdir()] == [f"{photos[1].stem}.ply"]


def test_without_a_camera_a_local_model_says_what_is_missing(tmp_path, capsys):
    best = checkpoint(tmp_path / "best.ckpt", "object", local=True)
    photo = tmp_path / "photo.png"
    Image.fromarray(dots(np.zeros((1, 3)), 1, EDGE).images[0]).save(photo)
    command = ["reconstruct", str(photo), "--checkpoint", str(best), "-o", str(tmp_path / "out.ply")]
    assert cli.main(command) == 1
    error = capsys.readouterr().err
    assert "needs the camera of every image" in error
    assert "--camera camera.json" in error
    assert cli.main([*command, "--camera-out", str(tmp_path / "c.json")]) == 1
    assert "predicts no cameras" in capsys.readouterr().err
    assert cli.main([*command, "--camera", str(tmp_path / "none.json")]) == 1
    assert "cannot be read as a camera" in capsys.readouterr().err
    write_camera(tmp_path / "wide.json", Camera(np.eye(3), np.hstack([np.eye(3), [[0], [0], [2.0]]]), 64, 48))
    assert cli.main([*command, "--camera", str(tmp_path / "wide.json")]) == 1
    assert f"photo.png: the image has {EDGE} x {EDGE} pixels, its camera 64 x 48" in capsys.readouterr().err


class TestBoxOverlap:
    CUBE = Mesh(np.array(np.meshgrid(*[[-0.5, 0.5]] * 3)).reshape(3, -1).T, np.zeros((0, 3), np.int32))

    def camera(self, scale: float = 1.0, **keys) -> Camera:
        """Of a cube of edge 1 at distance 3, whose near face has 80 of 200 pixels."""
        camera_mat = np.array([[200.0, 0, 100], [0, 200, 100], [0, 0, 1]])
        world_mat = np.concatenate([np.eye(3), [[0], [0], [3.0]]], axis=1)
        return replace(Camera(camera_mat, world_mat, 200, 200, np.zeros(3), scale), **keys)

    def image(self, left: int = 60, right: int = 140) -> np.ndarray:
        image = np.full((200, 200, 3), 255, np.uint8)
        image[60:140, left:right] = 90
        return image

    @pytest.mark.parametrize(
        ("camera", "right", "overlap"),
        [
            ({}, 140, 1.0),
            ({}, 100, 0.5),
            ({"scale": 2.0}, 140, 0.16),  # the near face has 200 pixels
            (
                {"loc": np.array([0.5, 0.0, 0.0])},
                140,
                1 / 3,
            ),  # 40 pixels to the right, and to the far face's left edge
            ({"world_mat": -np.concatenate([np.eye(3), [[0], [0], [3.0]]], axis=1)}, 140, 0.0),
        ],
    )
    def test_it_is_that_of_rectangles(self, camera, right, overlap):
        projection = self.camera(**camera).projection
        assert box_overlap(self.CUBE, self.image(right=right), projection) == pytest.approx(overlap, abs=0.03)

    def test_a_wrong_camera_is_named(self):
        projections = np.stack([self.camera().projection, self.camera(scale=2.0).projection])
        lines = contradicted_cameras(["a.png", "b.png"], [self.image()] * 2, projections, self.CUBE)
        assert len(lines) == 1
        assert lines[0].startswith("b.png: by its camera the mesh is not where the photo shows the object")
        assert "overlap by 16%" in lines[0]


@pytest.mark.parametrize("frame", ["unit", "camera"])
def test_a_predicted_camera_is_written_read_again_and_turns_a_mesh_upright(tmp_path, frame, capsys):
    """With the written camera as a known one the mesh is the same, in the unit frame."""
    best = checkpoint(tmp_path / "best.ckpt", "object", local=True, pose=True, frame=frame)
    photo, overlay = tmp_path / "photo.png", tmp_path / "small.yaml"
    image = dots(np.array([(0.2, 0.1, 0.0), (-0.3, 0.2, 0.1)]), 1, 64, radius=9).images[0]
    framed = np.full((90, 120, 3), 255, np.uint8)
    framed[10:74, 40:104] = image  # the object is not in the photo's middle
    Image.fromarray(framed).save(photo)
    overlay.write_text(Config(reconstruct=RECONSTRUCT).model_dump_json())
    command = ["reconstruct", str(photo), "--checkpoint", str(best), "--config", str(overlay), "-o"]
    out = tmp_path / "camera.json"
    assert cli.main([*command, str(tmp_path / "a.ply"), "--camera-out", str(out)]) == 0
    written = json.loads(out.read_text())
    assert written["image_size"] == [120, 90]
    assert len(written["others"]) == 3
    assert written["probability"] + sum(other["probability"] for other in written["others"]) == pytest.approx(
        1, abs=1e-3
    )
    assert cli.main([*command, str(tmp_path / "b.ply"), "--camera", str(out)]) == 0
    before = out.read_bytes()
    assert cli.main([*command, str(tmp_path / "c.ply"), "--camera", str(out), "--camera-out", str(out)]) == 1
    assert "--camera-out would replace" in capsys.readouterr().err
    assert out.read_bytes() == before
    first, second = (load_mesh(tmp_path / name) for name in ("a.ply", "b.ply"))
    assert first.vertices.shape == second.vertices.shape
    np.testing.assert_allclose(first.vertices, second.vertices, atol=1e-3)
    assert read_frame(tmp_path / "a.ply").frame == "unit"
    camera = read_camera(out)
    np.testing.assert_allclose(
        camera.camera_mat[:2, 2], [60, 45], atol=1e-3
    )  # the axis passes the photo's middle
    network = Reconstructor(best, RECONSTRUCT)
    direct = network.cameras(framed[None]).projections[0, 0]
    np.testing.assert_allclose(camera.projection, direct / np.linalg.norm(direct[2, :3]), atol=1e-5)


def test_options_that_a_model_or_a_refinement_ignores_are_warnings(tmp_path, capsys):
    best = checkpoint(tmp_path / "best.ckpt", "object")
    photo, overlay, known = tmp_path / "photo.png", tmp_path / "small.yaml", tmp_path / "camera.json"
    Image.fromarray(dots(np.zeros((1, 3)), 1, EDGE).images[0]).save(photo)
    overlay.write_text(Config(reconstruct=RECONSTRUCT).model_dump_json())
    (camera_mat,), (world_mat,) = cameras(1, 5, EDGE)
    write_camera(known, Camera(camera_mat, world_mat, EDGE, EDGE))
    command = ["reconstruct", str(photo), "--checkpoint", str(best), "--config", str(overlay), "-o"]
    assert cli.main([*command, str(tmp_path / "plain.ply")]) == 0
    assert "no effect" not in capsys.readouterr().err
    more = ["--camera", str(known), "--graph", "graph.ckpt", "--refinement", "none", "--refine", "3"]
    assert cli.main([*command, str(tmp_path / "more.ply"), *more]) == 0
    said = capsys.readouterr().err
    assert "the given cameras have no effect" in said
    assert "graph.ckpt has no effect: reconstruct.refinement is none" in said
    assert "3 steps of gradient refinement have no effect" in said
    assert (tmp_path / "more.ply").read_bytes() == (tmp_path / "plain.ply").read_bytes()


def test_several_hypotheses_are_averaged_in_meshes_and_in_logits(tmp_path):
    best, pack = (
        checkpoint(tmp_path / "best.ckpt", "object", local=True, pose=True),
        hull_shard(tmp_path / "test-0.h5", 2, EDGE),
    )
    shard, rng = Shard(pack), np.random.default_rng(0)
    images, turned = np.stack([shard.image(i, 0) for i in (0, 1)]), np.zeros((2, 3, 3))
    points = rng.uniform(-0.5, 0.5, (300, 3)).astype(np.float32)
    several = Reconstructor(best, RECONSTRUCT.model_copy(update={"poses": 3}))
    logits = several.logits(images, turned, points)
    for image, own in zip(images, logits, strict=True):
        np.testing.assert_allclose(several.mean_field(image).on_array(points), own, atol=2e-3)
    likeliest = Reconstructor(best, RECONSTRUCT)
    single = likeliest.logits(images, turned, points)
    assert np.abs(single - logits).max() > 0.01
    cameras_of = likeliest.cameras(images, 3)
    fields = [likeliest.logits(images, turned, points, cameras_of.projections[:, k]) for k in range(3)]
    mean = sum(w[:, None] / (1 + np.exp(-f)) for w, f in zip(cameras_of.probabilities.T, fields, strict=True))
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), mean, atol=1e-4)
    # A given camera is taken alone.
    given = cameras_of.projections[:, 0]
    np.testing.assert_array_equal(several.logits(images, turned, points, given), fields[0])
    # Parts of a camera come from the prediction, the others from the given one.
    true = np.stack([shard.projection(i, 0, images.shape[1:3]) for i in (0, 1)])
    mixed = {parts: scaled(likeliest.cameras_with(images, true, parts)) for parts in ((), Pose._fields)}
    np.testing.assert_allclose(mixed[()], scaled(true), atol=1e-3)
    np.testing.assert_allclose(mixed[Pose._fields], scaled(given), atol=1e-3)
    own = likeliest.cameras_with(images, true, ["log_distance"])
    poses = [pose_of(input_projections(each, images, likeliest._options, "cpu")) for each in (own, true)]
    apart = {name: float((a - b).abs().max()) for name, a, b in zip(Pose._fields, *poses, strict=True)}
    assert apart.pop("log_distance") > 0.01
    assert max(apart.values()) < 1e-3
    made = several.reconstruct_batch(list(images), [rng, rng], turned)
    assert [len(each.mesh.faces) > 0 for each in made] == [True, True]
    assert "poses" not in RECONSTRUCT.model_dump()


def scaled(projections: np.ndarray) -> np.ndarray:
    """Projections whose third row has a unit direction, so that equal cameras are equal arrays."""
    return projections / np.linalg.norm(projections[..., 2:, :3], axis=-1, keepdims=True)


def test_a_camera_survives_its_projection_and_its_file(tmp_path):
    (camera_mat,), (world_mat,) = cameras(1, 5, 200)
    camera = Camera(camera_mat, world_mat, 200, 150, np.array([1.0, 2, 3]) / 50, 0.8)
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (9, 3))
    uv, _ = project(points, camera_mat, world_mat, camera.loc, camera.scale)
    again = camera_of(camera.projection, 200, 150)
    np.testing.assert_allclose(project(points, again.camera_mat, again.world_mat, np.zeros(3), 1.0)[0], uv)
    np.testing.assert_allclose(again.camera_mat, camera_mat, atol=1e-9)
    np.testing.assert_allclose(again.rotation, camera.rotation, atol=1e-12)
    write_camera(tmp_path / "camera.json", camera)
    np.testing.assert_allclose(read_camera(tmp_path / "camera.json").projection, camera.projection)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"world_mat": np.eye(3).tolist()}, "expected 3 x 4"),
        ({"world_mat": (2 * np.eye(3, 4)).tolist()}, "not a rotation"),
        ({"world_mat": (np.diag([1.0, 1, -1]) @ np.eye(3, 4)).tolist()}, "not a rotation"),
        ({"world_mat": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -2]]}, "behind the camera"),
        ({"camera_mat": [[0, 0, 0], [0, 1, 0], [0, 0, 1]]}, "intrinsics"),
        ({"camera_mat": [["a"] * 3] * 3}, "numbers"),
        ({"image_size": [0, 10]}, "above 0"),
        ({"scale": float("nan")}, "finite"),
        ({"scale": 10**400}, "numbers"),
        ({"image_size": None}, "finite|numbers"),
    ],
)
def test_a_wrong_camera_is_refused(tmp_path, change, said):
    (camera_mat,), (world_mat,) = cameras(1, 5, 200)
    write_camera(tmp_path / "camera.json", Camera(camera_mat, world_mat, 200, 150), change)
    with pytest.raises(DataError, match=said):
        read_camera(tmp_path / "camera.json")
    (tmp_path / "camera.json").write_text("[1")
    with pytest.raises(DataError, match="cannot be read"):
        read_camera(tmp_path / "camera.json")


@pytest.mark.parametrize("framing", ["object", "camera"])
@pytest.mark.parametrize("as_is", [False, True])
def test_the_place_of_a_network_image_in_the_photo_is_known(tmp_path, framing, as_is):
    """A dot of the photo is at the same fraction of what the network gets; a thin frame is cropped from the photo."""
    photo = np.full((120, 160, 3), 235, np.uint8)
    photo[40:60, 90:120] = (160, 30, 30)
    photo[:3], photo[-3:], photo[:, :3], photo[:, -3:] = ((20, 20, 20),) * 4
    Image.fromarray(photo).save(tmp_path / "photo.png")
    got = framed_photo(tmp_path / "photo.png", framing, 137, as_is=as_is)
    red = (got.image[..., 0].astype(int) - got.image[..., 1] > 80).nonzero()
    row, column = (np.mean(each) + 0.5 for each in red)
    height, width, _ = got.image.shape
    left, top, across, down = got.window
    assert left + across * column / width == pytest.approx(105 / 160, abs=0.01)
    assert top + down * row / height == pytest.approx(50 / 120, abs=0.01)
    eye = Camera(np.eye(3), np.eye(3, 4), 1, 1)
    at = got.projection(eye) @ (105 / 160, 50 / 120, 1, 1)
    np.testing.assert_allclose(at[:2], [column / width, row / height], atol=0.02)


@pytest.mark.parametrize("poses", [0, 1, 3])
def test_the_graph_network_learns_from_the_field_of_the_mesh(tmp_path, monkeypatch, poses):
    """By the given camera, the likeliest one, the mean over several."""
    best, pack = (
        checkpoint(tmp_path / "best.ckpt", "object", local=True, pose=poses > 0),
        hull_shard(tmp_path / "train-0.h5", 2, EDGE),
    )
    off_surface = []

    def features(field, mesh, level, device):
        vertices = torch.as_tensor(mesh.vertices, dtype=torch.float32)
        inside, beside = ((field(at)[0] - level).abs().median() for at in (vertices, vertices.flip(1)))
        off_surface.append(float(inside / beside))
        return face_features(field, mesh, level, device)

    monkeypatch.setattr(module, "face_features", features)
    config = RECONSTRUCT.model_copy(update={"refinement": "graph", "poses": max(poses, 1), "resolution0": 32})
    names = {key.name for key in Shard(pack).keys}
    files = module.face_samples(best, [pack], names, config, 0, tmp_path / "faces")
    assert len(files) == len(off_surface) == 2
    assert max(off_surface) < 0.2
