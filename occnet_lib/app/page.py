"""The page, in Gradio. What it does is in the other modules; here are only its components and their events."""

from __future__ import annotations

import io
import logging
from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from occnet_lib.config import Config
from occnet_lib.errors import OccnetError
from occnet_lib.reconstruction.cutout import MaskSource

from . import texts
from .checkpoints import Networks
from .masks import ADD, REMOVE
from .meshes import FORMATS, Options, reconstruct_photos
from .photos import Photo
from .session import Session
from .workspace import Workspace

logger = logging.getLogger(__name__)

_INTRODUCTION = (
    "# occnet\nDrop photos of one object, look at their masks, correct them with the brush, reconstruct."
)
_MOST_BLOBS = 12  # images of the editor that wait for their event
_MOST_CANVAS_PIXELS = 4_000_000
_CLOSED_AFTER = 4 * 3600.0  # seconds without an action
_RESOLUTIONS = (32, 64, 128, 256)


class _Blobs(OrderedDict[str, Any]):
    """Images of the editor that browsers have sent; the oldest are dropped."""

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        while len(self) > _MOST_BLOBS:
            self.popitem(last=False)


class Page:
    """The page's events, as methods from values of components to values of components.

    Args:
        networks: what the page offers.
        config: `reconstruct` and `seed` are used.
        workspace: where files are written.
    """

    def __init__(self, networks: Networks, config: Config, workspace: Workspace) -> None:
        self._networks, self._config, self._workspace = networks, config, workspace

    def build(self) -> gr.Blocks:
        """The components and their events."""
        models = list(self._networks.checkpoints)
        with gr.Blocks(title="occnet", analytics_enabled=False, delete_cache=(600, 4 * 3600)) as blocks:
            session = gr.State(None, time_to_live=_CLOSED_AFTER, delete_callback=_close)
            gr.Markdown(_INTRODUCTION)
            with gr.Row():
                with gr.Column(min_width=300):
                    files = _photo_files()
                    notes = _html("notes")
                    model = gr.Dropdown(models, value=models[0], label="Model", elem_id="model")
                    options = _options()
                with gr.Column(min_width=300, scale=2):
                    chosen, editor, fill, (apply, reset, masked) = _mask_components()
                with gr.Column(min_width=300, scale=2):
                    start, results = _mesh_components()
            photo_views = [session, notes, chosen, editor, masked]
            known = [session, model, options[0], fill, editor]
            for event, action, first in (
                (files.change, self.upload, [files]),
                (model.change, self.reopen, []),
                (options[0].change, self.reopen, []),
                (chosen.input, self.choose, [chosen]),
                (apply.click, self.apply, []),
                (reset.click, self.reset, []),
            ):
                _listen(event, action, [*first, *known], photo_views)
            _listen(start.click, self.reconstruct, [*known, *options[1:]], [*photo_views, *results])
        blocks.queue(max_size=32, default_concurrency_limit=1, api_open=False)
        return blocks

    def upload(self, files: Any, *known: Any) -> list[Any]:
        """Photos were added or removed."""
        return self._changed(lambda session, size, mask: session.uploaded(files, size, mask), *known)

    def reopen(self, *known: Any) -> list[Any]:
        """Another model or mask source was chosen."""
        return self._changed(lambda session, size, mask: session.reopened(size, mask), *known)

    def choose(self, index: int | None, *known: Any) -> list[Any]:
        """Another photo was chosen for the editor."""
        return self._changed(lambda session, _size, _mask: session.select(index or 0), *known)

    def apply(self, *known: Any) -> list[Any]:
        """The strokes become part of the mask."""
        return self._changed(lambda session, _size, _mask: session, *known)

    def reset(self, *known: Any) -> list[Any]:
        """The corrections of a photo are dropped."""
        return self._changed(lambda session, size, mask: session.reset(size, mask), *known)

    def reconstruct(
        self, before: Session | None, model: str, mask: MaskSource, fill: bool, editor: Any, *values: Any
    ) -> list[Any]:
        """The mesh of the photos, with strokes that were not applied yet."""
        session, folder = self._painted(before, model, fill, editor).mesh_folder()
        try:
            options = Options.of_page(mask, *values)
            outcome = reconstruct_photos(session.photos, self._networks, model, self._config, options, folder)
        except OccnetError as error:
            nothing = [gr.DownloadButton(value=None, interactive=False)] * len(FORMATS)
            return [*_shown(before, session), texts.error(str(error)), None, *nothing, ""]
        buttons = [gr.DownloadButton(value=str(outcome.files[name]), interactive=True) for name in FORMATS]
        return [
            *_shown(before, session),
            texts.outcome(outcome),
            str(outcome.view),
            *buttons,
            texts.details(outcome, [photo.name for photo in session.photos]),
        ]

    def _changed(
        self,
        action: Callable[[Session, int, MaskSource], Session],
        before: Session | None,
        model: str,
        mask: MaskSource,
        fill: bool,
        editor: Any,
    ) -> list[Any]:
        """Values of the components that show the photos, after the strokes in the editor and an action."""
        session = self._painted(before, model, fill, editor)
        try:
            return _shown(before, action(session, self._view_size(model), mask))
        except OccnetError as error:
            return _shown(before, session, str(error))

    def _painted(self, session: Session | None, model: str, fill: bool, editor: Any) -> Session:
        """The session with the strokes in the editor."""
        strokes = (editor or {}).get("layers", [])
        session = session or self._new()
        return session.painted(strokes, self._view_size(model), fill) if strokes else session

    def _new(self) -> Session:
        return Session(self._workspace.session_folder())

    def _view_size(self, model: str) -> int:
        return self._networks.load(model, self._config.reconstruct).view_size


