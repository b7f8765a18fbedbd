"""Network files: tensors and plain values only, so that loading one executes no code from the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from occnet_lib.config import ModelConfig
from occnet_lib.errors import DataError
from occnet_lib.storage.atomic import replacing

from .occupancy_network import OccupancyNetwork

FORMAT = "occnet network"
VERSION = 1
Network = TypeVar("Network", bound=nn.Module)


def network_file(state: dict[str, Tensor], options: dict[str, Any], format: str = FORMAT) -> dict[str, Any]:
    """The content of a network's file.

    Args:
        state: from `OccupancyNetwork.state_dict`; copied here.
        options: plain values; `options["model"]` is the model's configuration.
        format: which kind of network it is.
    """
    tensors = {name: value.detach().cpu().clone() for name, value in state.items()}
    return {"format": format, "version": VERSION, "options": options, "state_dict": tensors}


def save_network(path: Path, content: dict[str, Any]) -> None:
    """Write the content made by `network_file`."""
    with replacing(path) as temporary:
        torch.save(content, temporary)


def load_network(
    path: str | Path, device: str | torch.device = "cpu"
) -> tuple[OccupancyNetwork, dict[str, Any]]:
    """The network of a file, in evaluation mode, and its training options; raises as `load_any_network`."""

    def build(options: dict[str, Any]) -> OccupancyNetwork:
        return OccupancyNetwork(ModelConfig(**options["model"]), pretrained=False)

    return load_any_network(path, build, FORMAT, "network", "give a trained model's best.ckpt", device)


def load_any_network(
    path: str | Path,
    build: Callable[[dict[str, Any]], Network],
    format: str,
    what: str,
    hint: str,
    device: str | torch.device = "cpu",
) -> tuple[Network, dict[str, Any]]:
    """The network of a file of `network_file`, in evaluation mode, and its options.

    Args:
        path: the file.
        build: makes the network of options, before it gets its weights.
        format: of `network_file`.
        what, hint: for the error about a file of another format: what it is not, and what to give.
        device: where the network goes.

    Raises:
        DataError: the file is missing, broken, of another kind or version, or its weights do not match its options.
    """
    content = read_plain(Path(path))
    if content.get("format") != format:
        raise DataError(f"not a {what} written by occnet", path=path, hint=hint)
    if (version := content.get("version")) != VERSION:
        raise DataError(f"network of version {version}, this occnet reads version {VERSION}", path=path)
    try:
        network = build(content["options"])
        network.load_state_dict(content["state_dict"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:  # ValueError: pydantic's, too
        first_line = (str(error).splitlines() or [""])[0]
        raise DataError(f"weights do not match the options: {first_line}", path=path) from error
    return network.to(device).eval(), content["options"]


def read_plain(
    path: Path,
    allowed: Sequence[Any] = (),
    hint: str = "train the model first",
    otherwise: str = "not a checkpoint of occnet",
) -> dict[str, Any]:
    """The dictionary in a file of torch.save, restricted to tensors, plain values and `allowed` types.

    Args:
        path: the file.
        allowed: further types, of torch.serialization.safe_globals.
        hint: where there is no such file.
        otherwise: the error's message about a file of something else than a dictionary.

    Raises:
        DataError: the file is missing, broken or holds other objects.
    """
    try:
        with torch.serialization.safe_globals(list(allowed)):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise DataError("no such file", path=path, hint=hint) from error
    except IsADirectoryError as error:
        raise DataError("is a folder", path=path, hint="give the file in it, such as best.ckpt") from error
    except Exception as error:  # a broken zip or pickle raises arbitrary errors
        text = f"not readable as a checkpoint: {type(error).__name__}"
        raise DataError(text, path=path, hint="best.ckpt of a training is one") from error
    if not isinstance(content, dict):
        raise DataError(otherwise, path=path)
    return content
