"""The bundled generator of ShapeNet-like meshes with exact occupancy."""

from __future__ import annotations

from .generate import BUILDERS, DemoShape, exact, generate, shape_id, write
