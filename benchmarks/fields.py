"""What networks' fields gain over a reference: IoU of views and photos, recall of thin parts, two averaged, spectra.

Reads the checkpoints of a results folder, with all their seeds (`models.<name>.seeds`), and evaluates their fields at the
stored points of the test shapes, without meshes. Differences are paired over shapes and seeds, with the 95 % intervals of
`evaluate/gains.csv`. Logits are kept in `--cache`, so that another table of the same trainings takes seconds.

A point is in a thin part if it is inside the shape, and no ball that lies inside the shape, is centred at one of its
stored points and has at least the radius `--thin` (longest edge 1) comes within half of that radius of the point: legs,
poles, plates and wings, but not the edges of boxes.

Models with `local: true` get the true cameras of views, those that predict cameras with `--given-cameras` only; without a
camera they have no photos.

A training takes about 10 CPU s with the default numbers of points and views.

usage: python benchmarks/fields.py results/demo --reference plain [--models encoding-0 camera …] [--together camera]
       [--thin 0.03] [--points 5000] [--views 4] [--given-cameras] [--cache FOLDER] [--out table.csv]
       [--spectrum spectrum.csv]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

import occnet_lib.config as configuration
from occnet_lib.config import Config
from occnet_lib.evaluation.gains import interval
from occnet_lib.evaluation.metrics import iou
from occnet_lib.evaluation.photo_metrics import CAMERAS
from occnet_lib.geometry.occupancy import contains, surface_distance
from occnet_lib.reconstruction.extract import threshold_logit
from occnet_lib.reconstruction.photo import framed_photo
from occnet_lib.reconstruction.reconstructor import Reconstructor
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.tables import write_rows

Array = NDArray[Any]
METRICS = ("iou_views", "iou_photos", "recall", "recall_thin")
LINES, SAMPLES, LENGTH = 24, 256, 1.1  # of a shape's spectrum; edge of the padded cube


@dataclass(frozen=True)
class Shape:
    """A test shape: where fields are evaluated, and from which images.

    Attributes:
        points: (N, 3), unit frame.
        occupied: (N,) bool.
        thin: (N,) bool, those in thin parts.
        views: images with their rotations (3, 3) and projections (3, 4).
        photos: files with their rotations.
        lines: (LINES, SAMPLES, 3) points of random lines through the cube, of which `inside` are occupied.
    """

    category: str
    points: Array
    occupied: Array
    thin: Array
    views: list[tuple[Array, Array, Array]]
    photos: list[tuple[Path, Array]]
    lines: Array
    inside: Array


@dataclass(frozen=True)
class Fields:
    """Logits of a network for all shapes: (views + photos, N) and (LINES, SAMPLES) each, and the logit of its surface."""

    logits: list[Array]
    lines: list[Array]
    level: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row a model, and write the tables that are wanted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("--reference", required=True)
    parser.add_argument("--models", nargs="*", help="default: all others")
    parser.add_argument("--together", nargs="*", default=[], help="models to average with the reference")
    parser.add_argument("--thin", type=float, default=0.03)
    parser.add_argument("--points", type=int, default=4000)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--given-cameras", action="store_true")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--spectrum", type=Path)
    args = parser.parse_args(arguments)
    config = configuration.load(args.results / "config.json")
    others = [name for name in config.distinct_models if name != args.reference]
    names = others if args.models is None else args.models
    shapes = list(test_shapes(args))
    fields = {
        training: evaluated(args.results / "train" / training / "best.ckpt", shapes, config, args)
        for name in dict.fromkeys([args.reference, *names, *args.together])
        for training in config.seeds_of(name)
    }
    rows = [
        difference_row(shapes, name, args.reference, pairs(config, fields, name, args.reference))
        for name in names
    ]
    rows += [together_row(shapes, name, config, fields, args.reference) for name in args.together]
    for row in rows:
        print(line(row))
    if args.out:
        write_rows(args.out, rows)
    if args.spectrum:
        write_rows(args.spectrum, spectra(shapes, {name: fields[name] for name in [args.reference, *names]}))


def test_shapes(args: argparse.Namespace) -> Iterator[Shape]:
    """The test shapes of a results folder, in the order of their packs."""
    rng = np.random.default_rng(0)
    for path in sorted((args.results / "pack").glob("test-*.h5")):
        shard = Shard(path)
        for i, key in enumerate(shard.keys):
            points, occupied = shard.points(i, 0, args.points)
            everything, inside = shard.points(i, 0, shard.points_per_shape)
            mesh = shard.mesh(i)
            thin = np.zeros(len(points), bool)
            thin[occupied] = thin_part(mesh, points[occupied], everything[inside], args.thin)
            images = [shard.image(i, view) for view in range(args.views)]
            cameras = [
                (shard.camera(i, view)[1][:, :3], shard.projection(i, view, image.shape))
                for view, image in enumerate(images)
            ]
            views = [(image, *camera) for image, camera in zip(images, cameras, strict=True)]
            lines = random_lines(rng)
            occupied_lines = contains(mesh, lines.reshape(-1, 3)).reshape(LINES, SAMPLES)
            photos = list(photos_of(args.results / "photos" / path.stem / key.category / key.id))
            yield Shape(key.category, points, occupied, thin, views, photos, lines, occupied_lines)


def photos_of(folder: Path) -> Iterator[tuple[Path, Array]]:
    """The photos of a shape and their rotations; none where there is no folder."""
    if (folder / CAMERAS).is_file():
        rotations = json.loads((folder / CAMERAS).read_text())["rotations"]
        for photo, rotation in enumerate(rotations):
            yield folder / f"{photo}.png", np.array(rotation)


def thin_part(mesh: Any, points: Array, inside: Array, radius: float) -> Array:
    """Which of occupied points (N, 3) are in thin parts, given points (M, 3) inside as centres of balls; (N,) bool."""
    from scipy.spatial import cKDTree

    depths = surface_distance(mesh, inside.astype(np.float64))
    centres, depths = inside[depths >= radius].astype(np.float64), depths[depths >= radius]
    thick = np.zeros(len(points), bool)
    tree = cKDTree(points.astype(np.float64))
    for centre, depth in zip(centres, depths, strict=True):
        thick[tree.query_ball_point(centre, depth + radius / 2)] = True
    return ~thick


def random_lines(rng: np.random.Generator) -> Array:
    """(LINES, SAMPLES, 3) points at even distances on lines through the cube's inner half, over the cube's edge length."""
    directions = rng.normal(size=(LINES, 1, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    middles = rng.uniform(-0.25, 0.25, (LINES, 1, 3))
    return middles + directions * (np.linspace(-0.5, 0.5, SAMPLES) * LENGTH)[:, None]


def evaluated(checkpoint: Path, shapes: Sequence[Shape], config: Config, args: argparse.Namespace) -> Fields:
    """The fields of a network, from the cache if it has them."""
    given = "-given" if args.given_cameras else ""
    name = f"{checkpoint.parent.name}-{args.points}-{args.views}-{LINES}{given}.npz"
    stored = args.cache / name if args.cache else None
    if stored and stored.is_file() and stored.stat().st_mtime > checkpoint.stat().st_mtime:
        with np.load(stored) as arrays:
            return Fields(list(arrays["logits"]), list(arrays["lines"]), float(arrays["level"]))
    network = Reconstructor(checkpoint, config.reconstruct)
    given = network.needs_projections and (args.given_cameras or not network.predicts_cameras)
    logits, lines = [], []
    for shape in shapes:
        images = [(image, turn, camera if given else None) for image, turn, camera in shape.views]
        if not given:
            seen = partial(photo_image, framing=network.framing, view_size=network.view_size)
            images += [(seen(photo), turn, None) for photo, turn in shape.photos]
        logits.append(np.stack([field(network, *each, shape.points) for each in images]).astype(np.float16))
        flat = field(network, *images[0], shape.lines.reshape(-1, 3))
        lines.append(flat.reshape(LINES, SAMPLES).astype(np.float16))
    result = Fields(logits, lines, threshold_logit(network.threshold))
    if stored:
        stored.parent.mkdir(parents=True, exist_ok=True)
        np.savez(stored, logits=np.stack(logits), lines=np.stack(lines), level=result.level)
    return result


def field(
    network: Reconstructor, image: Array, rotation: Array, projection: Array | None, points: Array
) -> Array:
    """Logits (N,) of points (N, 3) for one image."""
    camera = None if projection is None else projection[None]
    return np.asarray(network.logits(image[None], rotation[None], points, camera)[0])


@cache
def photo_image(photo: Path, framing: str, view_size: int) -> Array:
    """A photo as networks are given it."""
    return framed_photo(photo, framing, view_size).image


def averaged(one: Fields, two: Fields) -> Fields:
    """The mean of the logits of two networks, with the mean of their levels."""

    def mean(a: Sequence[Array], b: Sequence[Array]) -> list[Array]:
        return [(x.astype(np.float32) + y.astype(np.float32)) / 2 for x, y in zip(a, b, strict=True)]

    return Fields(mean(one.logits, two.logits), mean(one.lines, two.lines), (one.level + two.level) / 2)


def shape_metrics(shape: Shape, logits: Array, level: float) -> list[float]:
    """`METRICS` of one shape; not a number where it has no thin part or no photo.

    Recalls are those at the level at which as many points are inside of the field as of the shape: at the network's own
    level, a network that is generous everywhere would have a higher recall.
    """
    logits = logits.astype(np.float32)
    views, photos = logits[: len(shape.views)], logits[len(shape.views) :]
    ious = [
        float(np.mean([iou(field > level, shape.occupied) for field in fields])) if len(fields) else np.nan
        for fields in (views, photos)
    ]
    count = int(shape.occupied.sum())
    inside = views >= np.sort(views, axis=1)[:, len(shape.points) - max(count, 1), None]
    recalls = [
        float(inside[:, part].mean()) if part.any() else np.nan for part in (shape.occupied, shape.thin)
    ]
    return [*ious, *recalls]


def pairs(
    config: Config, fields: dict[str, Fields], model: str, reference: str
) -> list[tuple[Fields, Fields]]:
    """Trainings of both with the same place in their order of seeds."""
    both = zip(config.seeds_of(model), config.seeds_of(reference), strict=False)
    return [(fields[a], fields[b]) for a, b in both]


def difference_row(
    shapes: Sequence[Shape], model: str, reference: str, both: Sequence[tuple[Fields, Fields]]
) -> dict[str, Any]:
    """Means of both, and the difference with its interval for every metric; classes without a value are left out."""
    measured = np.array(
        [
            [[shape_metrics(shape, f.logits[i], f.level) for i, shape in enumerate(shapes)] for f in pair]
            for pair in both
        ]
    )  # seeds, model and reference, shapes, metrics
    row: dict[str, Any] = {"model": model, "reference": reference, "seeds": len(both)}
    categories = np.array([shape.category for shape in shapes])
    for k, name in enumerate(METRICS):
        known = ~np.isnan(measured[..., k]).any(axis=(0, 1))
        classes = [known & (categories == category) for category in sorted(set(categories[known]))]
        if not classes:
            continue
        own, other = (float(np.mean([measured[:, j][:, c, k].mean() for c in classes])) for j in (0, 1))
        _, low, high = interval([measured[:, 0][:, c, k] - measured[:, 1][:, c, k] for c in classes])
        row |= {f"{name}_shapes": int(known.sum()), name: own, f"{name}_reference": other}
        row |= {f"{name}_gain": own - other, f"{name}_low": low, f"{name}_high": high}
    return row


def together_row(
    shapes: Sequence[Shape], model: str, config: Config, fields: dict[str, Fields], reference: str
) -> dict[str, Any]:
    """The reference averaged with the model, less the reference averaged with its next seed: two trainings each."""
    own = [fields[name] for name in config.seeds_of(reference)]
    partners = [fields[name] for name in config.seeds_of(model)]
    if len(own) < 2:
        raise SystemExit(f"--together needs at least two seeds of {reference}")
    both = [
        (averaged(one, partner), averaged(one, next_one))
        for one, partner, next_one in zip(own, partners, [*own[1:], own[0]], strict=False)
    ]
    return difference_row(shapes, f"{reference} + {model}", f"{reference} + {reference}", both)


def spectrum(values: Array) -> Array:
    """(SAMPLES / 2 + 1,) mean energy of lines (…, SAMPLES) by frequency in cycles over LENGTH; Hann window, no means."""
    lines = values.reshape(-1, SAMPLES)
    lines = (lines - lines.mean(axis=1, keepdims=True)) * np.hanning(SAMPLES)
    return np.asarray((np.abs(np.fft.rfft(lines, axis=1)) ** 2).mean(axis=0))


def spectra(shapes: Sequence[Shape], fields: dict[str, Fields]) -> Iterator[dict[str, Any]]:
    """Energy of the occupancy probability by model and frequency, as a fraction of that of the ground truth."""
    ground_truth = spectrum(np.stack([shape.inside for shape in shapes]).astype(np.float64))
    for name, own in fields.items():
        odds = np.clip(np.stack(own.lines).astype(np.float64) - own.level, -30.0, 30.0)
        ratio = spectrum(1.0 / (1.0 + np.exp(-odds))) / ground_truth
        for k, energy in enumerate(ratio.tolist()):
            if k:
                yield {"model": name, "cycles": round(k / LENGTH, 3), "energy": float(f"{energy:.4g}")}


def line(row: dict[str, Any]) -> str:
    """A row as text."""
    parts = [f"{row['model']:<18} less {row['reference']:<14} {row['seeds']} seeds"]
    for name in METRICS:
        if f"{name}_gain" in row:
            value, *ends = (row[f"{name}{end}"] for end in ("", "_gain", "_low", "_high"))
            parts.append("{} {:.3f} {:+.3f} [{:+.3f}, {:+.3f}]".format(name, value, *ends))
    return "  ".join(parts)


if __name__ == "__main__":
    main()