def _listen(event: Callable[..., Any], action: Callable[..., Any], inputs: Any, outputs: Any) -> None:
    """Call an action at an event; one action at a time for all browser tabs."""

    @wraps(action)
    def run(*values: Any) -> Any:
        try:
            return action(*values)
        except gr.Error:
            raise
        except OccnetError as error:
            raise gr.Error(escape(str(error))) from None
        except Exception as error:  # a bug: the page has one line, the terminal the traceback
            logger.exception("in %s", action.__name__)
            raise gr.Error(f"{type(error).__name__} (a bug; the terminal has more)") from None

    event(run, inputs, outputs, concurrency_id="work", concurrency_limit=1, api_visibility="private")


def _shown(before: Session | None, session: Session, error: str = "") -> list[Any]:
    """Values of the components that show the photos: session, notes, chosen, editor, masked."""
    photos, photo = session.photos, session.photo
    labels = [f"{i}: {photo.name}" for i, photo in enumerate(photos, 1)]
    same = before is not None and photo is before.photo  # the editor keeps its zoom
    file = photo.corrected_file if photo else None
    return [
        session,
        (texts.error(error) if error else "") + texts.notes(photos),
        gr.Radio(choices=labels, value=labels[session.selected] if labels else None, visible=len(labels) > 1),
        gr.skip() if same else _editor_of(photo),
        gr.DownloadButton(value=str(file) if file else None, visible=file is not None),
    ]


def _editor_of(photo: Photo | None) -> dict[str, Any]:
    """The editor with a photo, hidden without one.

    Its canvas keeps the width of the column at the time when it appears, which is not final while the page loads.
    """
    preview = photo.preview() if photo and photo.can_be_corrected else None
    return gr.update(value=preview, visible=preview is not None)


# Gradio writes a .pyi file beside every subclass of a component, so methods of instances are replaced here.
def _photo_files() -> Any:
    """An upload of files with any suffix; its value is (path, the user's name) of each."""
    files = gr.File(label="Photos of one object", file_count="multiple", elem_id="photos")
    files.preprocess = lambda payload: [
        (file.path, file.orig_name or Path(file.path).name) for file in payload or ()
    ]
    return files


