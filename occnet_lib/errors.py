"""The one family of errors that a user may see; each is one line that names the way out."""

from __future__ import annotations

from pathlib import Path


class OccnetError(Exception):
    """A fault that is the input's or the environment's, not the program's.

    The command line prints it as one line without a traceback; in a batch it becomes the reason of
    a `failed` record.

    Args:
        message: what was expected and what came, in one sentence.
        path: the file concerned, if any; put in front of the message.
        hint: the way out, put behind the message.
    """

    def __init__(self, message: str, *, path: str | Path | None = None, hint: str = "") -> None:
        self.message, self.path, self.hint = message, path, hint
        where = f"{path}: " if path is not None else ""
        text = f"{where}{message}" + (f" ({hint})" if hint else "")
        super().__init__(one_line(text))


class ConfigError(OccnetError):
    """A key or value of the configuration that is not allowed."""


class MeshError(OccnetError):
    """A mesh that cannot be read or cannot be processed."""


class EmptyMeshError(MeshError):
    """A mesh file that is read without a fault and has no surface: no faces, no extent or no area."""


class ImageError(OccnetError):
    """A photo that cannot be read or from which no object can be cut out."""


class DataError(OccnetError):
    """A file of ours (shape, shard, checkpoint, table) that is missing, corrupt or of another version."""


class DependencyError(OccnetError):
    """A library or system package that the asked-for work needs and that is not there."""


def one_line(text: str) -> str:
    """Text as one line that every file and terminal takes: white space as blanks, control characters as escapes.

    Bytes of file names that are not UTF-8 stay as `os.fsdecode` has them.
    """
    line = " ".join(text.split())
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() or "\udc80" <= c <= "\udcff" else ascii(c)[1:-1] for c in line)
