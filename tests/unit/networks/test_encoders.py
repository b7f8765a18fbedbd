"""Image encoders and their pretrained weights."""

from __future__ import annotations

from urllib.error import URLError

import pytest
import torch

from occnet_lib.config import ModelConfig
from occnet_lib.errors import ConfigError, DependencyError
from occnet_lib.networks.encoders import CroppedConv2d, Encoder, silhouettes
from occnet_lib.networks.occupancy_network import OccupancyNetwork


@pytest.mark.parametrize(
    "name",
    [
        "resnet10",
        "resnet18",
        "resnet50",
        "efficientnet_b0",
        "efficientnet_b1",
        "efficientnet_b5",
        "efficientnet_b7",
    ],
)
def test_encoders_give_a_code_of_the_requested_length(name):
    encoder = Encoder(name, 12)  # in training: untrained running statistics would hide the image
    with torch.no_grad():
        codes = encoder(torch.rand(2, 3, 33, 40))
    assert codes.shape == (2, 12)
    assert not torch.equal(codes[0], codes[1])


def test_resnet10_is_resnet18_with_one_block_a_stage():
    shapes = {key: value.shape for key, value in Encoder("resnet18", 4).state_dict().items()}
    kept = {key: shape for key, shape in shapes.items() if ".1." not in key.replace("downsample.1.", "")}
    assert {key: value.shape for key, value in Encoder("resnet10", 4).state_dict().items()} == kept
    with pytest.raises(ConfigError, match=r"no ImageNet weights of resnet10.*pretrained: false"):
        Encoder("resnet10", 4, pretrained=True)


@pytest.mark.parametrize(("channels", "size", "stride"), [(64, 2, 2), (128, 1, 1), (128, 1, 2)])
@pytest.mark.parametrize("batch", [16, 3])
def test_kernels_without_their_padding_give_the_same(channels, size, stride, batch):
    torch.manual_seed(0)
    plain = torch.nn.Conv2d(channels, 2 * channels, 3, stride, 1, bias=False).to(
        memory_format=torch.channels_last
    )
    cropped = CroppedConv2d(channels, 2 * channels, 3, stride, 1, bias=False)
    cropped.load_state_dict(plain.state_dict())
    cropped.to(memory_format=torch.channels_last)
    images = torch.randn(batch, channels, size, size).to(memory_format=torch.channels_last)
    results = []
    for conv in (plain, cropped):
        seen = images.clone().requires_grad_(True)
        out = conv(seen)
        out.square().sum().backward()
        results.append((out, seen.grad, conv.weight.grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(other, one)
    used = results[1][2].flatten(0, 1).abs().amax(0) > 0
    assert int(used.sum()) == size**2  # the other weights of the kernel meet padding


def test_other_convolutions_are_those_of_torch(monkeypatch):
    torch.manual_seed(0)
    for size, options in (
        (4, {}),
        (1, {"groups": 4}),
        (1, {"padding": 0, "kernel_size": 1}),
        (2, {"stride": 1}),
    ):
        given = {"kernel_size": 3, "stride": 2, "padding": 1, "bias": True} | options
        plain, images = torch.nn.Conv2d(8, 8, **given), torch.rand(16, 8, size, size)
        cropped = CroppedConv2d(8, 8, **given)
        cropped.load_state_dict(plain.state_dict())
        assert torch.equal(cropped(images), plain(images))
    encoder = Encoder("resnet10", 4)
    kinds = {type(module) for module in encoder.modules() if isinstance(module, torch.nn.Conv2d)}
    assert kinds == {CroppedConv2d}


def test_a_step_with_images_of_32_pixels_leaves_the_padding_out():
    torch.manual_seed(0)
    encoder = Encoder("resnet10", 4)
    encoder(torch.rand(16, 3, 32, 32)).sum().backward()
    for name, used in (("conv1", 4), ("conv2", 1)):
        gradient = encoder.features.layer4[0].get_submodule(name).weight.grad
        assert int((gradient.flatten(0, 1).abs().amax(0) > 0).sum()) == used


def test_the_encoder_normalises_as_imagenet():
    encoder = Encoder("resnet18", 4).eval()
    images = torch.rand(1, 3, 32, 32)
    seen: list[torch.Tensor] = []
    encoder.features.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    encoder(images)
    for channel, (mean, std) in enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]):
        torch.testing.assert_close(seen[0][0, channel], (images[0, channel] - mean) / std)


def test_silhouettes_have_no_colour_and_a_background_of_zero():
    images = torch.ones(1, 3, 32, 32)
    images[0, :, :, 8:16] = torch.tensor([0.9, 0.3, 0.0])[:, None, None]
    images[0, :, :, 16:24] = torch.tensor([0.0, 0.9, 0.3])[:, None, None]
    images[0, :, :, 24:] = torch.tensor([1.0, 0.99, 1.0])[:, None, None]  # outline softened by resizing
    seen = silhouettes(images)[0, :, 0]
    assert not seen[:, :8].any()
    torch.testing.assert_close(seen[:, 8:24], torch.tensor([1.0, 0.6, 0.6])[:, None].expand(3, 16))
    torch.testing.assert_close(seen[:, 31], torch.tensor([0.2, 0.01 / 3, 0.01 / 3]))


def test_only_networks_of_silhouettes_are_blind_to_colour():
    images = torch.rand(2, 3, 32, 32) * 0.5
    painted = images.roll(1, dims=1)
    for image, same in (("rgb", False), ("silhouette", True)):
        network = OccupancyNetwork(ModelConfig(image=image, hidden=8, c_dim=8)).eval()
        assert torch.allclose(network.encode(images), network.encode(painted), atol=1e-5) == same


def test_pretrained_weights_are_read_from_the_hub_folder(tmp_path, monkeypatch):
    from occnet_lib.networks.torchvision_shim import torchvision

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    state = torchvision.models.resnet18(weights=None).state_dict()
    torch.save(state, tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth")
    encoder = Encoder("resnet18", 4, pretrained=True)
    torch.testing.assert_close(encoder.features.conv1.weight, state["conv1.weight"])


def test_missing_pretrained_weights_say_where_to_put_them(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def refuse(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(
        DependencyError, match=r"place the file of http.*resnet18.*\.pth at .*hub/checkpoints"
    ):
        OccupancyNetwork(ModelConfig(pretrained=True))
    OccupancyNetwork(ModelConfig(pretrained=True), pretrained=False)  # inference asks for nothing


def test_a_broken_pretrained_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"<html>")
    with pytest.raises(DependencyError, match=r"resnet18-f37072fd.*delete the file"):
        Encoder("resnet18", 4, pretrained=True)
    for content in ({"conv1.weight": torch.zeros(1)}, torch.zeros(1)):
        torch.save(content, file)
        with pytest.raises(
            DependencyError, match=r"resnet18-f37072fd.*not hold the weights.*delete the file"
        ):
            Encoder("resnet18", 4, pretrained=True)
