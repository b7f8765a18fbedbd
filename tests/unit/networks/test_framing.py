"""One framing for all images: windows, their resampling, and the same mesh by the command as in the workflow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from occnet_lib import cli
from occnet_lib.config import Config, ImagesConfig, ModelConfig, ReconstructConfig, TrainConfig
from occnet_lib.networks import images as resampling
from occnet_lib.networks.checkpoint import network_file, save_network
from occnet_lib.networks.framing import moved, network_input, object_box, object_window, within
from occnet_lib.networks.images import encoder_input
from occnet_lib.networks.occupancy_network import OccupancyNetwork
from occnet_lib.reconstruction.photo import OBJECT_FRACTION, framed_photo
from occnet_lib.reconstruction.reconstructor import Reconstructor
from occnet_lib.reconstruction.shard import reconstruct_shard
from occnet_lib.storage.meshes import load_mesh
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.reconstructions import read_mesh
from occnet_lib.training.batch import collate
from occnet_lib.training.dataset import ShapeSet, TrainingItems, ValidationItems
from occnet_lib.training.device_set import DeviceSet
from tests.support.train_config import train_config
from tests.support.training_shapes import make_shard

OBJECT = {"images": {"framing": "object", "fill": 0.8}, "train": {"image_size": 40}}
CAMERA = {"train": {"image_size": 40}}  # as files were before they had a framing


def scene(left, top, width, height, edge=100, colour=(90, 60, 40)) -> np.ndarray:
    image = np.full((edge, edge, 3), 255, np.uint8)
    image[top : top + height, left : left + width] = colour
    return image


def test_the_box_is_that_of_pixels_darker_than_white_by_a_fifth():
    assert object_box(scene(10, 20, 30, 40)) == (10, 20, 40, 60)
    assert object_box(scene(10, 20, 30, 40, colour=(255, 255, 204))) == (10, 20, 40, 60)
    assert object_box(scene(10, 20, 30, 40, colour=(255, 255, 205))) == (0, 0, 100, 100)
    assert object_box(np.full((30, 50, 3), 255, np.uint8)) == (0, 0, 50, 30)
    window = object_window(scene(10, 20, 30, 40)[:80], 0.5)
    np.testing.assert_allclose(window * [100, 80, 100, 80], [-15, 0, 80, 80], atol=1e-4)


@settings(deadline=None, max_examples=25)
@given(left=st.integers(0, 60), top=st.integers(0, 60), times=st.integers(1, 4), width=st.integers(10, 40))
def test_a_framed_object_looks_the_same_wherever_it_was(left, top, times, width):
    first = scene(5, 8, width, 30)
    other = np.full((120 * times, 140 * times, 3), 255, np.uint8)
    patch = first[8:38, 5 : 5 + width].repeat(times, 0).repeat(times, 1)
    other[top * times : (top + 30) * times, left * times : (left + width) * times] = patch
    pair = [network_input(image[None], OBJECT, "cpu") for image in (first, other)]
    # A window is rounded to whole pixels, which moves edges by half a pixel of the smaller image.
    assert (pair[0] - pair[1]).abs().mean() < 0.04
    dark = (pair[1][0].amin(0) < 0.6).nonzero()
    extent = dark.amax(0) - dark.amin(0) + 1
    assert abs(extent.max() - 0.8 * 40) <= 2


@pytest.mark.parametrize("size", [24, 40, 120])
def test_windows_in_8_bits_are_those_in_floats(monkeypatch, size):
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(0, 256, (4, 50, 60, 3), dtype=np.uint8))
    edge = rng.uniform(0.3, 1.4, (4, 1))
    windows = torch.from_numpy(np.hstack([rng.uniform(-0.3, 0.3, (4, 2)), edge, edge]).astype(np.float32))
    rolls = torch.tensor([[0.0], [0.3], [-0.2], [0.05]])
    for at in (windows, torch.cat([windows, rolls], dim=1)):
        rounded = encoder_input(pixels, size, at)
        with monkeypatch.context() as patch:
            patch.setattr(resampling, "_in_8_bits", lambda pixels: False)
            exact = encoder_input(pixels, size, at)
        torch.testing.assert_close(rounded, exact, atol=1.02 / 255, rtol=0)
        assert rounded.is_contiguous(memory_format=torch.channels_last)


def test_a_window_of_everything_is_the_image_and_around_it_is_white():
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 200, (1, 40, 40, 3), dtype=np.uint8))
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    torch.testing.assert_close(encoder_input(pixels, 24, whole), encoder_input(pixels, 24), atol=0, rtol=0)
    wide = encoder_input(pixels, 80, torch.tensor([[-0.5, -0.5, 2.0, 2.0]]))
    torch.testing.assert_close(wide[..., 20:60, 20:60], encoder_input(pixels, 40), atol=0, rtol=0)
    assert (wide[..., :20, :] == 1).all()
    assert (wide[..., 60:] == 1).all()
    beyond = encoder_input(pixels, 24, torch.tensor([[2.0, 2.0, 0.5, 0.5]]))
    assert (beyond == 1).all()


@pytest.mark.parametrize("size", [40, 120])
def test_a_roll_turns_clockwise_about_the_middle(size):
    image = torch.from_numpy(scene(10, 40, 80, 20, edge=120, colour=(0, 0, 0)))[None]
    straight, turned = (
        encoder_input(image, size, torch.tensor([[0.0, 0.0, 1.0, 1.0, roll]])) for roll in (0.0, np.pi / 2)
    )
    plain = encoder_input(image, size)
    assert (straight - plain).abs().mean() < 0.02
    assert (turned - torch.rot90(plain, -1, (2, 3))).abs().mean() < 0.02


def test_training_moves_objects_within_limits_and_validation_does_not(tmp_path):
    shapes = ShapeSet([make_shard(tmp_path / "train-0.h5", 3, near=160)], TrainConfig())
    train, images = train_config(points=64), ImagesConfig(shift=0.05, scale=0.2, roll=10.0)
    items = TrainingItems(shapes, train, 0, images)
    still = TrainingItems(
        shapes, train, 0, images.model_copy(update={"shift": 0.0, "scale": 0.0, "roll": 0.0})
    )
    plain = TrainingItems(shapes, train, 0)
    windows, frames = [], []
    for epoch in range(200):
        item, frame = items[epoch, 1], still[epoch, 1].window
        np.testing.assert_array_equal(item.points, plain[epoch, 1].points)  # nothing else changes by it
        np.testing.assert_array_equal(frame, object_window(item.image, images.fill))
        windows.append(item.window)
        frames.append(frame)
    windows, frames = np.array(windows), np.array(frames)
    scale = frames[:, 2] / windows[:, 2]
    shift = (frames[:, :2] + frames[:, 2:] / 2 - windows[:, :2] - windows[:, 2:4] / 2) / windows[:, 2:4]
    for values, limit in ((scale - 1, 0.2), (shift, 0.05), (windows[:, 4], np.radians(10))):
        assert np.abs(values).max() <= limit + 1e-5
        assert np.ptp(values) > 1.7 * limit
    level = TrainingItems(shapes, train, 0, images.model_copy(update={"roll": 0.0}))
    np.testing.assert_array_equal(level[3, 1].window, windows[3, :4])
    assert plain[0, 1].window is None
    validation = ValidationItems(shapes, train, images)[1]
    np.testing.assert_array_equal(validation.window, object_window(validation.image, images.fill))
    assert ValidationItems(shapes, train)[1].window is None
    pairs = [(3, 0), (3, 1), (4, 2)]
    for made in (items, still, plain):
        batch, gathered = collate([made[pair] for pair in pairs]), DeviceSet(made, "cpu").batch(pairs)
        torch.testing.assert_close(gathered.windows, batch.windows)


def test_a_moved_object_is_larger_and_where_it_was_moved():
    image = scene(30, 40, 30, 20)
    frame = object_window(image, 0.5)
    window = moved(frame, np.array([0.1, -0.2]), 1.2, None)
    seen = encoder_input(torch.from_numpy(image)[None], 100, torch.from_numpy(window)[None])[0].amin(0)
    rows, columns = (seen < 0.6).any(1).nonzero(), (seen < 0.6).any(0).nonzero()
    assert abs((columns.max() - columns.min() + 1) - 60) <= 2
    assert abs((columns.max() + columns.min() + 1) / 2 - 60) <= 1.5
    assert abs((rows.max() + rows.min() + 1) / 2 - 30) <= 1.5
    np.testing.assert_allclose(
        within(frame, np.array([0.5, 0.5, 0.25])),
        [frame[0] + 0.5 * frame[2], frame[1] + 0.25 * frame[3], *(0.5 * frame[2:])],
        rtol=1e-6,
    )


def test_presets_of_onet_see_images_as_they_are():
    config = Config(models={"a": "onet", "b": "onet-silhouette", "c": {"framing": "camera"}})
    assert [config.images_of(name).framing for name in "abc"] == ["camera", "object", "camera"]
    # What they do not look at begins no training again.
    other = config.model_copy(update={"images": ImagesConfig(fill=0.5, roll=0.0)})
    assert [other.images_of(name) == config.images_of(name) for name in "abc"] == [True, False, True]


def varied(path: Path, options: dict) -> Path:
    """A network whose surface depends on the image."""
    torch.manual_seed(1)
    model = ModelConfig(decoder="fc", hidden=32, c_dim=8, blocks=1)
    network = OccupancyNetwork(model, pretrained=False)
    with torch.no_grad():
        torch.nn.init.normal_(network.decoder.fc_out.weight)
        torch.nn.init.zeros_(network.decoder.fc_out.bias)
        network.eval()
        # The codes of two images are far apart.
        pair = [
            network.encode(network_input(scene(9, 9, 40, width)[None], OBJECT, "cpu")) for width in (20, 50)
        ]
        spread = (pair[0] - pair[1]).abs().mean()
        network.encoder.fc.bias.copy_(-(pair[0] + pair[1])[0] / 2 + network.encoder.fc.bias)
        network.encoder.fc.weight.div_(spread)
        network.encoder.fc.bias.div_(spread)
    save_network(path, network_file(network.state_dict(), {"model": model.model_dump(), **options}))
    return path


@pytest.mark.parametrize("options", [OBJECT, CAMERA | {"view_size": 33}])
def test_an_image_of_the_packs_gives_the_same_mesh_by_the_command_as_in_the_workflow(tmp_path, options):
    checkpoint = varied(tmp_path / "best.ckpt", options | {"val_threshold": 0.5})
    pack = make_shard(tmp_path / "test-0.h5", 2)
    config = ReconstructConfig(resolution0=16, upsampling_steps=1, simplify={"faces": None}, refine_steps=0)
    reconstruct_shard(checkpoint, pack, config, tmp_path / "made")
    overlay = tmp_path / "small.yaml"
    overlay.write_text(Config(reconstruct=config).model_dump_json())
    shard, meshes = Shard(pack), []
    for i, key in enumerate(shard.keys):
        photo = tmp_path / f"{key.id}.png"
        photo.write_bytes(shard.image_bytes(i, 0))
        out = photo.with_suffix(".ply")
        command = ["reconstruct", str(photo), "--checkpoint", str(checkpoint), "-o", str(out)]
        assert cli.main([*command, "--config", str(overlay)]) == 0
        mine, theirs = load_mesh(out), read_mesh(tmp_path / "made", key)
        np.testing.assert_array_equal(mine.faces, theirs.faces)
        np.testing.assert_allclose(mine.vertices, theirs.vertices, atol=1e-6)
        meshes.append(mine)
    assert meshes[0].vertices.shape != meshes[1].vertices.shape  # the image matters


def save(path: Path, image: np.ndarray) -> Path:
    Image.fromarray(image).save(path)
    return path


def test_a_camera_network_gets_a_view_as_it_is_and_other_photos_centred(tmp_path):
    view = scene(20, 30, 60, 40, edge=137)
    image, said, _ = framed_photo(save(tmp_path / "view.png", view), "camera", 137)
    assert (image == view).all()
    assert "like a training view" in said
    large = scene(70, 90, 200, 150, edge=400)
    image, said, _ = framed_photo(save(tmp_path / "large.png", large), "camera", 137)
    assert (image == large).all()
    assert "like a training view" in said
    corner = scene(0, 0, 200, 160, edge=600)
    image, said, _ = framed_photo(save(tmp_path / "corner.png", corner), "camera", 137)
    assert image.shape == (137, 137, 3)
    left, top, right, bottom = object_box(image)
    assert max(right - left, bottom - top) == pytest.approx(OBJECT_FRACTION * 137, abs=2)
    assert f"put in the middle at {OBJECT_FRACTION:g}" in said
    image, said, _ = framed_photo(tmp_path / "corner.png", "object", 137)
    assert (image == corner).all()
    assert "framed by its box" in said


def test_as_is_shows_the_whole_image_also_to_a_network_that_frames(tmp_path, capsys):
    clutter = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    photo = save(tmp_path / "clutter.png", clutter)
    checkpoint = varied(tmp_path / "best.ckpt", OBJECT | {"val_threshold": 0.5})
    image, *_ = framed_photo(photo, "object", 137, as_is=True)
    assert image.shape == (90, 90, 3)
    assert (image[15:75] == clutter).all()
    assert (image[:15] == 255).all()
    seen = Reconstructor(checkpoint, ReconstructConfig(), as_is=True).seen(image)
    expected = (encoder_input(torch.from_numpy(image)[None], 40)[0].permute(1, 2, 0) * 255).round()
    assert (seen == expected.numpy()).all()
    command = ["reconstruct", str(photo), "--checkpoint", str(checkpoint), "-o", str(tmp_path / "m.ply")]
    assert cli.main([*command, "--resolution", "32", "--refine", "0", "--threshold", "0.05", "--as-is"]) == 0
    assert "the image as it is" in capsys.readouterr().out
    assert cli.main([*command, "--as-is", "--mask", "alpha"]) == 1
    assert "exclude each other" in capsys.readouterr().err
