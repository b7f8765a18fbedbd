"""The whole configuration: one section per stage."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic.config import JsonDict

from .base import Natural, Section, UserPath, is_null
from .dataset import DatasetConfig, DemoConfig
from .learning import PRESETS, ImagesConfig, ModelConfig, TrainConfig, expand_seeds
from .preprocess import (
    AuditConfig,
    PointsConfig,
    PreprocessConfig,
    SamplesConfig,
    ViewsConfig,
    WatertightConfig,
)
from .results import AnalyseConfig, EvaluateConfig, ReconstructConfig, ReportConfig


def _checkpoint(results: str, model: str) -> str:
    """The file that the workflow writes of a model."""
    return f"{results.rstrip('/')}/train/{model}/best.ckpt"


def _short_models(schema: JsonDict) -> None:
    """Let the schema accept the short forms of `Config._short_forms`."""
    words: JsonDict = {"enum": [*PRESETS, None]}
    schema["additionalProperties"] = {"anyOf": [schema["additionalProperties"], words]}


class Config(Section):
    """All parameters of the results. Where a run executes is defined by a Snakemake profile."""

    seed: Natural = Field(0, description="random numbers depend on (seed, stage, shape)")
    results: UserPath = Field("results", description="folder of all results")
    dataset: DatasetConfig = Field(DatasetConfig(), description="raw meshes; a path alone stands for `root`")
    demo: DemoConfig = Field(
        DemoConfig(), description="the bundled generator, used if dataset.root is `demo`"
    )
    preprocess: PreprocessConfig = Field(PreprocessConfig(), description="how shapes are processed")
    watertight: WatertightConfig = Field(WatertightConfig(), description="raw mesh to closed mesh")
    points: PointsConfig = Field(PointsConfig(), description="occupancies, surface points, voxels")
    views: ViewsConfig = Field(ViewsConfig(), description="images and cameras")
    samples: SamplesConfig = Field(
        SamplesConfig(),
        description="point sets for implicit 3D models other than occupancy networks; none by default",
    )
    audit: AuditConfig = Field(AuditConfig(), description="quality limits of a shape")
    models: dict[str, ModelConfig] = Field(
        {"onet": ModelConfig()},
        description="networks to train and compare, by name; a word alone is a preset, null removes a network",
        json_schema_extra=_short_models,
    )
    images: ImagesConfig = Field(ImagesConfig(), description="framing and augmentation of images")
    train: TrainConfig = Field(TrainConfig(), description="training, equal for all models")
    reconstruct: ReconstructConfig = Field(ReconstructConfig(), description="image to mesh")
    evaluate: EvaluateConfig = Field(EvaluateConfig(), description="metrics")
    analyse: AnalyseConfig = Field(AnalyseConfig(), description="figures")
    report: ReportConfig = Field(ReportConfig(), description="the HTML page")

    @property
    def is_demo(self) -> bool:
        """Whether the raw meshes are those of the bundled generator."""
        return self.dataset.root == "demo"

    @property
    def dataset_root(self) -> str:
        """The folder of raw meshes."""
        return f"{self.results.rstrip('/')}/demo" if self.is_demo else self.dataset.root

    def images_of(self, model: str) -> ImagesConfig:
        """The section `images` with the framing of a model; if that is camera, the other keys have their defaults."""
        framing = self.models[model].framing or self.images.framing
        if framing == "camera":
            return ImagesConfig(framing="camera")
        return self.images.model_copy(update={"framing": framing})

    def training_seed(self, model: str) -> int:
        """The seed of a model's training."""
        return self.seed + self.models[model].seed

    def networks_used_by(self, model: str) -> list[str]:
        """Files of other networks that a model's training reads."""
        network = self.models[model]
        return [path for path in (network.start, network.silhouette_cameras) if path]

    @property
    def checkpoints(self) -> dict[str, str]:
        """Names of the models by the files that the workflow writes of them."""
        return {_checkpoint(self.results, name): name for name in self.models}

    @property
    def distinct_models(self) -> list[str]:
        """Names of the models without their further seeds."""
        return [name for name in self.models if self.seeds_of(name)[:1] == [name]]

    def seeds_of(self, model: str) -> list[str]:
        """Names of the trainings that differ from a model in nothing but the seed, by seed."""
        network, base = self.models[model], model
        if network.seed and model.endswith(suffix := f"-seed{network.seed}"):
            base = model.removesuffix(suffix)
        same = {
            other.seed: name
            for name, other in self.models.items()
            if name == base or (other.seed and name == f"{base}-seed{other.seed}")
        }
        return [same[seed] for seed in sorted(same)]

    @property
    def pose_models(self) -> list[str]:
        """Names of the models whose predicted cameras are evaluated."""
        return [name for name, model in self.models.items() if model.pose] if self.evaluate.views else []

    @property
    def photo_models(self) -> list[str]:
        """Names of the models that are evaluated on photos, whose cameras they are not given."""
        if not self.evaluate.photos:
            return []
        return [name for name in self.models if not self.is_given_cameras(name)]

    def is_given_cameras(self, model: str) -> bool:
        """Whether a model's reconstructions use the true cameras of images, which it does not predict."""
        network = self.models[model]
        return not (network.pose if self.reconstruct.fit else network.takes_any_photo)

    @property
    def measured_models(self) -> list[str]:
        """Names of the models whose uncertainty and next views are measured."""
        named = self.evaluate.uncertainty
        if isinstance(named, bool) or not named:
            return self.distinct_models
        return list(dict.fromkeys(training for name in named for training in self.seeds_of(name)))

    @property
    def refined_models(self) -> list[str]:
        """Names of the trainings whose refinements are compared."""
        named = dict.fromkeys(self.evaluate.refinements)
        return [training for name in named for training in self.seeds_of(name)]

    @property
    def graph_refinement(self) -> Literal["graph", "both"]:
        """The refinement that `refinement/<model>/graph.ckpt` is for."""
        return "both" if self.reconstruct.refinement == "both" else "graph"

    @property
    def uncertain_models(self) -> dict[str, list[str]]:
        """Names of the models whose fields' uncertainty is measured, by their images: views and photos."""
        models = {
            "views": self.measured_models if self.evaluate.views else [],
            "photos": [name for name in self.measured_models if name in self.photo_models],
        }
        return {source: names for source, names in models.items() if names}

    @property
    def baseline_names(self) -> list[str]:
        """Names of the baselines in files and tables; those that use an encoder exist once per model."""
        names = []
        for kind in self.evaluate.baselines:
            uses_encoder = kind in ("retrieval", "clustering")
            suffixes = [f"-{model}" for model in self.distinct_models] if uses_encoder else [""]
            names += [f"baseline_{kind}{suffix}" for suffix in suffixes]
        return names

    @field_validator("results")
    @classmethod
    def _no_pattern(cls, value: str) -> str:
        # Snakemake reads paths of outputs as patterns with {wildcards}.
        if not value.strip("/") or any(letter in value for letter in "{}\n"):
            raise ValueError("must be the path of a folder, without braces and line ends")
        return value

    @field_validator("dataset", mode="before")
    @classmethod
    def _path_is_root(cls, value: Any) -> Any:
        return {"root": value} if isinstance(value, str) else value

    @field_validator("models", mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        # An overlay is merged over config.yaml, and null removes a model that config.yaml defines.
        if not isinstance(value, dict):
            return value
        kept = {k: v for k, v in value.items() if not is_null(v)}
        return expand_seeds({k: {"preset": v} if isinstance(v, str) else v for k, v in kept.items()})

    @field_validator("models")
    @classmethod
    def _names_are_folder_names(cls, value: dict[str, ModelConfig]) -> dict[str, ModelConfig]:
        if not value:
            raise ValueError("at least one model is needed")
        for name in value:
            if not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"model name {name!r} must be of letters, digits, - and _")
        return value

    @field_validator("models")
    @classmethod
    def _names_of_networks(
        cls, value: dict[str, ModelConfig], info: ValidationInfo
    ) -> dict[str, ModelConfig]:
        """Replace the name of another model by the file that the workflow writes of it."""
        results = str(info.data.get("results", ""))
        files = {name: _checkpoint(results, name) for name in value}

        def with_files(model: ModelConfig) -> ModelConfig:
            named = {key: getattr(model, key) for key in ("start", "silhouette_cameras")}
            changes = {key: files[name] for key, name in named.items() if name in files}
            return model.model_copy(update=changes) if changes else model

        return {name: with_files(model) for name, model in value.items()}

    @model_validator(mode="after")
    def _compared_models_exist(self) -> Config:
        measured = self.evaluate.uncertainty
        named = {
            "compare": [name for pair in self.evaluate.compare.items() for name in pair],
            "uncertainty": [] if isinstance(measured, bool) else measured,
            "refinements": self.evaluate.refinements,
        }
        for key, names in named.items():
            if unknown := [name for name in names if name not in self.distinct_models]:
                known = ", ".join(self.distinct_models)
                raise ValueError(f"`evaluate.{key}` names {unknown[0]!r}; models are {known}")
        if same := [name for name, reference in self.evaluate.compare.items() if name == reference]:
            raise ValueError(f"`evaluate.compare` compares {same[0]!r} with itself")
        return self

    @model_validator(mode="after")
    def _networks_can_be_trained_first(self) -> Config:
        # Snakemake is silent about both where the report of an earlier run exists.
        trained = self.checkpoints
        for name, model in self.models.items():
            cameras = trained.get(model.silhouette_cameras)
            if cameras and not self.models[cameras].pose:
                raise ValueError(
                    f"`models.{name}.silhouette_cameras` is {cameras!r}, which predicts no cameras: it needs `pose: true`"
                )
        needed = {
            name: [trained[path] for path in self.networks_used_by(name) if path in trained]
            for name in self.models
        }
        try:
            TopologicalSorter(needed).prepare()
        except CycleError as error:
            cycle = " needs ".join(reversed(error.args[1]))
            raise ValueError(
                f"`models`: by `start` and `silhouette_cameras`, {cycle}, so none can be trained first"
            ) from None
        return self

    @model_validator(mode="after")
    def _keys_have_an_effect(self) -> Config:
        for name, model in self.models.items():
            if model.own_cameras and not (model.local and model.pose):
                raise ValueError(f"`models.{name}.own_cameras` needs `local: true` and `pose: true`")
            if model.labels == "none" and not model.silhouettes:
                raise ValueError(
                    f"`models.{name}.labels: none` needs `silhouettes` above 0: nothing else is learned"
                )
            if model.silhouette_cameras and not (model.labels == "hull" or model.silhouettes):
                raise ValueError(
                    f"`models.{name}.silhouette_cameras` needs `labels: hull` or `silhouettes`, which have a use for them"
                )
            if model.silhouette_cameras and (model.needs_cameras or model.frame == "camera"):
                raise ValueError(
                    f"`models.{name}` has `silhouette_cameras` for views whose cameras are unknown, and `local`, `pose` "
                    "and `frame: camera` need true ones"
                )
            if model.consistency and self.views.count < 2:
                raise ValueError(
                    f"`models.{name}.consistency` compares two views of a shape, and `views.count` is 1"
                )
            if model.uses_other_views and self.train.hardware.cache == "gpu":
                raise ValueError(
                    f"`models.{name}` cannot use `train.hardware.cache: gpu`, but auto, ram or none"
                )
        for key in ("uncertainty", "next_view"):
            if getattr(self.evaluate, key) and not self.evaluate.views:
                raise ValueError(f"`evaluate.{key}` needs the fields of views, and `evaluate.views` is 0")
        if self.evaluate.next_view > self.evaluate.views:
            text = "`evaluate.next_view` chooses among `evaluate.views`, so it is at most {}, not {}"
            raise ValueError(text.format(self.evaluate.views, self.evaluate.next_view))
        return self
