"""All refinements of a network's meshes, each from the same simplified mesh."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from occnet_lib import seeds
from occnet_lib.config import ReconstructConfig, Refinement
from occnet_lib.errors import ConfigError
from occnet_lib.storage.packs import Shard
from occnet_lib.types import Mesh

from .extract import threshold_logit
from .face_features import FaceNormalPredictor, true_normals
from .reconstruct import refined_by
from .reconstructor import Reconstructor
from .refinement import follow_normals

PERFECT = "perfect_normals"
"""The refinement that follows the normals of the ground truth, as the graph network is trained to predict them: a bound."""


class ComparedRefinements(Reconstructor):
    """A checkpoint whose meshes are refined in every way.

    Args:
        checkpoint: as `Reconstructor`.
        config: section `reconstruct`; every refinement has its settings, its `refinement` has no effect.
        graphs: files of graph networks for graph and both; what has none is left out.
        seed: of the configuration.

    Raises:
        ConfigError, DataError: as `Reconstructor`.
    """

    def __init__(
        self, checkpoint: str | Path, config: ReconstructConfig, graphs: Mapping[Refinement, Path], seed: int
    ) -> None:
        super().__init__(checkpoint, config.model_copy(update={"refinement": "none"}))
        self._graphs = {
            name: FaceNormalPredictor(path, name, self.device, self._options) for name, path in graphs.items()
        }
        self._seed = seed

    def of_shape(self, shard: Shard, i: int) -> tuple[Mesh, str, dict[str, Callable[[Mesh], Mesh]]]:
        """The mesh of a packed shape without refinement, why it has no faces if so, and its refinements by name.

        Image, camera and random numbers are those of `reconstruct_shard`, and so are the meshes, but for the rounding of
        `reconstruct.batch`. With another number of steps than the default's, there is a further `gradient` of that number.

        Raises:
            ConfigError: the configured view does not exist.
        """
        view, name = self.config.view, shard.keys[i].name
        if view >= shard.views:
            raise ConfigError(f"reconstruct.view is {view}, shapes have views 0 to {shard.views - 1}")
        image, rotation = shard.image(i, view), shard.camera(i, view)[1][:, :3]
        given = None if self.predicts_cameras else shard.projection(i, view, image.shape)
        rng = partial(seeds.rng, self._seed, "reconstruct", name)
        start = self(image, rng(), rotation, projection=given)
        field = self.field_of_view(image, rotation, given)

        def refine(mesh: Mesh, refinement: Refinement, **changes: int) -> Mesh:
            predictor, level = self._graphs.get(refinement), threshold_logit(self.threshold)
            return refined_by(
                mesh,
                self.config.model_copy(update={"refinement": refinement, **changes}),
                self.threshold,
                field.with_gradient,
                partial(field.with_gradient, low_precision=True),
                None if predictor is None else partial(predictor, field.with_gradient, level=level),
                rng=rng(),
                device=self.device,
            ).mesh

        arms = {name: partial(refine, refinement=name) for name in ("none", "gradient")}
        default = int(ReconstructConfig.model_fields["refine_steps"].default)
        if self.config.refine_steps != default:
            arms[f"gradient_{default}"] = partial(refine, refinement="gradient", refine_steps=default)
        arms |= {name: partial(refine, refinement=name) for name in ("bilateral", *self._graphs)}
        surface = shard.surface(i)

        def perfect(mesh: Mesh) -> Mesh:
            return follow_normals(mesh, true_normals(mesh, *surface)[0]).mesh

        return start.mesh, start.reason, {**arms, PERFECT: perfect}
