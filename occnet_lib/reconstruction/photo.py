"""A user's image as the networks expect it: the object alone, on white, of the usual size."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from occnet_lib import seeds
from occnet_lib.config import Config
from occnet_lib.errors import ConfigError, ImageError
from occnet_lib.networks.framing import object_box

from .cutout import Cutout, MaskSource, as_training_view, cut_out, darken_pale_object
from .image_file import read_image
from .options import check_graph

if TYPE_CHECKING:
    from occnet_lib.geometry.agreement import Agreement
    from occnet_lib.geometry.cameras import Camera

    from .reconstruct import Reconstruction
    from .reconstructor import Reconstructor

logger = logging.getLogger(__name__)

AS_IS = "the image as it is"
OBJECT_FRACTION = 0.64
"""Longer edge of the object's bounding box as a fraction of the image's edge: the median over 1,152 views
of 48 shapes under the cameras of Choy et al. (5 % to 95 %: 0.45 to 0.85)."""

# Of a training view's edge: object's size, distance of its middle.
_VIEW_FRACTIONS, _VIEW_OFFSET = (0.4, 0.9), 0.12


def load_photo(path: str | Path, mask: MaskSource = "auto", view_size: int = 0) -> Cutout:
    """Read a photo and put its object on white (`cutout.cut_out`); logs the method and warns if the object is cut off.

    Args:
        path: any image that Pillow reads, HEIC with pillow-heif; its EXIF orientation is followed.
        mask: where the object is taken from; with auto, what looks like a training view stays as it is.
        view_size: pixels along the edge of training views; 0: none is known.

    Raises:
        ImageError: the file is not an image, shows no object, or its background is neither transparent nor plain.
    """
    try:
        rgba = read_image(path)
        view = as_training_view(rgba, view_size) if mask == "auto" else None
        cutout = view or darken_pale_object(cut_out(rgba, mask))
    except ImageError as error:
        raise ImageError(error.message, path=error.path or path, hint=error.hint) from error
    logger.info("%s: object from %s", path, cutout.method)
    if cutout.touches_border:
        logger.warning("%s: the object touches the border: what is beyond it is missing", path)
    return cutout


def mesh_of_photo(
    photo: str | Path | Sequence[str | Path],
    checkpoint: str | Path,
    config: Config | None = None,
    mask: MaskSource = "auto",
    as_is: bool = False,
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
        as_is: show the network the whole image, neither cut out nor framed.
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
    from occnet_lib.storage.cameras import read_camera

    from .reconstructor import Reconstructor

    config = config or Config()
    photos = [photo] if isinstance(photo, str | Path) else list(photo)
    files = [camera] if isinstance(camera, str | Path) else list(camera or ())
    if files and len(files) != len(photos):
        raise ConfigError(f"{len(files)} cameras for {len(photos)} photos", hint="give one for each photo")
    check_graph(graph, config.reconstruct)
    network = Reconstructor(checkpoint, config.reconstruct, as_is, graph)
    known = network.framing, network.view_size, mask, as_is
    if files:
        network.check_given_cameras()
    framed_photos = [framed_photo(path, *known) for path in photos]
    images = [each.image for each in framed_photos]
    cameras = known_cameras(framed_photos, [read_camera(file) for file in files])
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
    """The mesh of an object from its images, and a line for every photo that disagrees with the others.

    Args:
        network: the trained network.
        images: of `network_image`, (H, W, 3) uint8 sRGB each.
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
    return result, disagreements(photos, result.agreement, drop_outliers)


def disagreements(
    photos: Sequence[str | Path], agreement: Agreement | None, drop_outliers: bool
) -> list[str]:
    """A line for every photo that disagrees with the others of its object, or one line if all disagree.

    Args:
        photos: files, as many as the agreement has values.
        agreement: of `Reconstruction`; None of one photo.
        drop_outliers: whether outliers were to be left out.
    """
    if agreement is None:
        return []
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
    """Logits (N,) of points (N, 3), unit frame, for a photo; errors as `network_image`.

    Its camera has a rotation (3, 3) and, unless the network predicts it, a projection (3, 4) (`cameras.image_projection`).
    """
    seen = framed_photo(photo, network.framing, network.view_size)
    camera = None if projection is None else seen.into_image(projection)[None]
    return network.logits(seen.image[None], rotation[None], points, camera)[0]


def network_image(
    photo: str | Path, framing: str, view_size: int, mask: MaskSource = "auto", as_is: bool = False
) -> tuple[NDArray[np.uint8], str]:
    """A photo as the image that a network is given, which then frames it as all images (`Reconstructor.seen`).

    A network of framing `object` looks for the object itself. One of `camera` was trained with whole images, in
    which objects stand where the cameras put them: a square image on white that is of the training views' size,
    or whose object is about as large and as near to the middle as theirs, is taken as it is; in any other photo
    the object is put in the middle at their median size (`centred`).

    Args:
        photo: file.
        framing: of the network, object or camera.
        view_size: pixels along the edge of the images it was trained with.
        mask: where the object is taken from.
        as_is: neither cut the object out nor move it; transparency becomes white.

    Returns:
        (H, W, 3) uint8 sRGB, and what was done, for a log line.

    Raises:
        ImageError: as `load_photo`.
    """
    if as_is:
        return _square(read_image(photo)), AS_IS
    return framed(load_photo(photo, mask, view_size), framing, view_size)


