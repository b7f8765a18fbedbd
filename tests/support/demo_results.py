"""Small real results for tests of what reads results: demo shapes with true points, images and cameras."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import permutations
from pathlib import Path

import numpy as np

from occnet_lib.analysis.distributions import write_distributions
from occnet_lib.analysis.duplicates import write_duplicates
from occnet_lib.analysis.embeddings import write_embedding
from occnet_lib.analysis.fields import write_fields
from occnet_lib.analysis.projections import write_projections
from occnet_lib.analysis.statistics import write_statistics
from occnet_lib.config import Config, ViewsConfig
from occnet_lib.demo import generate
from occnet_lib.geometry.cameras import choy_cameras
from occnet_lib.storage.dataset.catalogue import write_table
from occnet_lib.storage.packs import PackedShape, Shard, write_shard
from occnet_lib.storage.reconstructions import writing
from occnet_lib.storage.tables import write_rows
from occnet_lib.types import Mesh, PointSamples, ShapeKey, Views, Watertight

VIEWS, POINTS, SURFACE, IMAGE_SIZE = 3, 4096, 2048, 64


@cache
def packed(category: str, index: int, split: str = "test", shard: str = "test-000") -> PackedShape:
    """A demo shape as the stages would hand it over, but for its mesh, which stays the union of its parts."""
    shape, rng = generate(category, index, 0), np.random.default_rng(index)
    low, high = shape.mesh.vertices.min(0), shape.mesh.vertices.max(0)
    loc, scale = (low + high) / 2, float((high - low).max())
    starts = np.cumsum([0, *(len(part.vertices) for part in shape.parts)])
    faces = np.concatenate([part.faces + start for part, start in zip(shape.parts, starts, strict=False)])
    mesh = Mesh((shape.mesh.vertices - loc) / scale, faces.astype(np.int32), shape.mesh.colors)
    points = rng.uniform(-0.55, 0.55, (POINTS, 3)).astype(np.float16)
    inside = shape.occupancy(points.astype(np.float64) * scale + loc)
    surface, normals = sampled(mesh, rng)
    samples = PointSamples(points, inside, surface, normals, np.zeros((2, 2, 2), bool))
    key = ShapeKey(category, shape.id, f"{category}/{shape.id}/model.obj", split, shard)
    watertight = Watertight(mesh, loc, scale)
    return PackedShape.of(key, watertight, samples, photographed(mesh, loc, scale, rng))


def sampled(mesh: Mesh, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Area-weighted points on a mesh with the normals of their faces, float16."""
    a, b, c = np.moveaxis(mesh.triangles, 1, 0)
    cross = np.cross(b - a, c - a)
    area = np.linalg.norm(cross, axis=1)
    face = rng.choice(len(area), SURFACE, p=area / area.sum())
    u, v = rng.random((2, SURFACE, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    points = a[face] + u * (b - a)[face] + v * (c - a)[face]
    return points.astype(np.float16), (cross[face] / area[face, None]).astype(np.float16)


def photographed(mesh: Mesh, loc: np.ndarray, scale: float, rng: np.random.Generator) -> Views:
    """Ray-cast images, without any of the library's renderers: flat colours on white."""
    import open3d as o3d

    camera_mat, world_mat = choy_cameras(VIEWS, rng, ViewsConfig(image_size=IMAGE_SIZE))
    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    vertices = mesh.vertices * scale + loc
    scene.add_triangles(
        o3d.core.Tensor(vertices.astype(np.float32)), o3d.core.Tensor(mesh.faces.astype(np.uint32))
    )
    colors = np.full((len(mesh.faces), 3), 0.5) if mesh.colors is None else mesh.colors[mesh.faces[:, 0]]
    pixel = np.arange(IMAGE_SIZE) + 0.5
    u, v = np.meshgrid(pixel, pixel)
    images = []
    for k, world in zip(camera_mat, world_mat, strict=True):
        rays = (
            np.stack([(u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], np.ones_like(u)], axis=-1)
            @ world[:, :3]
        )
        centre = np.broadcast_to(-world[:, :3].T @ world[:, 3], rays.shape)
        cast = scene.cast_rays(o3d.core.Tensor(np.concatenate([centre, rays], axis=-1).astype(np.float32)))
        hit = np.isfinite(cast["t_hit"].numpy())
        light = 0.4 + 0.6 * np.abs(cast["primitive_normals"].numpy()[..., 1])
        image = np.ones((*hit.shape, 3))
        image[hit] = 0.95 * colors[cast["primitive_ids"].numpy()[hit]] * light[hit][:, None]
        images.append((255 * image).astype(np.uint8))
    return Views(np.stack(images), camera_mat, world_mat, loc, scale)


def write_packs(folder: Path, categories: Sequence[str] = ("car", "chair"), test: int = 2) -> list[Path]:
    """The shards train-000, val-000 and test-000 with a shape, a shape and `test` shapes of each category."""
    paths = []
    first = 0
    for split, count in (("train", 1), ("val", 1), ("test", test)):
        name = f"{split}-000"
        shapes = [packed(c, first + i, split, name) for c in categories for i in range(count)]
        paths.append(folder / f"{name}.h5")
        write_shard(paths[-1], shapes, name, split)
        first += count
    return paths


MODELS = ("onet", "small", "baseline_nearest_image")
METRICS = ("iou", "accuracy", "completeness", "chamfer_l1", "normal_consistency", "f_score_1")


def write_results(root: Path, config: Config, categories: Sequence[str] = ("car", "chair")) -> None:
    """A results folder with every part; "reconstructions" are other shapes, and measured as such."""
    packs = write_packs(root / "pack", categories)
    keys = [key for path in packs for key in Shard(path).keys]
    lost = replace(keys[-1], id="lost", split="train", shard="train-000")
    write_table(root / "catalogue" / "shapes.csv", [*keys, lost])
    processed = [_processed(key.category, key.id, i) for i, key in enumerate(keys)]
    processed[0] |= {"status": "warn", "reason": "closed 3 holes"}
    failed = {"status": "failed", "stage": "load", "reason": "no <faces> & nothing else"}
    processed.append({"category": lost.category, "id": lost.id} | failed)
    write_rows(root / "preprocess" / "shapes.csv", processed)
    write_evaluation(root, packs[2], categories)
    for model in config.models:
        write_training(root / "train" / model)
        table = root / "analyse" / f"embedding_{model}.csv"
        write_embedding(thumbnails, packs[1:], config.analyse, 0, table)
        names = [key.name for key in Shard(packs[2]).keys]
        write_fields(ball_logits, 0.0, packs[2:], names, 0, root / "analyse" / f"fields_{model}")
    write_statistics(packs, root / "analyse" / "statistics.csv")
    write_distributions(packs, config.seed, root / "analyse" / "distributions")
    write_duplicates(packs, root / "analyse" / "duplicates")
    write_projections(packs[2:], config.analyse, root / "analyse" / "projections")
    for stage, name in (("preprocess", "train-000"), ("preprocess", "test-000"), ("train", "onet")):
        path = root / "benchmarks" / stage / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("s\th:m:s\tmax_rss\tcpu_time\n12.5\t0:00:12\t612.0\t20.25\n")


def thumbnails(images: np.ndarray) -> np.ndarray:
    """Images (N, H, W, 3) averaged over blocks of 16 pixels: codes as good as any."""
    n, height, width, _ = images.shape
    return images.reshape(n, height // 16, 16, width // 16, 16, 3).mean((2, 4)).reshape(n, -1)


def ball_logits(
    images: np.ndarray, rotations: np.ndarray, points: np.ndarray, projections: np.ndarray
) -> np.ndarray:
    """A field (V, N) that is positive in a ball, whatever the images (V, …) show."""
    field = 20.0 * (0.25 - np.linalg.norm(points.astype(np.float32), axis=1))
    return np.tile(field, (len(images), 1))


def _processed(category: str, name: str, i: int) -> dict[str, object]:
    row = {"category": category, "id": name, "status": "ok", "stage": "", "reason": ""}
    audit = {
        "watertight_faces": 5000 + i,
        "watertight_surface_error": 0.0003 + 1e-5 * i,
        "watertight_closed": True,
    }
    return row | {"seconds_watertight": 0.9 + i / 10, "seconds_points": 0.1} | audit


def write_evaluation(root: Path, pack: Path, categories: Sequence[str]) -> None:
    """Meshes and tables; the last shape of all has no mesh by `small`.

    `onet` gives the category's other shape, `small` that one flattened, the baseline one of another category.
    """
    shard = Shard(pack)
    rows, n = [], len(shard)
    for model in MODELS:
        with writing(root / "reconstruct" / model / "test-000") as folder:
            for i, key in enumerate(shard.keys):
                other = (i ^ 1) if model != "baseline_nearest_image" else (i + 2) % n
                mesh: Mesh | None = shard.mesh(other)
                row = {"model": model, "category": key.category, "id": key.id, "status": "ok", "reason": ""}
                values = _measured(shard, i, other)
                if model == "small":
                    mesh = Mesh(mesh.vertices * [1.0, 0.7, 1.0], mesh.faces) if i < n - 1 else None
                    values |= {"iou": 0.8 * values["iou"]}
                if mesh is None:
                    row |= {"status": "failed", "reason": "empty field"}
                    values = dict.fromkeys(METRICS, 0.0) | {"chamfer_l1": 3**0.5}
                folder.add(key, mesh, status=row["status"], reason=row["reason"])
                rows.append(row | values)
    write_rows(root / "evaluate" / "shapes.csv", rows)
    classes, models, differences = [], [], []
    for model in MODELS:
        for category in categories:
            own = [row for row in rows if (row["model"], row["category"]) == (model, category)]
            classes.append({"model": model, "category": category} | _means(own))
        values = _means([row for row in classes if row["model"] == model])
        failed = sum(row["model"] == model and row["status"] == "failed" for row in rows)
        ends = {
            f"{m}_{end}": values[m] + sign for m in METRICS for end, sign in (("low", -0.02), ("high", 0.02))
        }
        models.append({"model": model, "shapes": n, "failed": failed} | values | ends)
    for one, two in permutations(models, 2):
        row = {"model": one["model"], "other": two["model"], "shapes": n}
        for m in METRICS:
            row |= {
                m: one[m] - two[m],
                f"{m}_low": one[m] - two[m] - 0.02,
                f"{m}_high": one[m] - two[m] + 0.02,
            }
        differences.append(row)
    write_rows(root / "evaluate" / "differences.csv", differences)
    write_rows(root / "evaluate" / "classes.csv", classes)
    write_rows(root / "evaluate" / "models.csv", models)


def _means(rows: Sequence[dict[str, object]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in METRICS}


def _measured(shard: Shard, i: int, other: int) -> dict[str, float]:
    """Metrics of one shape of a shard taken for another."""
    from scipy.spatial import cKDTree

    points, truth = shard.points(i)
    loc, scale = shard.frame(other)
    key = shard.keys[other]
    shape = generate(key.category, int(key.id.rsplit("_", 1)[1]), 0)
    guess = shape.occupancy(points.astype(np.float64) * scale + loc)
    (a, na), (b, nb) = shard.surface(other), shard.surface(i)
    accuracy, near = cKDTree(b).query(a)
    completeness, _ = cKDTree(a).query(b)
    aligned = np.abs((na.astype(float) * nb[near].astype(float)).sum(1)).mean()
    means = (float(accuracy.mean()), float(completeness.mean()))
    near_enough = float((accuracy < 0.01).mean()), float((completeness < 0.01).mean())
    return {
        "iou": float((truth & guess).sum() / (truth | guess).sum()),
        "accuracy": means[0],
        "completeness": means[1],
        "chamfer_l1": sum(means) / 2,
        "normal_consistency": float(aligned),
        "f_score_1": 2 * near_enough[0] * near_enough[1] / max(sum(near_enough), 1e-9),
    }


def write_training(folder: Path) -> None:
    """A plausible metrics.csv, with validations at every tenth record, and options.json."""
    rng = np.random.default_rng(len(folder.name))
    rows = []
    for k in range(1, 101):
        row: dict[str, float] = {"step": 10 * k, "learning_rate": 1e-3 * (1 - k / 101)}
        row |= {
            "train_loss": 40 + 260 * np.exp(-k / 20) + rng.normal(0, 6),
            "train_accuracy": 0.97 - np.exp(-k / 9) / 3,
        }
        if k % 10 == 0:
            row |= {
                "val_loss": 55 + 240 * np.exp(-k / 22),
                "val_accuracy": 0.95,
                "val_iou": 0.55 - 0.5 * np.exp(-k / 25),
            }
        rows.append(row)
    write_rows(
        folder / "metrics.csv",
        rows,
        ("step", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_iou"),
    )
    options = {
        "parameters": 3_423_745,
        "device": "cpu",
        "precision": "fp32",
        "versions": {"occnet": "0.1", "torch": "2.13"},
    }
    (folder / "options.json").write_text(json.dumps(options))
