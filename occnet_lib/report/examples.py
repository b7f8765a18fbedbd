"""Input image, predicted meshes and ground truth of some test shapes, seen by the image's camera and from the side."""

from __future__ import annotations

import io
import logging
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import ViewsConfig
from occnet_lib.errors import OccnetError
from occnet_lib.rendering.views import render_views
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.reconstructions import read_mesh
from occnet_lib.types import Mesh

from . import meshes
from .html import Html, figure, image_tag, join, paragraph, tag, text
from .meshes import Camera
from .results import MissingResult, Results, Row, is_baseline, label, number, shown

LOG = logging.getLogger(__name__)
_SIZE = 200  # pixels along an image's edge
_BESIDE = 9  # at most this many images in a row
_TURN = 125.0  # degrees about the upright axis between the two images of a mesh
_GROUND_TRUTH_COLOR = (0.62, 0.64, 0.66)
_COLORS = ((0.36, 0.60, 0.80), (0.90, 0.55, 0.30), (0.38, 0.72, 0.58), (0.80, 0.55, 0.72), (0.85, 0.72, 0.35))

Color = tuple[float, float, float]


def section(results: Results) -> Html:
    """Examples of every category, chosen evenly over the ranking and not by beauty."""
    chosen = choose(results)
    intro = paragraph(
        "For each shape: the photo, then every model's mesh and the true one, above by the photo's camera "
        f"and below turned by {_TURN:g}°. Shapes are taken at even steps of the ranking by IoU of the first "
        "model, so that good and bad cases show alike; numbers are IoU and Chamfer-L1 × 10.",
        note=True,
    )
    hint = (
        "The upper images of a shape turn together: drag, or use the arrow keys; pinch or + and - zoom; a double click or 0 "
        "goes back to the photo's camera. Meshes are simplified to some 3,000 faces for this."
    )
    parts = [intro, tag("p", hint, class_="note hint", hidden="")]
    for category, names in chosen.items():
        parts.append(tag("h3", results.category(category)))
        parts += [_example(results, name) for name in names]
    return join(parts)


def choose(results: Results) -> dict[str, list[str]]:
    """Names of the shapes shown, by category: at even quantiles of the first evaluated model's IoU.

    Raises:
        MissingResult: there are no packed test shapes.
    """
    if not results.packed_test:
        raise MissingResult("There are no examples: this run has no packed test shapes (pack/test-*.h5).")
    rows = [row for row in results.rows_if_any("evaluate/shapes.csv") if not is_baseline(row["model"])]
    first = next((model for model in results.trained if any(row["model"] == model for row in rows)), "")
    score = {_name(row): number(row, "iou") or 0.0 for row in rows if row["model"] == first}
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(results.packed_test, key=lambda name: (score.get(name, 0.0), name)):
        groups[results.packed_test[name][2].category].append(name)
    return {
        category: _evenly(groups[category], results.config.report.examples) for category in sorted(groups)
    }


def mesh_images(mesh: Mesh, camera: Camera, color: Color) -> list[bytes]:
    """JPEG bytes of a mesh seen by a photo's camera and turned about the upright axis.

    Args:
        mesh: unit frame; its own colours are not used.
        camera: camera_mat (pixels of the photo), world_mat, loc and scale as `Shard.camera` gives them.
        color: sRGB of the mesh.
    """
    camera_mat, world_mat, loc, scale = camera
    vertices = mesh.vertices * scale + loc
    colors = np.tile(np.array(color, np.float32), (len(vertices), 1))
    # The principal point is the photo's middle, whose size in pixels is therefore twice that.
    sharper = (
        camera_mat * np.array([_SIZE / (2 * camera_mat[0, 2]), _SIZE / (2 * camera_mat[1, 2]), 1.0])[:, None]
    )
    angle = np.deg2rad(_TURN)
    c, s = np.cos(angle), np.sin(angle)
    about_y = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    turned = np.concatenate([world_mat[:, :3] @ about_y, world_mat[:, 3:]], axis=1)
    config = ViewsConfig(image_size=_SIZE, supersampling=2, renderer="raycast")
    images, *_ = render_views(
        Mesh(vertices, mesh.faces, colors),
        np.stack([sharper, sharper]),
        np.stack([world_mat, turned]),
        config,
    )
    return [_jpeg(image) for image in images]


def _example(results: Results, name: str) -> Html:
    shard, i, key = results.packed_test[name]
    view = min(results.config.reconstruct.view, shard.views - 1)
    camera = shard.camera(i, view)
    photo = shard.image_bytes(i, view)
    kind = "png" if photo.startswith(b"\x89PNG") else "jpeg"
    cards = [figure(image_tag(photo, f"photo of {name}", kind), join(["photo", key.id], "<br>"))]
    for k, model in enumerate(results.reconstructed):
        row = results.shape_rows.get((model, name), {})
        caption = join([label(model), _numbers(row)], "<br>")
        cards.append(_card(results, model, shard, name, camera, _COLORS[k % len(_COLORS)], caption))
    mesh = shard.mesh(i)
    if len(mesh.faces):
        alt = f"ground-truth mesh of {name}"
        cards.append(_turnable(mesh, camera, _GROUND_TRUTH_COLOR, alt, text("ground truth")))
    else:
        cards.append(figure(tag("div", "no mesh in the pack", class_="none"), "ground truth"))
    rows = -(-len(cards) // _BESIDE)
    return tag(
        "div",
        *cards,
        class_="shape",
        style=f"--columns:{-(-len(cards) // rows)}",
        data_camera=meshes.encode_camera(camera),
        aria_label=f"meshes of {name}",
    )


def _card(
    results: Results,
    model: str,
    shard: Shard,
    name: str,
    camera: Camera,
    color: Color,
    caption: Html,
) -> Html:
    """A model's mesh of a shape, or why there is none."""
    row = results.shape_rows.get((model, name), {})
    try:
        mesh = read_mesh(results.root / "reconstruct" / model / shard.name, results.packed_test[name][2])
    except OccnetError as error:
        LOG.warning("%s", error)
        mesh, row = None, {"reason": error.message}
    if mesh is None or not len(mesh.faces):
        why = row.get("reason") or "not reconstructed"
        return figure(tag("div", "no mesh: ", why, class_="none"), caption)
    return _turnable(mesh, camera, color, f"{label(model)} of {name}", caption)


def _turnable(mesh: Mesh, camera: Camera, color: Color, alt: str, caption: Html) -> Html:
    """Still images of a mesh, and the mesh itself for the viewer that replaces the first one."""
    images = join(image_tag(data, alt, "jpeg") for data in mesh_images(mesh, camera, color))
    code = "#" + "".join(f"{round(255 * channel):02x}" for channel in color)
    return tag("figure", images, tag("figcaption", caption), data_mesh=meshes.encode(mesh), data_color=code)


def _numbers(row: Row) -> Html:
    chamfer = number(row, "chamfer_l1")
    values = [shown(number(row, "iou")), shown(None if chamfer is None else 10 * chamfer)]
    return text(" · ".join(value for value in values if value)) if any(values) else Html("")


def _name(row: Row) -> str:
    return f"{row['category']}/{row['id']}"


def _evenly(ranked: list[str], count: int) -> list[str]:
    """`count` of them at even quantiles: the median for one, the quartiles for two."""
    count = min(count, len(ranked))
    return [ranked[int((k + 0.5) / count * len(ranked))] for k in range(count)]


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
