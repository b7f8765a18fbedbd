"""CPU milliseconds an item takes to load: ours against a reference of ONet's loader, in one process on one thread.

The reference reads ONet's files (points.npz with packed bits and float16, one JPEG a view) as its code does:
all points are read, unpacked and jittered, then 2048 of them are drawn with replacement. Ours reads a
window of the pack; with the cache it is in memory, as it is after the first epochs; by `images.framing` the encoder
sees the whole image, as in ONet, or the window around the object. Both end with the image
as a float tensor of 224 pixels and 2048 points; the files are in the page cache. Images are views of the bundled
shapes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from PIL import Image

from occnet_lib.config import Config, ImagesConfig
from occnet_lib.demo.generate import generate
from occnet_lib.geometry.normalise import unit_cube
from occnet_lib.networks.images import encoder_input
from occnet_lib.stages.views import run as render
from occnet_lib.storage.packs import PackedShape, write_shard
from occnet_lib.training.batch import collate
from occnet_lib.training.dataset import ShapeSet, TrainingItems
from occnet_lib.types import Mesh, PointSamples, ShapeKey, Views, Watertight
from tests.support.train_config import train_config

POINTS, VIEWS, TAKEN, SIZE = 100_000, 24, 2048, 224
CATEGORIES = tuple(Config().demo.categories)
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def make(folder: Path, shapes: int) -> None:
    """The same shapes as ONet's folders and as a shard."""
    rng = np.random.default_rng(0)
    packed = []
    for number in range(shapes):
        points = rng.uniform(-0.55, 0.55, (POINTS, 3)).astype(np.float16)
        inside = np.linalg.norm(points.astype(np.float32), axis=1) < 0.4
        images = rendered(number)
        place = folder / "onet" / str(number)
        place.mkdir(parents=True)
        np.savez(
            place / "points.npz", points=points, occupancies=np.packbits(inside), loc=np.zeros(3), scale=1.0
        )
        for view, image in enumerate(images):
            Image.fromarray(image).save(place / f"{view:03d}.jpg", quality=92)
        eye = np.tile(np.eye(3, 4), (VIEWS, 1, 1))
        samples = PointSamples(points, inside, points[:8], points[:8], np.zeros((32, 32, 32), np.bool_))
        closed = Watertight(Mesh(np.zeros((3, 3)), np.zeros((1, 3), np.int32)), np.zeros(3), 1.0)
        views = Views(images, eye[:, :, :3], eye, np.zeros(3), 1.0)
        packed.append(PackedShape.of(ShapeKey("ball", str(number)), closed, samples, views))
    write_shard(folder / "train-0.h5", packed, "train-0", "train")


def rendered(number: int) -> np.ndarray:
    """(24, 137, 137, 3) views of a bundled shape, as the stage makes them."""
    category = CATEGORIES[number % len(CATEGORIES)]
    mesh, _, _ = unit_cube(generate(category, number, 0).mesh)
    config = Config().views.model_copy(update={"renderer": "raycast"})
    return render(mesh, config, np.random.default_rng(number)).images


def reference_item(folder: Path, number: int, rng: np.random.Generator) -> Any:
    """An item as ONet loads it."""
    place = folder / "onet" / str(number)
    content = np.load(place / "points.npz")
    points = content["points"].astype(np.float32)
    points += 1e-4 * rng.standard_normal(points.shape)
    occupancies = np.unpackbits(content["occupancies"])[: len(points)].astype(np.float32)
    chosen = rng.integers(len(points), size=TAKEN)
    image = Image.open(place / f"{rng.integers(VIEWS):03d}.jpg").convert("RGB")
    pixels = np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR), np.float32) / 255
    pixels = (pixels - MEAN) / STD
    return torch.from_numpy(pixels.transpose(2, 0, 1)), points[chosen], occupancies[chosen]


def measure(load: Callable[[int], Any], shapes: int, rounds: int) -> float:
    """Median CPU milliseconds of loading one item, after a first round."""
    times = []
    for number in range(shapes * (rounds + 1)):
        start = time.process_time()
        load(number)
        times.append(time.process_time() - start)
    return 1e3 * statistics.median(times[shapes:])


def main() -> None:
    """Print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, args.shapes)
        rng = np.random.default_rng(0)
        loads: dict[str, Callable[[int], Any]] = {
            "ONet's files and steps": lambda i: reference_item(folder, i % args.shapes, rng)
        }
        camera, framed = ImagesConfig(framing="camera"), ImagesConfig(roll=0.0)
        for cache, seen in (("none", camera), ("ram", camera), ("ram", framed), ("ram", ImagesConfig())):
            train = train_config(points=TAKEN, cache=cache)
            items = TrainingItems(ShapeSet([folder / "train-0.h5"], train), train, 0, seen)
            for number in range(args.shapes * VIEWS if cache == "ram" else 0):
                items.shapes.image(*divmod(number, VIEWS))

            def load(i: int, items: TrainingItems = items) -> Any:
                batch = collate([items[divmod(i, args.shapes)]])
                pixels = encoder_input(batch.images, SIZE, batch.windows)
                return pixels, batch.points.float(), batch.occupancies.float()

            framing = seen.framing if seen.framing == "camera" or seen.roll else "object, no roll"
            loads[f"ours, cache {cache}, {framing}"] = load
        results = {name: measure(load, args.shapes, args.rounds) for name, load in loads.items()}
    reference = next(iter(results.values()))
    print(f"{'':<32} {'CPU ms an item':>14} {'times faster':>13}")
    for name, result in results.items():
        print(f"{name:<32} {result:14.2f} {reference / result:13.1f}")


if __name__ == "__main__":
    main()
