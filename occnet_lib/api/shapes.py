"""Stages of one shape: raw mesh to closed mesh, points and views."""

from __future__ import annotations

from pathlib import Path

from occnet_lib.config import Config
from occnet_lib.errors import ConfigError
from occnet_lib.seeds import rng
from occnet_lib.types import Mesh, PointSamples, Samples, Views, Watertight

from .files import PathLike, load_mesh
from .frames import solid_mesh, unit_mesh


def watertight(mesh: Mesh | PathLike, config: Config | None = None, *, name: str = "") -> Watertight:
    """Close a raw mesh: any triangles become one closed surface, by a signed distance field.

    Args:
        mesh: source frame, or a file, which is read with `config.dataset.up`; a file that states a frame keeps it.
        config: section `watertight` and `seed` are used.
        name: see the module; for a file its stem.

    Returns:
        closed, outward mesh in the unit frame with `loc` (3,) and `scale`, and `audit`, figures about its quality.

    Raises:
        MeshError: the mesh is unreadable, has no surface or cannot be closed.

    Examples:
        >>> closed = occnet.watertight("cube.obj", config)
        >>> closed.scale, closed.audit["closed"], round(closed.audit["volume"], 1)
        (2.0, True, 1.0)
    """
    from occnet_lib.stages import watertight as stage

    config = config or Config()
    drawing = rng(config.seed, "watertight", name or stem(mesh))
    if not isinstance(mesh, Mesh):
        unit = unit_mesh(Path(mesh), config)
        if unit.frame is not None and unit.frame.frame != "camera":
            closed = unit.mesh.transformed(unit.loc, unit.scale)
            return stage.run(closed, config.watertight, drawing, frame=(unit.loc, unit.scale))
        mesh = load_mesh(mesh, config.dataset.up)
    return stage.run(mesh, config.watertight, drawing)


def sample_points(
    closed: Watertight | PathLike, config: Config | None = None, *, name: str = ""
) -> PointSamples:
    """Draw what an occupancy network is trained on and measured by.

    Args:
        closed: of `watertight`, or the file of a closed mesh.
        config: section `points` and `seed` are used.
        name: see the module; for a file its stem.

    Returns:
        `points` (N, 3) float16 and `occupancies` (N,) bool, `surface` and `normals` (M, 3) float16, `voxels` (R, R, R)
        bool; unit frame.

    Raises:
        MeshError: the mesh of the file is open, or has no area.

    Examples:
        >>> samples = occnet.sample_points(occnet.watertight("cube.obj", config), config)
        >>> samples.points.shape, samples.points.dtype, samples.occupancies.dtype
        ((1000, 3), dtype('float16'), dtype('bool'))
        >>> float(samples.occupancies.mean())  # volume of the cube of edge 1 in that of edge 1.1: about 0.75
        0.7...
    """
    from occnet_lib.stages import points

    config = config or Config()
    return points.run(
        _closed(closed, config), config.points, rng(config.seed, "points", name or stem(closed))
    )


def sample_sets(closed: Watertight | PathLike, config: Config | None = None, *, name: str = "") -> Samples:
    """Draw points for other implicit models: signed distances, sharp edges, points by curvature.

    Args:
        closed: as in `sample_points`.
        config: section `samples` (which sets, and how many points of each) and `seed` are used.
        name: see the module; for a file its stem.

    Returns:
        `sets` by name: `points` (N, 3) with `distance` (N,), negative inside, or with `normals` (N, 3); unit frame.

    Raises:
        ConfigError: section `samples` has no counts.
        MeshError: as in `sample_points`.
        DependencyError: `samples.farthest` is set and fpsample is not installed.

    Examples:
        >>> config = occnet.load_config("config.yaml", samples={"near": 500, "sharp": 200})
        >>> sets = occnet.sample_sets(occnet.watertight("cube.obj", config), config).sets
        >>> {name: len(values.points) for name, values in sets.items()}
        {'near': 500, 'sharp': 200}
    """
    from occnet_lib.stages import samples

    config = config or Config()
    if not config.samples.wanted:
        hint = 'give counts: load_config(samples={"near": 100_000})'
        raise ConfigError("section `samples` has no counts", hint=hint)
    drawing = rng(config.seed, "samples", name or stem(closed))
    return samples.run(_closed(closed, config), config.samples, drawing)


def render_views(mesh: Mesh | PathLike, config: Config | None = None, *, name: str = "") -> Views:
    """Render a raw mesh with its colours from random cameras (Choy et al. 2016).

    Args:
        mesh: any frame (it is brought into the unit frame), or a file.
        config: section `views` and `seed` are used.
        name: see the module; for a file its stem.

    Returns:
        `images` (V, H, W, 3) uint8 sRGB on white; `camera_mat` (V, 3, 3), `world_mat` (V, 3, 4), `loc` and `scale`: a
        point p of the unit frame is at pixel `K (R (scale * p + loc) + t)`.

    Raises:
        MeshError: the mesh is unreadable, or some view shows nothing of it.
        DependencyError: the renderer of `config.views.renderer` does not work here.

    Examples:
        >>> views = occnet.render_views("cube.obj", config)
        >>> views.images.shape, views.images.dtype, views.world_mat.shape
        ((2, 64, 64, 3), dtype('uint8'), (2, 3, 4))
    """
    from occnet_lib.geometry.normalise import unit_cube
    from occnet_lib.stages import views

    config = config or Config()
    unit = unit_cube(mesh)[0] if isinstance(mesh, Mesh) else unit_mesh(Path(mesh), config).mesh
    return views.run(unit, config.views, rng(config.seed, "views", name or stem(mesh)))


def _closed(closed: Watertight | PathLike, config: Config) -> Watertight:
    if isinstance(closed, Watertight):
        return closed
    unit = solid_mesh(Path(closed), config)
    return Watertight(unit.mesh, unit.loc, unit.scale)


def stem(source: object) -> str:
    """Name of a shape without a name: that of its file."""
    return Path(source).stem if isinstance(source, str | Path) else ""
