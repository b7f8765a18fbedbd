"""ONet's checkpoints (github.com/autonomousvision/occupancy_networks, `model.pt`) as networks of ours, and back.

The networks are the same. ONet's decoder is made of convolutions of kernel size 1, whose weights have an axis of
length 1 more, and its blocks are called block0, block1 and so on. Older files (`onet_img2mesh-0c7780d1.pt`) call
conv_gamma and conv_beta fc_gamma and fc_beta; these are linear.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from occnet_lib.config import ImagesConfig, ModelConfig, TrainConfig
from occnet_lib.errors import DataError
from occnet_lib.storage.atomic import replacing

from .checkpoint import FORMAT, load_network, network_file, save_network
from .framing import framing_of
from .occupancy_network import OccupancyNetwork

logger = logging.getLogger(__name__)
BLOCKS = 5  # of ONet's decoder `cbatchnorm`, whatever its width
ONET_THRESHOLD = 0.2  # test.threshold of ONet's configuration for images
_SHOWN = 8  # names in a message
# An encoder is known by a weight that it alone has.
_BOTTLENECK = "encoder.features.layer1.0.conv3.weight"


def load_onet(path: str | Path) -> tuple[OccupancyNetwork, dict[str, Any]]:
    """The network of an ONet checkpoint, in evaluation mode, and the file's numbers (it, epoch_it, loss_val_best).

    The file is read without running code of its own, also where it holds numpy's scalars, as ONet's do.

    Raises:
        DataError: the file is missing, broken or no checkpoint, or its weights are not those of ONet's network
            for images: the names of missing and left-over weights are in the message.
    """
    content = _read(Path(path))
    state = content.get("model")
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DataError("holds no weights of ONet's under `model`", path=path)
    try:
        network = from_onet(state)
    except DataError as error:
        raise DataError(error.message, path=path) from error
    numbers = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in content.items()
        if isinstance(value, int | float | np.number)
    }
    return network, numbers


def from_onet(state: dict[str, Tensor]) -> OccupancyNetwork:
    """A network with the weights of an ONet state, in evaluation mode; its widths are told by the weights.

    Raises:
        DataError: weights are missing, left over or of another shape; the message names them.
    """
    network = OccupancyNetwork(_model_of(state), pretrained=False)
    expected = network.state_dict()
    ours = {_our_name(name): name for name in state}
    if len(ours) < len(state):
        twice = set(state) - set(ours.values())
        raise DataError(f"is not ONet's network for images: {_listed('there under two names', list(twice))}")
    missing, left_over = expected.keys() - ours.keys(), ours.keys() - expected.keys()
    if missing or left_over:
        legacy = any(".fc_gamma." in name for name in state)
        complaints = [
            _listed("missing", [_onet_name(name, legacy) for name in missing]),
            _listed("left over", [ours[name] for name in left_over]),
        ]
        raise DataError(f"is not ONet's network for images: {'; '.join(filter(None, complaints))}")
    weights = {name: _fitting(state[ours[name]], value, ours[name]) for name, value in expected.items()}
    network.load_state_dict(weights)
    return network.eval()


def to_onet(network: OccupancyNetwork) -> dict[str, Tensor]:
    """The state of a network with ONet's names (conv_gamma) and shapes.

    Raises:
        DataError: ONet has no such network.
    """
    model = network.model
    sizes = {"encoder": model.encoder, "hidden": model.hidden, "c_dim": model.c_dim, "blocks": BLOCKS}
    plain = ModelConfig(**sizes, pretrained=model.pretrained)
    other = [
        key
        for key in ModelConfig.model_fields
        if key not in ("preset", "framing") and getattr(model, key) != getattr(plain, key)
    ]
    other += [] if model.encoder.startswith("resnet") else ["encoder"]
    if other:
        raise DataError(
            f"ONet has no network with {', '.join(f'{key}: {getattr(model, key)}' for key in other)}",
            hint="it has ResNet encoders, the cbn decoder of five blocks, and none of our switches",
        )
    state = {}
    for name, value in network.state_dict().items():
        weight = name.startswith("decoder.") and value.ndim == 2
        state[_onet_name(name)] = (value.unsqueeze(-1) if weight else value).detach().cpu().clone()
    return state


def convert(source: str | Path, target: str | Path) -> str:
    """Write an ONet checkpoint as a network file of ours, or one of ours as an ONet checkpoint.

    Returns:
        "ours" or "onet": what was written.

    Raises:
        DataError: the source is neither of them, or has no counterpart; a full disk.
    """
    if _read(Path(source)).get("format") != FORMAT:
        network, numbers = load_onet(source)
        options = {
            "model_name": "onet",
            "model": network.model.model_dump(mode="json"),
            "images": ImagesConfig(framing="camera").model_dump(mode="json"),
            "train": TrainConfig().model_dump(mode="json"),
            "step": numbers.get("it"),
            "val_threshold": ONET_THRESHOLD,
        }
        save_network(Path(target), network_file(network.state_dict(), options))
        return "ours"
    network, options = load_network(source)
    content: dict[str, Any] = {"model": to_onet(network)}
    if framing_of(options)[0] == "object":
        logger.warning(
            "%s was trained with objects in the middle of their images, which ONet's code does not put there",
            source,
        )
    if options.get("step") is not None:
        content["it"] = options["step"]
    with replacing(target) as temporary:
        torch.save(content, temporary)
    return "onet"


def _model_of(state: dict[str, Tensor]) -> ModelConfig:
    """The widths that the weights tell; ONet's for those that are not there."""
    encoder = "resnet50" if _BOTTLENECK in state else "resnet18"
    sizes: dict[str, Any] = {"encoder": encoder}
    for size, name in (("c_dim", "encoder.fc.bias"), ("hidden", "decoder.fc_p.bias")):
        if name in state and state[name].ndim == 1 and len(state[name]):
            sizes[size] = len(state[name])
    return ModelConfig(**sizes, blocks=BLOCKS)


def _our_name(name: str) -> str:
    name = re.sub(r"^decoder\.block(\d+)\.", r"decoder.blocks.\1.", name)
    return re.sub(r"\.fc_(gamma|beta)\.", r".conv_\1.", name)


def _onet_name(name: str, legacy: bool = False) -> str:
    name = re.sub(r"^decoder\.blocks\.(\d+)\.", r"decoder.block\1.", name)
    return re.sub(r"\.conv_(gamma|beta)\.", r".fc_\1.", name) if legacy else name


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{what}: {', '.join(sorted(names)[:_SHOWN])}{more}"


def _fitting(value: Tensor, expected: Tensor, name: str) -> Tensor:
    """The weight without a convolution's last axis."""
    if value.ndim == expected.ndim + 1 and value.shape[-1] == 1:
        value = value.squeeze(-1)
    if value.shape != expected.shape:
        raise DataError(f"{name} has shape {tuple(value.shape)} instead of {tuple(expected.shape)}")
    return value


def _read(path: Path) -> dict[str, Any]:
    """The dictionary in a file of torch's, of tensors, plain values and numpy's numbers only."""
    # What numpy pickles its numbers by, under its old and its new name.
    scalar = np.float64(0).__reduce__()[0]
    allowed: list[Any] = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    allowed += [np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8"))]
    try:
        with torch.serialization.safe_globals(allowed):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise DataError("no such file", path=path) from error
    except Exception as error:  # a broken zip or pickle raises anything
        raise DataError(f"not readable as a checkpoint: {type(error).__name__}", path=path) from error
    if not isinstance(content, dict):
        raise DataError("holds no weights of ONet's under `model`", path=path)
    return content
