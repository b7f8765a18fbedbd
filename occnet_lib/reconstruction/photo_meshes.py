"""Photos of an object to its mesh, or to the logits of its field."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from occnet_lib import seeds
from occnet_lib.config import Config
from occnet_lib.errors import ConfigError

from .cutout import MaskSource
from .options import check_graph
from .photo import FramedPhoto, framed_photo

if TYPE_CHECKING:
    from occnet_lib.geometry.agreement import Agreement
    from occnet_lib.geometry.cameras import Camera
    from occnet_lib.types import Mesh

    from .reconstruct import Reconstruction
    from .reconstructor import Reconstructor

logger = logging.getLogger(__name__)


def mesh_of_photo(
    photo: str | Path | Sequence[str | Path],
    checkpoint: str | Path,
    config: Config | None = None,
    mask: MaskSource = "auto",
    drop_outliers: bool = False,
    graph: str | Path | None = None,
    camera: str | Path | Sequence[str | Path] | None = None,
) -> Reconstruction:
    """A photo, or several of one object, to a closed mesh with vertex normals; warns of photos that disagree.

    Args:
        photo: file, or files whose logits are averaged; see `load_photo`.
        checkpoint: best.ckpt of a training run.
        config: `reconstruct` and `seed` are used.
        mask: as in `load_photo`.
        drop_outliers: leave out photos that disagree with the others (`geometry.agreement`).
        graph: graph.ckpt of `train_refinement`, for the refinements graph and both.
        camera: file of the photo's camera, or as many as photos (`storage.cameras.read_camera`).

    Returns:
        The mesh, in the unit frame, and what it took; `save` writes it. Status `failed` if
        the field has no surface.

    Raises:
        ImageError: a photo shows no object.
        DataError: the checkpoint or a camera is missing or broken.
        ConfigError: there are not as many cameras as photos, or the model needs cameras.
    """
    from .photo_cameras import read_photo_camera
    from .reconstructor import Reconstructor

    config = config or Config()
    photos = [photo] if isinstance(photo, str | Path) else list(photo)
    files = [camera] if isinstance(camera, str | Path) else list(camera or ())
    if files and len(files) != len(photos):
        raise ConfigError(f"{len(files)} cameras for {len(photos)} photos", hint="give one for each photo")
    check_graph(graph, config.reconstruct)
    network = Reconstructor(checkpoint, config.reconstruct, graph=graph)
    known = network.framing, network.view_size, mask
    if files:
        network.check_given_cameras()
    framed_photos = [framed_photo(path, *known) for path in photos]
    images = [each.image for each in framed_photos]
    given = [read_photo_camera(Path(file), Path(path)) for file, path in zip(files, photos, strict=False)]
    cameras = known_cameras(framed_photos, given)
    result, warnings = mesh_of_images(network, images, photos, config.seed, drop_outliers, *cameras)
    for line in warnings:
        logger.warning("%s", line)
    return result


def mesh_of_images(
    network: Reconstructor,
    images: Sequence[NDArray[np.uint8]],
    photos: Sequence[str | Path],
    seed: int,
    drop_outliers: bool = False,
    rotations: NDArray[np.floating] | None = None,
    projections: NDArray[np.floating] | None = None,
    uncertainty: bool = False,
) -> tuple[Reconstruction, list[str]]:
    """The mesh of an object from its images, and a line for every photo that disagrees with the others or its camera.

    Args:
        network: the trained network.
        images: of `framed_photo`, (H, W, 3) uint8 sRGB each.
        photos: the files they come from; the stem of the first one's name is in the seed of the refinement.
        seed: of the configuration.
        drop_outliers: as in `mesh_of_photo`.
        rotations, projections: (V, 3, 3) and (V, 3, 4) of the images' cameras, if these are known
            (`FramedPhoto.projection`).
        uncertainty: whether to colour the mesh by `Reconstruction.uncertainty`.
    """
    rng = seeds.rng(seed, "reconstruct", Path(photos[0]).stem)
    result = network(
        list(images),
        rng,
        rotations,
        normals=True,
        drop_outliers=drop_outliers,
        projection=projections,
        expect_iou=True,
        uncertainty=uncertainty,
    )
    lines = repetitions(photos) + disagreements(photos, result.agreement, drop_outliers)
    if projections is not None and network.uses_given_cameras and result.status != "failed":
        lines += contradicted_cameras(photos, images, projections, result.mesh)
    return result, lines


def repetitions(photos: Sequence[str | Path]) -> list[str]:
    """A line for every file that is given more than once, and so counts more in the average."""
    counts = Counter(Path(photo).resolve() for photo in photos)
    return [
        f"{photo} is given {count} times and counts as often" for photo, count in counts.items() if count > 1
    ]


def contradicted_cameras(
    photos: Sequence[str | Path],
    images: Sequence[NDArray[np.uint8]],
    projections: NDArray[np.floating],
    mesh: Mesh,
) -> list[str]:
    """A line for every photo in which the mesh would be elsewhere, or of another size, than the object is.

    Args:
        photos: files, for the lines.
        images: of `framed_photo`.
        projections: (V, 3, 4) of the given cameras into these images.
        mesh: unit frame.
    """
    from .cameras import LEAST_OVERLAP, box_overlap

    overlaps = [box_overlap(mesh, *view) for view in zip(images, projections, strict=True)]
    return [
        f"{photo}: by its camera the mesh is not where the photo shows the object (bounding boxes overlap by "
        f"{overlap:.0%}): is it the photo's camera, with loc and scale of the object?"
        for photo, overlap in zip(photos, overlaps, strict=True)
        if overlap < LEAST_OVERLAP
    ]


def disagreements(
    photos: Sequence[str | Path], agreement: Agreement | None, drop_outliers: bool
) -> list[str]:
    """A line for every photo that disagrees with the others of its object, or one line if all or two groups disagree.

    Args:
        photos: files, as many as the agreement has values.
        agreement: of `Reconstruction`; None of one photo.
        drop_outliers: whether outliers were to be left out.
    """
    if agreement is None:
        return []
    if agreement.groups:
        one, two = (", ".join(str(photos[i]) for i in group) for group in agreement.groups)
        return [
            f"{one} disagree with {two}, and agree among themselves: do they show two objects? None is left out"
        ]
    if agreement.all_disagree:
        names = f"{', '.join(map(str, photos[:-1]))} and {photos[-1]}"
        value = f"agreement {agreement.values.mean():.2f}"
        return [f"{names} disagree ({value}): do they show one object, cut out well?"]
    what = "left out" if drop_outliers and agreement.can_drop else "left in"
    return [
        f"{photos[i]} disagrees with the other photos (agreement {agreement.values[i]:.2f}, of the others among "
        f"themselves {agreement.others[i]:.2f}): {what}"
        for i in agreement.outliers
    ]


def photo_logits(
    network: Reconstructor,
    photo: Path,
    rotation: NDArray[np.floating],
    points: NDArray[np.floating],
    projection: NDArray[np.float64] | None = None,
) -> NDArray[np.float32]:
    """Logits (N,) of points (N, 3), unit frame, for a photo; errors as `framed_photo`.

    Its camera has a rotation (3, 3) and, unless the network predicts it, a projection (3, 4) (`cameras.image_projection`).
    """
    seen = framed_photo(photo, network.framing, network.view_size)
    camera = None if projection is None else seen.into_image(projection)[None]
    return network.logits(seen.image[None], rotation[None], points, camera)[0]


def known_cameras(
    photos: Sequence[FramedPhoto], cameras: Sequence[Camera]
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Rotations (V, 3, 3) and projections (V, 3, 4) of V photos with their cameras; None without cameras."""
    if not cameras:
        return None, None
    projections = [photo.projection(camera) for photo, camera in zip(photos, cameras, strict=True)]
    return np.stack([camera.rotation for camera in cameras]), np.stack(projections)
