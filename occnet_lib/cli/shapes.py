"""Verbs of one shape: raw mesh to closed mesh, points and views."""

from __future__ import annotations

import json
import logging
import zipfile
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from occnet_lib.api import files, shapes
from occnet_lib.api.frames import solid_mesh, unit_mesh
from occnet_lib.config import Config, check, merge
from occnet_lib.errors import ConfigError
from occnet_lib.seeds import rng
from occnet_lib.storage.atomic import write_bytes
from occnet_lib.types import Watertight

from .arguments import Mesh, length, progress_bar

logger = logging.getLogger(__name__)


def watertight(
    mesh: Mesh,
    config: Config,
    *,
    frame: Annotated[
        Literal["source", "unit"],
        "source: the axes, scale and position of MESH; unit: the unit cube, y up; the file states which it is",
    ] = "source",
    out: Annotated[Path, "closed mesh to write (OBJ, OFF, PLY, STL, GLB)"],
) -> str:
    """Close a raw mesh by a signed distance field."""
    from occnet_lib.stages.audit import judge

    source = files.load_mesh(mesh, config.dataset.up)
    closed = shapes.watertight(source, config, name=mesh.stem)
    files.save_mesh(closed, out, frame=frame, up=source.up)
    status, reason = judge({"watertight": closed.audit}, config.audit)
    if status != "ok":
        logger.warning("%s: %s", out, reason)
    if closed.audit["method"] == "exact" and closed.audit["faces_ratio"] > 1.0:
        text = "%s: the mesh is closed and keeps its own %d faces, more than watertight.max_faces: %d"
        logger.warning(text, out, closed.audit["faces_out"], config.watertight.face_limit)
    return json.dumps(closed.audit, indent=2, default=float)


def points(
    mesh: Annotated[Path, "closed mesh (of `occnet watertight`)"],
    config: Config,
    *,
    out: Annotated[Path, "NPZ file to write: points, occupancies, surface, normals, voxels, loc, scale"],
) -> str:
    """Sample occupancies, surface points and voxels of a closed mesh."""
    from occnet_lib.interop.npz import write_npz

    unit = solid_mesh(mesh, config)
    samples = shapes.sample_points(Watertight(unit.mesh, unit.loc, unit.scale), config, name=mesh.stem)
    names = ("points", "occupancies", "surface", "normals", "voxels")
    arrays = {name: getattr(samples, name) for name in names}
    write_npz(out, {"loc": unit.loc, "scale": np.array(unit.scale), **arrays})
    inside = f"{len(samples.points)} points, {samples.occupancies.mean():.4f} of them inside"
    return f"{out}: {inside}; {unit.describe(config)}"


def prepare(
    mesh: Mesh,
    config: Config,
    *,
    edge: Annotated[float, "longest edge of the shape in the file", length] = 1.0,
    up: Annotated[Literal["y", "z"], "up axis of the file"] = "y",
    out: Annotated[Path, "NPZ file to write: the sets of section `samples` and the closed mesh"],
) -> str:
    """Signed distances, surface points and sharp edges of a raw mesh in one file."""
    from occnet_lib.interop.vecset_formats import Frame, write_samples

    if not config.samples.wanted:
        hint = "give counts in section `samples`, as workflow/vecset.yaml: --config workflow/vecset.yaml"
        raise ConfigError("section `samples` requests no points", hint=hint)
    closed = shapes.watertight(mesh, config)
    samples = shapes.sample_sets(closed, config, name=mesh.stem)
    write_samples(out, closed, samples, Frame(edge, up))
    counts = ", ".join(f"{len(values.points)} {name}" for name, values in samples.sets.items())
    return f"{out}: {counts}"


def views(
    mesh: Annotated[Path, "raw mesh with its materials"],
    config: Config,
    *,
    protocol: Annotated[
        Literal["choy", "everyday"] | None,
        "cameras and light: Choy et al. 2016, or everyday photos (default: as configured)",
    ] = None,
    out: Annotated[Path, "folder to write: 00.png …, cameras.npz"],
) -> str:
    """Render a raw mesh from 24 cameras."""
    from occnet_lib.interop.npz import write_npz
    from occnet_lib.stages import views
    from occnet_lib.storage.packs.image_codec import file_bytes

    unit = unit_mesh(mesh, config)
    if protocol:
        config = check(merge(config.model_dump(), {"views": {"protocol": protocol}}))
    result = views.run(unit.mesh, config.views, rng(config.seed, "views", mesh.stem))
    out.mkdir(parents=True, exist_ok=True)
    names = [f"{index:02d}.png" for index in range(len(result.images))]
    _remove_earlier_views(out, len(names))
    for name, image in zip(names, progress_bar(result.images, "writing"), strict=True):
        write_bytes(out / name, file_bytes(image))
    cameras = {"camera_mat": result.camera_mat, "world_mat": result.world_mat}
    write_npz(out / "cameras.npz", {"loc": result.loc, "scale": np.array(result.scale), **cameras})
    if others := sorted({path.name for path in out.glob("*.png")} - {*names}):
        text = "%s: %d other images are in this folder (%s): they are not of these views"
        logger.warning(text, out, len(others), ", ".join(others[:3]) + ", …" * (len(others) > 3))
    count = f"{len(result.images)} views ({config.views.protocol})"
    return f"{out}: {count} by {result.audit.get('renderer', 'auto')}; {unit.describe(config)}"


def _remove_earlier_views(folder: Path, count: int) -> None:
    """Remove the views from number `count` on which an earlier `occnet views` wrote, by its cameras."""
    try:
        with (folder / "cameras.npz").open("rb") as file, np.load(file) as cameras:
            earlier = len(cameras["world_mat"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return
    for index in range(count, earlier):
        (folder / f"{index:02d}.png").unlink(missing_ok=True)
