"""Predicted cameras against those of the views, up to the symmetry of the shape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import Config
from occnet_lib.geometry.cameras import camera_of, rotations_of
from occnet_lib.geometry.symmetry import symmetric_angles, turns
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.tables import write_rows

from .class_means import rows_of
from .metrics import iou

Array = NDArray[Any]
HYPOTHESES = 4
CLOSE = 15.0  # degrees
ERRORS = (
    "azimuth_error",
    "azimuth_error_any",
    "elevation_error",
    "distance_error",
    "d2d",
    "d3d",
    "probability",
)
_PREDICTED = {
    "iou_distance": ("centre", "log_scale", "log_distance"),
    "iou_own_place": ("centre", "log_scale"),
    "iou_own_distance": ("log_distance",),
}
"""What is predicted of the cameras of a field, all else of the true camera (`networks.pose.Pose`)."""
FIELDS = ("iou", "iou_given", *_PREDICTED)
COLUMNS = ("model", "category", "id", "view", "symmetry", *ERRORS, *FIELDS)
SUMMARY = (
    *("model", "category", "views", "azimuth_median", "azimuth_within_15", "any_within_15"),
    *("elevation_median", "distance_median", "d2d_mean", "d2d_median", "d3d_mean", *FIELDS),
)
SAMPLES = 2000  # surface points for the distances


class CameraSource(NamedTuple):
    """What is measured.

    Attributes:
        cameras: images (V, H, W, 3) and a number K to projections (V, K, 3, 4) into the images, likeliest first, and
            probabilities (V, K) (`reconstruction.image_features.PredictedCameras`).
        cameras_with: images, their projections (V, 3, 4) and names of parts (`networks.pose.Pose`) to projections with
            these parts predicted.
        logits: as `view_metrics.Logits`; None if fields do not depend on projections.
    """

    cameras: Callable[[Array, int], tuple[Array, Array]]
    cameras_with: Callable[[Array, Array, Collection[str]], Array]
    logits: Callable[[Array, Array, Array, Array], Array] | None


class CameraErrors(NamedTuple):
    """How far a predicted camera is from another.

    Attributes:
        azimuth, elevation: of the camera's centre, degrees.
        distance: of the camera's centre from the origin, relative.
        d2d: mean distance of projected points, fraction of the image's width.
        d3d: mean distance of the points in the camera's frame, in units of the points (Xu et al. 2019, table 1).
    """

    azimuth: float
    elevation: float
    distance: float
    d2d: float
    d3d: float


def camera_errors(predicted: Array, true: Array, points: Array, angles: Array) -> CameraErrors:
    """Errors of a projection (3, 4), modulo rotations of the shape by `angles` about +y.

    Of these rotations that with the least error of azimuth counts, for all errors.

    Args:
        predicted, true: as `geometry.cameras.image_projection`.
        points: (N, 3) of the surface, unit frame.
        angles: degrees, with 0.
    """
    azimuth, elevation, distance = _spherical(true)
    candidate = nearest(predicted, true, angles)
    own = _spherical(candidate)
    (at, in_frame), (true_at, true_in_frame) = (_seen(each, points) for each in (candidate, true))
    return CameraErrors(
        _between(own[0], azimuth),
        abs(own[1] - elevation),
        abs(own[2] / distance - 1.0),
        float(np.linalg.norm(at - true_at, axis=1).mean()),
        float(np.linalg.norm(in_frame - true_in_frame, axis=1).mean()),
    )


def nearest(predicted: Array, true: Array, angles: Array) -> Array:
    """Of a projection (3, 4) after each rotation of the shape by `angles` about +y, that with the least error of azimuth.

    Args:
        predicted, true, angles: as in `camera_errors`.
    """
    azimuth = _spherical(true)[0]
    candidates = [
        np.concatenate([predicted[:, :3] @ turn, predicted[:, 3:]], axis=1) for turn in turns(angles)
    ]
    off = [_between(_spherical(candidate)[0], azimuth) for candidate in candidates]
    return candidates[int(np.argmin(off))]


def _between(first: float, second: float) -> float:
    """The angle between two directions in degrees, 0 to 180."""
    return abs((first - second + 180.0) % 360.0 - 180.0)


def _spherical(projection: Array) -> tuple[float, float, float]:
    """Azimuth and elevation in degrees and distance of the centre of a camera, from the origin."""
    x, y, z = -np.linalg.solve(projection[:, :3], projection[:, 3])
    distance = float(np.sqrt(x * x + y * y + z * z))
    return float(np.degrees(np.arctan2(z, x))), float(np.degrees(np.arcsin(y / distance))), distance


def _seen(projection: Array, points: Array) -> tuple[Array, Array]:
    """Places (N, 2) of points in the image and (N, 3) in the frame of the camera."""
    image = points @ projection[:, :3].T + projection[:, 3]
    camera = camera_of(projection, 1.0, 1.0)
    in_frame = points @ camera.world_mat[:, :3].T + camera.world_mat[:, 3]
    return image[:, :2] / np.maximum(image[:, 2:], 1e-6), in_frame


def evaluate_cameras(
    source: CameraSource,
    level: float,
    shard_path: str | Path,
    config: Config,
    model: str,
    out_csv: str | Path,
) -> list[dict[str, Any]]:
    """Measure the predicted cameras of every view of every shape of a shard; one row a view.

    `symmetry` is the number of rotations (`geometry.symmetry`), `azimuth_error_any` the least error of the four likeliest
    hypotheses, d2d in pixels of the image and d3d in units of the view frame, in which the box's diagonal is 1. For models
    whose field depends on the camera: `iou` with the predicted one, `iou_given` with the true one, and with the true one
    but for what is predicted: place, size and distance in `iou_distance`, place and size in `iou_own_place`, the distance
    alone in `iou_own_distance`.

    Args:
        source: the network.
        level: logit above which a point is inside.
        shard_path: pack shard.
        config: `evaluate.views` and `evaluate.view_points` are used.
        model: its name, for the column `model`.
        out_csv: table to write.

    Raises:
        DataError: the shard is missing or broken.
    """
    shard, rows = Shard(shard_path), list[dict[str, Any]]()
    for i, key in enumerate(shard.keys):
        views = range(min(config.evaluate.views, shard.views))
        images, _, true = shard.seen(i, views)
        surface = shard.surface(i)[0].astype(np.float64)
        angles = symmetric_angles(surface)
        projections, probabilities = source.cameras(images, HYPOTHESES)
        ious = _ious(source, level, shard, i, config, images, true, projections[:, 0])
        scale = shard.camera(i, 0)[3]
        for view in views:
            errors = [
                camera_errors(each, true[view], surface[:SAMPLES], angles) for each in projections[view]
            ]
            first = errors[0]
            about = {"model": model, "category": key.category, "id": key.id, "view": view}
            rows.append(
                about
                | {"symmetry": len(angles)}
                | {"azimuth_error": first.azimuth, "azimuth_error_any": min(each.azimuth for each in errors)}
                | {"elevation_error": first.elevation, "distance_error": first.distance}
                | {"d2d": first.d2d * images.shape[2], "d3d": first.d3d * scale}
                | {"probability": float(probabilities[view, 0])}
                | {name: values[view] for name, values in ious.items()}
            )
    write_rows(Path(out_csv), rows, COLUMNS)
    return rows


def _ious(
    source: CameraSource,
    level: float,
    shard: Shard,
    i: int,
    config: Config,
    images: Array,
    true: Array,
    predicted: Array,
) -> dict[str, list[float]]:
    """`FIELDS` of the views of a shape; empty if fields do not depend on the projection."""
    if source.logits is None:
        return {}
    points, occupied = shard.points(i, 0, min(config.evaluate.view_points, shard.points_per_shape))
    sets = [predicted, true, *(source.cameras_with(images, true, parts) for parts in _PREDICTED.values())]
    fields = [source.logits(images, rotations_of(true), points, each) for each in sets]
    return {
        name: [iou(logits > level, occupied) for logits in field]
        for name, field in zip(FIELDS, fields, strict=True)
    }


def summarise_cameras(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`SUMMARY` of the rows of `evaluate_cameras`, as they are or as read: a row a model and class, and `mean` over classes.

    Raises:
        DataError: a row lacks a column or has something that is not a number.
    """
    groups: dict[str, dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    result = []
    with rows_of("cameras"):
        for row in rows:
            groups[row["model"]][row["category"]].append(row)
        for model, classes in groups.items():
            own = [{"model": model, "category": name} | _summary(classes[name]) for name in sorted(classes)]
            mean = {
                name: float(np.mean([row[name] for row in own]))
                for name in SUMMARY[3:]
                if own[0].get(name, "") != ""
            }
            views = sum(row["views"] for row in own)
            result += [*own, {"model": model, "category": "mean", "views": views} | mean]
    return result


def _summary(rows: list[Mapping[str, Any]]) -> dict[str, Any]:
    values = {name: np.array([float(row[name]) for row in rows]) for name in ERRORS}
    ious = {
        name: float(np.mean([float(row[name]) for row in rows]))
        for name in FIELDS
        if rows[0].get(name, "") != ""
    }
    return {
        "views": len(rows),
        "azimuth_median": float(np.median(values["azimuth_error"])),
        "azimuth_within_15": float((values["azimuth_error"] <= CLOSE).mean()),
        "any_within_15": float((values["azimuth_error_any"] <= CLOSE).mean()),
        "elevation_median": float(np.median(values["elevation_error"])),
        "distance_median": float(np.median(values["distance_error"])),
        "d2d_mean": float(values["d2d"].mean()),
        "d2d_median": float(np.median(values["d2d"])),
        "d3d_mean": float(values["d3d"].mean()),
        **ious,
    }
