"""What the stages hand to one another: plain arrays with a name, a shape and a frame.

Frames: *source* is the file's own (after the up axis was turned to +y); *unit* is the unit cube,
`x_source = scale * x_unit + loc`; *view* is the frame in which the cameras stand,
`x_view = view_scale * x_unit + view_loc`. All are right-handed, +y up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Status = Literal["ok", "warn", "failed"]

# View frame units, in which the diagonal of the shape is 1, for one unit of a stored depth: up to 4 in 16 bits.
DEPTH_STEP = 2.0**-14


Wrap = Literal["repeat", "clamp", "mirror"]


@dataclass(frozen=True, eq=False)
class Texture:
    """An image that faces show.

    Attributes:
        pixels: (H, W, 3) uint8 sRGB, the first row at the top.
        wrap: what lies outside [0, 1] along u and along v.
    """

    pixels: NDArray[np.uint8]
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")


@dataclass(frozen=True, eq=False)
class Texturing:
    """Which part of which texture every face of a mesh shows.

    Attributes:
        uv: (F, 3, 2) float32 texture coordinates of each face's corners: (0, 0) is the upper left corner of
            the image, (1, 1) the lower right one (as in glTF; OBJ's v points up).
        index: (F,) int32 into `textures`, -1 for faces without one.
        textures: the images.
    """

    uv: NDArray[np.float32]
    index: NDArray[np.int32]
    textures: tuple[Texture, ...]


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh.

    Attributes:
        vertices: (V, 3) float64.
        faces: (F, 3) int32 indices into `vertices`; outward faces are counter-clockwise.
        colors: (V, 3) float32 sRGB in [0, 1], or None where the file has none.
        texturing: textures, whose colour is multiplied with `colors` in linear light; None without.
        unread: one line for each part of the file (texture, material, vertex colours) that could not be read.
        up: the up axis in the file, which was turned to +y.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]
    colors: NDArray[np.float32] | None = None
    texturing: Texturing | None = None
    unread: tuple[str, ...] = ()
    up: Literal["x", "y", "z"] = "y"

    @property
    def triangles(self) -> NDArray[np.float64]:
        """(F, 3, 3) float64 corners of every face."""
        return self.vertices[self.faces]


@dataclass(frozen=True)
class ShapeKey:
    """Which shape: one row of the catalogue."""

    category: str
    id: str
    path: str = ""
    split: str = ""
    shard: str = ""

    @property
    def name(self) -> str:
        """`<category>/<id>`: how a shape is called in files, logs and random seeds."""
        return f"{self.category}/{self.id}"


@dataclass(frozen=True)
class Watertight:
    """The closed mesh of a shape.

    Attributes:
        mesh: closed, consistently wound outward, unit frame.
        loc: (3,) float64, centre of the source bounding box.
        scale: longest edge of the source bounding box; `x_source = scale * x_unit + loc`.
        audit: numbers about how good it is (float, int, bool or str values only).
    """

    mesh: Mesh
    loc: NDArray[np.float64]
    scale: float
    audit: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NearSurface:
    """Points that lie more densely near the surface, with what makes an average over them unbiased.

    `density` is that of these points' distribution q relative to the uniform one u, at a point x: q(x) / u(x). With
    the weight u/q a point counts as much as it would in a uniform sample.

    Attributes:
        points: (K, 3) float16, unit frame, in random order.
        occupancies: (K,) bool.
        density: (K,) float16, q/u at `points`.
    """

    points: NDArray[np.float16]
    occupancies: NDArray[np.bool_]
    density: NDArray[np.float16]


@dataclass(frozen=True)
class PointSamples:
    """What the field is trained on and measured by, all in the unit frame.

    Attributes:
        points: (N, 3) float16, uniform in [-0.55, 0.55]³ at padding 0.1, in random order.
        occupancies: (N,) bool, of the float16 values of `points`.
        surface: (M, 3) float16, area-weighted samples of the watertight surface.
        normals: (M, 3) float16, unit outward normals there.
        voxels: (R, R, R) bool, indexed [x, y, z], centre of voxel i at (i + .5) / R - .5: which centres are inside.
        surface_voxels: (R, R, R) bool, which of the same voxels the surface meets; none where that is not known.
        near: points near the surface; None where none were asked for.
        audit: as in `Watertight`.
    """

    points: NDArray[np.float16]
    occupancies: NDArray[np.bool_]
    surface: NDArray[np.float16]
    normals: NDArray[np.float16]
    voxels: NDArray[np.bool_]
    audit: dict[str, Any] = field(default_factory=dict)
    surface_voxels: NDArray[np.bool_] | None = None
    near: NearSurface | None = None


@dataclass(frozen=True)
class PointSet:
    """Points with what is known of each, unit frame.

    Attributes:
        points: (N, 3) float16 or float32.
        distance: (N,) of the same type: signed distance to the closed surface, negative inside; None where the
            points are on the surface.
        normals: (N, 3) of the same type: unit outward normals; None where the points are not on the surface.
    """

    points: NDArray[np.floating]
    distance: NDArray[np.floating] | None = None
    normals: NDArray[np.floating] | None = None


@dataclass(frozen=True)
class Samples:
    """Sets of points for implicit 3D models (section `samples`).

    Attributes:
        sets: by name: uniform, near and sharp_near with distances; surface, curved and sharp with normals.
        audit: as in `Watertight`.
    """

    sets: dict[str, PointSet]
    audit: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Views:
    """Renderings of a shape and the cameras that took them (Choy et al. 2016).

    A point of the unit frame is at pixel `K @ (R @ (view_scale * p + view_loc) + t)`, divided by its
    third component; pixel (0, 0) is the upper left corner of the image, u to the right, v down.

    Attributes:
        images: (V, H, W, 3) uint8 sRGB on a white background.
        camera_mat: (V, 3, 3) float64 intrinsics K in pixels.
        world_mat: (V, 3, 4) float64 rigid extrinsics [R | t], view frame to camera (+z forward).
        loc, scale: (3,) float64 and float, unit frame to view frame.
        extra: what else was asked for of "depth", "mask" and "normals", as integers that are small to store:
            depth (V, H, W) uint16, along the camera's axis, in `DEPTH_STEP` of the view frame, 0 where nothing is;
            mask (V, H, W) uint8, share of the pixel that the shape covers, in 255ths;
            normals (V, H, W, 3) uint8, round(127 n) + 128 of the unit normal n in the camera's frame (x right, y
            down, z forward) on the side that is seen, 0 where nothing is.
            Depth and normals are those at the centre of the pixel.
        audit: as in `Watertight`.
    """

    images: NDArray[np.uint8]
    camera_mat: NDArray[np.float64]
    world_mat: NDArray[np.float64]
    loc: NDArray[np.float64]
    scale: float
    audit: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, NDArray[Any]] = field(default_factory=dict)
