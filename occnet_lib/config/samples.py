"""Section `samples`: point sets for implicit 3D models other than occupancy networks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import Natural, NonNegative, Positive, Section

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
