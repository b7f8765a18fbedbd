"""A graph network on the faces of a mesh that corrects their normals.

It works on the dual graph, where every face has three neighbours, so a layer is a gather of (F, 3) indices. Networks that
predict face normals from noisy ones, after which the vertices follow: Facet Graph Convolutions (Armando et al. 2021),
GCN-Denoiser (Shen et al. 2022).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from occnet_lib.errors import DataError

from .checkpoint import load_any_network, network_file, save_network

FORMAT = "occnet face normals"
SMOOTHING = (4, 16)
"""Numbers of averagings with the neighbours after which normals are also inputs."""
VECTORS = 3 + len(SMOOTHING)
"""Number of vectors at the start of a face's features: normal, the field's direction, centroid, smoothed normals."""
SCALARS = 6
FACE_FEATURES = 3 * VECTORS + SCALARS
EDGE_FEATURES = 3


class FaceGraph(NamedTuple):
    """A mesh as the network sees it (`reconstruction.face_features`).

    Attributes:
        faces: (F, FACE_FEATURES) float32: vectors, the first one the unit normal (0 without area), then scalars.
        edges: (F, 3, EDGE_FEATURES) float32, of the edge from corner k to the next one.
        neighbours: (F, 3) int64, the face across that edge; the face itself where there is none.
        means: (F, FACE_FEATURES) float32, the mean of `faces` over the whole mesh, also where this is a part of one.
    """

    faces: Tensor
    edges: Tensor
    neighbours: Tensor
    means: Tensor

    @classmethod
    def of(cls, faces: Tensor, edges: Tensor, neighbours: Tensor) -> FaceGraph:
        """The graph of a whole mesh.

        Args:
            faces: (F, 9 + SCALARS) as in `faces`, without the smoothed normals.
        """
        vectors, scalars = faces.split([9, SCALARS], dim=1)
        smooth, smoothed = vectors[:, :3], []
        for rounds in range(max(SMOOTHING)):
            smooth = 0.5 * (smooth + smooth[neighbours].mean(dim=1))
            if rounds + 1 in SMOOTHING:
                smoothed.append(functional.normalize(smooth, dim=1))
        faces = torch.cat([vectors, *smoothed, scalars], dim=1)
        means = faces.mean(dim=0, keepdim=True) if len(faces) else faces
        return cls(faces, edges, neighbours, means.expand(len(faces), -1))

    def to(self, device: str | torch.device) -> FaceGraph:
        """The same on a device."""
        return FaceGraph(*(part.to(device) for part in self))

    def turned(self, rotation: Tensor) -> FaceGraph:
        """With all vectors multiplied by an orthogonal matrix (3, 3); scalars do not depend on the orientation."""
        return self._replace(faces=_turned(self.faces, rotation), means=_turned(self.means, rotation))


def _turned(features: Tensor, rotation: Tensor) -> Tensor:
    vectors = features[:, : 3 * VECTORS].reshape(-1, VECTORS, 3) @ rotation.T
    return torch.cat([vectors.flatten(1), features[:, 3 * VECTORS :]], dim=1)


class FaceNormalNetwork(nn.Module):
    """Corrected unit normals of the faces of a mesh.

    Each layer adds to a face's state the mean over its three edges of a function of the face, its neighbour and the edge, so
    the result does not depend on the order of faces and corners. The means over all faces are an input: what kind of object
    it is. A linear function of the inputs is added to the result. A new network returns the mesh's own normals.

    Args:
        hidden: width.
        layers: number of layers, which is how many faces away a face sees.
    """

    def __init__(self, hidden: int, layers: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(2 * FACE_FEATURES, hidden), nn.ReLU(), nn.Linear(hidden, hidden))
        self.layers = nn.ModuleList(_Layer(hidden) for _ in range(layers))
        correction, self.linear = nn.Linear(hidden, 3), nn.Linear(2 * FACE_FEATURES, 3)
        for layer in (correction, self.linear):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.last = nn.Sequential(nn.LayerNorm(hidden), correction)

    def forward(self, graph: FaceGraph) -> Tensor:
        """(F, 3) unit normals; 0 for a face without area."""
        own = graph.faces[:, :3]
        features = torch.cat([graph.faces, graph.means], dim=1)
        state = self.first(features)
        for layer in self.layers:
            state = layer(state, graph.edges, graph.neighbours)
        has_area = (own != 0).any(dim=1, keepdim=True)
        return functional.normalize(own + self.linear(features) + self.last(state), dim=1) * has_area


class _Layer(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.own, self.other = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden, bias=False)
        self.edge, self.out = nn.Linear(EDGE_FEATURES, hidden, bias=False), nn.Linear(hidden, hidden)

    def forward(self, state: Tensor, edges: Tensor, neighbours: Tensor) -> Tensor:
        normed = self.norm(state)
        others = (
            self.other(normed)
            .index_select(0, neighbours.reshape(-1))
            .view(*neighbours.shape, normed.shape[1])
        )
        message = self.own(normed)[:, None] + others + self.edge(edges)
        return state + self.out(functional.relu(message).mean(dim=1))


def normal_loss(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """The weighted mean of 1 - cos of the angle between normals (F, 3); 0 where no face has a weight (F,)."""
    return (weight * (1.0 - (predicted * target).sum(1))).sum() / weight.sum().clamp_min(1e-12)


def save_face_normals(path: Path, network: FaceNormalNetwork, options: dict[str, Any]) -> None:
    """Write a network's file; `options`: plain values, with `hidden` and `layers`."""
    save_network(path, network_file(network.state_dict(), options, FORMAT))


def load_face_normals(
    path: str | Path, device: str | torch.device = "cpu"
) -> tuple[FaceNormalNetwork, dict[str, Any]]:
    """The network of a file, in evaluation mode, and its options; raises as `checkpoint.load_any_network`."""

    def build(options: dict[str, Any]) -> FaceNormalNetwork:
        return FaceNormalNetwork(options["hidden"], options["layers"])

    hint = "give graph.ckpt of `occnet train_refinement`"
    if not Path(path).exists():
        raise DataError("no such file", path=path, hint=hint)
    return load_any_network(path, build, FORMAT, "network for face normals", hint, device)
