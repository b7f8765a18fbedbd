"""Names of shapes and categories that are safe in files, shells and workflow wildcards."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata


def file_name(name: str) -> str:
    """A name that is safe in files, shells and workflow wildcards; most names are returned as they are.

    Other names lose their accents, get `_` for everything but ASCII letters, digits, `.`, `_`, `+`
    and `-`, and end in twelve hexadecimal digits of a hash of the name, so that they stay different.
    """
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,119}", name):
        return name
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    cleaned = re.sub(r"[^A-Za-z0-9._+-]+", "_", ascii_only).lstrip(".-+")[:100]
    digest = hashlib.blake2b(os.fsencode(name), digest_size=6).hexdigest()
    return f"{cleaned or 'shape'}-{digest}"
