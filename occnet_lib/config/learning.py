"""Sections of the networks and their training: `models` and `train`."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from .base import Count, Natural, NonNegative, Positive, Section, UserPath

Encoder = Literal[
    "resnet10",
    "resnet18",
    "resnet50",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b5",
    "efficientnet_b7",
]
_RESNET18 = {"encoder": "resnet18", "decoder": "cbn", "hidden": 256, "c_dim": 256, "pretrained": True}
_B0 = {"encoder": "efficientnet_b0", "hidden": 128, "c_dim": 128, "pretrained": True, "framing": "camera"}
PRESETS: dict[str, dict[str, Any]] = {
    # Mescheder et al. 2019, section 4.3 and their configs/img/onet.yaml.
    "onet": {**_RESNET18, "framing": "camera"},
    # The rows of the table of github.com/Computer-Vision-IIITH-2021/project-noisypixel.
    "noisypixel-b0-fc": {**_B0, "decoder": "fc"},
    "noisypixel-b0-cbn": {**_B0, "decoder": "cbn"},
    "noisypixel-resnet18-cbn": {**_RESNET18, "framing": "camera"},
    # ONet with silhouettes as input, the highest IoU at equal steps (docs/models.md).
    "onet-silhouette": {**_RESNET18, "image": "silhouette"},
}
Preset = Literal[
    "", "onet", "noisypixel-b0-fc", "noisypixel-b0-cbn", "noisypixel-resnet18-cbn", "onet-silhouette"
]
# Names of earlier versions.
RENAMED_PRESETS = {
    **{name.replace("noisypixel", "seed"): name for name in PRESETS if name.startswith("noisypixel")},
    "best": "onet-silhouette",
}


class ModelConfig(Section):
    """A network that is trained, evaluated and compared."""

    later_keys: ClassVar[frozenset[str]] = frozenset(
        {"seed", "seeds", "local", "pose", "own_cameras", "labels", "silhouettes", "consistency", "start"}
    ) | {"silhouette_cameras"}

    preset: Preset = Field("", description="a predefined network, which sets the other keys (docs/models.md)")
    encoder: Encoder = Field("resnet18", description="image encoder (torchvision)")
    decoder: Literal["cbn", "fc"] = Field("cbn", description="cbn: conditional batch norm; fc: plain ResNet")
    hidden: Count = Field(256, description="width of the decoder")
    c_dim: Count = Field(256, description="length of the image code")
    blocks: Count = Field(5, description="ResNet blocks in the decoder")
    positional_encoding: int = Field(
        0, ge=0, le=10, description="frequencies of the positional encoding of points; 0: none (ONet)"
    )
    frame: Literal["unit", "camera"] = Field(
        "unit",
        description="frame of the decoder's points: the unit frame, or rotated into that of the camera",
    )
    image: Literal["rgb", "silhouette"] = Field(
        "rgb",
        description="input of the encoder: the image, or the silhouette and darkness of the object on white",
    )
    framing: Literal["", "object", "camera"] = Field(
        "", description="framing of the images of this model; empty: images.framing"
    )
    pretrained: bool = Field(False, description="start from ImageNet weights (local file or download)")
    seed: Natural = Field(0, description="added to `seed` in training: other initial weights, other order")
    seeds: Count = Field(
        1,
        description="trainings: <name>, <name>-seed1, …, by which `evaluate.compare` measures a training's chance",
    )
    local: bool = Field(
        False,
        description="pixel-aligned features: maps of the encoder, sampled where a point projects to; needs a camera",
    )
    pose: bool = Field(
        False, description="predict the camera, by an encoder of its own; `local` models then use it"
    )
    own_cameras: bool = Field(
        False, description="with `local` and `pose`: train on predicted cameras from a third of the steps on"
    )
    labels: Literal["3d", "hull", "none"] = Field(
        "3d",
        description="occupancies in training: 3d: those of the shapes; hull: of the visual hulls of the views' silhouettes; "
        "none: no points, see `silhouettes`; hull and none read no occupancies, in validation neither",
    )
    silhouettes: NonNegative = Field(
        0.0, description="weight of the loss of views' silhouettes along rays (train.rays); 0: none"
    )
    silhouette_cameras: UserPath = Field(
        "",
        description="model with `pose: true`, or its best.ckpt, that predicts the cameras of silhouettes; empty: true ones",
    )
    consistency: NonNegative = Field(
        0.0, description="weight of the divergence between the fields of two views of a shape; 0: none"
    )
    start: UserPath = Field(
        "", description="model of the same layers, or its best.ckpt, whose weights training starts from"
    )

    @property
    def needs_cameras(self) -> bool:
        """Whether training needs the cameras of images."""
        return self.local or self.pose

    @property
    def uses_other_views(self) -> bool:
        """Whether training needs more of a shape than one view, its points and their occupancies."""
        return self.labels == "hull" or self.silhouettes > 0 or self.consistency > 0

    @property
    def takes_any_photo(self) -> bool:
        """Whether a photo is enough for a reconstruction, without its camera."""
        return self.pose or not self.local

    @model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, value: Any) -> Any:
        """Replace the preset by its keys, so that equal networks have equal keys."""
        name = value.get("preset") if isinstance(value, dict) else None
        if isinstance(name, str) and name in RENAMED_PRESETS:
            raise ValueError(f"preset `{name}` is now called `{RENAMED_PRESETS[name]}`")
        if not isinstance(name, str) or name not in PRESETS:
            return value
        if {"encoder", "decoder"} <= value.keys():  # an overlay over a model that has all keys
            raise ValueError(f"already has all keys: write `: {name}` in place of `: {{preset: {name}}}`")
        return PRESETS[name] | value | {"preset": ""}


def expand_seeds(models: dict[Any, Any]) -> dict[Any, Any]:
    """Replace `seeds: n` of a model by n models, so that each training is a model of its own in all that follows.

    Args:
        models: the section `models` before validation, by name.

    Raises:
        ValueError: a training's name exists already, or a model has both keys.
    """
    expanded: dict[Any, Any] = {}
    for name, value in models.items():
        keys = value.model_dump() if isinstance(value, ModelConfig) else value
        seeds = str(keys.get("seeds", 1)) if isinstance(keys, dict) else ""  # `snakemake --config` gives text
        if not seeds.isdecimal() or int(seeds) <= 1:  # invalid ones are rejected by their type
            expanded[name] = value
            continue
        if keys.get("seed", 0) not in (0, "0"):
            raise ValueError(f"model {name!r} has both `seed` and `seeds`")
        plain = {key: item for key, item in keys.items() if key != "seeds"}
        expanded[name] = plain
        for seed in range(1, int(seeds)):
            if (training := f"{name}-seed{seed}") in models:
                raise ValueError(f"`seeds` of model {name!r} defines {training!r}, which exists already")
            expanded[training] = plain | {"seed": seed}
    return expanded


class ImagesConfig(Section):
    """Framing of images, equal in training, validation, evaluation and for photos, and augmentation in training."""

    framing: Literal["object", "camera"] = Field(
        "object",
        description="object: the bounding box of the non-white pixels is centred and scaled to a fixed size, as photos "
        "require; camera: the whole image (ONet)",
    )
    fill: float = Field(
        0.8,
        gt=0.1,
        le=1.0,
        description="object: longer edge of the bounding box, as a fraction of the image edge",
    )
    shift: float = Field(
        0.03,
        ge=0.0,
        le=0.5,
        description="object: maximum random shift in training, as a fraction of the image edge",
    )
    scale: float = Field(
        0.08, ge=0.0, lt=1.0, description="object: random scale in training, from 1 - scale to 1 + scale"
    )
    roll: float = Field(
        2.0,
        ge=0.0,
        le=45.0,
        description="object: maximum random roll in training, degrees in both directions",
    )
    gamma: float = Field(
        1.0,
        ge=1.0,
        le=10.0,
        description="random brightness in training: pixels (white is 1) to the power of 1 / gamma to gamma",
    )
    mirror: bool = Field(
        False, description="training also sees mirror images, with the shape mirrored from left to right"
    )

    @property
    def jitters(self) -> bool:
        """Whether training shifts, scales or rolls objects."""
        return self.framing == "object" and max(self.shift, self.scale, self.roll) > 0


class TrainDataConfig(Section):
    """What a training step sees (ONet: 64 images of 2048 points each)."""

    batch_size: int = Field(64, ge=2, description="images per step and device")
    points: Count = Field(2048, description="points per image")
    balance: Natural = Field(
        0,
        description="0: uniform points; k: of k times as many, half occupied where possible, weighted to the same loss",
    )
    near_points: Natural = Field(
        0, description="additional points near the surface, of those that points.near_surface makes"
    )
    near_weight: NonNegative = Field(
        0.3, description="weight of their mean loss relative to that of uniform points"
    )
    image_size: int = Field(224, ge=32, le=1024, description="edge of the encoder's input in pixels")
    crop: float = Field(
        1.0, gt=0.0, le=1.0, description="smallest fraction of an image that a random crop keeps; 1: no crop"
    )


class RaysConfig(Section):
    """Rays of silhouettes, for models with `silhouettes`."""

    views: Count = Field(2, description="views of a shape whose silhouettes an image's field has to match")
    per_view: Count = Field(2, description="rays of the object per view")
    samples: int = Field(
        12,
        ge=2,
        description="points along a ray of the object, and single points on as many rays of the background",
    )


class OptimizerConfig(Section):
    """Adam (ONet: learning rate 1e-4, constant)."""

    learning_rate: Positive = Field(1e-4, description="Adam's learning rate")
    schedule: Literal["constant", "cosine"] = Field("constant", description="learning rate schedule")
    warmup: Natural = Field(0, description="steps of linear warm-up")
    gradient_clip: NonNegative = Field(0.0, description="largest gradient norm of the mean loss; 0: no limit")
    ema: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="decay of the weights' exponential moving average, which is then the result; 0: none",
    )


class CheckpointConfig(Section):
    """How often results are logged, validated and written."""

    log_every: Count = Field(50, description="steps between rows of metrics.csv")
    validate_every: Count = Field(20_000, description="steps between validations; also after the last step")
    checkpoint_every: Count = Field(1_000, description="steps between writes of last.ckpt")
    validation_points: Count = Field(100_000, description="points per shape for the validation IoU")


class HardwareConfig(Section):
    """Where training runs."""

    accelerator: Literal["auto", "cpu", "gpu"] = Field("auto", description="where to train")
    devices: Count = Field(1, description="devices per node, each with its own process and batch")
    nodes: Count = Field(1, description="nodes, each with that many devices; more than one needs Slurm")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: bf16 where the hardware supports it"
    )
    threads: Count = Field(8, description="CPU threads of a training job; Snakemake caps them at --cores")
    workers: Natural | Literal["auto"] = Field(
        "auto",
        description="data-loading processes; 0: load in the training process; auto: 0 on a CPU, most threads on a GPU",
    )
    cache: Literal["auto", "gpu", "ram", "none"] = Field(
        "auto",
        description="keep decoded data on the GPU or in RAM; auto: up to half the free GPU memory, else up to 2 GB of RAM",
    )
    compile: bool | Literal["auto"] = Field(
        "auto", description="torch.compile the network; auto: on one GPU, from 10,000 steps"
    )

    @property
    def loading_processes(self) -> int:
        """`workers`; 0 while that is `auto` (`training.run_info.resolve_auto` replaces it)."""
        return 0 if self.workers == "auto" else self.workers


class TrainConfig(Section):
    """Training, the same for all models."""

    later_keys: ClassVar[frozenset[str]] = frozenset({"rays"})

    steps: Count = Field(300_000, description="optimiser steps")
    data: TrainDataConfig = Field(TrainDataConfig(), description="what a step sees")
    rays: RaysConfig = Field(RaysConfig(), description="rays of silhouettes, for models with `silhouettes`")
    optimizer: OptimizerConfig = Field(OptimizerConfig(), description="Adam and its learning rate")
    checkpoint: CheckpointConfig = Field(CheckpointConfig(), description="intervals of logging and writing")
    hardware: HardwareConfig = Field(HardwareConfig(), description="where training runs")