def _layer_pixels(file: Any, flatten_on_white: bool = False) -> NDArray[np.uint8] | None:
    """(H, W, 4) uint8 of a layer of the editor; None of its photo and composite, which are not decoded."""
    if file is None or flatten_on_white:
        return None
    source = io.BytesIO(file) if isinstance(file, bytes) else file.path
    try:
        with Image.open(source) as image:
            if image.width * image.height > _MOST_CANVAS_PIXELS:
                raise gr.Error("the strokes have too many pixels")
            return np.array(image.convert("RGBA"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise gr.Error("the strokes are not readable as an image") from None


def _mask_components() -> tuple[Any, Any, Any, list[Any]]:
    chosen = gr.Radio([], label="Photo in the editor", elem_id="chosen", visible=False, type="index")
    colors = [(color, 0.6) for color in (ADD, REMOVE)]
    editor = gr.ImageEditor(
        label="Mask",
        elem_id="editor",
        sources=(),
        transforms=(),
        layers=gr.LayerOptions(allow_additional_layers=False),
        format="png",
        brush=gr.Brush(default_size=10, colors=colors, default_color=colors[0], color_mode="fixed"),
        eraser=gr.Eraser(default_size=20),
        buttons=["fullscreen"],
        interactive=True,
        visible=False,
        height=460,
    )
    editor.convert_and_format_image = _layer_pixels
    editor.blob_storage = _Blobs()
    with gr.Row():
        apply = gr.Button("Apply strokes", elem_id="apply", size="sm", min_width=90)
        reset = gr.Button("Reset mask", elem_id="reset", size="sm", min_width=90)
        masked = gr.DownloadButton(
            "Photo with mask", elem_id="masked", size="sm", min_width=90, visible=False
        )
    fill = gr.Checkbox(True, label="A closed line counts for what it encloses", elem_id="fill")
    return chosen, editor, fill, [apply, reset, masked]


def _mesh_components() -> tuple[gr.Button, list[Any]]:
    start = gr.Button("Reconstruct", variant="primary", elem_id="reconstruct")
    messages = _html("messages")
    view = gr.Model3D(
        label="Mesh", elem_id="mesh", height=400, interactive=False, camera_position=(60, 70, 2.1)
    )
    with gr.Row():
        buttons = [
            gr.DownloadButton(name.upper(), elem_id=name, interactive=False, size="sm", min_width=60)
            for name in FORMATS
        ]
    details = _html("details")
    return start, [messages, view, *buttons, details]


def _options() -> list[Any]:
    """Components in the order of `Options`."""
    resolutions = [("as configured", 0), *((str(cells), cells) for cells in _RESOLUTIONS)]
    with gr.Accordion("Options", open=False, elem_id="options"):
        return [
            gr.Radio(["auto", "alpha", "background"], value="auto", label="Mask from", elem_id="mask-source"),
            gr.Dropdown(resolutions, value=0, label="Resolution (cells along the edge)"),
            _number("threshold", "Threshold", "the model's"),
            _number("faces", "Faces (0: all)"),
            _number("steps", "Refinement steps"),
            gr.Checkbox(False, label="Leave out photos that disagree"),
            gr.Checkbox(False, label="Colour the mesh by its uncertainty", elem_id="uncertainty"),
        ]


def _number(name: str, label: str, empty: str = "as configured") -> gr.Textbox:
    """A field of a number or nothing; gr.Number has 0 for an empty field as soon as it is shown."""
    return gr.Textbox("", label=label, placeholder=empty, max_lines=1, elem_id=name)


def _html(name: str) -> gr.Markdown:
    """A place for HTML; gr.HTML would need a content security policy that lets the page evaluate strings."""
    return gr.Markdown(elem_id=name, sanitize_html=True, latex_delimiters=[])


def _close(session: Session | None) -> None:
    if session is not None:
        session.close()
