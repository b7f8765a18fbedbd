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


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh.

    Attributes:
        vertices: (V, 3) float64.
        faces: (F, 3) int32 indices into `vertices`; outward faces are counter-clockwise.
        colors: (V, 3) float32 sRGB in [0, 1], or None where the file tells none.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]
    colors: NDArray[np.float32] | None = None

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
class PointSamples:
    """What the field is trained on and measured by, all in the unit frame.

    Attributes:
        points: (N, 3) float16, uniform in [-0.55, 0.55]³ at padding 0.1, in random order.
        occupancies: (N,) bool, of the float16 values of `points`.
        surface: (M, 3) float16, area-weighted samples of the watertight surface.
        normals: (M, 3) float16, unit outward normals there.
        voxels: (R, R, R) bool, indexed [x, y, z], centre of voxel i at (i + .5) / R - .5.
        audit: as in `Watertight`.
    """

    points: NDArray[np.float16]
    occupancies: NDArray[np.bool_]
    surface: NDArray[np.float16]
    normals: NDArray[np.float16]
    voxels: NDArray[np.bool_]
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
        audit: as in `Watertight`.
    """

    images: NDArray[np.uint8]
    camera_mat: NDArray[np.float64]
    world_mat: NDArray[np.float64]
    loc: NDArray[np.float64]
    scale: float
    audit: dict[str, Any] = field(default_factory=dict)
