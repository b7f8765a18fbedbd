"""The errors shown to users: one line each, with a way out."""

from __future__ import annotations

from pathlib import Path


class OccnetError(Exception):
    """An error caused by the input or the environment.

    The command line prints it as one line without a traceback. In a batch it becomes the reason of a `failed` record.

    Args:
        message: the problem, in one sentence.
        path: the file concerned, printed before the message.
        hint: the way out, printed after the message.
    """

    def __init__(self, message: str, *, path: str | Path | None = None, hint: str = "") -> None:
        self.message, self.path, self.hint = message, path, hint
        where = f"{path}: " if path is not None else ""
        text = f"{where}{message}" + (f" ({hint})" if hint else "")
        super().__init__(one_line(text))


class ConfigError(OccnetError):
    """An invalid key or value of the configuration."""


class MeshError(OccnetError):
    """A mesh that cannot be read or cannot be processed."""


class EmptyMeshError(MeshError):
    """A mesh file that is readable but has no surface: no faces, no extent or no area."""


class ImageError(OccnetError):
    """An image that cannot be read or from which no object can be cut out."""


class DataError(OccnetError):
    """A file of occnet (shape, pack, checkpoint, table) that is missing, corrupt or of another version."""


class DependencyError(OccnetError):
    """A required library or system package that is not installed."""


def one_line(text: str) -> str:
    """Text as one printable line: white space becomes blanks, control characters become escapes.

    Bytes of file names that are not UTF-8 stay as `os.fsdecode` decodes them.
    """
    line = " ".join(text.split())
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() or "\udc80" <= c <= "\udcff" else ascii(c)[1:-1] for c in line)
