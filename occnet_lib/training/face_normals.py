"""Training of the graph network that corrects face normals; it resumes from its last state."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from occnet_lib import seeds
from occnet_lib.config import GraphConfig, digest
from occnet_lib.errors import DataError
from occnet_lib.networks.checkpoint import read_plain
from occnet_lib.networks.face_normals import (
    FaceGraph,
    FaceNormalNetwork,
    load_face_normals,
    normal_loss,
    save_face_normals,
)
from occnet_lib.storage.atomic import replacing
from occnet_lib.storage.face_samples import FaceSample, face_sample_digest, read_face_sample
from occnet_lib.storage.tables import write_rows
from occnet_lib.versions import VERSIONS

logger = logging.getLogger(__name__)

COLUMNS = ("step", "train_loss", "val_loss", "val_loss_unchanged")
_RECORD = 100  # steps between rows, and between states to resume from
_WARMUP = 50  # steps
_PARTS, _PART_FACES = 8, 640  # of a step


class _Mesh(NamedTuple):
    graph: FaceGraph
    target: Tensor
    weight: Tensor


def train_face_normals(
    config: GraphConfig,
    seed: int,
    training: Sequence[Path],
    validation: Sequence[Path],
    out: Path,
    *,
    about: dict[str, Any] | None = None,
    network_options: dict[str, Any] | None = None,
    rotate: bool = False,
    device: str = "cpu",
) -> None:
    """Train on meshes in files of `storage.face_samples`, and write the network with the last weights.

    A step sees parts of several meshes, because the errors of the faces of one mesh are alike. Each part is mirrored
    (x to -x) half of the time. The loss is the mean of 1 - cos of the angle to the ground truth's normal, by area, over the
    faces that have one. The learning rate of Adam follows half a cosine.

    Args:
        config: section `reconstruct.graph`.
        seed: draws weights and order.
        training: files; at least one.
        validation: files whose loss is recorded.
        out: file to write; metrics.csv (training loss since the last row, validation loss, and that of the meshes' own
            normals) and last.ckpt, from which a stopped training resumes, are written beside it.
        about: plain values to store with the network; others begin the training again.
        network_options: those of the networks whose meshes these are, to store, too.
        rotate: turn meshes randomly, for meshes of an unknown orientation.
        device: torch device.

    Raises:
        DataError: there are no files, or one is damaged.
    """
    if not training:
        raise DataError("no mesh to train with: the networks gave none for the training shapes", path=out)
    identity = digest(
        *(VERSIONS["refinement"], config, seed, rotate, about or {}),
        *([[path.name, face_sample_digest(path)] for path in paths] for paths in (training, validation)),
    )
    if _is_finished(out, identity):
        logger.info("%s is trained already", out)
        return
    meshes, held_out = ([_load(path) for path in paths] for paths in (training, validation))
    torch.manual_seed(seeds.entropy(seed, "face_normals") % 2**63)
    network = FaceNormalNetwork(config.hidden, config.layers).to(device)
    optimizer = torch.optim.Adam(network.parameters(), config.learning_rate)
    state_file, rows = out.with_name("last.ckpt"), list[dict[str, Any]]()
    first = _resume(state_file, identity, network, optimizer, rows)
    unchanged = _mean_loss(None, held_out, device)
    losses: list[float] = []
    for step in range(first, config.steps):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _rate(step, config.steps)
        random = seeds.rng(seed, "face_normals", str(step))
        graph, target, weight = _batch(meshes, random, rotate, device)
        loss = normal_loss(network(graph), target, weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        if (step + 1) % _RECORD == 0 or step + 1 == config.steps:
            val = _mean_loss(network, held_out, device)
            rows.append(dict(zip(COLUMNS, (step + 1, float(np.mean(losses)), val, unchanged), strict=True)))
            losses = []
            write_rows(out.with_name("metrics.csv"), rows, COLUMNS)
            _save_state(state_file, identity, step + 1, network, optimizer, rows)
            logger.info(
                "face normals: step %d, training loss %.4f, validation %.4f", *list(rows[-1].values())[:3]
            )
    options = {"hidden": config.hidden, "layers": config.layers, "digest": identity, **(about or {})}
    options |= {"network": network_options} if network_options else {}
    save_face_normals(out, network, options)
    state_file.unlink(missing_ok=True)


def _rate(step: int, steps: int) -> float:
    """Fraction of the learning rate."""
    return min(1.0, (step + 1) / _WARMUP) * 0.5 * (1.0 + math.cos(math.pi * step / steps))


def _load(path: Path) -> _Mesh:
    """A mesh, in half precision, which takes half of the memory."""
    sample: FaceSample = read_face_sample(path)
    faces, edges, neighbours, target, weight = (torch.from_numpy(part) for part in vars(sample).values())
    graph = FaceGraph.of(faces.float(), edges.float(), neighbours.long())
    in_half = FaceGraph(graph.faces.half(), edges, neighbours, graph.means[:1].half().expand(len(faces), -1))
    return _Mesh(in_half, target, weight)


def _in_float(mesh: _Mesh) -> _Mesh:
    faces, edges, neighbours, means = mesh.graph
    graph = FaceGraph(faces.float(), edges.float(), neighbours.long(), means.float())
    return _Mesh(graph, mesh.target.float(), mesh.weight.float())


def _batch(meshes: Sequence[_Mesh], random: np.random.Generator, rotate: bool, device: str) -> _Mesh:
    """Parts of `_PARTS` meshes as one graph."""
    parts, offset = [], 0
    for i in random.integers(len(meshes), size=_PARTS):
        graph, target, weight = _in_float(_part(meshes[i], random, _PART_FACES))
        turn = _orthogonal(random, rotate)
        graph = graph.turned(turn)
        graph = graph._replace(neighbours=graph.neighbours + offset)
        parts.append((*graph, target @ turn.T, weight))
        offset += len(target)
    *graph_parts, target, weight = (torch.cat(tensors).to(device) for tensors in zip(*parts, strict=True))
    return _Mesh(FaceGraph(*graph_parts), target, weight)


def _part(mesh: _Mesh, random: np.random.Generator, size: int) -> _Mesh:
    """At most `size` faces around a random one with a target; those at the cut are seen, but have no weight."""
    neighbours = mesh.graph.neighbours.numpy()
    candidates = np.flatnonzero(mesh.weight.numpy() > 0)
    if len(neighbours) <= size or len(candidates) == 0:
        return mesh
    ring = candidates[random.integers(len(candidates), size=1)]
    inside = np.zeros(len(neighbours), dtype=bool)
    inside[ring] = True
    count = 1
    while len(ring) and count < size:
        ring = np.unique(neighbours[ring])
        ring = ring[~inside[ring]][: size - count]
        inside[ring] = True
        count += len(ring)
    index = np.flatnonzero(inside)
    local = np.full(len(neighbours), -1)
    local[index] = np.arange(len(index))
    among = local[neighbours[index]]
    cut = (among < 0).any(axis=1)
    among = np.where(among < 0, np.arange(len(index))[:, None], among)
    faces, edges, _, means = mesh.graph
    graph = FaceGraph(faces[index], edges[index], torch.from_numpy(among), means[index])
    weight = torch.where(torch.from_numpy(cut), 0.0, mesh.weight[index])
    return _Mesh(graph, mesh.target[index], weight)


def _orthogonal(random: np.random.Generator, rotate: bool) -> Tensor:
    """A mirror image or not, and with `rotate` a random rotation: (3, 3) float32."""
    mirror = np.diag([random.choice([-1.0, 1.0]), 1.0, 1.0])
    if rotate:
        from scipy.spatial.transform import Rotation

        mirror = Rotation.random(random_state=random).as_matrix() @ mirror
    return torch.from_numpy(mirror.astype(np.float32))


def _mean_loss(network: FaceNormalNetwork | None, meshes: Sequence[_Mesh], device: str) -> float:
    """The mean loss over meshes, as they are; without a network, of their own normals; NaN without meshes."""
    losses = []
    with torch.no_grad():
        for mesh in meshes:
            graph, target, weight = _in_float(mesh)
            graph, target, weight = graph.to(device), target.to(device), weight.to(device)
            losses.append(
                float(normal_loss(network(graph) if network else graph.faces[:, :3], target, weight))
            )
    return float(np.mean(losses)) if losses else float("nan")


def _is_finished(out: Path, identity: str) -> bool:
    try:
        return load_face_normals(out)[1].get("digest") == identity
    except DataError:
        return False


def _save_state(
    path: Path, identity: str, step: int, network: Any, optimizer: Any, rows: list[dict[str, Any]]
) -> None:
    state = {"digest": identity, "step": step, "rows": rows}
    state |= {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
    with replacing(path) as temporary:
        torch.save(state, temporary)


def _resume(path: Path, identity: str, network: Any, optimizer: Any, rows: list[dict[str, Any]]) -> int:
    """Load the state of a stopped training of the same settings and data; returns the number of steps done."""
    try:
        state = read_plain(path)
    except DataError:
        return 0
    if state.get("digest") != identity:
        logger.warning(
            "training of face normals starts from the beginning: %s is of other settings or meshes", path
        )
        return 0
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    rows += state["rows"]
    logger.info("training of face normals goes on from step %d", state["step"])
    return int(state["step"])
