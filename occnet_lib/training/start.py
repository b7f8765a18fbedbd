"""Weights of another network to start a training from."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from occnet_lib.config import Config, ModelConfig
from occnet_lib.errors import ConfigError
from occnet_lib.networks.checkpoint import load_network

from .predicted_cameras import camera_network

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
    _check_layers(start.model, model, name)
    return start.state_dict()


def _check_layers(start: ModelConfig, model: ModelConfig, name: str) -> None:
    if other := [
        f"{key} {theirs} and not {ours}"
        for key in _LAYERS
        if (theirs := getattr(start, key)) != (ours := getattr(model, key))
    ]:
        raise ConfigError(
            f"`models.{name}.start` is a network of {', '.join(other)}: {model.start}",
            hint="give the model the same keys",
        )


def check_starts(config: Config) -> None:
    """Check the networks that trainings use, so that a wrong one is refused before shapes are processed.

    Files within the results folder may be trained again by the same run, so they are checked when they are used; of a model
    of this configuration the layers are checked here, too.

    Raises:
        DataError, ConfigError: as `initial_weights` and `predicted_cameras.camera_network`.
    """
    results = Path(config.results).resolve()

    def given(path: str) -> bool:
        return bool(path) and not Path(path).resolve().is_relative_to(results)

    for name, model in config.models.items():
        if own := config.checkpoints.get(model.start):
            _check_layers(config.models[own], model, name)
        elif given(model.start):
            initial_weights(model, name)
        if given(model.silhouette_cameras):
            camera_network(model, name)
