"""Training and reconstruction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from occnet_lib.config import Config
from occnet_lib.errors import ConfigError, OccnetError

from .files import PathLike

if TYPE_CHECKING:
    from occnet_lib.reconstruction.cutout import MaskSource
    from occnet_lib.reconstruction.reconstruct import Reconstruction


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
    config, out = config or Config(), Path(out)
    train, val = _training_packs(packs, config, model, verify)
    from occnet_lib.training.train import train as run  # torch, once the input is known to be right

    run(config, model, train, val, out)
    return out / "best.ckpt"


def train_refinement(
    packs: PathLike | Sequence[PathLike],
    out: PathLike,
    config: Config | None = None,
    *,
    model: str = "onet",
    refinement: Literal["graph", "both"] | None = None,
    verify: bool = True,
) -> Path:
    """Train the graph network that corrects the face normals of a model's meshes, or continue the run in `out`.

    It learns from meshes of shapes that their networks have not seen: two networks, each trained as the model on half of the
    training shapes, reconstruct the other half (`out`/half-0 and half-1, about twice the model's training; `out`/faces).

    Args:
        packs: folder with `train-*.h5` and `val-*.h5`, or such files.
        out: folder for all of it.
        config: as for `train`, and section `reconstruct` with its `graph`; `reconstruct.refinement` decides which meshes the
            network corrects: with `both` those that the field's gradient has refined.
        model: which entry of `config.models`.
        refinement: a further network for these meshes, whatever the configuration says, in `out`/graph or `out`/both.
        verify: compare the shards with their checksums first.

    Returns:
        path of `graph.ckpt`.

    Raises:
        ConfigError: `config.models` has no such entry.
        OccnetError: the folder has no training shards, one of them is damaged, or there are fewer than two shapes.

    Examples:
        >>> occnet.train_refinement("meshes", "run")
        Traceback (most recent call last):
        occnet_lib.errors.OccnetError: meshes: holds no train-*.h5 ...
    """
    config = config or Config()
    train, val = _training_packs(packs, config, model, verify)
    from .refinement import cross_fit

    return cross_fit(train, val, Path(out), config, model, refinement)


def _training_packs(
    packs: PathLike | Sequence[PathLike], config: Config, model: str, verify: bool
) -> tuple[list[Path], list[Path]]:
    """Training and validation shards; raises as `train`."""
    from occnet_lib.storage import packs as storage

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
    return train, val


def reconstruct(
    photo: PathLike | Sequence[PathLike],
    checkpoint: PathLike,
    config: Config | None = None,
    *,
    mask: MaskSource = "auto",
    drop_outliers: bool = False,
    graph: PathLike | None = None,
    camera: PathLike | Sequence[PathLike] | None = None,
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
        graph: graph.ckpt of `train_refinement`, for `reconstruct.refinement` graph and both.
        camera: JSON of the photo's camera where it is known, or one for each photo (docs/photos.md).

    Returns:
        `mesh` with `normals` (V, 3) float32, in `frame`: the unit frame, or the camera's for a model of `frame: camera`.
        `status` is `failed` and the mesh empty, with a `reason`, if the network predicts no surface.
        `agreement` of several photos: how far each one's field agrees with the others, 0 to 1, and the outliers.
        `expected_iou` with the shape in the photos, if the checkpoint is calibrated (`occnet calibrate`).

    Raises:
        ImageError: the photo is unreadable, or its background cannot be removed.
        DataError: the checkpoint or a camera is missing or damaged.
        ConfigError: the model needs the camera, or there are not as many as photos.

    Examples:
        >>> result = occnet.reconstruct("photo.png", "best.ckpt", config)
        >>> result.status, result.frame, result.normals.shape == result.mesh.vertices.shape
        ('ok', 'unit', True)
        >>> occnet.save_mesh(result, "mesh.glb")
    """
    from occnet_lib.reconstruction.photo_meshes import mesh_of_photo

    return mesh_of_photo(
        photo, checkpoint, config, mask, drop_outliers=drop_outliers, graph=graph, camera=camera
    )
