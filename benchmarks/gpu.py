"""Samples a second of training on a GPU: ours against a plain implementation of ONet's network, and where the time goes.

The reference (benchmarks/step.py) computes in float32 as PyTorch comes, on inputs that lie on the GPU. Ours are the steps of
the Lightning module, with resizing, on batches that lie there, too. The peak is that of a product of two square
matrices in bfloat16, found in the same run. Then come what a training as a whole attains, by where its data are, and what
takes most of the GPU's time in our step. Without a GPU there is nothing to measure; `--device cpu` with small sizes
tries the script.
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

import torch
from step import reference_step
from torch.utils.flop_counter import FlopCounterMode

from occnet_lib.config import Config, ModelConfig, TrainConfig
from occnet_lib.storage.tables import read_rows
from occnet_lib.training.batch import Batch
from occnet_lib.training.module import OccupancyModule
from occnet_lib.training.train import train
from tests.support.train_config import changed, train_config

_SHOWN = 16  # kernels of the profile


def random_batch(args: argparse.Namespace) -> Batch:
    """Images of 137 px and points with occupancies, on the device."""
    points = torch.rand(args.batch, args.points, 3, device=args.device) - 0.5
    inside = points.norm(dim=2) < 0.4
    images = torch.randint(0, 256, (args.batch, 137, 137, 3), dtype=torch.uint8, device=args.device)
    turned = torch.eye(3, device=args.device).expand(args.batch, 3, 3)
    none = torch.zeros(args.batch, 0, 3, dtype=torch.float16, device=args.device)
    return Batch(
        *(torch.arange(args.batch, device=args.device), images, points.half(), inside),
        *(inside.float().mean(1), turned, turned[:, 0], none, none[..., 0].bool(), none.new_zeros(0)),
    )


def our_step(section: TrainConfig, batch: Batch, device: str) -> Callable[[], None]:
    """A function that trains our network for a step, as Lightning does."""
    names = [str(i) for i in range(len(batch.shapes))]
    module = OccupancyModule(ModelConfig(), section, names, graphs=device == "cuda").to(device)
    module.setup("fit")
    optimizer = module.configure_optimizers()["optimizer"]

    def step() -> None:
        with torch.autocast(device, dtype=torch.bfloat16, enabled=section.hardware.precision == "bf16"):
            loss = module.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def wait(device: str) -> None:
    """Until the device has done all its work."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(work: Callable[[], Any], device: str, times: int, repeats: int) -> float:
    """Of one call: median over repeats of a number of calls, after three."""
    for _ in range(3):
        work()
    result = []
    for _ in range(repeats):
        wait(device)
        start = time.perf_counter()
        for _ in range(times):
            work()
        wait(device)
        result.append((time.perf_counter() - start) / times)
    return statistics.median(result)


