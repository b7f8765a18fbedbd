"""Image encoders: a torchvision classifier without its head, and a linear layer to the code."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from occnet_lib.errors import ConfigError, DependencyError

# Mean and standard deviation of ImageNet's pixels, which the pretrained weights expect.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_MAPS = 3  # beside the input, for pixel-aligned features
_LARGE_BATCH = 16  # oneDNN sums smaller batches in another order, which depends on the size of the kernel


class Encoder(nn.Module):
    """Image to code (Mescheder et al. 2019, section 4; there ResNet-18 with c_dim 256).

    Args:
        name: torchvision's name of the classifier: resnet18, resnet50, efficientnet_b0, _b1, _b5 or _b7; or resnet10, a
            ResNet with one block a stage in place of two (He et al. 2016), without pretrained weights.
        c_dim: length of the code.
        pretrained: start from torchvision's ImageNet weights.
        image: rgb, or silhouette: see `silhouettes`.

    Raises:
        DependencyError: the weights are neither on disk nor downloadable.
        ConfigError: there are no pretrained weights of that name.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, c_dim: int, pretrained: bool = False, image: str = "rgb") -> None:
        super().__init__()
        self.image = image
        self.features, channels = _backbone(name, pretrained)
        self.fc = nn.Linear(channels, c_dim)
        # Constants, not part of the state.
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Codes (B, c_dim) of images (B, 3, H, W), float in [0, 1]."""
        code: Tensor = self.fc(self.features(self._pixels(images)))
        return code

    def _pixels(self, images: Tensor) -> Tensor:
        if self.image == "silhouette":
            images = silhouettes(images)
        return (images - self.mean) / self.std

    def with_maps(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Codes (B, c_dim) and the maps (B, C, h, w) of `map_channels`, from the finest on.

        The first is the input itself, then of a ResNet those of conv1, layer1 and layer2, of an EfficientNet those after
        its first three changes of resolution.
        """
        pixels = self._pixels(images)
        pooled, maps = _with_maps(self.features, pixels)
        return self.fc(pooled), [pixels, *maps]

    @property
    def map_channels(self) -> list[int]:
        """Channels of the maps of `with_maps`."""
        with torch.no_grad():
            training = self.training
            maps = self.eval().with_maps(torch.zeros(1, 3, 32, 32))[1]
            self.train(training)
        return [level.shape[1] for level in maps]


def silhouettes(images: Tensor) -> Tensor:
    """Outline and darkness of an object on a white background, without its colour.

    A network that sees colours memorises training shapes by their paint, which does not generalise to new shapes.

    Args:
        images: (B, 3, H, W), float in [0, 1].

    Returns:
        (B, 3, H, W): 1 where any channel is darker than white by 1 / 20 (in between in proportion), and twice how
        much darker than white the pixel is; the background is 0.
    """
    outline = (20.0 * (1.0 - images.amin(dim=1, keepdim=True))).clamp(0.0, 1.0)
    darkness = 1.0 - images.mean(dim=1, keepdim=True)
    return torch.cat([outline, darkness, darkness], dim=1).contiguous(memory_format=torch.channels_last)


class CroppedConv2d(nn.Conv2d):
    """A convolution that leaves out those weights of its kernel that meet only padding, where its output is one pixel.

    Those are 8 of 9 of the last layer of a ResNet for images of 32 pixels, and 5 of 9 of the layer before. Without them a
    training step of `resnet10` takes a tenth less time on a CPU. The result and all gradients are the same, bit for
    bit with batches of at least 16; in evaluation, and with smaller ones, nothing changes.
    """

    @override
    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, D, h, w)."""
        if not (self.training and images.device.type == "cpu" and len(images) >= _LARGE_BATCH):
            return super().forward(images)
        pad, sizes = self.padding, images.shape[2:]
        if isinstance(pad, str) or self.groups > 1 or max(self.dilation) > 1:
            return super().forward(images)
        axes = list(zip(sizes, self.kernel_size, self.stride, pad, strict=True))
        single = all((size + 2 * p - k) // step == 0 and p + size <= k for size, k, step, p in axes)
        if not single or not any(pad):
            return super().forward(images)
        (rows, columns) = (slice(p, p + size) for size, _, _, p in axes)
        return functional.conv2d(images, self.weight[:, :, rows, columns], self.bias, self.stride)


def _crop_kernels(network: nn.Module) -> None:
    """Make the convolutions of a network those above; names and weights stay."""
    for module in network.modules():
        if type(module) is nn.Conv2d:
            module.__class__ = CroppedConv2d


def _with_maps(features: nn.Module, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The output of a classifier without its head, and three of its maps."""
    part = dict(features.named_children())
    if "layer1" in part:  # a ResNet
        stem: Tensor = part["relu"](part["bn1"](part["conv1"](pixels)))
        first = part["layer1"](part["maxpool"](stem))
        second = part["layer2"](first)
        last, maps = part["layer4"](part["layer3"](second)), [stem, first, second]
    else:  # an EfficientNet
        last, maps = pixels, []
        for stage in part["features"].children():
            before, last = last, stage(last)
            if len(maps) < _MAPS and last.shape[-1] < before.shape[-1]:
                maps.append(last)
    return torch.flatten(part["avgpool"](last), 1), maps


def _backbone(name: str, pretrained: bool) -> tuple[nn.Module, int]:
    """The classifier with its head taken off, and how many channels come out of it."""
    from .torchvision_shim import torchvision  # heavy

    network: nn.Module
    if name == "resnet10":
        if pretrained:
            raise ConfigError("there are no ImageNet weights of resnet10", hint="set `pretrained: false`")
        network = torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1])
    else:
        network = torchvision.models.get_model(name, weights=None)
    if pretrained:
        _load_imagenet_weights(network, name)
    _crop_kernels(network)
    if name.startswith("resnet"):
        channels = network.get_submodule("fc").in_features
        network.fc = nn.Identity()
    else:  # an EfficientNet ends in dropout and a linear layer
        channels = network.get_submodule("classifier.1").in_features
        network.classifier = nn.Identity()
    assert isinstance(channels, int)
    return network, channels


def _load_imagenet_weights(network: nn.Module, name: str) -> None:
    """Torchvision's first ImageNet weights, from torch.hub's folder or downloaded into it."""
    from .torchvision_shim import torchvision  # heavy

    url = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].url
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    try:
        state: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
            url, map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except (URLError, OSError) as error:  # URLError: no network connection
        raise DependencyError(
            f"the ImageNet weights of {name} cannot be downloaded ({error})",
            hint=f"place the file of {url} at {file}, or set `pretrained: false`",
        ) from error
    except Exception as error:  # unpickling a broken file raises arbitrary errors
        raise DependencyError(
            f"not readable as weights of {name}: {type(error).__name__}", path=file, hint="delete the file"
        ) from error
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError) as error:  # another network's state, or not a state
        raise DependencyError(
            f"does not hold the weights of {name}", path=file, hint="delete the file"
        ) from error
