"""The configuration classes, from which `config.yaml` and its JSON schema are generated."""

from __future__ import annotations

from .base import Section
from .dataset import DatasetConfig, DemoConfig, SplitConfig
from .io import check, digest, generated, json_schema, load, merge, to_markdown, to_yaml
from .learning import (
    CheckpointConfig,
    HardwareConfig,
    ImagesConfig,
    ModelConfig,
    OptimizerConfig,
    RaysConfig,
    TrainConfig,
    TrainDataConfig,
)
from .preprocess import (
    AuditConfig,
    EverydayConfig,
    PointsConfig,
    PreprocessConfig,
    SamplesConfig,
    ViewsConfig,
    WatertightConfig,
)
from .results import (
    AnalyseConfig,
    EvaluateConfig,
    GraphConfig,
    ReconstructConfig,
    Refinement,
    ReportConfig,
    SimplifyConfig,
)
from .root import Config
