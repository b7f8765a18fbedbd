"""Sections of the stages from raw mesh to training data: `preprocess` to `views`, `samples` and `audit`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from .base import Count, Fraction, Natural, NonNegative, Positive, Section


def _rising(limits: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= limits[0] <= limits[1]:
        raise ValueError(
            f"limits must rise, from 0 or more (a shape fails above the second), got {list(limits)}"
        )
    return limits


def _falling(limits: tuple[float, float]) -> tuple[float, float]:
    if not limits[0] >= limits[1]:
        raise ValueError(f"limits must fall (a shape fails below the second), got {list(limits)}")
    return limits


def _ordered(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError(f"the lower bound {limits[0]:g} is above the upper bound {limits[1]:g}")
    return limits


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
PositiveRange = Annotated[tuple[Positive, Positive], AfterValidator(_ordered)]
AtMost = Annotated[tuple[float, float], AfterValidator(_rising)]
AtLeast = Annotated[tuple[float, float], AfterValidator(_falling)]


class PreprocessConfig(Section):
    """How the stages are run over many shapes."""

    max_failed: Fraction = Field(
        0.05, description="stop before training if more than this fraction of the shapes failed"
    )
    keep_shapes: bool = Field(
        True,
        description="keep one file per shape beside the pack files; otherwise a changed shape reprocesses its shard",
    )
    time_limit: Positive = Field(
        120.0, description="CPU seconds per shape, after which it is recorded as failed"
    )


class WatertightConfig(Section):
    """Raw mesh to closed mesh by a signed distance field."""

    method: Literal["auto", "flood_fill", "carving", "tsdf"] = Field(
        "auto",
        description="flood_fill: outside is what a flood fill reaches, which stops at narrow gaps, exact distance; carving: "
        "outside is what views see, exact distance; tsdf: mean of truncated distances along views (ONet); auto: the input "
        "itself if it is closed, consistently wound and free of self-intersections, otherwise flood_fill",
    )
    resolution: int = Field(
        256, ge=32, le=1024, description="samples along the longest edge, margins included"
    )
    gap_width: float = Field(
        0.03,
        ge=0.0,
        le=0.2,
        description="gaps narrower than this are closed where they lead into something wider; longest edge 1 (flood_fill)",
    )
    views: Count = Field(100, description="depth maps on a sphere around the shape (carving, tsdf)")
    image_size: int | Literal["auto"] = Field(
        "auto", description="edge of a depth map in pixels; auto: 2.5 times resolution (carving, tsdf)"
    )
    sheet_thickness: float = Field(
        1.35, ge=0.0, le=6.0, description="minimum thickness in voxels, also of sheets without thickness"
    )
    min_component: NonNegative = Field(
        1e-5, description="closed components below this fraction of the total volume are removed"
    )
    max_faces: Count | Literal["auto"] = Field(
        "auto",
        description="faces after quadric simplification; auto: 20000 at resolution 256, proportional to its square; a "
        "mesh that is closed already keeps its faces",
    )

    @field_validator("image_size")
    @classmethod
    def _image_size_is_possible(cls, value: int | str) -> int | str:
        if isinstance(value, int) and not 64 <= value <= 4096:
            raise ValueError("must be auto or from 64 to 4096")
        return value

    @property
    def depth_map_size(self) -> int:
        """`image_size` in pixels."""
        return max(64, round(2.5 * self.resolution)) if self.image_size == "auto" else self.image_size

    @property
    def face_limit(self) -> int:
        """`max_faces` as a number."""
        return round(20_000 * (self.resolution / 256) ** 2) if self.max_faces == "auto" else self.max_faces


class PointsConfig(Section):
    """Occupancy and surface samples of the closed mesh (ONet's sample_mesh.py)."""

    uniform: int = Field(100_000, ge=8, multiple_of=8, description="uniform points in the padded cube")
    surface: Count = Field(100_000, description="points on the surface, with normals")
    padding: NonNegative = Field(0.1, description="edge of the cube minus 1")
    voxels: Count = Field(32, description="voxels along the edge of the unit cube")
    near_surface: float = Field(
        0.0,
        ge=0.0,
        le=0.9,
        description="fraction of additional points near the surface, stored with their density; ONet: none",
    )
    near_surface_sigma: float = Field(
        0.02, ge=0.002, le=0.2, description="standard deviation of their distance from a flat surface"
    )


class EverydayConfig(Section):
    """Handheld cameras and varying light for `views.protocol: everyday`; drawn uniformly, per view."""

    elevation: Range = Field((-10.0, 60.0), description="degrees")
    lens: PositiveRange = Field(
        (24.0, 85.0), description="focal length in mm (full frame, 36 mm); log-uniform"
    )
    fill: PositiveRange = Field(
        (0.5, 0.95), description="longer side of the object's bounding box, as a fraction of the image edge"
    )
    roll: float = Field(5.0, ge=0.0, le=180.0, description="maximum roll in degrees, in both directions")
    paint: Fraction = Field(
        0.0, description="probability that a view has random colours in place of those of the materials"
    )

    @model_validator(mode="after")
    def _views_are_possible(self) -> EverydayConfig:
        if not -90.0 <= self.elevation[0] <= self.elevation[1] <= 90.0:
            raise ValueError("elevation must be within -90 and 90 degrees")
        if self.fill[1] > 1.0:
            raise ValueError("fill must be at most 1, so that the object stays in the image")
        return self


class ViewsConfig(Section):
    """Rendered images: by the protocol of Choy et al. 2016 (3D-R2N2), or like everyday photos."""

    protocol: Literal["choy", "everyday"] = Field(
        "choy",
        description="choy: cameras by focal, elevation and distance, as for ShapeNet; everyday: `views.everyday`",
    )

    count: Count = Field(24, description="images per shape")
    image_size: Count = Field(137, description="edge of an image in pixels")
    renderer: Literal["auto", "pyrender", "raycast"] = Field(
        "auto", description="auto: pyrender (EGL or OSMesa) if OpenGL is available, otherwise raycast"
    )
    supersampling: Count = Field(2, description="samples along the edge of a pixel (anti-aliasing)")
    focal: Positive = Field(
        149.84375, description="focal length in pixels of a 137-pixel image (35 mm on 32 mm)"
    )
    elevation: Range = Field((25.0, 30.0), description="degrees, drawn uniformly")
    distance: Range = Field((0.65, 0.95), description="multiple of max_distance, drawn uniformly")
    max_distance: Positive = Field(
        1.75, description="in the view frame, in which the diagonal of the shape is 1"
    )
    extra: tuple[Literal["depth", "mask", "normals"], ...] = Field(
        (), description="what to store beside the image: any of depth, mask, normals"
    )

    everyday: EverydayConfig = Field(
        EverydayConfig(), description="cameras and light of the protocol everyday"
    )

    @model_validator(mode="after")
    def _depth_fits(self) -> ViewsConfig:
        # The diagonal of the object spans the image, and half of it is in front of the centre.
        farthest = 0.5 + self.everyday.lens[1] / 36.0 / self.everyday.fill[0]
        if "depth" in self.extra and self.protocol == "everyday" and farthest > 3.5:
            raise ValueError(
                f"cameras are up to {farthest:.2f} away, and depth is stored up to 4: lower everyday.lens"
                f" below {36 * 3 * self.everyday.fill[0]:g}, or raise everyday.fill"
            )
        return self

    @model_validator(mode="after")
    def _cameras_are_outside(self) -> ViewsConfig:
        if self.distance[0] * self.max_distance <= 0.5:
            raise ValueError(
                "distance x max_distance must be above 0.5, so that cameras are outside the shape"
            )
        if "depth" in self.extra and self.distance[1] * self.max_distance > 3.5:
            raise ValueError("distance x max_distance must be at most 3.5 for depth, which is stored up to 4")
        return self


class AuditConfig(Section):
    """Quality limits: beyond the first a shape becomes `warn`, beyond the second `failed`."""

    distance: AtMost = Field(
        (2.0, 10.0),
        description="voxels between closed mesh and visible input, 95th percentile, larger of both directions",
    )
    edge: AtMost = Field(
        (4.0, 12.0), description="difference of the longest edges of closed mesh and input, in voxels"
    )
    least_volume: AtLeast = Field(
        (5e-4, 1e-4), description="minimum volume of the closed mesh, longest edge 1"
    )
    most_volume: AtMost = Field((1.02, 1.1), description="maximum volume; that of a cube is 1")
    silhouette: AtLeast = Field(
        (0.99, 0.9),
        description="fraction of surface points within the silhouettes, and of silhouettes that they cover, to 1 pixel",
    )
    ragged: AtMost = Field(
        (0.002, 0.01),
        description="fraction of the closed mesh's area that is farther from the input than a closed gap can be: "
        "cavities that are neither open nor solid",
    )
    repaired: Literal["ok", "warn", "failed"] = Field(
        "warn", description="status of a shape that needed repair after closing"
    )
    faces: float = Field(
        1.25,
        ge=1.0,
        description="multiple of `watertight.max_faces` above which a rebuilt mesh becomes `warn`: fewer faces would open "
        "or deform it",
    )


Sigmas = Annotated[tuple[Positive, ...], Field(min_length=1)]


class SamplesConfig(Section):
    """Point sets beside those of section `points`, in the unit frame (longest edge 1)."""

    uniform: Natural = Field(0, description="uniform points in the padded cube, with signed distance")
    near: Natural = Field(0, description="surface points with Gaussian noise, with signed distance")
    near_sigma: Sigmas = Field(
        (0.0025, 0.025),
        description="standard deviations of the noise; each applies to an equal number of points",
    )
    surface: Natural = Field(0, description="surface points, uniform by area, with normals")
    curved: Natural = Field(
        0, description="surface points with density proportional to absolute mean curvature, with normals"
    )
    sharp: Natural = Field(0, description="points on sharp edges, uniform by length, with normals")
    sharp_near: Natural = Field(0, description="points near sharp edges, with signed distance")
    sharp_sigma: Sigmas = Field(
        (0.0005, 0.0015, 0.005, 0.01, 0.02, 0.03), description="standard deviations, as near_sigma"
    )
    sharp_angle: float = Field(
        15.0,
        gt=0.0,
        lt=180.0,
        description="angle between the normals of the faces, in degrees, above which an edge is sharp",
    )
    sharp_scale: Positive = Field(
        0.004, description="distance from the edge at which the normals must differ by that angle, too"
    )
    padding: NonNegative = Field(0.05, description="edge of the cube minus 1")
    truncation: NonNegative = Field(0.0, description="maximum stored distance; 0: not truncated")
    precision: Literal["float16", "float32"] = Field("float32", description="type of the numbers in files")
    farthest: Natural = Field(
        0,
        description="candidates per surface or sharp point for farthest-point sampling and order; 0: random",
    )

    @property
    def wanted(self) -> bool:
        """Whether any set is requested."""
        return any((self.uniform, self.near, self.surface, self.curved, self.sharp, self.sharp_near))
