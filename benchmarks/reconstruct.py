"""Photo to closed mesh at 128³: CPU seconds against a reference that does it ONet's way, with the same network.

The reference asks the decoder as it was trained (nothing folded, float32, 100,000 points a call), finds the grid by ONet's
rule (a coarse grid; every cell whose known corners differ is halved; again until none is), keeps its book in arrays of
the full grid, and simplifies to as many faces. Without refinement, which has a benchmark of its own, unless requested.
A decoder of ONet's size is fitted to a chair of boxes first.

usage: python benchmarks/reconstruct.py [--repeats 3] [--fit 250] [--device cpu|cuda] [--refine] [--first 16]
       [--together 16]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from refine import THRESHOLD, fitted_decoder, onet_refine
from torch import Tensor

from occnet_lib.config import ReconstructConfig
from occnet_lib.geometry.simplify import simplify
from occnet_lib.networks.decoders import CbnDecoder
from occnet_lib.networks.encoders import Encoder
from occnet_lib.networks.folded import FoldedDecoder
from occnet_lib.reconstruction.extract import surface, threshold_logit
from occnet_lib.reconstruction.inference import batched_decoder
from occnet_lib.reconstruction.mise import mise_batch
from occnet_lib.reconstruction.reconstruct import CUBE_EDGE, reconstruct
from occnet_lib.types import Mesh

CELLS, STEPS, FACES, BATCH = 32, 2, 5000, 100_000


def onet_grid(ask: Callable[[NDArray[np.float32]], NDArray[np.float32]], level: float) -> NDArray[np.float32]:
    """The logits that ONet's MISE finds at 128³."""
    n = CELLS * 2**STEPS
    values = np.full((n + 1,) * 3, -1e6, np.float32)
    known = np.zeros_like(values, dtype=bool)
    leaves = [(np.stack(np.meshgrid(*[np.arange(CELLS)] * 3, indexing="ij"), -1).reshape(-1, 3) * 2**STEPS)]
    size = 2**STEPS
    corners = np.stack(np.meshgrid(*[np.arange(0, n + 1, size)] * 3, indexing="ij"), -1).reshape(-1, 3)
    for _ in range(STEPS + 1):
        for start in range(0, len(corners), BATCH):
            part = corners[start : start + BATCH]
            values[tuple(part.T)] = ask((CUBE_EDGE * (part / n - 0.5)).astype(np.float32))
            known[tuple(part.T)] = True
        if size == 1:
            break
        cells, grid = leaves.pop(), np.array(list(np.ndindex(2, 2, 2))) * size
        inside = values[tuple(np.moveaxis(cells[:, None] + grid, -1, 0))] > level
        split = cells[inside.any(1) & ~inside.all(1)]
        half = size // 2
        corners = np.unique(
            (split[:, None] + np.array(list(np.ndindex(3, 3, 3))) * half).reshape(-1, 3), axis=0
        )
        corners = corners[~known[tuple(corners.T)]]
        leaves.append((split[:, None] + np.array(list(np.ndindex(2, 2, 2))) * half).reshape(-1, 3))
        size = half
    return _filled(values, known)


