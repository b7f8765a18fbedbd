"""Network files: tensors and plain values only, so that loading one executes no code from the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from occnet_lib.config import ModelConfig
from occnet_lib.errors import DataError
from occnet_lib.storage.atomic import replacing

from .occupancy_network import OccupancyNetwork

FORMAT = "occnet network"
VERSION = 1


def network_file(state: dict[str, Tensor], options: dict[str, Any]) -> dict[str, Any]:
    """The content of a network's file.

    Args:
        state: from `OccupancyNetwork.state_dict`; copied here.
        options: plain values; `options["model"]` is the model's configuration.
    """
    tensors = {name: value.detach().cpu().clone() for name, value in state.items()}
    return {"format": FORMAT, "version": VERSION, "options": options, "state_dict": tensors}


def save_network(path: Path, content: dict[str, Any]) -> None:
    """Write the content made by `network_file`."""
    with replacing(path) as temporary:
        torch.save(content, temporary)


def load_network(
    path: str | Path, device: str | torch.device = "cpu"
) -> tuple[OccupancyNetwork, dict[str, Any]]:
    """The network of a file, in evaluation mode, and its training options.

    Raises:
        DataError: the file is missing, broken, of another kind or version, or its weights do not match its options.
    """
    content = read_plain(Path(path))
    if content.get("format") != FORMAT:
        raise DataError("not a network written by occnet", path=path, hint="give a trained model's best.ckpt")
    if (version := content.get("version")) != VERSION:
        raise DataError(f"network of version {version}, this occnet reads version {VERSION}", path=path)
    try:
        network = OccupancyNetwork(ModelConfig(**content["options"]["model"]), pretrained=False)
        network.load_state_dict(content["state_dict"])
    except (KeyError, TypeError, ValidationError, RuntimeError) as error:
        first_line = (str(error).splitlines() or [""])[0]
        raise DataError(f"weights do not match the options: {first_line}", path=path) from error
    return network.to(device).eval(), content["options"]


def read_plain(path: Path) -> dict[str, Any]:
    """The dictionary in a file of torch.save, restricted to tensors and plain values.

    Raises:
        DataError: the file is missing, broken or holds other objects.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise DataError("no such file", path=path, hint="train the model first") from error
    except IsADirectoryError as error:
        raise DataError("is a folder", path=path, hint="give the file in it, such as best.ckpt") from error
    except Exception as error:  # a broken zip or pickle raises arbitrary errors
        raise DataError(f"not readable as a checkpoint: {type(error).__name__}", path=path) from error
    if not isinstance(content, dict):
        raise DataError("not a checkpoint of occnet", path=path)
    return content
