"""Records that the stages exchange: plain arrays with a name, a shape and a frame.

Frames: *source* is the file's own (after its up axis is rotated to +y); *unit* is the unit cube,
`x_source = scale * x_unit + loc`; *view* is the frame of the cameras,
`x_view = view_scale * x_unit + view_loc`. All are right-handed, +y up.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Status = Literal["ok", "warn", "failed"]

# View frame units (the diagonal of the shape is 1) per unit of a stored depth: 16 bits reach to 4.
DEPTH_STEP = 2.0**-14

Wrap = Literal["repeat", "clamp", "mirror"]


@dataclass(frozen=True, eq=False)
class Texture:
    """An image on faces.

    Attributes:
        pixels: (H, W, 3) uint8 sRGB, the first row at the top.
        wrap: wrapping outside [0, 1] along u and along v.
    """

    pixels: NDArray[np.uint8]
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")


@dataclass(frozen=True, eq=False)
class Texturing:
    """Texture and texture coordinates of each face of a mesh.

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
        up: the up axis in the file, which is rotated to +y.
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
    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower and upper corner, (3,) float64 each, of the bounding box of all vertices."""
        return self.vertices.min(axis=0), self.vertices.max(axis=0)

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
    def vertex_normals(self) -> NDArray[np.float64]:
        """(V, 3) float64 unit normals, means of those of the faces weighted by area; 0 where these cancel out."""
        corners = self.faces.ravel()
        vectors = np.repeat(self.area_vectors, 3, axis=0)
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
        faces = self.faces.copy()
        texturing = self.texturing
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
    """Identity of a shape: one row of the catalogue."""

    category: str
    id: str
    path: str = ""
    split: str = ""
    shard: str = ""

    @property
    def name(self) -> str:
        """`<category>/<id>`: name of the shape in files, logs and random seeds."""
        return f"{self.category}/{self.id}"


@dataclass(frozen=True)
class Watertight:
    """The closed mesh of a shape.

    Attributes:
        mesh: closed, consistently wound outward, unit frame.
        loc: (3,) float64, centre of the source bounding box.
        scale: longest edge of the source bounding box; `x_source = scale * x_unit + loc`.
        audit: figures about its quality (float, int, bool or str values only).
    """

    mesh: Mesh
    loc: NDArray[np.float64]
    scale: float
    audit: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NearSurface:
    """Points concentrated near the surface, with the density for unbiased averages (importance sampling).

    `density` is the ratio q(x) / u(x) of their density q to the uniform density u. With the weight u/q, a point counts
    as in a uniform sample.

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
    """Training and evaluation samples of the occupancy field, all in the unit frame.

    Attributes:
        points: (N, 3) float16, uniform in [-0.55, 0.55]³ at padding 0.1, in random order.
        occupancies: (N,) bool, of the float16 values of `points`.
        surface: (M, 3) float16, area-weighted samples of the watertight surface.
        normals: (M, 3) float16, unit outward normals there.
        voxels: (R, R, R) bool, indexed [x, y, z], centre of voxel i at (i + 0.5) / R - 0.5: which centres are inside.
        surface_voxels: (R, R, R) bool, which of the same voxels the surface meets; None if unknown.
        near: points near the surface; None if disabled.
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
    """Points with signed distances or normals, unit frame.

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
    """Point sets for implicit 3D models (section `samples`).

    Attributes:
        sets: by name: uniform, near and sharp_near with distances; surface, curved and sharp with normals.
        audit: as in `Watertight`.
    """

    sets: dict[str, PointSet]
    audit: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Views:
    """Renderings of a shape and their cameras (Choy et al. 2016).

    A point of the unit frame is at pixel `K @ (R @ (view_scale * p + view_loc) + t)`, divided by its
    third component; pixel (0, 0) is the upper left corner of the image, u to the right, v down.

    Attributes:
        images: (V, H, W, 3) uint8 sRGB on a white background.
        camera_mat: (V, 3, 3) float64 intrinsics K in pixels.
        world_mat: (V, 3, 4) float64 rigid extrinsics [R | t], view frame to camera (+z forward).
        loc, scale: (3,) float64 and float, unit frame to view frame.
        extra: the maps "depth", "mask" and "normals", where enabled, as integers:
            depth (V, H, W) uint16, along the camera's axis, in `DEPTH_STEP` of the view frame, 0 for the background;
            mask (V, H, W) uint8, covered fraction of the pixel, in 255ths;
            normals (V, H, W, 3) uint8, round(127 n) + 128 of the unit normal n in the camera's frame (x right, y
            down, z forward) on the visible side, 0 for the background.
            Depth and normals are taken at the centre of the pixel.
        audit: as in `Watertight`.
    """

    images: NDArray[np.uint8]
    camera_mat: NDArray[np.float64]
    world_mat: NDArray[np.float64]
    loc: NDArray[np.float64]
    scale: float
    audit: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, NDArray[Any]] = field(default_factory=dict)
