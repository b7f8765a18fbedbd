"""Rows of images and of meshes that turn together, seen by one camera."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from occnet_lib.config import ViewsConfig
from occnet_lib.geometry.cameras import camera_centres, intrinsics, look_at_origin
from occnet_lib.rendering.views import render_views
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.packs.image_codec import file_bytes
from occnet_lib.types import Mesh

from . import meshes
from .coloring import hexadecimal
from .html import Html, figure, image_tag, join, tag
from .meshes import Camera

GROUND_TRUTH_COLOR = (0.62, 0.64, 0.66)
COLORS = ((0.36, 0.60, 0.80), (0.90, 0.55, 0.30), (0.38, 0.72, 0.58), (0.80, 0.55, 0.72), (0.85, 0.72, 0.35))
TURN = 125.0  # degrees about the upright axis between the two images of a mesh
_SIZE = 200  # pixels along an image's edge
_NEUTRAL = (40.0, 22.0, 1.6)  # azimuth, elevation (degrees) and distance of a camera of ours
_BESIDE = 9  # at most this many images in a row

Color = tuple[float, float, float]


def neutral_camera() -> Camera:
    """A camera that sees shapes of the unit frame from above, in front and aside; for rows without a photo's camera."""
    azimuth, elevation, distance = ([value] for value in _NEUTRAL)
    world = look_at_origin(camera_centres(azimuth, elevation, distance))[0]
    return intrinsics(_SIZE, 149.84), world, np.zeros(3), 1.0


def row_of_views(cards: Sequence[Html], camera: Camera, label: str) -> Html:
    """Figures beside one another, whose 3D views (`turnable`) turn together."""
    rows = -(-len(cards) // _BESIDE)
    columns = -(-len(cards) // rows)
    return tag(
        "div",
        *cards,
        class_="shape even" if columns in (2, 4) else "shape",  # a phone halves these
        style=f"--columns:{columns}",
        data_camera=meshes.encode_camera(camera),
        aria_label=label,
    )


def photo(shard: Shard, i: int, view: int, alt: str, caption: Any) -> Html:
    """The input image of a shape."""
    data = shard.image_bytes(i, view)
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return figure(image_tag(data, alt, kind), caption)


def turnable(
    mesh: Mesh,
    camera: Camera,
    color: Color,
    alt: str,
    caption: Any,
    sides: int = 2,
    ground_truth: Mesh | None = None,
) -> Html:
    """Still images of a mesh, and the mesh itself for the viewer that replaces the first one.

    Args:
        mesh: unit frame; its own colours are not used.
        camera: as `Shard.camera` gives it.
        color: sRGB of the mesh.
        alt: description of the images.
        caption: below them.
        sides: number of still images: by the camera, and turned.
        ground_truth: closed mesh, by the distance to which the viewer can colour this one.
    """
    images = join(image_tag(data, alt, "jpeg") for data in mesh_images(mesh, camera, color)[:sides])
    code, data = hexadecimal(color), meshes.encode(mesh, ground_truth)
    return tag("figure", images, tag("figcaption", caption), data_mesh=data, data_color=code)


def of_model(
    place: int,
    model: str,
    shape: str,
    mesh: Mesh | None,
    reason: str,
    camera: Camera,
    caption: Html,
    ground_truth: Mesh | None,
) -> Html:
    """The mesh of a model, in the colour of its place among the models, or the reason why there is none."""
    if mesh is None:
        return figure(tag("div", "no mesh: ", reason, class_="none"), caption)
    color = COLORS[place % len(COLORS)]
    return turnable(mesh, camera, color, f"{model} of {shape}", caption, ground_truth=ground_truth)


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
    angle = np.deg2rad(TURN)
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
    return [file_bytes(image, "JPEG", quality=88) for image in images]
