"""`occnet reconstruct`, image files to meshes, and `occnet app`, a local page that does it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from occnet_lib.config import Config, Refinement
from occnet_lib.errors import DataError, ImageError, MeshError, OccnetError
from occnet_lib.logs import echo
from occnet_lib.storage.atomic import write_bytes

from .arguments import Checkpoint, Graph, progress_bar

if TYPE_CHECKING:
    from occnet_lib.geometry.cameras import Camera
    from occnet_lib.reconstruction.photo import FramedPhoto
    from occnet_lib.reconstruction.reconstructor import Reconstructor

logger = logging.getLogger(__name__)
_HYPOTHESES = 4  # cameras written to a file


def reconstruct(
    photos: Annotated[list[Path], "input images: one object each, plain background or RGBA mask"],
    config: Config,
    *,
    checkpoint: Checkpoint,
    out: Annotated[Path, "mesh to write (OBJ, PLY, GLB, STL, OFF); for several objects a folder"],
    merge: Annotated[bool, "the images show one object: average their logits"] = False,
    drop_outliers: Annotated[
        bool, "of three merged images or more, leave out those that disagree with the others"
    ] = False,
    format: Annotated[Literal["obj", "ply", "glb", "stl", "off"], "in a folder"] = "ply",
    resolution: Annotated[int | None, "cells along the edge (e.g. 128 or 256)"] = None,
    threshold: Annotated[float | None, "occupancy probability of the surface"] = None,
    simplify: Annotated[
        float | None,
        "target face count (e.g. 5000; more where thin parts would open), or maximum error as a fraction of the cube "
        "edge (e.g. 0.001); 0: no simplification",
        "FACES|ERROR",
    ] = None,
    refine: Annotated[int | None, "steps of gradient refinement; 0: none", "STEPS"] = None,
    refinement: Annotated[Refinement | None, "replaces reconstruct.refinement"] = None,
    graph: Graph = None,
    fit: Annotated[
        int | None,
        "steps of fitting the code to the image's silhouette, by the given or predicted camera; 0: none",
        "STEPS",
    ] = None,
    mask: Annotated[
        Literal["auto", "alpha", "background"],
        "what separates the object: the image's transparency, or its plain background (auto: alpha if it looks like a "
        "mask)",
    ] = "auto",
    as_is: Annotated[bool, "give the network the whole image as it is: neither cut out nor framed"] = False,
    camera: Annotated[
        Path | None,
        "JSON of the photo's camera where it is known (docs/photos.md); for several photos a folder of <photo>.json",
        "JSON",
    ] = None,
    camera_out: Annotated[
        Path | None,
        "also write the predicted camera (models with `pose: true`); for several photos a folder",
        "JSON",
    ] = None,
    uncertainty: Annotated[
        bool,
        "colour the mesh by the uncertainty of its surface, dark violet (certain) to yellow (OBJ, PLY, GLB)",
    ] = False,
    save_input: Annotated[
        Path | None, "also write the image that the network gets; for several images a folder", "PNG"
    ] = None,
) -> str:
    """Input image to closed mesh."""
    from occnet_lib.reconstruction.options import check_graph, overridden
    from occnet_lib.reconstruction.reconstructor import Reconstructor

    if as_is and mask != "auto":
        raise OccnetError("--as-is and --mask exclude each other", hint="leave one of them out")
    if drop_outliers and not merge:
        raise OccnetError("--drop-outliers is for photos of one object", hint="add --merge")
    config = overridden(config, resolution, threshold, simplify, refine, refinement, fit)
    check_graph(graph, config.reconstruct)
    reconstructor = Reconstructor(checkpoint, config.reconstruct, as_is, graph)
    objects = [photos] if merge else [[photo] for photo in photos]
    outs = _mesh_files(objects, out, format)
    if uncertainty and (
        path := next((path for path in outs if path.suffix.lower() in (".stl", ".off")), None)
    ):
        raise OccnetError(
            "this format has no colours for --uncertainty", path=path, hint="use .ply, .glb or .obj"
        )
    input_files = _side_files(photos, save_input, ".png", "--save-input") if save_input else {}
    predicted = _side_files(photos, camera_out, ".json", "--camera-out") if camera_out else {}
    known = _side_files(photos, camera, ".json", "--camera") if camera else {}
    if {file.resolve() for file in known.values()} & {file.resolve() for file in predicted.values()}:
        text = "--camera-out would replace the cameras of --camera"
        raise OccnetError(text, path=camera_out, hint="name another place")
    if predicted and not reconstructor.predicts_cameras:
        raise OccnetError("--camera-out: this model predicts no cameras", hint="train one with `pose: true`")
    if known:
        reconstructor.check_given_cameras()
    failed = 0
    for images, path in progress_bar(zip(objects, outs, strict=True), "reconstructing"):
        try:
            files = [(photo, known.get(photo), input_files.get(photo)) for photo in images]
            views = [_load(*each, reconstructor, mask, as_is) for each in files]
            _reconstruct_object(reconstructor, views, images, path, config.seed, drop_outliers, uncertainty)
            for photo, view in zip(images, views, strict=True):
                if photo in predicted:
                    _write_camera(reconstructor, view, predicted[photo])
        except (ImageError, MeshError) as error:
            if len(objects) == 1:
                raise
            logger.warning("%s", error)
            failed += 1
    if failed:
        raise OccnetError(f"{failed} of {len(objects)} photos gave no mesh", hint="the lines above say why")
    return ""


class _View(NamedTuple):
    """A photo as the network is given it, and its camera where that is known."""

    photo: FramedPhoto
    camera: Camera | None


def _load(
    path: Path,
    camera_file: Path | None,
    input_file: Path | None,
    reconstructor: Reconstructor,
    mask: Literal["auto", "alpha", "background"],
    as_is: bool,
) -> _View:
    """A photo and its camera."""
    from occnet_lib.reconstruction.photo import framed_photo
    from occnet_lib.reconstruction.photo_cameras import read_photo_camera

    try:
        camera = None if camera_file is None else read_photo_camera(camera_file, path)
    except DataError as error:
        hint = error.hint or f"--camera needs the camera of {path}"
        raise ImageError(error.message, path=error.path, hint=hint) from error
    photo = framed_photo(path, reconstructor.framing, reconstructor.view_size, mask, as_is)
    echo(f"{path}: {photo.steps}")
    if input_file is not None:
        from occnet_lib.storage.packs.image_codec import file_bytes

        write_bytes(input_file, file_bytes(reconstructor.seen(photo.image)))
    return _View(photo, camera)


def _reconstruct_object(
    reconstructor: Reconstructor,
    views: list[_View],
    paths: list[Path],
    out: Path,
    seed: int,
    drop_outliers: bool,
    uncertainty: bool,
) -> None:
    """Write the mesh of an object, and name images that disagree with the others."""
    from occnet_lib.reconstruction.photo_meshes import known_cameras, mesh_of_images
    from occnet_lib.reconstruction.surface_uncertainty import describe

    photos = [view.photo for view in views]
    rotations, projections = known_cameras(photos, [view.camera for view in views if view.camera])
    images = [photo.image for photo in photos]
    what = reconstructor, images, paths, seed, drop_outliers
    result, warnings = mesh_of_images(*what, rotations, projections, uncertainty)
    for line in warnings:
        logger.warning("%s%s", line, "; --drop-outliers leaves it out" if line.endswith("left in") else "")
    if result.status == "failed":
        raise MeshError(result.reason, path=paths[0], hint="lower --threshold or use another photo")
    result.save(out)
    if result.reason:
        logger.warning("%s: %s", out, result.reason)
    steps = ", ".join(f"{step} {seconds:.2f}" for step, seconds in result.seconds.items())
    echo(f"{out}: {len(result.mesh.faces)} faces (CPU seconds: {steps})")
    if result.expected_iou is not None:
        echo(f"{out}: {result.expected_iou}")
    if result.uncertainty is not None:
        echo(f"{out}: {describe(result.uncertainty)}")


def _write_camera(reconstructor: Reconstructor, view: _View, out: Path) -> None:
    """Write the likeliest camera of a photo, and the other hypotheses beside it."""
    from occnet_lib.storage.cameras import write_camera

    predicted = reconstructor.cameras(view.photo.image[None], _HYPOTHESES)
    cameras = [view.photo.camera(projection) for projection in predicted.projections[0]]
    probabilities = predicted.probabilities[0].round(4).tolist()
    others = [
        {
            "probability": probability,
            "camera_mat": other.camera_mat.tolist(),
            "world_mat": other.world_mat.tolist(),
        }
        for other, probability in zip(cameras[1:], probabilities[1:], strict=True)
    ]
    write_camera(out, cameras[0], {"probability": probabilities[0], "others": others})
    echo(f"{out}: camera with probability {probabilities[0]:.2f}")


def _side_files(photos: Sequence[Path], place: Path, suffix: str, option: str) -> dict[Path, Path]:
    """The file that an option reads or writes for each photo; never one of the photos."""
    if place.suffix and not place.is_dir():
        if place.suffix.lower() != suffix or len(photos) > 1:
            text = f"expected one {suffix} file for one photo, a folder for {len(photos)}"
            raise OccnetError(text, path=place, hint=f"{option} file{suffix}, or {option} folder")
        files = {photos[0]: place}
    else:
        files = {photo: place / f"{photo.stem}{suffix}" for photo in photos}
    if len(set(files.values())) < len(files):
        raise OccnetError("would hold two files of one name", path=place, hint="rename a photo")
    originals = {photo.resolve() for photo in files}
    for file in files.values():
        if file.resolve() in originals:
            raise OccnetError(f"{option} would replace this photo", path=file, hint="name another place")
    return files


def _mesh_files(objects: list[list[Path]], out: Path, format: str) -> list[Path]:
    """Where the mesh of each object goes: `out` is a folder if it is one already or has no suffix."""
    from occnet_lib.storage.meshes import WRITABLE

    if out.suffix and not out.is_dir():
        if out.suffix.lower() not in WRITABLE:
            raise OccnetError("unknown mesh format", path=out, hint=f"use {' '.join(WRITABLE)}")
        if len(objects) > 1:
            hint = "give a folder, or --merge if they show one object"
            raise OccnetError(f"a file cannot hold the meshes of {len(objects)} photos", path=out, hint=hint)
        return [out]
    outs = [out / f"{photos[0].stem}.{format}" for photos in objects]
    for i, path in enumerate(outs):
        if path in outs[:i]:
            first = objects[outs.index(path)][0]
            text = f"would have the same mesh as {first}: {path}"
            raise OccnetError(text, path=objects[i][0], hint="rename one")
    return outs


def app(
    models: Annotated[Path, "results folder with trained models, or a best.ckpt"],
    config: Config,
    *,
    host: Annotated[
        str, "address to listen at; the default is reachable from this machine alone"
    ] = "127.0.0.1",
    port: Annotated[int, "port to listen at; 0: any that is free"] = 7860,
    graph: Graph = None,
    open: Annotated[bool, "open the page in a browser"] = False,
) -> str:
    """Local page in the browser: photos to a mesh, with masks that a brush corrects."""
    from occnet_lib.app.checkpoints import Networks, find_checkpoints
    from occnet_lib.app.server import check_gradio, listen, serve
    from occnet_lib.app.workspace import Workspace

    networks = Networks(find_checkpoints(models), graph)
    with Workspace() as workspace, listen(host, port) as address:
        check_gradio(workspace)
        # Errors end here, not in the page.
        networks.load(next(iter(networks.checkpoints)), config.reconstruct)
        name = f"[{host}]" if ":" in host else host
        url = f"http://{name}:{address.getsockname()[1]}/"
        echo(f"{url} (Ctrl-C ends it)")
        if open:
            import webbrowser

            webbrowser.open(url)
        serve(networks, config, address, workspace)
    return ""