def peak(device: str, edge: int) -> float:
    """Operations a second of a product in bfloat16."""
    a, b = (torch.randn(edge, edge, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2.0 * edge**3 / seconds(lambda: a @ b, device, 10, 5)


def compare(args: argparse.Namespace) -> Callable[[], None]:
    """Print what the steps attain; the last of them."""
    batch = random_batch(args)
    rendered = torch.rand(args.batch, 3, args.pixels, args.pixels, device=args.device)
    plain = reference_step(ModelConfig(), (rendered, batch.points.float(), batch.occupancies.float()))
    with FlopCounterMode(display=False) as counter:
        plain()
    operations, most = counter.get_total_flops(), peak(args.device, args.edge)
    print(f"batch {args.batch}, {args.pixels} px, {args.points} points: {operations / 1e12:.3g} TFLOP a step")
    print(f"peak of bfloat16: {most / 1e12:.4g} TFLOP/s")
    columns = ("ms a step", "samples/s", "times faster", "of the peak", "GB")
    print(f"{'':<26}" + "".join(f"{column:>14}" for column in columns))
    reference = show("ONet's layout, fp32", plain, args, operations / most)
    section = train_config(points=args.points, image_size=args.pixels, batch_size=args.batch)
    del plain  # and what memory its weights take
    torch.set_float32_matmul_precision("high")  # TF32, as training does
    for precision, compiled in (("fp32", False), ("bf16", False), ("bf16", True)):
        options = {"precision": precision, "compile": compiled}
        step = our_step(changed(section, **options), batch, args.device)
        name = f"ours, {precision}{', compiled' if compiled else ''}"
        show(name, step, args, operations / most, reference)
    return step


def show(
    name: str,
    step: Callable[[], None],
    args: argparse.Namespace,
    least: float,
    reference: float | None = None,
) -> float:
    """Print a row, `least` being the seconds a step takes at the peak; the seconds it takes."""
    if args.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    result = seconds(step, args.device, args.steps, args.repeats)
    memory = torch.cuda.max_memory_allocated() / 1e9 if args.device == "cuda" else float("nan")
    values = f"{1e3 * result:14.2f}{args.batch / result:14.0f}{(reference or result) / result:14.2f}"
    print(f"{name:<26}{values}{least / result:14.1%}{memory:14.2f}")
    return result


def profile(step: Callable[[], None], device: str, steps: int = 3) -> None:
    """Print what takes most time on the device. To be called last: launching stays slow after it."""
    activity, kind = torch.profiler.ProfilerActivity, torch.autograd.DeviceType
    with torch.profiler.profile(
        activities=[activity.CPU, activity.CUDA][: 1 + (device == "cuda")]
    ) as profiler:
        for _ in range(steps):
            step()
        wait(device)
    key = "self_device_time_total" if device == "cuda" else "self_cpu_time_total"
    wanted = kind.CUDA if device == "cuda" else kind.CPU
    rows = [row for row in profiler.key_averages() if row.device_type == wanted and "#" not in row.key]
    times = {row.key: getattr(row, key) / steps / 1e3 for row in rows}
    counts, total = {row.key: row.count / steps for row in rows}, sum(times.values())
    print(f"\n{total:.2f} ms a step on the device, {sum(counts.values()):.0f} kernels; of them")
    for name in sorted(times, key=lambda name: -times[name])[:_SHOWN]:
        print(f"{times[name]:8.3f} ms {times[name] / total:6.1%} {counts[name]:5.0f} x {name[:90]}")


def whole(args: argparse.Namespace) -> None:
    """Print samples a second and what fraction of the time is waiting for data, at the end of trainings."""
    print(f"\n{'a training, data':<26}{'samples/s':>14}{'waiting':>14}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        packs = sorted(args.packs.glob("train-*.h5")) if args.packs else [made(folder, args.shapes)]
        for cache, workers in (("none", 0), ("none", "auto"), ("gpu", 0)):
            section = train_config(
                **{"points": args.points, "image_size": args.pixels, "batch_size": args.batch},
                **{"steps": args.train_steps, "log_every": max(1, args.train_steps // 4), "cache": cache},
                **{"workers": workers, "accelerator": "gpu" if args.device == "cuda" else "cpu"},
                compile=args.device == "cuda",
            )
            out = folder / f"{cache}-{workers}"
            config = Config(models={"onet": {"preset": "onet", "pretrained": False}}, train=section)
            train(config, "onet", packs, [], out)
            row = read_rows(out / "metrics.csv")[-1]
            where = f"{cache}, {workers} workers" if workers else cache
            print(f"{where:<26}{float(row['samples_per_second']):14.0f}{float(row['data_wait']):14.1%}")


def made(folder: Path, shapes: int) -> Path:
    """A pack of bundled shapes."""
    from loader import make  # renders them, for which training alone has no libraries

    make(folder, shapes)
    return folder / "train-0.h5"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--pixels", type=int, default=224)
    parser.add_argument("--points", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=20, help="timed together")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--edge", type=int, default=8192, help="of the matrices that measure the peak")
    parser.add_argument(
        "--packs", type=Path, help="folder of train-*.h5 for the trainings; without, it is made"
    )
    parser.add_argument("--shapes", type=int, default=64, help="of the set that is made")
    parser.add_argument("--train-steps", type=int, default=400)
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        print("torch sees no CUDA device: nothing to measure")
        return
    torch.manual_seed(0)
    step = compare(args)
    whole(args)
    profile(step, args.device)


if __name__ == "__main__":
    main()
