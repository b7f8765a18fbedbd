"""Sections of the stages that make training data of a raw mesh: `preprocess` to `views`, and `audit` of the result."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from .base import Count, NonNegative, Positive, Section, Share


def _rising(limits: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= limits[0] <= limits[1]:
        raise ValueError(
            f"the shape fails above the second limit, so {list(limits)} must rise from 0 or more"
        )
    return limits


def _falling(limits: tuple[float, float]) -> tuple[float, float]:
    if not limits[0] >= limits[1]:
        raise ValueError(f"the shape fails below the second limit, so {list(limits)} must fall")
    return limits


AtMost = Annotated[tuple[float, float], AfterValidator(_rising)]
AtLeast = Annotated[tuple[float, float], AfterValidator(_falling)]


class PreprocessConfig(Section):
    """How the stages are carried out over many shapes."""

    max_failed: Share = Field(0.05, description="stop before training when more than this share failed")
    keep_shapes: bool = Field(
        True,
        description="keep a file a shape beside the pack files; without, changing one shape redoes its shard",
    )
    time_limit: Positive = Field(120.0, description="CPU seconds after which a shape is given up as failed")


class WatertightConfig(Section):
    """Raw mesh to closed mesh by a signed distance field."""

    method: Literal["auto", "flood_fill", "carving", "tsdf"] = Field(
        "auto",
        description="flood_fill: outside by a flood that stops at narrow gaps, exact distance; carving: outside by what "
        "views see, exact distance; tsdf: mean of truncated distances along views (ONet); auto: the input itself if it "
        "is closed, consistently wound and free of self-intersections, otherwise flood_fill",
    )
    resolution: int = Field(
        256, ge=32, le=1024, description="samples along the longest edge, margins included"
    )
    gap_width: float = Field(
        0.03,
        ge=0.0,
        le=0.2,
        description="gaps into something wider are closed if they are narrower than this, longest edge 1 (flood_fill)",
    )
    views: Count = Field(100, description="depth maps on a sphere around the shape (carving, tsdf)")
    image_size: int | Literal["auto"] = Field(
        "auto", description="pixels along a depth map's edge; auto: 2.5 times resolution (carving, tsdf)"
    )
    sheet_thickness: float = Field(
        1.35, ge=0.0, le=6.0, description="least thickness, given also to sheets that have none, in voxels"
    )
    min_component: NonNegative = Field(
        1e-5, description="closed components smaller than this fraction of the whole's volume are removed"
    )
    max_faces: Count | Literal["auto"] = Field(
        "auto",
        description="faces after quadric simplification; auto: 20000 at resolution 256, growing with its square; a mesh "
        "that is closed already keeps its own",
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

    uniform: int = Field(100_000, ge=8, multiple_of=8, description="points uniform in the padded cube")
    surface: Count = Field(100_000, description="points on the surface, with normals")
    padding: NonNegative = Field(0.1, description="the cube's edge is 1 + padding")
    voxels: Count = Field(32, description="voxels along the unit cube's edge")
    near_surface: float = Field(
        0.0,
        ge=0.0,
        le=0.9,
        description="share of points near the surface, beside the uniform ones, with their density; ONet: none",
    )
    near_surface_sigma: float = Field(
        0.02, ge=0.002, le=0.2, description="standard deviation of their distance, where the surface is flat"
    )


class EverydayConfig(Section):
    """Cameras as people hold them, in light that varies: what `views.protocol: everyday` draws uniformly, per view."""

    elevation: tuple[float, float] = Field((-10.0, 60.0), description="degrees")
    lens: tuple[Positive, Positive] = Field(
        (24.0, 85.0), description="focal length in mm on 36 mm (full frame); uniform in its logarithm"
    )
    fill: tuple[Positive, Positive] = Field(
        (0.5, 0.95),
        description="longer side of the object's bounding box in the image, as a fraction of the edge",
    )
    roll: float = Field(5.0, ge=0.0, le=180.0, description="degrees, either way")
    paint: Share = Field(
        0.0,
        description="probability of a view in which each material has a random colour in place of its own",
    )

    @model_validator(mode="after")
    def _ranges_rise(self) -> EverydayConfig:
        for name, (low, high) in (("elevation", self.elevation), ("lens", self.lens), ("fill", self.fill)):
            if low > high:
                raise ValueError(f"{name}: the lower bound {low:g} is above the upper bound {high:g}")
        if not -90.0 <= self.elevation[0] <= self.elevation[1] <= 90.0:
            raise ValueError("elevation must be within -90 and 90 degrees")
        if self.fill[1] > 1.0:
            raise ValueError("fill must be at most 1, or the object leaves the image")
        return self


class ViewsConfig(Section):
    """Renderings: by the protocol of Choy et al. 2016 (3D-R2N2), or as everyday photos."""

    protocol: Literal["choy", "everyday"] = Field(
        "choy",
        description="choy: ShapeNet's renderings, by focal, elevation and distance below; everyday: `views.everyday`",
    )

    count: Count = Field(24, description="images a shape")
    image_size: Count = Field(137, description="pixels along an image's edge")
    renderer: Literal["auto", "pyrender", "raycast"] = Field(
        "auto", description="auto: pyrender (EGL, else OSMesa), without OpenGL ray casting"
    )
    supersampling: Count = Field(2, description="samples along a pixel's edge (anti-aliasing)")
    focal: Positive = Field(
        149.84375, description="focal length in pixels of a 137-pixel image (35 mm on 32 mm)"
    )
    elevation: tuple[float, float] = Field((25.0, 30.0), description="degrees, drawn uniformly")
    distance: tuple[float, float] = Field((0.65, 0.95), description="times max_distance, drawn uniformly")
    max_distance: Positive = Field(1.75, description="in the view frame, where the shape's diagonal is 1")
    extra: tuple[Literal["depth", "mask", "normals"], ...] = Field(
        (), description="what to store of a view beside the image: some of depth, mask, normals"
    )

    everyday: EverydayConfig = Field(
        EverydayConfig(), description="cameras and light of the protocol everyday"
    )

    @model_validator(mode="after")
    def _depth_fits(self) -> ViewsConfig:
        # With all of the object's diagonal across the image, and half of it nearer than its centre.
        farthest = 0.5 + self.everyday.lens[1] / 36.0 / self.everyday.fill[0]
        if "depth" in self.extra and self.protocol == "everyday" and farthest > 3.5:
            raise ValueError(
                f"cameras stand up to {farthest:.2f} away, and depth is stored up to 4: lower everyday.lens"
                f" below {36 * 3 * self.everyday.fill[0]:g}, or raise everyday.fill"
            )
        return self

    @model_validator(mode="after")
    def _cameras_stand_outside(self) -> ViewsConfig:
        for name, (low, high) in (("elevation", self.elevation), ("distance", self.distance)):
            if low > high:
                raise ValueError(f"{name}: the lower bound {low:g} is above the upper bound {high:g}")
        if self.distance[0] * self.max_distance <= 0.5:
            raise ValueError("distance x max_distance must be above 0.5, or cameras stand within the shape")
        if "depth" in self.extra and self.distance[1] * self.max_distance > 3.5:
            raise ValueError("distance x max_distance must be at most 3.5 for depth, which is stored up to 4")
        return self


class AuditConfig(Section):
    """What makes a shape suspicious: beyond the first limit it becomes `warn`, beyond the second `failed`."""

    distance: AtMost = Field(
        (2.0, 10.0),
        description="voxels of watertight between closed mesh and visible input, 95th percentile, either way",
    )
    edge: AtMost = Field((4.0, 12.0), description="voxels by which the longest edge differs from the input's")
    least_volume: AtLeast = Field((5e-4, 1e-4), description="volume of the closed mesh, longest edge 1")
    most_volume: AtMost = Field((1.02, 1.1), description="the same; a full cube has 1")
    silhouette: AtLeast = Field(
        (0.99, 0.9),
        description="share of surface points within the silhouettes, and of silhouettes they cover, to 1 pixel",
    )
    ragged: AtMost = Field(
        (0.002, 0.01),
        description="fraction of the closed mesh's area that is farther from the input than any closed gap allows: "
        "cavities that are neither open nor solid",
    )
    repaired: Literal["ok", "warn", "failed"] = Field(
        "warn", description="what a shape is that had to be closed by force"
    )
    faces: float = Field(
        1.25,
        ge=1.0,
        description="times `watertight.max_faces`: a rebuilt mesh that keeps more faces becomes `warn`, as fewer would "
        "open it or cost its shape",
    )
