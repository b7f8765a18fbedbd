"""What the graph network sees of a mesh and its field, and what it shall predict."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import Refinement
from occnet_lib.errors import ConfigError
from occnet_lib.geometry.face_graph import dihedral_angles, face_neighbours
from occnet_lib.types import Mesh

from .refinement import no_graph_network

if TYPE_CHECKING:
    from occnet_lib.networks.face_normals import FaceGraph

    from .refine import FieldWithGradient

logger = logging.getLogger(__name__)
_CANDIDATES = 8  # nearest samples among which one of the face's own side is looked for
_LIMIT = 4.0  # of features that are quotients
_OF_TRAINING = frozenset(
    {"own_cameras", "labels", "silhouettes", "silhouette_cameras", "consistency", "start"}
)  # keys of a model
REACH = 2.0
"""Distance to the ground truth, in mean edge lengths of the mesh, beyond which a face has no target."""


def face_graph(field: FieldWithGradient, mesh: Mesh, level: float, device: str = "cpu") -> FaceGraph:
    """The input of `networks.face_normals.FaceNormalNetwork` for a mesh, on a device; arguments as `face_features`."""
    import torch

    from occnet_lib.networks.arrays import tensor_of
    from occnet_lib.networks.face_normals import FaceGraph

    faces, edges, neighbours = face_features(field, mesh, level, device)
    parts = tensor_of(faces, device, torch.float32), tensor_of(edges, device, torch.float32)
    return FaceGraph.of(*parts, tensor_of(neighbours, device))


def face_features(
    field: FieldWithGradient, mesh: Mesh, level: float, device: str = "cpu"
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Features of faces and edges, from which `FaceGraph.of` makes the graph.

    A face has its normal, the field's direction (against the gradient of the logits at the centroid; 0 where it vanishes),
    its centroid; the logit's gap to the level, the same divided by the gradient (an estimate of the distance, in edge
    lengths), the logarithm of the gradient (by the mean edge length: how sharp the field is), of the area and of the mean
    edge length, and whether it has all neighbours. An edge has its dihedral angle, the logarithm of its length, and whether
    it has a neighbour.

    Args:
        field: logits and their gradient.
        mesh: unit frame.
        level: logit of the surface.
        device: torch device of the field.

    Returns:
        (F, 15), (F, 3, 3) and the neighbours (F, 3).
    """
    import torch

    from occnet_lib.networks.arrays import tensor_of

    corners, neighbours = mesh.triangles, face_neighbours(mesh.faces, len(mesh.vertices))
    lengths = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2)
    edge = max(float(lengths.mean()), 1e-12) if len(lengths) else 1.0
    centroids = corners.mean(axis=1)
    logits, gradient = (
        part.detach().cpu().numpy() for part in field(tensor_of(centroids, device, torch.float32))
    )
    steepness = np.linalg.norm(gradient, axis=1)
    safe = np.maximum(steepness, 1e-12)
    gap = logits - level
    inner = neighbours != np.arange(len(mesh.faces))[:, None]
    faces = np.column_stack(
        [
            mesh.face_normals,
            -gradient / safe[:, None],
            centroids,
            np.clip(gap / 4.0, -_LIMIT, _LIMIT),
            np.clip(gap / (safe * edge), -_LIMIT, _LIMIT),
            np.clip(np.log(safe * edge), -_LIMIT, _LIMIT),
            np.clip(np.log(np.maximum(mesh.face_areas, 1e-12) / edge**2), -_LIMIT, _LIMIT),
            np.full(len(mesh.faces), np.log(edge) + _LIMIT),
            inner.all(axis=1),
        ]
    )
    relative = np.clip(np.log(np.maximum(lengths, 1e-12) / edge), -_LIMIT, _LIMIT)
    edges = np.stack([dihedral_angles(mesh, neighbours), relative, inner], axis=2)
    return faces, edges, neighbours


