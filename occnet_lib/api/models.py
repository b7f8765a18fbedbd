"""Training, reconstruction and evaluation."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from occnet_lib.config import Config
from occnet_lib.errors import ConfigError, OccnetError
from occnet_lib.seeds import rng
from occnet_lib.types import Mesh, Watertight

from .files import PathLike
from .frames import UnitMesh, prediction_mesh, solid_mesh, solid_unit_mesh, warn_if_frames_differ
from .shapes import stem

if TYPE_CHECKING:
    from occnet_lib.evaluation.metrics import Comparison
    from occnet_lib.reconstruction.cutout import MaskSource
    from occnet_lib.reconstruction.reconstruct import Reconstruction

logger = logging.getLogger(__name__)


def train(
    packs: PathLike | Sequence[PathLike],
    out: PathLike,
    config: Config | None = None,
    *,
    model: str = "onet",
    verify: bool = True,
) -> Path:
    """Train a network, or continue the run in `out`.

    Args:
        packs: folder with `train-*.h5` and `val-*.h5`, or such files.
        out: folder for checkpoints and curves.
        config: `models`, section `train` and `seed` are used.
        model: which entry of `config.models`.
        verify: compare the shards with their checksums first (1 CPU s per GB).

    Returns:
        path of `best.ckpt`.

    Raises:
        ConfigError: `config.models` has no such entry.
        OccnetError: the folder has no training shards, or one of them is damaged.

    Examples:
        >>> occnet.train("meshes", "run")
        Traceback (most recent call last):
        occnet_lib.errors.OccnetError: meshes: holds no train-*.h5 ...
    """
    from occnet_lib.storage import packs as storage

    config, out = config or Config(), Path(out)
    if model not in config.models:
        raise ConfigError(f"no model {model!r}; the configuration has {', '.join(config.models)}")
    folder: Path | None = None
    if isinstance(packs, str | Path):
        folder = Path(packs)
        files = sorted(folder.glob("*.h5"))
    else:
        files = [Path(pack) for pack in packs]
    train, val = ([file for file in files if file.name.startswith(f"{name}-")] for name in ("train", "val"))
    if not train:
        hint = "make some: `snakemake --cores 2 preprocess`"
        raise OccnetError("holds no train-*.h5", path=folder, hint=hint)
    if verify:
        for path in (*train, *val):
            storage.verify(path)
    from occnet_lib.training.train import train as run  # torch, once the input is known to be right

    run(config, model, train, val, out)
    return out / "best.ckpt"


def reconstruct(
    photo: PathLike | Sequence[PathLike],
    checkpoint: PathLike,
    config: Config | None = None,
    *,
    mask: MaskSource = "auto",
    drop_outliers: bool = False,
) -> Reconstruction:
    """Reconstruct a closed mesh from a photo: MISE, marching cubes, simplification, refinement.

    Args:
        photo: image file of one object on a plain or transparent background; or several of the same object, whose logits
            are averaged.
        checkpoint: `best.ckpt` of a training run.
        config: section `reconstruct` and `seed` are used.
        mask: source of the object mask: `alpha`, `background` or `auto` (docs/photos.md).
        drop_outliers: of three photos or more, leave out those that disagree with the others; without it, a warning
            names them.

    Returns:
        `mesh` with `normals` (V, 3) float32, in `frame`: the unit frame, or the camera's for a model of `frame: camera`.
        `status` is `failed` and the mesh empty, with a `reason`, if the network predicts no surface.
        `agreement` of several photos: how far each one's field agrees with the others, 0 to 1, and the outliers.

    Raises:
        ImageError: the photo is unreadable, or its background cannot be removed.
        DataError: the checkpoint is missing or damaged.

    Examples:
        >>> result = occnet.reconstruct("photo.png", "best.ckpt", config)
        >>> result.status, result.frame, result.normals.shape == result.mesh.vertices.shape
        ('ok', 'unit', True)
        >>> occnet.save_mesh(result, "mesh.glb")
    """
    from occnet_lib.reconstruction.photo import mesh_of_photo

    return mesh_of_photo(photo, checkpoint, config, mask, drop_outliers=drop_outliers)


def evaluate(
    prediction: Mesh | Reconstruction | PathLike,
    ground_truth: Mesh | Watertight | PathLike,
    config: Config | None = None,
    *,
    name: str = "",
) -> Comparison:
    """Measure a mesh against the ground truth: IoU, Chamfer-L1, normal consistency, F-scores.

    The meshes are not aligned. Lengths are in units of the longest edge of the ground truth.

    Args:
        prediction: in the frame of the ground truth, which for a `Watertight` is the unit frame. A reconstruction is in
            the unit frame, and so is a file that defines it. If both files define their frames, these are used.
        ground_truth: closed mesh.
        config: sections `points` and `evaluate` (numbers of samples) and `seed` are used.
        name: see the module; for a file the stem of the ground truth.

    Returns:
        `values` and 95 % sampling `intervals` of every metric; `note`: a limitation of the values, if there is one.
        An empty prediction has the worst value of every metric.

    Raises:
        MeshError: the ground truth is open or has no area, or a file is unreadable.

    Examples:
        >>> mesh = occnet.load_mesh("cube.obj")
        >>> result = occnet.evaluate(mesh, mesh, config)
        >>> result.values["iou"], result.values["chamfer_l1"] < 0.05  # 1,000 samples each: their spacing
        (1.0, True)
    """
    from occnet_lib.evaluation.metrics import compare

    config = config or Config()
    true = _ground_truth(ground_truth, config)
    predicted = (
        prediction_mesh(Path(prediction), true, config)
        if isinstance(prediction, str | Path)
        else _in_unit_frame(prediction, true)
    )
    if predicted is not None and len(predicted.faces):
        warn_if_frames_differ(
            _label(prediction, "prediction"), predicted, _label(ground_truth, "ground truth"), true.mesh
        )
    drawing = rng(config.seed, "evaluate", name or stem(ground_truth))
    return compare(predicted, true.mesh, config.points, config.evaluate, drawing)


def _ground_truth(ground_truth: Mesh | Watertight | PathLike, config: Config) -> UnitMesh:
    """The ground truth in the unit frame; `frame` is that of meshes compared with it; None: the source frame."""
    from occnet_lib.geometry.normalise import unit_cube
    from occnet_lib.storage.meshes import MeshFrame

    if isinstance(ground_truth, Watertight):
        x, y, z = ground_truth.loc.tolist()
        frame = MeshFrame("unit", "y", (x, y, z), ground_truth.scale)
        return solid_unit_mesh(
            UnitMesh(ground_truth.mesh, ground_truth.loc, ground_truth.scale, frame), "ground truth"
        )
    if isinstance(ground_truth, Mesh):
        return solid_unit_mesh(UnitMesh(*unit_cube(ground_truth), None), "ground truth")
    return solid_mesh(Path(ground_truth), config)


def _in_unit_frame(prediction: Mesh | Reconstruction, true: UnitMesh) -> Mesh:
    if not isinstance(prediction, Mesh):
        if prediction.frame == "camera":
            logger.warning("the reconstruction is in the camera frame, the ground truth is not")
        return prediction.mesh
    if true.frame is not None and true.frame.frame == "unit":
        return prediction
    return prediction.to_unit(true.loc, true.scale)


def _label(source: object, otherwise: str) -> str:
    return str(source) if isinstance(source, str | Path) else otherwise
