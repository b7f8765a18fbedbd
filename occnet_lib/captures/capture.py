"""A capture: the photos of one object as views in the object's own frame, checked against their cameras."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from occnet_lib.config import Config
from occnet_lib.errors import DataError, OccnetError
from occnet_lib.storage.meshes.frame import TURNS, Up

from . import hull
from .folders import Source, frame_of, is_ambiguous, stated_box
from .hull import Box, Silhouettes
from .photos import View, view_of, with_margin

logger = logging.getLogger(__name__)
_UPRIGHT = 0.5  # least cosine between +y and the mean up direction of cameras
_NO_DIRECTION = 0.3  # length of the mean of their up directions below which it says nothing
# Eigenvalues of the mean of x xᵀ of the cameras' x axes: at most the least, at least the second.
_LEVEL, _ROUND = 0.02, 0.1
_TILT = 15.0  # degrees
_MOST_MARGIN = 0.022  # of a view's edge: 3 pixels of 137
_LEFT_OUT = 0.1, 0.25  # fractions of the views
# Fractions of a given box's edge that the hull has to fill: networks know objects whose longest edge is 1.
_FILLED = 0.7, 1.4
_AROUND = 1.1  # edge of the cube in which a given box's object is searched: masks err by a pixel


class Capture(NamedTuple):
    """An object as views in its own frame.

    Attributes:
        views: those used; the world's +y is up.
        loc, scale: `x_world = scale * x_unit + loc`.
        explained: mean fraction of the rays through the object's pixels that meet the visual hull.
        notes: one line for each photo left out.
    """

    views: list[View]
    loc: hull.Array
    scale: float
    explained: float
    notes: list[str]


def capture_of(sources: Sequence[Source], config: Config, box: Box | None = None) -> Capture:
    """The views of an object, and its frame.

    Args:
        sources: photos and their cameras.
        config: `dataset.up`, of the cameras' world, and `views.image_size` are used.
        box: centre and longest edge in the cameras' world; None: of the camera files, or of the visual hull.

    Raises:
        DataError: fewer than `hull.FEWEST_VIEWS` photos are usable, the cameras do not explain the silhouettes, or the
            photos' up direction is another than `dataset.up`.
    """
    count = sum(map(is_ambiguous, sources))
    if not count:
        return _capture(sources, config, box)
    tried: list[Capture] = []
    errors: list[DataError] = []
    for stored in (True, False):
        try:
            capture = _capture(sources, config, box, stored)
        except DataError as error:
            errors.append(error)
            continue
        of = "as they are stored" if stored else "as they are shown"
        text = f"{count} photos are turned by their EXIF orientation; their cameras are taken to be those of the pixels {of}"
        tried.append(capture._replace(notes=[*capture.notes, text]))
    if not tried:
        raise errors[0]
    # Silhouettes turned by 180° may agree as well; the EXIF orientation is there to show photos upright.
    return max(tried, key=lambda each: (len(each.views), _uprightness(each.views)))


def _capture(sources: Sequence[Source], config: Config, box: Box | None, stored: bool = True) -> Capture:
    """As `capture_of`, with ambiguous cameras (`folders.is_ambiguous`) read as those of stored pixels or not."""
    up = config.dataset.up
    views, notes = _usable_views(sources, config.views.image_size, up, stored)
    given = box or stated_box(sources)
    if given is not None:
        given = TURNS[up] @ given[0], given[1]
    evidence = _evidence(views, given)
    if evidence.explained < hull.LEAST_EXPLAINED:
        raise _unexplained(views, f"only {evidence.explained:.0%} of the silhouettes", given is not None)
    for i in sorted(set(range(len(views))) - set(evidence.kept)):
        path = views[i].frame.path
        logger.warning("%s: left out: its silhouette contradicts those of the other photos", path)
        notes.append(f"{path.name}: its silhouette contradicts those of the other photos")
    if evidence.margin:
        text = (
            "cameras and masks agree only up to {} pixels of the views: those around the object have no label"
        )
        notes.append(text.format(evidence.margin))
    views = [with_margin(views[i], evidence.margin) for i in evidence.kept]
    silhouettes = hull.silhouettes_of(views)
    _check_up(silhouettes, up)
    if (tilt := _tilt(silhouettes)) > _TILT:
        text = "the cameras are level about a direction {:.0f}° from {} of their world: turn the poses, or the object leans"
        notes.append(text.format(tilt, up))
    loc, scale = hull.hull_box(silhouettes, evidence.box)
    if given is not None:
        if not _FILLED[0] <= scale / given[1] <= _FILLED[1]:
            text = f"the visual hull has {scale / given[1]:.2f} of the edge of the object's box"
            raise DataError(text, hint="give its longest edge, in the units of the cameras' world")
        loc, scale = given
    return Capture(views, loc, scale, evidence.explained, notes)


class _Evidence(NamedTuple):
    """Which views explain each other, if pixels within a margin around the object have no label, and how far."""

    kept: list[int]
    margin: int
    explained: float
    box: Box


def _evidence(views: list[View], given: Box | None) -> _Evidence:
    """The smallest margin with which all views but few explain each other, or else all but some; none if none will do."""
    tried: list[_Evidence] = []
    for left_out in _LEFT_OUT:
        for margin in range(round(_MOST_MARGIN * len(views[0].mask)) + 1):
            silhouettes = hull.silhouettes_of([with_margin(view, margin) for view in views])
            box = _search_box(silhouettes, views) if given is None else (given[0], _AROUND * given[1])
            against = hull.contradictions(silhouettes, box)
            kept = hull.consistent_views(against, left_out)
            tried.append(_Evidence(kept, margin, float(hull.explained(against, kept).mean()), box))
            if tried[-1].explained >= hull.LEAST_EXPLAINED:
                return tried[-1]
    return tried[0]


def _usable_views(sources: Sequence[Source], size: int, up: Up, stored: bool) -> tuple[list[View], list[str]]:
    """The views of the usable photos, turned to +y up, and a line for each of the others."""
    views: list[View] = []
    notes = []
    for source in sources:
        try:
            frame = frame_of(source, stored)
            world_mat = frame.world_mat.copy()
            world_mat[:, :3] = world_mat[:, :3] @ TURNS[up].T
            views.append(view_of(frame._replace(world_mat=world_mat), size))
        except OccnetError as error:
            logger.warning("left out: %s", error)
            notes.append(f"{source[0].name}: {error.message}")
    if len(views) < hull.FEWEST_VIEWS:
        reason = f", e.g. {notes[0]}" if notes else ""
        text = f"{len(views)} of {len(sources)} photos are usable, at least {hull.FEWEST_VIEWS} are needed"
        raise DataError(text + reason)
    return views, notes


def _search_box(silhouettes: Silhouettes, views: list[View]) -> Box:
    try:
        return hull.search_box(silhouettes)
    except DataError as error:
        if error.hint:
            raise
        raise _unexplained(views, error.message, False) from error


def _unexplained(views: list[View], what: str, has_box: bool) -> DataError:
    """The error of cameras that do not explain the silhouettes."""
    if what.startswith("only"):
        what = f"the cameras and the photos contradict each other: {what} can be of one object"
    if has_box:
        hint = "is the given box that of the object, in the cameras' world? left out, it is estimated"
    else:
        hint = hull.likely_mistake(hull.silhouettes_of(views))
    hint = hint or "poses, focal lengths, sizes or masks are wrong, or the object moved between the photos"
    return DataError(what, hint=hint)


def _check_up(silhouettes: Silhouettes, up: Up) -> None:
    """Check that the cameras' up directions are, on average, about that of the world, unless they cancel out."""
    mean = -silhouettes.world_mats[:, 1, :3].mean(axis=0)
    length = float(np.linalg.norm(mean))
    if length < _NO_DIRECTION or mean[1] >= _UPRIGHT * length:
        return
    source = mean @ TURNS[up]
    axis = int(np.argmax(np.abs(source)))
    name = f"{'-+'[int(source[axis] > 0)]}{'xyz'[axis]}"
    hint = f"set dataset.up: {name[1]}" if name[0] == "+" else "turn the poses, or save the photos upright"
    raise DataError(
        f"up in the photos is about {name} of the cameras' world, and dataset.up is {up}", hint=hint
    )


def _uprightness(views: list[View]) -> float:
    """Mean cosine between +y and the cameras' up directions."""
    return float(np.mean([-view.world_mat[1, 1] for view in views]))


def _tilt(silhouettes: Silhouettes) -> float:
    """Degrees between +y and the direction about which the cameras are level, i.e. their x axes are across it; 0 if none."""
    across = silhouettes.world_mats[:, 0, :3]
    values, vectors = np.linalg.eigh(across.T @ across / len(across))
    if values[0] > _LEVEL or values[1] < _ROUND:
        return 0.0
    return float(np.degrees(np.arccos(min(1.0, abs(vectors[1, 0])))))
