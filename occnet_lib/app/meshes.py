"""Photos to a mesh and the files to download, with the time of each step."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import Config
from occnet_lib.errors import ConfigError, ImageError, MeshError
from occnet_lib.reconstruction.cutout import MaskSource
from occnet_lib.reconstruction.options import overridden
from occnet_lib.reconstruction.photo import framed
from occnet_lib.reconstruction.photo_meshes import mesh_of_images
from occnet_lib.reconstruction.reconstruct import Reconstruction, timed
from occnet_lib.reconstruction.surface_uncertainty import describe

from .checkpoints import Networks
from .photos import Photo

FORMATS = ("glb", "obj", "ply")
_GREY = 0.55  # sRGB of a mesh without colours in the viewer, whose light washes out white


@dataclass(frozen=True)
class Options:
    """Options of the page, with the meaning and the defaults of those of `occnet reconstruct`."""

    mask: MaskSource = "auto"
    resolution: int | None = None
    threshold: float | None = None
    simplify: float | None = None
    refine: int | None = None
    drop_outliers: bool = False
    uncertainty: bool = False

    @classmethod
    def of_page(
        cls,
        mask: MaskSource,
        resolution: int,
        threshold: str,
        simplify: str,
        refine: str,
        drop_outliers: bool,
        uncertainty: bool,
    ) -> Options:
        """From the values of the page: a resolution of 0 and empty fields are left to the configuration.

        Raises:
            ConfigError: a field has something else than a number.
        """
        steps = _number("Refinement steps", refine)
        if steps is not None and not steps.is_integer():
            raise ConfigError(f"Refinement steps: expected a whole number, got {refine.strip()!r}")
        numbers = _number("Threshold", threshold), _number("Faces", simplify)
        whole = None if steps is None else int(steps)
        return cls(mask, resolution or None, *numbers, whole, bool(drop_outliers), bool(uncertainty))

    def config(self, config: Config) -> Config:
        """The configuration with these options.

        Raises:
            ConfigError: an option is out of range.
        """
        return overridden(config, self.resolution, self.threshold, self.simplify, self.refine)

    def arguments(self) -> list[str]:
        """Those of the command line that say the same, but for the mask."""
        named = ("resolution", "threshold", "simplify", "refine")
        pairs = [(name, getattr(self, name)) for name in named]
        words = [word for name, value in pairs if value is not None for word in (f"--{name}", f"{value:g}")]
        flags = {"--drop-outliers": self.drop_outliers, "--uncertainty": self.uncertainty}
        return [*words, *(name for name, is_set in flags.items() if is_set)]


def _number(name: str, text: str) -> float | None:
    """The number in a field; None of an empty one."""
    text = (text or "").strip()
    try:
        value = float(text.replace(",", ".")) if text else None
    except ValueError:
        value = math.nan
    if value is not None and not math.isfinite(value):
        raise ConfigError(f"{name}: expected a number, got {text!r}", hint="empty: the default")
    return value


@dataclass(frozen=True)
class Outcome:
    """A reconstructed mesh.

    Attributes:
        files: by format.
        view: GLB for the viewer.
        faces: how many the mesh has.
        threshold: occupancy probability of the surface.
        seconds: CPU seconds by step.
        warnings: lines that the command line prints as warnings.
        notes: lines that the command line prints beside: expected IoU, uncertainty.
        seen: (size, size, 3) uint8, what the network is given of each photo.
        command: the command that makes the same mesh; empty if none does.
        is_configured: whether the command needs the page's `--config`, too.
    """

    files: dict[str, Path]
    view: Path
    faces: int
    threshold: float
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seen: tuple[NDArray[np.uint8], ...] = ()
    command: str = ""
    is_configured: bool = False


def reconstruct_photos(
    photos: Sequence[Photo], networks: Networks, model: str, config: Config, options: Options, folder: Path
) -> Outcome:
    """The mesh of an object from one photo or several, by the functions of `occnet reconstruct --merge`.

    Args:
        photos: of one object.
        networks: the networks of the page.
        model: which of them.
        config: `reconstruct` and `seed` are used.
        options: over the configuration.
        folder: where the files are written, under the first photo's stem.

    Raises:
        ImageError: there is no photo, or one shows no object.
        MeshError: the field has no surface.
        ConfigError: an option is out of range, or the model cannot merge photos.
    """
    if not photos:
        raise ImageError("no photo", hint="add one, or several of the same object")
    for photo in photos:
        if photo.cutout is None:
            raise ImageError(photo.problem)
    drop = options.drop_outliers and len(photos) > 1
    settings = options.config(config)
    network = networks.load(model, settings.reconstruct)
    cutouts = [photo.cutout for photo in photos if photo.cutout is not None]
    images = [framed(cutout, network.framing, network.view_size).image for cutout in cutouts]
    names = [photo.name for photo in photos]
    result, lines = mesh_of_images(
        network, images, names, settings.seed, drop, uncertainty=options.uncertainty
    )
    if result.status == "failed":
        raise MeshError(result.reason, path=names[0], hint="lower --threshold or use another photo")
    folder.mkdir(parents=True, exist_ok=True)
    files = {format: folder / f"{Path(names[0]).stem}.{format}" for format in FORMATS}
    seconds = dict(result.seconds)
    with timed(seconds, "files"):
        for file in files.values():
            result.save(file)
    return Outcome(
        files=files,
        view=_view(result, files["glb"]),
        faces=len(result.mesh.faces),
        threshold=network.threshold,
        seconds=seconds,
        warnings=(*lines, *([result.reason] if result.reason else [])),
        notes=_notes(result),
        seen=tuple(map(network.seen, images)),
        command=command_line(photos, networks.checkpoints[model], networks.graph, options),
        is_configured=config != Config(),
    )


def _view(result: Reconstruction, file: Path) -> Path:
    """The GLB to show: the file itself where it has colours, otherwise a grey copy."""
    if result.mesh.colors is not None:
        return file
    grey = np.full((len(result.mesh.vertices), 3), _GREY, np.float32)
    copy = file.parent / "view" / file.name
    replace(result, mesh=replace(result.mesh, colors=grey)).save(copy)
    return copy


def _notes(result: Reconstruction) -> tuple[str, ...]:
    iou = () if result.expected_iou is None else (str(result.expected_iou),)
    return iou if result.uncertainty is None else (*iou, describe(result.uncertainty))


def command_line(photos: Sequence[Photo], checkpoint: Path, graph: Path | None, options: Options) -> str:
    """The command that makes the same mesh of the same files; of corrected photos, of the PNGs with their masks.

    Empty where only some photos are corrected: `--mask` is for all photos.
    """
    corrected = [photo for photo in photos if photo.corrected_file]
    if corrected and len(corrected) < len(photos):
        return ""
    names = [f"{Path(photo.name).stem}.png" if corrected else photo.name for photo in photos]
    mask = "alpha" if corrected else options.mask
    words = ["occnet", "reconstruct", *(f"./{name}" if name.startswith("-") else name for name in names)]
    words += ["--merge"] if len(photos) > 1 else []
    words += ["--checkpoint", str(checkpoint), "-o", f"{Path(names[0]).stem}.glb"]
    words += [] if mask == "auto" else ["--mask", mask]
    words += [] if graph is None else ["--graph", str(graph)]
    shown = (
        options.arguments() if len(photos) > 1 else [w for w in options.arguments() if w != "--drop-outliers"]
    )
    return shlex.join([*words, *shown])
