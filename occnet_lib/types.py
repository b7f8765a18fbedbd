"""What the stages hand to one another: plain arrays with a name, a shape and a frame.

Frames: *source* is the file's own (after the up axis was turned to +y); *unit* is the unit cube,
`x_source = scale * x_unit + loc`; *view* is the frame in which the cameras stand,
`x_view = view_scale * x_unit + view_loc`. All are right-handed, +y up.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

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

    @classmethod
    def empty(cls) -> Mesh:
        """A mesh without vertices and faces."""
        return cls(np.zeros((0, 3)), np.zeros((0, 3), np.int32))

    @classmethod
    def from_triangles(cls, triangles: NDArray[np.float64]) -> Mesh:
        """The mesh of triangles (F, 3, 3), each with three vertices of its own."""
        corners = triangles.reshape(-1, 3)
        return cls(corners, np.arange(len(corners), dtype=np.int32).reshape(-1, 3))

    @property
    def triangles(self) -> NDArray[np.float64]:
        """(F, 3, 3) float64 corners of every face."""
        return self.vertices[self.faces]

    @property
    def area_vectors(self) -> NDArray[np.float64]:
        """(F, 3) float64 normals of the faces, each as long as twice the area of its face."""
        a, b, c = (self.vertices[corner] for corner in self.faces.T)
        return np.cross(b - a, c - a)

    @property
    def face_areas(self) -> NDArray[np.float64]:
        """(F,) float64 areas."""
        return np.asarray(np.linalg.norm(self.area_vectors, axis=1) / 2.0)

    @property
    def face_normals(self) -> NDArray[np.float64]:
        """(F, 3) float64 unit normals; 0 for a face without area."""
        return _unit(self.area_vectors)

    @property
    def face_volumes(self) -> NDArray[np.float64]:
        """(F,) float64 signed volumes of the tetrahedra between the origin and the faces."""
        a, b, c = (self.vertices[corner] for corner in self.faces.T)
        return np.asarray(np.einsum("fk,fk->f", a, np.cross(b, c)) / 6.0)

    @property
    def vertex_normals(self) -> NDArray[np.float64]:
        """(V, 3) float64 unit normals, means of those of the faces weighted by area; 0 where these cancel out."""
        corners, vectors = self.faces.ravel(), np.repeat(self.area_vectors, 3, axis=0)
        sums = [np.bincount(corners, vectors[:, axis], len(self.vertices)) for axis in range(3)]
        return _unit(np.stack(sums, axis=1))

    @property
    def volume(self) -> float:
        """Volume of a closed mesh; negative if it is wound inward."""
        a, b, c = (self.vertices[corner] for corner in self.faces.T)
        return float(np.einsum("fk,fk->", a, np.cross(b, c)) / 6.0)

    @property
    def used_vertices(self) -> NDArray[np.bool_]:
        """(V,) which vertices some face uses."""
        used = np.zeros(len(self.vertices), dtype=bool)
        used[self.faces] = True
        return used

    def compact(self) -> Mesh:
        """The mesh without the vertices that no face uses."""
        used = self.used_vertices
        number = np.cumsum(used, dtype=np.int32) - np.int32(1)
        colors = None if self.colors is None else self.colors[used]
        return replace(self, vertices=self.vertices[used], faces=number[self.faces], colors=colors)

    def flipped(self, which: NDArray[np.bool_] | slice = slice(None)) -> Mesh:
        """The mesh with the winding of faces reversed: of all, or of those chosen by a mask (F,)."""
        faces, texturing = self.faces.copy(), self.texturing
        faces[which] = faces[which, ::-1]
        if texturing is not None:
            uv = texturing.uv.copy()
            uv[which] = uv[which, ::-1]
            texturing = replace(texturing, uv=uv)
        return replace(self, faces=faces, texturing=texturing)

    def transformed(self, loc: ArrayLike, scale: float) -> Mesh:
        """The mesh with its vertices at `scale * x + loc`: from the unit frame to the one of `loc` and `scale`."""
        return replace(self, vertices=self.vertices * scale + np.asarray(loc))

    def to_unit(self, loc: ArrayLike, scale: float) -> Mesh:
        """The inverse of `transformed`: vertices at `(x - loc) / scale`."""
        return replace(self, vertices=(self.vertices - np.asarray(loc)) / scale)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vectors (N, 3) scaled to length 1; those of length 0 stay 0."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1.0))


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
