"""Sections of the stages after training: `reconstruct`, `evaluate`, `analyse`, `report`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from .base import Count, Natural, NonNegative, OrNull, Positive, Section, is_null

Baseline = Literal["class_mean", "nearest_image", "retrieval", "clustering", "oracle", "floor"]
Refinement = Literal["gradient", "graph", "both", "bilateral", "none"]
Probability = Annotated[float, Field(gt=0.0, lt=1.0)]


class SimplifyConfig(Section):
    """Simplification by quadric error metrics (Garland & Heckbert 1997), to a number of faces or within an error."""

    faces: Annotated[Count | None, OrNull] = Field(
        5000, description="target face count; null: no simplification"
    )
    error: Annotated[Annotated[float, Field(gt=0.0, lt=1.0)] | None, OrNull] = Field(
        None, description="maximum error as a fraction of the unit cube's edge; replaces `faces` where given"
    )


class GraphConfig(Section):
    """The graph network of the refinements graph and both, and its training."""

    meshes: Annotated[int, Field(ge=2)] = Field(
        400, description="meshes that it learns from: training shapes, by networks that have not seen them"
    )
    steps: Count = Field(1000, description="optimiser steps of parts of eight meshes each")
    hidden: Count = Field(32, description="width")
    layers: Count = Field(6, description="layers")
    learning_rate: Positive = Field(
        2e-3, description="Adam's learning rate at the start; half a cosine follows"
    )


class ReconstructConfig(Section):
    """Network and photo to closed mesh (ONet's generator; MISE of Mescheder et al. 2019, section 3.3)."""

    later_keys: ClassVar[frozenset[str]] = frozenset({"refinement", "graph", "poses", "fit"})

    resolution0: Count = Field(32, description="first grid of MISE, in cells along the edge")
    upsampling_steps: Natural = Field(2, description="doublings: 32 and 2 give 128 cells along the edge")
    threshold: Probability | Literal["validation"] = Field(
        "validation",
        description="occupancy probability of the surface; validation: the checkpoint's (ONet: 0.2)",
    )
    simplify: SimplifyConfig = Field(SimplifyConfig(), description="how far the mesh is simplified")
    refinement: Refinement = Field(
        "gradient",
        description="gradient: towards the field's surface (ONet); graph: a graph network predicts face normals and the "
        "vertices follow; both: in this order; bilateral: the same with filtered face normals; none",
    )
    graph: GraphConfig = Field(GraphConfig(), description="the graph network of refinement graph and both")
    refine_steps: Natural = Field(24, description="steps of gradient refinement (ONet: 30); 0: none")
    refine_rate: Positive = Field(
        0.25, description="maximum step of refinement, as a fraction of the shortest edge at a vertex"
    )
    refine_normals: NonNegative = Field(0.01, description="weight of the normal term")
    view: Natural = Field(
        0, description="number of the view of a test shape that is the input image (ONet: 0)"
    )
    poses: int = Field(
        1,
        ge=1,
        le=12,
        description="number of the likeliest cameras over which fields of models with `local` and `pose` are averaged",
    )
    fit: Natural = Field(
        0,
        description="steps in which the code of an image is fitted to the image's own silhouette, which needs its camera, "
        "given or predicted; 0: none",
    )
    points_batch: Count = Field(100_000, description="points per call of the decoder")
    batch: Count = Field(1, description="shapes decoded in the same calls; more than 1 is faster on GPUs")
    accelerator: Literal["auto", "cpu", "gpu"] = Field("auto", description="where the network runs")


class EvaluateConfig(Section):
    """Metrics by ONet's definitions (eval.py)."""

    surface: Count = Field(100_000, description="samples of the predicted surface")
    bootstrap: Natural = Field(1000, description="resamplings for the 95 % intervals; 0: none")
    baselines: list[Baseline] = Field(
        ["class_mean", "nearest_image", "retrieval", "clustering", "oracle", "floor"],
        description="baselines (Tatarchenko et al. 2019); retrieval and clustering exist once per model, with its encoder; "
        "floor: the ground truth, sampled twice",
    )
    code_views: Natural = Field(
        8, description="views per training shape that retrieval and clustering encode; 0: all"
    )
    views: Natural = Field(
        24,
        description="views per test shape for which the field of a network is evaluated, in addition to its mesh; 0: none",
    )
    photos: Natural = Field(
        3,
        description="photos per test shape by a renderer that training never uses, evaluated as in `occnet reconstruct`; "
        "0: none",
    )
    merged: list[Annotated[int, Field(ge=2)]] = Field(
        [2, 3, 5],
        description="numbers of views, and of photos, of one object for which averaged logits are evaluated, as by "
        "`occnet reconstruct --merge`; []: none",
    )
    view_points: Count = Field(2048, description="points per view at which the field is evaluated")
    uncertainty: bool | list[str] = Field(
        False,
        description="measure calibration and expected IoU of the fields of views and photos, by class and camera pose "
        "(docs/explanation/uncertainty.md); true: of the first seed of every model; a list: of these models, with all seeds",
    )
    next_view: Natural = Field(
        0,
        description="views of a test shape that are chosen one after another, by policies of the next best view, and "
        "averaged, at most `views`; of the models of a list in `uncertainty`; 0: not measured "
        "(docs/explanation/uncertainty.md)",
    )
    original: Literal["none", "floor", "all"] = Field(
        "floor",
        description="which meshes are also compared with the raw mesh, if its file exists; floor: the closed ground truth, "
        "which shows the effect of closing on all metrics",
    )
    compare: dict[str, str] = Field(
        {},
        description="models and the references that they are compared with, over shapes and `models.<name>.seeds` "
        "(evaluate/gains.csv): {model: reference}; null removes a comparison",
        json_schema_extra={"additionalProperties": {"type": ["string", "null"]}},
    )
    refinements: list[str] = Field(
        [],
        description="models, with all seeds, whose meshes are refined in every way and compared (evaluate/refinements.csv): "
        "which `reconstruct.refinement` helps them; trains their graph networks (docs/explanation/refinement.md)",
    )
    clusters: Count = Field(500, description="clusters of training shapes, at most a quarter of their number")

    @field_validator("compare", mode="before")
    @classmethod
    def _null_removes(cls, value: Any) -> Any:
        # An overlay is merged over another one that defines the comparison.
        return {k: v for k, v in value.items() if not is_null(v)} if isinstance(value, dict) else value

    @field_validator("refinements", mode="before")
    @classmethod
    def _one_model(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("uncertainty", mode="before")
    @classmethod
    def _one_model_or_several(cls, value: Any) -> Any:
        if isinstance(value, str) and value.lower() not in ("true", "false", "yes", "no", "on", "off"):
            return [value]
        if isinstance(value, list) and not all(isinstance(name, str) for name in value):
            raise ValueError("must be true, false or a list of names of models")
        return value


class AnalyseConfig(Section):
    """Figures about the data and the networks."""

    embedding_views: Count = Field(4, description="views per shape in the t-SNE of embeddings")
    embedding_shapes: Count = Field(1000, description="maximum number of shapes in it, drawn by name")
    perplexity: Positive = Field(30.0, description="perplexity of t-SNE (bounded by the number of images)")
    projections: Count = Field(
        1, description="shapes per category whose points are projected onto their image"
    )


class ReportConfig(Section):
    """The HTML page."""

    examples: Count = Field(
        2, description="test shapes per category shown with image, prediction and ground truth"
    )
    title: str = Field("occnet", description="heading of the page")