def _filled(values: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """What was not evaluated takes the value of the last point known before it, along z, y, x."""
    for axis in (2, 1, 0):
        at = np.where(
            known, np.arange(known.shape[axis]).reshape([-1 if k == axis else 1 for k in range(3)]), 0
        )
        at = np.maximum.accumulate(at, axis=axis)
        values = np.take_along_axis(values, at, axis=axis)
        known = np.take_along_axis(known, at, axis=axis)
    return values


class Timer:
    """Median seconds: of the processor on the CPU, by the clock on a GPU."""

    def __init__(self, device: str) -> None:
        self.clock = process_time if device == "cpu" else self._synchronised

    @staticmethod
    def _synchronised() -> float:
        torch.cuda.synchronize()
        return perf_counter()

    def __call__(self, work: Callable[[], Any], repeats: int) -> tuple[float, Any]:
        """Seconds and the last result."""
        taken, result = [], None
        for _ in range(repeats):
            start = self.clock()
            result = work()
            taken.append(self.clock() - start)
        return median(taken), result


def ours(
    encoder: Encoder, decoder: CbnDecoder, code: Tensor, image: Tensor, config: ReconstructConfig
) -> Mesh:
    """The library's way; the encoder's work is done, and its code replaced by that of the fitted decoder."""
    with torch.inference_mode():
        encoder(image)
    chunk = 4096 if code.device.type == "cpu" else BATCH
    field = FoldedDecoder(decoder, code[0], chunk)
    rng, device = np.random.default_rng(0), code.device.type
    ask = partial(field.on_array, level=threshold_logit(THRESHOLD))
    approximate = partial(field.with_gradient, low_precision=True)
    return reconstruct(
        ask, config, refine_field=field.with_gradient, low_precision=approximate, rng=rng, device=device
    ).mesh


def ours_together(decoder: CbnDecoder, code: Tensor, config: ReconstructConfig, count: int) -> Mesh:
    """As many meshes, whose points go into the same calls; the last of them."""
    queried, level = batched_decoder(decoder, code.expand(count, -1)), threshold_logit(THRESHOLD)
    grids = mise_batch(queried, count, config.resolution0, config.upsampling_steps, level)
    return [simplify(surface(grid.logits, level), FACES) for grid in grids][-1]


def onet(encoder: Encoder, decoder: CbnDecoder, code: Tensor, image: Tensor, refined: bool) -> Mesh:
    """ONet's way."""
    level = threshold_logit(THRESHOLD)

    def ask(points: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            logits = decoder(torch.as_tensor(points, device=code.device)[None], code)[0]
        return np.asarray(logits.cpu().numpy())

    with torch.no_grad():
        encoder(image)
    mesh = simplify(surface(onet_grid(ask, level), level), FACES)
    if refined:
        vertices = onet_refine(decoder, code, mesh, np.random.default_rng(0))
        mesh = Mesh(vertices.cpu().numpy().astype(np.float64), mesh.faces)
    return mesh


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--fit", type=int, default=250)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--refine", action="store_true")
    parser.add_argument("--first", type=int, default=CELLS, help="our first grid; 16 asks for a fifth less")
    parser.add_argument("--together", type=int, default=0, help="so many shapes in the same calls, too")
    args = parser.parse_args()
    torch.set_num_threads(1)
    decoder, code = (part.to(args.device) for part in fitted_decoder(args.fit))
    encoder = Encoder("resnet18", 256, pretrained=False).eval().to(args.device)
    image = torch.rand(1, 3, 224, 224, device=args.device)
    halvings = (CELLS * 2**STEPS // args.first).bit_length() - 1
    config = ReconstructConfig(
        resolution0=args.first, upsampling_steps=halvings, threshold=THRESHOLD, simplify={"faces": FACES}
    ).model_copy(update={} if args.refine else {"refine_steps": 0})
    timer = Timer(args.device)
    work = {
        "ours": lambda: ours(encoder, decoder, code, image, config),
        "ONet's way": lambda: onet(encoder, decoder, code, image, args.refine),
    }
    for run in work.values():  # caches, kernels
        run()
    seconds = {}
    for name, run in work.items():
        seconds[name], mesh = timer(run, args.repeats)
        print(f"{name:>10}: {seconds[name]:.3f} s, {len(mesh.faces)} faces")
    one, other = seconds.values()
    print(f"ours / ONet's way: {one / other:.2f}")
    if args.together:
        whole, _ = timer(lambda: ours_together(decoder, code, config, args.together), args.repeats)
        print(
            f"{args.together} together, neither encoded nor refined: {1000 * whole / args.together:.1f} ms a mesh"
        )


if __name__ == "__main__":
    main()
