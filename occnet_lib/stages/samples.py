"""Stage samples: sets of points with signed distances and normals for implicit 3D models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import DependencyError
from occnet_lib.geometry.occupancy import signed_distance
from occnet_lib.geometry.sampling import sample_surface
from occnet_lib.geometry.sharp_edges import Edges, curvature_weights, sample_edges, sharp_edges
from occnet_lib.types import Mesh, PointSet, Samples, Watertight

if TYPE_CHECKING:
    from occnet_lib.config import SamplesConfig

SETS = ("uniform", "near", "surface", "curved", "sharp", "sharp_near")
Oriented = tuple[NDArray[np.float64], NDArray[np.float64]]  # points and unit normals, (N, 3) each


def run(watertight: Watertight, config: SamplesConfig, rng: np.random.Generator) -> Samples:
    """Draw the sets of points that the configuration enables.

    Points are rounded to `config.precision` first; distances are those of the rounded points to the closed mesh, of
    which `points.occupancies` are the signs. For a mesh without sharp edges, points drawn by curvature replace those on
    edges; `sharp_length` in the audit is 0 then.

    Args:
        watertight: closed mesh, unit frame.
        config: section `samples`.
        rng: draws everything.

    Returns:
        the sets; the audit holds `sharp_length`, the length of all sharp edges, where such points are enabled.

    Raises:
        MeshError: the mesh has no area.
        DependencyError: `farthest` is set and fpsample is not installed.
    """
    # One generator for each set, so that the sets are independent of one another.
    children = dict(zip(SETS, rng.spawn(len(SETS)), strict=True))
    sampler = _Sampler(watertight.mesh, config)
    sets = {
        name: getattr(sampler, name)(count, children[name])
        for name in SETS
        if (count := getattr(config, name))
    }
    audit: dict[str, Any] = {}
    if config.sharp or config.sharp_near:
        audit["sharp_length"] = float(sampler.edges.length.sum())
    return Samples(sets, audit)


class _Sampler:
    """The sets of one mesh: one method for each set, with its number of points and its generator."""

    def __init__(self, mesh: Mesh, config: SamplesConfig) -> None:
        self.mesh, self.config = mesh, config
        self.dtype = np.dtype(config.precision)

    @cached_property
    def edges(self) -> Edges:
        return sharp_edges(self.mesh, self.config.sharp_angle, self.config.sharp_scale)

    def uniform(self, count: int, rng: np.random.Generator) -> PointSet:
        half = 0.5 + self.config.padding / 2.0
        return self._with_distance(rng.uniform(-half, half, (count, 3)))

    def near(self, count: int, rng: np.random.Generator) -> PointSet:
        points, _, _ = sample_surface(self.mesh, count, rng)
        return self._with_distance(_noisy(points, self.config.near_sigma, rng))

    def surface(self, count: int, rng: np.random.Generator) -> PointSet:
        return self._oriented(count, rng, lambda n: sample_surface(self.mesh, n, rng)[:2])

    def curved(self, count: int, rng: np.random.Generator) -> PointSet:
        return self._oriented(count, rng, lambda n: self._by_curvature(n, rng))

    def sharp(self, count: int, rng: np.random.Generator) -> PointSet:
        return self._oriented(count, rng, lambda n: self._sharp(n, rng))

    def sharp_near(self, count: int, rng: np.random.Generator) -> PointSet:
        points, _ = self._sharp(count, rng)
        return self._with_distance(_noisy(points, self.config.sharp_sigma, rng))

    def _sharp(self, count: int, rng: np.random.Generator) -> Oriented:
        if not len(self.edges.length):
            return self._by_curvature(count, rng)
        return sample_edges(self.mesh, self.edges, count, rng)

    def _by_curvature(self, count: int, rng: np.random.Generator) -> Oriented:
        return sample_surface(self.mesh, count, rng, curvature_weights(self.mesh))[:2]

    def _oriented(self, count: int, rng: np.random.Generator, draw: Callable[[int], Oriented]) -> PointSet:
        points, normals = draw(count * max(1, self.config.farthest))
        if self.config.farthest:
            chosen = _farthest(points, count, int(rng.integers(len(points))))
            points, normals = points[chosen], normals[chosen]
        return PointSet(points.astype(self.dtype), normals=normals.astype(self.dtype))

    def _with_distance(self, points: NDArray[np.float64]) -> PointSet:
        rounded = points.astype(self.dtype)
        distance = signed_distance(self.mesh, rounded)
        if limit := self.config.truncation:
            distance = np.clip(distance, -limit, limit)
        return PointSet(rounded, distance=distance.astype(self.dtype))


def _noisy(
    points: NDArray[np.float64], sigmas: Sequence[float], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Points with Gaussian noise, equal parts of them with each standard deviation."""
    sigma = np.resize(np.asarray(sigmas), len(points))
    return points + sigma[:, None] * rng.standard_normal(points.shape)


def _farthest(points: NDArray[np.float64], count: int, start: int) -> NDArray[np.intp]:
    """Indices of `count` points by farthest-point sampling (Eldar et al. 1997) from the point `start`."""
    try:
        import fpsample
    except ImportError as error:
        raise DependencyError(
            "samples.farthest needs a missing library", hint="pip install 'occnet[samples]'"
        ) from error
    chosen = fpsample.bucket_fps_kdline_sampling(points.astype(np.float32), count, h=7, start_idx=start)
    return np.asarray(chosen, np.intp)
