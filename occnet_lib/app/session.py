"""What one browser tab has: its photos, which of them is in the editor, and its folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from occnet_lib.reconstruction.cutout import MaskSource

from .photos import Photo, open_photo, paint
from .uploads import check_uploads, photo_name


@dataclass(frozen=True)
class Session:
    """State of one browser tab; each action returns the next one.

    Attributes:
        folder: of its files; removed with the tab.
        photos: in the order of upload.
        selected: index of the photo in the editor.
        count: of what was written, so that no file of a download changes.
    """

    folder: Path
    photos: tuple[Photo, ...] = ()
    selected: int = 0
    count: int = field(default=0, compare=False)

    @property
    def photo(self) -> Photo | None:
        """The photo in the editor."""
        return self.photos[self.selected] if self.photos else None

    def uploaded(self, files: Sequence[tuple[str, str]], view_size: int, mask: MaskSource) -> Session:
        """The session with these photos; those that it has already keep their corrections.

        Args:
            files: (path, the user's name) of each upload.
            view_size: of the network.
            mask: where objects are taken from.

        Raises:
            ImageError: too many photos, or too large a file.
        """
        check_uploads([os.path.getsize(path) for path, _ in files])
        known = {photo.upload: photo for photo in self.photos}
        photos, count = [], self.count
        for path, name in files:
            if path in known:
                photos.append(known.pop(path))
                continue
            name, count = photo_name(name), count + 1
            file = self.folder / str(count) / name
            file.parent.mkdir(parents=True)
            shutil.copyfile(path, file)
            photos.append(open_photo(file, name, view_size, mask, upload=path))
        for photo in known.values():
            shutil.rmtree(photo.file.parent, ignore_errors=True)
        selected = min(self.selected, max(len(photos) - 1, 0))
        refused = [i for i, photo in enumerate(photos) if photo.cutout is None and photo.can_be_corrected]
        if len(photos) > len(self.photos) and refused:
            selected = refused[0]
        return replace(self, photos=tuple(photos), selected=selected, count=count)

    def reopened(self, view_size: int, mask: MaskSource) -> Session:
        """The session with photos cut out again for another network or mask source; corrected ones stay."""
        photos = [
            photo
            if photo.corrected_file
            else open_photo(photo.file, photo.name, view_size, mask, upload=photo.upload)
            for photo in self.photos
        ]
        return replace(self, photos=tuple(photos))

    def painted(self, layers: list[NDArray[np.uint8]], view_size: int, fill: bool) -> Session:
        """The session with the strokes over the selected photo in its mask."""
        if self.photo is None:
            return self
        folder = self.folder / f"mask-{self.count + 1}"
        photo = paint(self.photo, layers, view_size, folder, fill)
        if photo is self.photo:
            return self
        return replace(self._with(photo), count=self.count + 1)

    def reset(self, view_size: int, mask: MaskSource) -> Session:
        """The session without corrections of the selected photo."""
        old = self.photo
        if old is None:
            return self
        return self._with(open_photo(old.file, old.name, view_size, mask, upload=old.upload))

    def select(self, index: int) -> Session:
        """The session with another photo in the editor."""
        return replace(self, selected=max(0, min(index, len(self.photos) - 1)))

    def mesh_folder(self) -> tuple[Session, Path]:
        """A new folder for the files of a mesh."""
        return replace(self, count=self.count + 1), self.folder / f"mesh-{self.count + 1}"

    def close(self) -> None:
        """Remove the files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _with(self, photo: Photo) -> Session:
        photos = list(self.photos)
        photos[self.selected] = photo
        return replace(self, photos=tuple(photos))
