"""Polygons of COLLADA geometries, and skinned ones in the pose of the scene."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from occnet_lib.storage.meshes import polygons
from occnet_lib.storage.meshes.parts import finite_colors, report_skipped

from .document import Document, children, descend, integers, numbers, text_of

_POLYGONS = ("triangles", "polylist", "polygons", "trifans", "tristrips")
Source = tuple[str, str, int, str]  # semantic, source, offset, set


@dataclass(frozen=True)
class Primitive:
    """Polygons with one material, as triangles.

    Attributes:
        positions: (V, 3) float64 of the whole geometry.
        faces: (F, 3) indices into `positions`.
        material: symbol that a scene binds to a material.
        colors: (F, 3, 3) of the corners, or None.
        uv: (F, 3, 2) of the corners by set, v upwards.
    """

    positions: NDArray[np.float64]
    faces: NDArray[np.int64]
    material: str
    colors: NDArray[np.float32] | None = None
    uv: dict[str, NDArray[np.float32]] = field(default_factory=dict)


def primitives(document: Document, geometry: Element) -> Iterator[Primitive]:
    """The polygons of a geometry; lines are skipped.

    Raises:
        MeshError, ValueError, IndexError: malformed, or with surfaces that are not polygons.
    """
    mesh = geometry.find("mesh")
    if mesh is None:
        kind = next((child.tag for child in geometry if child.tag not in ("asset", "extra")), "nothing")
        if kind == "spline":
            return
        raise document.error(f"geometry {geometry.get('id')} is of the kind {kind}, which is not read")
    for primitive in children(mesh, *_POLYGONS):
        inputs = _inputs(document, primitive)
        stride = 1 + max((offset for _, _, offset, _ in inputs), default=0)
        corners, sizes = _corners(document, primitive, stride)
        place = next((i for i in inputs if i[0] == "POSITION"), None)
        if not len(corners) or place is None:
            continue
        positions = _values(document, place[1], 3)
        report_skipped(sizes, document.unread)
        at, _ = polygons.divide(positions, corners[:, place[2]], sizes)
        faces = corners[:, place[2]][at]
        uv: dict[str, NDArray[np.float32]] = {}
        colors = None
        for semantic, source, offset, number in inputs:
            if semantic == "TEXCOORD" and number not in uv:
                uv[number] = np.nan_to_num(_at(_values(document, source, 2), corners[:, offset][at]))
            elif semantic == "COLOR" and colors is None:
                colors = _at(_values(document, source, 3), corners[:, offset][at])
                colors = finite_colors(colors, document.unread).astype(np.float32)
        yield Primitive(positions, faces, primitive.get("material", ""), colors, uv)


def _at(values: NDArray[np.float64], index: NDArray[np.int64]) -> NDArray[np.float32]:
    if index.size and (index.min() < 0 or index.max() >= len(values)):
        raise IndexError(f"an index outside 0..{len(values) - 1}")
    return values[index].astype(np.float32)


def _inputs(document: Document, primitive: Element) -> list[Source]:
    """The inputs of a primitive, with `VERTEX` replaced by the inputs of its `vertices`."""
    sources: list[Source] = []
    for item in primitive.findall("input"):
        semantic, source = item.get("semantic", ""), item.get("source", "")
        offset, number = int(item.get("offset", "0")), item.get("set", "0")
        if not 0 <= offset < 64:
            raise ValueError(f"an input with the offset {offset}")
        if semantic == "VERTEX":
            inner = document.target(source).findall("input")
            sources += [(i.get("semantic", ""), i.get("source", ""), offset, "0") for i in inner]
        else:
            sources.append((semantic, source, offset, number))
    return sources


def _values(document: Document, url: str, width: int) -> NDArray[np.float64]:
    """(N, width) values of a source."""
    source = document.target(url)
    if source.tag == "vertices":
        return _values(document, _inputs(document, source)[0][1], width)
    accessor = descend(source, "technique_common", "accessor")
    array = source.find("float_array")
    if accessor is not None and array is None:
        array = document.find(accessor.get("source", ""))
    values = numbers(array)
    stride, start = width, 0
    if accessor is not None:
        stride, start = int(accessor.get("stride", "1")), int(accessor.get("offset", "0"))
    if stride < 1 or start < 0:
        raise ValueError(f"a source with the stride {stride} and the offset {start}")
    rows = (len(values) - start) // stride
    if accessor is not None and int(accessor.get("count", "0")) > rows:
        raise ValueError(f"a source of {accessor.get('count')} values has {rows}")
    table = values[start : start + max(0, rows) * stride].reshape(-1, stride)[:, :width]
    return np.pad(table, ((0, 0), (0, width - table.shape[1])))


def _corners(
    document: Document, primitive: Element, stride: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(C, stride) indices of the corners of all polygons, and their number per polygon."""
    lists = [integers(p) for p in primitive.findall("p")]
    if primitive.find("ph") is not None:
        raise document.error("polygons with holes (<ph>) are not read")
    if any(len(indices) % stride for indices in lists):
        raise ValueError(f"<p> of a <{primitive.tag}> is truncated")
    tables = [indices.reshape(-1, stride) for indices in lists]
    if primitive.tag in ("trifans", "tristrips"):
        tables = [_fan_or_strip(table, primitive.tag == "trifans") for table in tables]
    corners = np.concatenate(tables) if tables else np.zeros((0, stride), np.int64)
    if primitive.tag == "polygons":
        sizes = np.array([len(table) for table in tables], np.int64)
    elif primitive.tag == "polylist":
        sizes = integers(primitive.find("vcount"))
    else:
        sizes = np.full(len(corners) // 3, 3)
    if (len(sizes) and sizes.min() < 0) or sizes.sum() != len(corners):
        raise ValueError(f"{len(corners)} corners in a <{primitive.tag}> instead of {sizes.sum()}")
    return corners, sizes


def _fan_or_strip(table: NDArray[np.int64], fan: bool) -> NDArray[np.int64]:
    """Corners of the single triangles; every second one of a strip is reversed."""
    count = max(0, len(table) - 2)
    number = np.arange(count)
    odd = number % 2
    first, second = (np.zeros_like(number), number + 1) if fan else (number + odd, number + 1 - odd)
    return table[np.stack([first, second, number + 2], axis=1).ravel()]


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
