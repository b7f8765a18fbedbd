"""Refinement against ONet's way: CPU seconds and the loss that is reached, on the same mesh and network.

A decoder of ONet's size is fitted to a chair of boxes first. The reference is written as ONet's generator does
it: 30 steps at a constant rate, the decoder as it was trained (nothing folded), weights that gather
gradients too, and a backward pass through the gradient of the field.

usage: python benchmarks/refine.py [--faces 5000] [--fit 400]
"""

from __future__ import annotations

import argparse
from functools import partial
from time import process_time

import numpy as np
import torch
from mise import chair
from torch import Tensor, nn
from torch.nn import functional

from occnet_lib.geometry.simplify import simplify
from occnet_lib.networks.decoders import CbnDecoder
from occnet_lib.networks.folded import FoldedDecoder
from occnet_lib.reconstruction import refine as ours
from occnet_lib.reconstruction.extract import surface, threshold_logit
from occnet_lib.reconstruction.mise import mise
from occnet_lib.types import Mesh

THRESHOLD, WEIGHT = 0.2, 0.01
ONET_STEPS, ONET_RATE = 30, 1e-4


def fitted_decoder(steps: int) -> tuple[CbnDecoder, Tensor]:
    """A decoder of 256 channels and 5 blocks that has learnt the chair, and the code it has learnt it for."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    decoder, code = CbnDecoder(256, 256, 5).train(), torch.randn(1, 256)
    optimiser = torch.optim.Adam(decoder.parameters(), 1e-3)
    for step in range(steps):
        points = (1.1 * (rng.random((2048, 3)) - 0.5)).astype(np.float32)
        points[1024:] *= np.float32([0.5, 1, 0.5])
        occupied = torch.as_tensor((chair(points) > 0).astype(np.float32))
        logits = decoder(torch.as_tensor(points)[None], code)[0]
        loss = functional.binary_cross_entropy_with_logits(logits, occupied)
        optimiser.param_groups[0]["lr"] = 1e-3 * (1 - step / steps)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return decoder.eval(), code


def onet_refine(decoder: CbnDecoder, code: Tensor, mesh: Mesh, rng: np.random.Generator) -> Tensor:
    """Vertices after the steps of ONet's `refine_mesh`."""
    faces = torch.as_tensor(mesh.faces, dtype=torch.int64)
    vertices = nn.Parameter(torch.as_tensor(mesh.vertices, dtype=torch.float32))
    optimiser = torch.optim.RMSprop([vertices], lr=ONET_RATE)
    for _ in range(ONET_STEPS):
        optimiser.zero_grad()
        weights = torch.as_tensor(rng.dirichlet([0.5] * 3, len(faces)), dtype=torch.float32)
        corners = vertices[faces]
        points = (corners * weights[:, :, None]).sum(1)
        normal = torch.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 1], dim=1)
        normal = normal / (normal.norm(dim=1, keepdim=True) + 1e-10)
        value = torch.sigmoid(decoder(points[None], code)[0])
        (gradient,) = torch.autograd.grad(value.sum(), points, create_graph=True)
        target = -gradient / (gradient.norm(dim=1, keepdim=True) + 1e-10)
        loss = (value - THRESHOLD).square().mean() + WEIGHT * (normal - target).square().sum(1).mean()
        loss.backward()
        optimiser.step()
    return vertices.detach()


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=5000)
    parser.add_argument("--fit", type=int, default=400)
    args = parser.parse_args()
    torch.set_num_threads(1)
    decoder, code = fitted_decoder(args.fit)
    field = FoldedDecoder(decoder, code[0], 4096)
    level = threshold_logit(THRESHOLD)
    mesh = simplify(surface(mise(field.on_array, 32, 2, level).logits, level), args.faces)

    start = process_time()
    approximate = partial(field.with_gradient, low_precision=True)
    result = ours.refine(
        field.with_gradient,
        mesh,
        THRESHOLD,
        low_precision=approximate,
        normal_weight=WEIGHT,
        rng=np.random.default_rng(1),
    )
    own = process_time() - start
    start = process_time()
    theirs = onet_refine(decoder, code, mesh, np.random.default_rng(1))
    reference = process_time() - start

    faces = torch.as_tensor(mesh.faces, dtype=torch.int64)
    held_out = torch.as_tensor(np.random.default_rng(9).dirichlet([0.5] * 3, len(faces)), dtype=torch.float32)
    print(f"{len(mesh.faces)} faces; loss on points that neither has seen")
    for name, vertices, seconds in (
        ("before", torch.as_tensor(mesh.vertices, dtype=torch.float32), 0.0),
        ("ours", torch.as_tensor(result.mesh.vertices, dtype=torch.float32), own),
        ("ONet's way", theirs, reference),
    ):
        loss = ours._loss(field.with_gradient, vertices, faces, held_out, THRESHOLD, WEIGHT).value
        print(f"{name:>10}: loss {loss:.3e}, {seconds:.2f} CPU s")
    print(f"ratio {reference / own:.1f}")


if __name__ == "__main__":
    main()
