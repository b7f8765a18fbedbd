"""Brush strokes over masks."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageColor, ImageDraw

from occnet_lib.app.masks import ADD, REMOVE, corrected, mask_of, overlay, strokes, with_mask
from occnet_lib.reconstruction.photo import load_photo

SHAPE = (60, 80)


def box(left, top, right, bottom) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[top:bottom, left:right] = True
    return mask


def layer(*rectangles, size=(80, 60), opacity=153, solid=False) -> np.ndarray:
    """Rectangles (color, box), as outlines of 3 pixels or solid, drawn one over the other."""
    image = Image.new("RGBA", size)
    draw = ImageDraw.Draw(image)
    for color, rectangle in rectangles:
        paint = (*ImageColor.getrgb(color), opacity)
        draw.rectangle(rectangle, outline=paint, fill=paint if solid else None, width=3)
    return np.asarray(image)


def test_a_closed_line_adds_what_it_encloses_and_a_red_one_within_removes_it():
    nothing = np.zeros(SHAPE, bool)
    added, removed = strokes([layer((ADD, (10, 10, 69, 49)), (REMOVE, (30, 20, 49, 39)))], SHAPE)
    assert np.array_equal(corrected(nothing, added, removed), box(10, 10, 70, 50) & ~box(30, 20, 50, 40))
    only_lines = corrected(nothing, added, removed, fill=False)
    assert np.array_equal(only_lines, box(10, 10, 70, 50) & ~box(13, 13, 67, 47))


def test_the_mask_stays_where_nothing_is_painted_and_later_paint_prevails():
    mask = box(0, 0, 20, 20)
    assert np.array_equal(corrected(mask, *strokes([], SHAPE)), mask)
    over = layer((ADD, (2, 2, 4, 4)), (REMOVE, (2, 2, 4, 4)), solid=True)
    added, removed = strokes([over], SHAPE)
    assert not added.any()
    assert np.array_equal(removed, box(2, 2, 5, 5))
    added, removed = strokes([over, layer((ADD, (2, 2, 4, 4)), solid=True)], SHAPE)
    assert not removed.any()
    # Green inside what a red line encloses stays.
    both = layer((REMOVE, (30, 5, 60, 45))), layer((ADD, (40, 20, 42, 22)), solid=True)
    assert np.array_equal(
        corrected(box(20, 0, 70, 50), *strokes(both, SHAPE)) & box(33, 8, 58, 43), box(40, 20, 43, 23)
    )


def test_lines_that_cross_enclose_together():
    """A red line over the lower side of a green one: the space between two legs, open below."""
    green, red = (10, 10, 69, 49), (30, 30, 49, 49)
    for lines in ([(ADD, green), (REMOVE, red)], [(REMOVE, red), (ADD, green)]):
        drawn = corrected(np.zeros(SHAPE, bool), *strokes([layer(*lines)], SHAPE))
        expected = box(10, 10, 70, 50) & ~box(30, 30, 50, 50)
        assert np.array_equal(drawn[:47], expected[:47])


def test_strokes_of_another_size_are_scaled_and_their_faint_edges_do_not_count():
    large = layer((ADD, (100, 100, 699, 499)), size=(800, 600))
    added, _ = strokes([large], SHAPE)
    assert np.array_equal(corrected(np.zeros(SHAPE, bool), added, np.zeros(SHAPE, bool)), box(10, 10, 70, 50))
    assert not strokes([layer((ADD, (10, 10, 69, 49)), opacity=30)], SHAPE)[0].any()


def test_the_opacity_of_a_photo_stays_where_its_mask_does():
    rgba = np.full((*SHAPE, 4), 90, np.uint8)
    rgba[..., 3] = np.linspace(0, 255, 80).astype(np.uint8)
    before = rgba[..., 3] >= 128
    mask = (before | box(0, 0, 10, 10)) & ~box(60, 0, 80, 10)
    soft = with_mask(rgba, before, mask, soft=True)
    assert (soft[:10, :10, 3] == 255).all()
    assert (soft[:10, 60:, 3] == 0).all()
    assert np.array_equal(soft[10:], rgba[10:])
    assert np.array_equal(with_mask(rgba, before, mask, soft=False)[..., 3] == 255, mask)


@pytest.mark.parametrize(("name", "frame"), [("plain.png", 0), ("plain.png", 6)])
def test_the_mask_of_a_cut_out_lies_over_the_object(photos, tmp_path, name, frame):
    image = np.pad(np.asarray(Image.open(photos / name)), ((frame, frame), (frame, frame), (0, 0)))
    Image.fromarray(image).save(tmp_path / "photo.png")
    mask = mask_of(load_photo(tmp_path / "photo.png"), image.shape[:2])
    red = (image[..., 0] > 1.5 * image[..., 2]) & (image[..., 0] > 50)
    assert (mask != red).mean() < 0.002


def test_the_overlay_shows_object_background_and_outline():
    rgba = np.full((*SHAPE, 4), 255, np.uint8)
    rgba[..., :3] = (200, 30, 40)
    shown = overlay(rgba, box(20, 15, 60, 45))
    assert shown.shape == (576, 768, 3)
    assert (shown[300, 400] == (200, 30, 40)).all()
    assert shown[10, 10].min() > 140
    assert (shown == (255, 0, 200)).all(axis=-1).any()
    assert (overlay(rgba, np.zeros(SHAPE, bool)) == (200, 30, 40)).all()
