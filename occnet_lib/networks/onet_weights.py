"""ONet's checkpoints (github.com/autonomousvision/occupancy_networks, `model.pt`) converted to networks of occnet, and back.

The networks are equal. ONet's decoder consists of convolutions of kernel size 1, whose weights have an additional axis of
length 1, and its blocks are named block0, block1 and so on. Older files (`onet_img2mesh-0c7780d1.pt`) name conv_gamma and
conv_beta fc_gamma and fc_beta; these are linear layers.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from occnet_lib.config import ImagesConfig, ModelConfig, TrainConfig
from occnet_lib.errors import DataError

from .checkpoint import FORMAT, load_network, network_file, read_plain, save_network
from .framing import framing_of
from .occupancy_network import OccupancyNetwork

logger = logging.getLogger(__name__)
BLOCKS = 5  # of ONet's decoder `cbatchnorm`, whatever its width
ONET_THRESHOLD = 0.2  # test.threshold of ONet's configuration for images
_NO_WEIGHTS = "has no ONet weights under `model`"
_MAX_NAMES = 8  # names in a message
# A weight that only ResNet-50 has.
_BOTTLENECK = "encoder.features.layer1.0.conv3.weight"


def load_onet(path: str | Path) -> tuple[OccupancyNetwork, dict[str, Any]]:
    """The network of an ONet checkpoint, in evaluation mode, and the file's numbers (it, epoch_it, loss_val_best).

    Loading executes no code from the file, even if it holds NumPy scalars, as ONet's files do.

    Raises:
        DataError: the file is missing, broken or not a checkpoint, or its weights are not those of ONet's network for
            images; the message names missing and unexpected weights.
    """
    content = _read(Path(path))
    state = content.get("model")
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DataError(_NO_WEIGHTS, path=path)
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
    """A network with the weights of an ONet state, in evaluation mode; its widths are derived from the weights.

    Raises:
        DataError: weights are missing, unexpected or of another shape; the message names them.
    """
    network = OccupancyNetwork(_model_of(state), pretrained=False)
    expected = network.state_dict()
    ours = {_our_name(name): name for name in state}
    if len(ours) < len(state):
        twice = set(state) - set(ours.values())
        raise DataError(
            f"is not ONet's network for images: {_listed('present under two names', list(twice))}"
        )
    missing, unexpected = expected.keys() - ours.keys(), ours.keys() - expected.keys()
    if missing or unexpected:
        legacy = any(".fc_gamma." in name for name in state)
        problems = [
            _listed("missing", [_onet_name(name, legacy) for name in missing]),
            _listed("unexpected", [ours[name] for name in unexpected]),
        ]
        raise DataError(f"is not ONet's network for images: {'; '.join(filter(None, problems))}")
    weights = {name: _fitting(state[ours[name]], value, ours[name]) for name, value in expected.items()}
    network.load_state_dict(weights)
    return network.eval()


def to_onet(network: OccupancyNetwork) -> dict[str, Tensor]:
    """The state of a network with ONet's names (conv_gamma) and shapes.

    Raises:
        DataError: ONet has no corresponding network.
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
            hint="ONet has ResNet encoders and the cbn decoder of five blocks, without the other options",
        )
    state = {}
    for name, value in network.state_dict().items():
        weight = name.startswith("decoder.") and value.ndim == 2
        state[_onet_name(name)] = (value.unsqueeze(-1) if weight else value).detach().cpu().clone()
    return state


def convert(source: str | Path, target: str | Path) -> str:
    """Convert an ONet checkpoint to a network file of occnet, or the reverse.

    Returns:
        "ours" or "onet": the format written.

    Raises:
        DataError: the source has neither format or no counterpart, or the disk is full.
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
        logger.warning("%s was trained with centred objects; ONet's code does not centre them", source)
    if options.get("step") is not None:
        content["it"] = options["step"]
    save_network(Path(target), content)
    return "onet"


def _model_of(state: dict[str, Tensor]) -> ModelConfig:
    """The widths of the weights; ONet's where weights are missing."""
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
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"{what}: {', '.join(sorted(names)[:_MAX_NAMES])}{more}"


def _fitting(value: Tensor, expected: Tensor, name: str) -> Tensor:
    """The weight without a convolution's kernel axis."""
    if value.ndim == expected.ndim + 1 and value.shape[-1] == 1:
        value = value.squeeze(-1)
    if value.shape != expected.shape:
        raise DataError(f"{name} has shape {tuple(value.shape)} instead of {tuple(expected.shape)}")
    return value


def _read(path: Path) -> dict[str, Any]:
    """As `read_plain`, also with NumPy scalars."""
    # NumPy's scalar constructor under its old and its new module name.
    scalar = np.float64(0).__reduce__()[0]
    allowed: list[Any] = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    allowed += [np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8"))]
    return read_plain(path, allowed, "", _NO_WEIGHTS)