class FramedPhoto(NamedTuple):
    """A photo as a network is given it, and where it is in the photo.

    Attributes:
        image, steps: as `network_image` returns them.
        window: left, top, width and height of the part of the upright photo that `image` shows, as fractions of the
            photo's width and height.
    """

    image: NDArray[np.uint8]
    steps: str
    window: tuple[float, float, float, float]

    def projection(self, camera: Camera) -> NDArray[np.float64]:
        """(3, 4) projection of the unit frame into `image`, by the camera of the photo."""
        return self.into_image(camera.projection)

    def into_image(self, projection: NDArray[np.float64]) -> NDArray[np.float64]:
        """(3, 4) projection into `image` of one into the photo."""
        left, top, width, height = self.window
        into = np.array([[1 / width, 0, -left / width], [0, 1 / height, -top / height], [0, 0, 1]])
        return np.asarray(into @ projection)

    def camera(self, projection: NDArray[np.float64]) -> Camera:
        """The camera of the photo by the projection (3, 4) of the unit frame into `image`."""
        from occnet_lib.geometry.cameras import camera_of

        left, top, width, height = self.window
        back = np.array([[width, 0, left], [0, height, top], [0, 0, 1]])
        shown = self.image.shape
        return camera_of(back @ projection, shown[1] / width, shown[0] / height)


def framed_photo(
    photo: str | Path, framing: str, view_size: int, mask: MaskSource = "auto", as_is: bool = False
) -> FramedPhoto:
    """As `network_image`, with the place of the image in the photo."""
    if as_is:
        rgba = read_image(photo)
        (height, width, _), edge = rgba.shape, max(rgba.shape[:2])
        image, steps = _square(rgba), AS_IS
        left, top, across, down = -((edge - width) // 2), -((edge - height) // 2), edge, edge
    else:
        cutout = load_photo(photo, mask, view_size)
        image, steps = framed(cutout, framing, view_size)
        left, top, across, down = _place(cutout, framing, view_size)
        # Without a box the cut-out is as large as the photo.
        height, width, _ = (cutout.image if cutout.box is None else read_image(photo)).shape
    return FramedPhoto(image, steps, (left / width, top / height, across / width, down / height))


def known_cameras(
    photos: Sequence[FramedPhoto], cameras: Sequence[Camera]
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Rotations (V, 3, 3) and projections (V, 3, 4) of V photos with their cameras; None without cameras."""
    if not cameras:
        return None, None
    projections = [photo.projection(camera) for photo, camera in zip(photos, cameras, strict=True)]
    return np.stack([camera.rotation for camera in cameras]), np.stack(projections)


def _place(cutout: Cutout, framing: str, view_size: int) -> tuple[int, int, int, int]:
    """Left, top, width and height in pixels of the photo of what `framed` makes of its object."""
    rows, columns = cutout.box or (slice(0, 0), slice(0, 0))
    left, top = columns.start, rows.start
    if framing == "object" or _like_a_view(cutout, view_size):
        height, width, _ = cutout.image.shape
        return left, top, width, height
    x, y, edge = _centred_square(cutout.image)
    return left + x, top + y, edge, edge


def framed(cutout: Cutout, framing: str, view_size: int) -> tuple[NDArray[np.uint8], str]:
    """A cut-out object as `network_image` returns it."""
    done = f"object from {cutout.method}"
    if framing == "object":
        return cutout.image, f"{done}; framed by its box"
    if _like_a_view(cutout, view_size):
        return cutout.image, f"{done}; framed as the image is, which is like a training view"
    return centred(cutout.image, view_size), f"{done}; put in the middle at {OBJECT_FRACTION:g} of the edge"


def _square(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(E, E, 3) of (H, W, 4), on white and with white beside it."""
    height, width, _ = rgba.shape
    white = Image.new("RGBA", (max(height, width),) * 2, (255, 255, 255, 255))
    white.alpha_composite(
        Image.fromarray(rgba), ((max(height, width) - width) // 2, (max(height, width) - height) // 2)
    )
    return np.array(white.convert("RGB"))


def _like_a_view(cutout: Cutout, view_size: int) -> bool:
    """Whether a cut-out image looks like a training view of a network with framing `camera`."""
    height, width, _ = cutout.image.shape
    if height != width:
        return False
    if cutout.unchanged and width == view_size:
        return True
    left, top, right, bottom = object_box(cutout.image)
    off = max(abs(left + right - width), abs(top + bottom - height)) / 2
    low, high = _VIEW_FRACTIONS
    return low <= max(right - left, bottom - top) / width <= high and off <= _VIEW_OFFSET * width


def centred(image: NDArray[np.uint8], size: int = 137) -> NDArray[np.uint8]:
    """The object in the middle of a white square, with the margin that the training views have.

    Args:
        image: (H, W, 3) uint8 sRGB, an object on white.
        size: pixels along the edge of the result (`views.image_size` of the training data).

    Returns:
        (size, size, 3) uint8 sRGB.
    """
    left, top, edge = _centred_square(image)
    square = Image.new("RGB", (edge, edge), (255, 255, 255))
    square.paste(Image.fromarray(image), (-left, -top))
    method = Image.Resampling.BOX if edge >= size else Image.Resampling.BICUBIC
    return np.array(square.resize((size, size), method))


def _centred_square(image: NDArray[np.uint8]) -> tuple[int, int, int]:
    """Left, top and edge in pixels of the square with the object in its middle."""
    box = object_box(image)
    low, high = np.array(box[:2]), np.array(box[2:])
    edge = float((high - low).max()) / OBJECT_FRACTION
    corner = (low + high) / 2.0 - edge / 2.0
    return round(corner[0]), round(corner[1]), int(np.ceil(edge))
