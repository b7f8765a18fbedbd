"""Weights of another network to start a training from."""

from __future__ import annotations

from torch import Tensor

from occnet_lib.config import ModelConfig
from occnet_lib.errors import ConfigError
from occnet_lib.networks.checkpoint import load_network

_LAYERS = (
    *("encoder", "decoder", "hidden", "c_dim", "blocks", "positional_encoding", "local", "pose"),
    *("image", "frame"),
)
"""Keys of a model in which a network and the one that it starts from agree."""


def initial_weights(model: ModelConfig, name: str) -> dict[str, Tensor]:
    """The weights of `models.<name>.start`; none without it.

    Raises:
        DataError: the file is missing or broken.
        ConfigError: its network has other layers.
    """
    if not model.start:
        return {}
    start, _ = load_network(model.start)
    if other := [
        f"{key} {theirs} and not {ours}"
        for key in _LAYERS
        if (theirs := getattr(start.model, key)) != (ours := getattr(model, key))
    ]:
        raise ConfigError(
            f"`models.{name}.start` is a network of {', '.join(other)}: {model.start}",
            hint="give the model the same keys",
        )
    return start.state_dict()
