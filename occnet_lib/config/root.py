"""The whole configuration: one section a stage."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator
from pydantic.config import JsonDict

from .base import Natural, Section, UserPath
from .dataset import DatasetConfig, DemoConfig
from .learning import PRESETS, ImagesConfig, ModelConfig, TrainConfig
from .preprocess import AuditConfig, PointsConfig, PreprocessConfig, ViewsConfig, WatertightConfig
from .results import AnalyseConfig, EvaluateConfig, ReconstructConfig, ReportConfig
from .samples import SamplesConfig


def _short_models(schema: JsonDict) -> None:
    """Let the schema accept what `Config._short_forms` does."""
    words: JsonDict = {"enum": [*PRESETS, None]}
    schema["additionalProperties"] = {"anyOf": [schema["additionalProperties"], words]}


class Config(Section):
    """Everything that decides what a run computes; where it runs is a profile's matter."""

    seed: Natural = Field(0, description="random numbers come from (seed, stage, shape)")
    results: UserPath = Field("results", description="folder of everything that is made")
    dataset: DatasetConfig = Field(
        DatasetConfig(), description="raw meshes; a plain path is short for `root`"
    )
    demo: DemoConfig = Field(
        DemoConfig(), description="the bundled generator, used when dataset.root is `demo`"
    )
    preprocess: PreprocessConfig = Field(PreprocessConfig(), description="how shapes are processed")
    watertight: WatertightConfig = Field(WatertightConfig(), description="raw mesh to closed mesh")
    points: PointsConfig = Field(PointsConfig(), description="occupancies, surface points, voxels")
    views: ViewsConfig = Field(ViewsConfig(), description="images and cameras")
    samples: SamplesConfig = Field(
        SamplesConfig(),
        description="sets of points for implicit 3D models other than occupancy networks; none by default",
    )
    audit: AuditConfig = Field(AuditConfig(), description="when a shape is suspicious")
    models: dict[str, ModelConfig] = Field(
        {"onet": ModelConfig()},
        description="variants to train and compare, by name; one word is a preset, null leaves one out",
        json_schema_extra=_short_models,
    )
    images: ImagesConfig = Field(ImagesConfig(), description="what networks see of an image")
    train: TrainConfig = Field(TrainConfig(), description="training, the same for all models")
    reconstruct: ReconstructConfig = Field(ReconstructConfig(), description="photo to mesh")
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
        """The section `images` with a model's own framing; where that is camera, no other key counts."""
        framing = self.models[model].framing or self.images.framing
        if framing == "camera":
            return ImagesConfig(framing="camera")
        return self.images.model_copy(update={"framing": framing})

    @property
    def baseline_names(self) -> list[str]:
        """How the baselines are called in files and tables: those that use an encoder are there once a model."""
        names = []
        for kind in self.evaluate.baselines:
            by_code = kind in ("retrieval", "clustering")
            names += (
                [f"baseline_{kind}-{model}" for model in self.models] if by_code else [f"baseline_{kind}"]
            )
        return names

    @field_validator("results")
    @classmethod
    def _no_pattern(cls, value: str) -> str:
        # Snakemake reads paths of outputs as patterns with {wildcards}.
        if not value.strip("/") or any(letter in value for letter in "{}\n"):
            raise ValueError("must be the path of a folder without braces and line ends")
        return value

    @field_validator("dataset", mode="before")
    @classmethod
    def _path_is_root(cls, value: Any) -> Any:
        return {"root": value} if isinstance(value, str) else value

    @field_validator("models", mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        # An overlay is merged over config.yaml: null is its way to leave out a model named there.
        if not isinstance(value, dict):
            return value
        long = {k: {"preset": v} if isinstance(v, str) else v for k, v in value.items()}
        return {k: v for k, v in long.items() if v is not None}

    @field_validator("models")
    @classmethod
    def _names_are_folder_names(cls, value: dict[str, ModelConfig]) -> dict[str, ModelConfig]:
        if not value:
            raise ValueError("at least one model is needed")
        for name in value:
            if not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"model name {name!r} must be of letters, digits, - and _")
        return value
