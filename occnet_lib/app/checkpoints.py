"""The trained networks that the page offers, one of them loaded at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from occnet_lib.config import ReconstructConfig
from occnet_lib.errors import DataError

if TYPE_CHECKING:
    from occnet_lib.reconstruction.reconstructor import Reconstructor

_PATTERNS = ("train/*/best.ckpt", "*/best.ckpt", "best.ckpt")  # of a results folder, of its train/, of a run


def find_checkpoints(path: str | Path) -> dict[str, Path]:
    """Checkpoints by model name, sorted.

    Args:
        path: results folder, its `train/`, the folder of one training run, or a checkpoint.

    Raises:
        DataError: nothing is there, or the folder has no trained network.
    """
    path = Path(path)
    if path.is_dir():
        for pattern in _PATTERNS:
            if files := sorted(path.glob(pattern)):
                return {file.resolve().parent.name: file for file in files}
        hint = "give a results folder with train/<model>/best.ckpt, or a best.ckpt"
        raise DataError("has no trained network", path=path, hint=hint)
    if not path.exists():
        raise DataError("no such file or folder", path=path, hint="train a model first")
    return {path.resolve().parent.name if path.name == "best.ckpt" else path.stem: path}


class Networks:
    """Loads the networks of `find_checkpoints`; the two used last stay in memory, as cutting out takes no options.

    Args:
        checkpoints: by model name.
        graph: graph.ckpt of `train_refinement`, for the refinements graph and both.
    """

    def __init__(self, checkpoints: dict[str, Path], graph: Path | None = None) -> None:
        self.checkpoints, self.graph = checkpoints, graph
        self._loaded: list[tuple[str, ReconstructConfig, Reconstructor]] = []

    def load(self, model: str, config: ReconstructConfig) -> Reconstructor:
        """The network of a model name with these settings.

        Raises:
            DataError: there is no such model, or its checkpoint is broken.
        """
        if model not in self.checkpoints:
            raise DataError(f"no model {model!r}", hint=f"choose one of {', '.join(self.checkpoints)}")
        for loaded in self._loaded:
            if loaded[:2] == (model, config):
                return loaded[2]
        from occnet_lib.reconstruction.reconstructor import Reconstructor

        network = Reconstructor(self.checkpoints[model], config, graph=self.graph)
        self._loaded = [(model, config, network), *self._loaded[:1]]
        return network