class FaceNormalPredictor:
    """A graph network of a file, applied to meshes of fields.

    Args:
        path: file of `networks.face_normals`.
        refinement: graph or both, which must be the one that the network was trained for.
        device: torch device.
        network: options of the occupancy network whose meshes it corrects (`networks.checkpoint`); None: not checked.

    Raises:
        ConfigError: no file is given, or it was trained for the other refinement or for meshes of another network.
        DataError: the file is missing or broken.
    """

    def __init__(
        self,
        path: str | Path | None,
        refinement: Refinement,
        device: str = "cpu",
        network: Mapping[str, Any] | None = None,
    ) -> None:
        from occnet_lib.networks.face_normals import load_face_normals

        if path is None:
            raise no_graph_network(refinement)
        self._network, options = load_face_normals(path, device)
        self._device = device
        if (trained := options.get("refinement", refinement)) != refinement:
            text = f"{path} was trained for refinement {trained}, not {refinement}"
            raise ConfigError(text, hint=f"use {trained}, or train it again")
        if network is not None:
            _check_pairing(path, options, network)

    def __call__(self, field: FieldWithGradient, mesh: Mesh, level: float) -> NDArray[np.float32]:
        """Corrected normals (F, 3) of the faces of a mesh, see `face_graph`."""
        import torch

        graph = face_graph(field, mesh, level, self._device)
        with torch.inference_mode():
            normals: NDArray[np.float32] = self._network(graph).cpu().numpy()
        return normals


def _check_pairing(path: str | Path, graph: Mapping[str, Any], network: Mapping[str, Any]) -> None:
    """Compare the network that a graph network was trained for with the one whose meshes it is to correct.

    Another architecture is an error. Other settings of the training are a warning, and so is another name, where the file
    of the graph network has no more, as those of earlier versions.

    Raises:
        ConfigError: the architectures differ.
    """
    names = [str(options.get("model_name", "a model without a name")) for options in (graph, network)]
    said = f"{path} was trained for meshes of {names[0]}, this checkpoint is of {names[1]}"
    if "network" not in graph:
        if "model_name" in graph and "model_name" in network and names[0] != names[1]:
            logger.warning("%s; normals may get worse", said)
        return
    own, other = graph["network"], {key: network.get(key, {}) for key in graph["network"]}
    training = [key for key in _differing(own["model"], other["model"]) if key in _OF_TRAINING]
    if keys := [key for key in _differing(own["model"], other["model"]) if key not in _OF_TRAINING]:
        hint = "give its own graph.ckpt (`occnet train_refinement`), or use gradient, bilateral or none"
        raise ConfigError(f"{said}, and they differ in {', '.join(keys)}", hint=hint)
    pairs = {key: (own[key], other[key]) for key in own if key != "model" and other[key]}
    of_sections = [f"{section}.{key}" for section, pair in pairs.items() for key in _differing(*pair)]
    if keys := training + of_sections:
        text = "%s, and they differ in %s; normals may get worse"
        logger.warning(text, said, ", ".join(keys))


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Keys of unequal values; initial weights do not count."""
    keys = sorted({*first, *second} - {"seed", "seeds", "preset", "pretrained", "checkpoint", "hardware"})
    return [key for key in keys if first.get(key) != second.get(key)]


def true_normals(
    mesh: Mesh, points: NDArray[np.floating], normals: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The normals of the ground truth nearest to each face, and the distances to it.

    The nearest sample to the centroid whose normal is within a right angle of the face's: on a thin part, the nearest one
    may be on the other side.

    Args:
        mesh: F faces.
        points, normals: (M, 3) samples of the ground truth's surface, unit normals.

    Returns:
        (F, 3) unit normals, 0 where none of the nearest samples is within a right angle; (F,) distances, infinite there.
    """
    from scipy.spatial import KDTree

    own = mesh.face_normals
    count = min(_CANDIDATES, len(points))
    tree = KDTree(points.astype(np.float64))
    nearest = tree.query(mesh.triangles.mean(axis=1), k=np.arange(1, count + 1))
    distances, index = (np.asarray(part) for part in nearest)
    directions = normals.astype(np.float64)[index]
    directions /= np.maximum(np.linalg.norm(directions, axis=2, keepdims=True), 1e-12)
    same_side = (directions * own[:, None]).sum(axis=2) > 0
    first, rows = same_side.argmax(axis=1), np.arange(len(own))
    good = same_side[rows, first]
    return (
        np.where(good[:, None], directions[rows, first], 0.0),
        np.where(good, distances[rows, first], np.inf),
    )


def target(
    mesh: Mesh, points: NDArray[np.floating], normals: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Normals (F, 3) that the network shall predict and weights (F,) of the loss, with mean 1: areas, 0 beyond `REACH`."""
    corners = mesh.triangles
    edge = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2).mean()
    directions, distances = true_normals(mesh, points, normals)
    areas = mesh.face_areas
    return directions, np.where(distances <= REACH * edge, areas / max(areas.mean(), 1e-300), 0.0)
