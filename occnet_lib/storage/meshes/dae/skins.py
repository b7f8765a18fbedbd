"""Skinned geometries of COLLADA files, in the pose of the scene."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from .document import Document, descend, integers, numbers, text_of


def posed(
    document: Document,
    instance: Element,
    skin: Element,
    positions: NDArray[np.float64],
    worlds: dict[Element, NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Vertices of a skinned geometry in the scene (COLLADA 1.4 specification, "Skin deformation (or skinning)").

    A vertex v is at Σ_j w_j (joint_j · inverse bind_j) (bind shape · v). If a joint is missing in the scene, the
    bind pose is used, which `unread` of the document reports.

    Args:
        document: for references.
        instance: the `instance_controller`, which refers to the roots of the skeleton.
        skin: the `skin` of the controller.
        positions: (V, 3) of the geometry.
        worlds: (4, 4) by node of the scene, node to scene.

    Raises:
        MeshError, ValueError: malformed.
    """
    shape = numbers(skin.find("bind_shape_matrix"))
    bind = shape.reshape(4, 4) if len(shape) == 16 else np.eye(4)
    bound = positions @ bind[:3, :3].T + bind[:3, 3]
    names, inverse = _joints(document, skin)
    nodes = [_joint(document, instance, name, worlds) for name in names]
    lost = [name for name, node in zip(names, nodes, strict=True) if node is None]
    if lost:
        document.unread.append(f"joint {lost[0]} is not in the scene: the skin keeps its bind pose")
        return bound
    matrices = [worlds[node] @ back for node, back in zip(nodes, inverse, strict=True) if node is not None]
    table = np.array([*matrices, np.eye(4)])  # the last one for joint -1: as bound
    vertex, joint, weight = _weights(document, skin, len(positions), len(names))
    total = np.bincount(vertex, weight, len(positions))
    moved = np.einsum("nij,nj->ni", table[joint, :3, :3], bound[vertex]) + table[joint, :3, 3]
    part = weight / np.where(total[vertex] == 0, 1, total[vertex])
    out = np.stack([np.bincount(vertex, part * moved[:, k], len(positions)) for k in range(3)], axis=1)
    return np.where(total[:, None] > 0, out, bound)


def _joints(document: Document, skin: Element) -> tuple[list[str], NDArray[np.float64]]:
    """Names of the joints of a skin, and (J, 4, 4) inverse bind matrices."""
    joints = skin.find("joints")
    sources = {} if joints is None else {i.get("semantic"): i.get("source") for i in joints.findall("input")}
    names = _names(document, sources.get("JOINT"))
    inverse = numbers(document.target(sources.get("INV_BIND_MATRIX")).find("float_array"))
    if len(inverse) != 16 * len(names):
        raise ValueError(f"{len(names)} joints with {len(inverse)} numbers of inverse bind matrices")
    return names, inverse.reshape(-1, 4, 4)


def _names(document: Document, url: str | None) -> list[str]:
    source = document.target(url)
    array = source.find("Name_array")
    array = source.find("IDREF_array") if array is None else array
    return text_of(array).split()


def _joint(
    document: Document, instance: Element, name: str, worlds: dict[Element, NDArray[np.float64]]
) -> Element | None:
    """The node of a joint: by its sid below the roots of the skeleton, then anywhere, then by its id."""
    roots = [document.find(item.text or "") for item in instance.findall("skeleton")]
    for root in roots:
        for node in root.iter("node") if root is not None else ():
            if node.get("sid") == name and node in worlds:
                return node
    anywhere = next((node for node in worlds if node.get("sid") == name), None)
    by_id = document.find(name)
    return anywhere if anywhere is not None else by_id if by_id in worlds else None


def _weights(
    document: Document, skin: Element, vertices: int, joints: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Vertex, joint (`joints` for the bind shape) and weight of each influence."""
    weights = skin.find("vertex_weights")
    if weights is None:
        raise ValueError("a skin without weights")
    inputs = {
        i.get("semantic"): (int(i.get("offset", "0")), i.get("source")) for i in weights.findall("input")
    }
    if "JOINT" not in inputs or "WEIGHT" not in inputs:
        raise ValueError("a skin without joints or weights")
    counts, table = integers(descend(weights, "vcount")), integers(descend(weights, "v"))
    stride = 1 + max(offset for offset, _ in inputs.values())
    if (counts < 0).any() or len(counts) > vertices or counts.sum() * stride != len(table):
        raise ValueError("weights of a skin that do not match its vertices")
    table = table.reshape(-1, stride)
    values = numbers(document.target(inputs["WEIGHT"][1]).find("float_array"))
    joint, weight = table[:, inputs["JOINT"][0]], table[:, inputs["WEIGHT"][0]]
    if len(table) and (
        joint.min() < -1 or joint.max() >= joints or weight.min() < 0 or weight.max() >= len(values)
    ):
        raise IndexError("weights of a skin refer to a joint or weight that does not exist")
    return np.repeat(np.arange(len(counts)), counts), np.where(joint < 0, joints, joint), values[weight]
