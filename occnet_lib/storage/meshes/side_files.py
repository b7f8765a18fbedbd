"""The files that a mesh file refers to: materials, buffers, textures."""

from __future__ import annotations

import json
import os
import re
import struct
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from .packed import decompress

# Options of a texture statement in an MTL file with their maximum numbers of words; words after the first must be
# numbers (Wavefront, "Material library file").
_MAP_OPTIONS = {
    **dict.fromkeys(
        ("-blendu", "-blendv", "-boost", "-bm", "-cc", "-clamp", "-imfchan", "-texres", "-type"), 1
    ),
    "-mm": 2,
    **dict.fromkeys(("-o", "-s", "-t"), 3),
}
_LINE_JOIN = re.compile(rb"\\[ \t]*\r?\n")
_COMMENT = re.compile(rb"(?:^|[ \t])#")
_MTLLIB = re.compile(rb"(?:^|[\r\n])[ \t]*mtllib[ \t]+([^\r\n]+)")
_MAP = re.compile(rb"(?:^|[\r\n])[ \t]*(?:map_\w+|bump|disp|decal|refl|norm)[ \t]+([^\r\n]+)", re.IGNORECASE)
_PLY_TEXTURE = re.compile(rb"[\r\n]comment TextureFile[ \t]+([^\r\n]+)")
_DAE_IMAGE = re.compile(rb"<(?:\w+:)?(?:init_from|ref)(?:\s[^>]*)?>\s*([^<]+?)\s*</")
# Folders that are searched for textures, relative to that of the file; the last one is that of Google Scanned Objects.
TEXTURE_FOLDERS = (
    *("textures", "texture", "images", "tex", "maps", "materials", "source"),
    *("../textures", "../images", "../materials/textures"),
)
_PLY_HEADER = 65_536
_GLB_MAGIC, _GLB_JSON = b"glTF", 20  # start of the JSON part


def side_files(path: str | Path, data: bytes | None = None) -> list[Path]:
    """The existing files that a mesh file and its material libraries refer to.

    MTL files of an OBJ file and their textures; buffers and images of a glTF file; images of a COLLADA file; the texture
    of a PLY file. The result of reading depends on their content, too. A file that cannot be parsed has none.

    Args:
        path: a mesh file.
        data: its content, if it was read already.

    Returns:
        each file once, in the order of the references.

    Raises:
        OSError: the mesh file cannot be read.
    """
    path = Path(path)
    data = path.read_bytes() if data is None else data
    name = path.name.lower()
    if name.endswith(".gz"):
        name = name.removesuffix(".gz")
        try:
            data = decompress(data)
        except ValueError:
            return []
    names = _NAMES.get(os.path.splitext(name)[1])
    files = dict.fromkeys(filter(None, names(path.parent, data))) if names else {}
    return [file for file in files if file != path]


def find_side_file(folder: Path, name: str) -> Path | None:
    """The file that `name` in a file of `folder` refers to; None if it does not exist.

    Candidates are the name as it is, with slashes for backslashes, its last component beside the file, because names may
    be paths of another machine, and its last component in `TEXTURE_FOLDERS`. Case, Unicode normalisation and encoding
    (UTF-8, Windows) may differ.
    """
    name = name.strip().strip('"').replace("\0", "")
    slashed = name.replace("\\", "/")
    last = slashed.rpartition("/")[2]
    if not last:
        return None
    if os.path.isfile(folder / name):
        return folder / name
    attempts = [slashed, last, *(f"{base}/{last}" for base in TEXTURE_FOLDERS)]
    # Each once: searching a folder of many files for a missing name is slow.
    return next((path for name in dict.fromkeys(attempts) if (path := _in_any_case(folder, name))), None)


def find_uri(folder: Path, uri: str) -> Path | None:
    """The file of a relative or file URI, percent-decoded or, if that exists, as it is written."""
    if uri.startswith("data:") or re.match(r"(?!file:)[a-z][a-z0-9+.-]+://", uri, re.IGNORECASE):
        return None
    plain = re.sub(r"^file:/*(?=/|[A-Za-z]:)", "", uri)
    return find_side_file(folder, unquote(plain, errors="surrogateescape")) or find_side_file(folder, plain)


def split_map_options(statement: str) -> tuple[dict[str, list[str]], str]:
    """Options by name, and the file name, from the arguments of a texture statement in an MTL file.

    `-s 2 2 1 -clamp on my wood.png` becomes `{"-s": ["2", "2", "1"], "-clamp": ["on"]}` and `my wood.png`.
    """
    options: dict[str, list[str]] = {}
    rest = statement.strip()
    while match := re.match(r"(-[a-z]+)\s+", rest):
        option = match.group(1)
        if option not in _MAP_OPTIONS:
            break
        rest = rest[match.end() :]
        values: list[str] = []
        while len(values) < _MAP_OPTIONS[option]:
            word = re.match(r"(\S+)\s+(?=\S)", rest)  # the last word is the file name
            if word is None or (values and not _is_number(word.group(1))):
                break
            values.append(word.group(1))
            rest = rest[word.end() :]
        options[option] = values
    return options, rest


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _in_any_case(folder: Path, name: str) -> Path | None:
    """The file below a folder whose path equals `name` except for case and encoding."""
    for part in name.split("/"):
        if part in ("", "."):
            continue
        if os.path.exists(folder / part):
            folder = folder / part
            continue
        key = name_key(part)
        try:
            alike = sorted(entry for entry in os.listdir(folder) if name_key(entry) == key)
        except OSError:
            return None
        if not alike:
            return None
        folder = folder / alike[0]
    return folder if os.path.isfile(folder) else None


def name_key(name: str) -> str:
    """A key that is equal for names that differ only in case, Unicode normalisation or encoding."""
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes that are not UTF-8 are taken as a Windows code page
        with suppress(UnicodeEncodeError):  # file names have no unpaired surrogates, which JSON may contain
            name = os.fsencode(name).decode("cp1252", "replace")
    return unicodedata.normalize("NFC", name).casefold()


def _text(raw: bytes) -> str:
    return os.fsdecode(raw.strip())


def obj_libraries(folder: Path, data: bytes) -> dict[str, Path | None]:
    """MTL files of an OBJ file by name; None for missing files.

    A `mtllib` line has one name, possibly with spaces, or several names.
    """
    files: dict[str, Path | None] = {}
    for raw in dict.fromkeys(_MTLLIB.findall(joined_lines(data))):
        line = _text(raw)
        names = [line]
        if len(re.findall(r"\.mtl\b", line, re.IGNORECASE)) > 1 and find_side_file(folder, line) is None:
            names = re.findall(r'"[^"]+"|\S+', line)
        files |= {name: find_side_file(folder, name) for name in names}
    return files


def joined_lines(data: bytes) -> bytes:
    """The text of an OBJ or MTL file (`to_utf8`), each line that ends in a backslash joined with the next.

    Comments are not joined: they may end in a Windows path.
    """
    text = to_utf8(data)

    def joint(match: re.Match[bytes]) -> bytes:
        line = text[text.rfind(b"\n", 0, match.start()) + 1 : match.start()].rpartition(b"\r")[2]
        return match[0] if _COMMENT.search(line) else b" "

    return _LINE_JOIN.sub(joint, text)


def to_utf8(data: bytes) -> bytes:
    """Text without its byte-order mark; UTF-16 with such a mark becomes UTF-8."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace").encode("utf-8", "replace")
    return data.removeprefix(b"\xef\xbb\xbf")


def _of_obj(folder: Path, data: bytes) -> Iterator[Path | None]:
    for library in filter(None, obj_libraries(folder, data).values()):
        yield library
        with suppress(OSError):
            yield from _of_mtl(library.parent, library.read_bytes())


def _of_mtl(folder: Path, data: bytes) -> Iterator[Path | None]:
    for raw in dict.fromkeys(_MAP.findall(joined_lines(data))):
        yield find_side_file(folder, split_map_options(_text(raw))[1])


def _of_ply(folder: Path, data: bytes) -> Iterator[Path | None]:
    for raw in _PLY_TEXTURE.findall(data[:_PLY_HEADER].partition(b"end_header")[0]):
        yield find_side_file(folder, _text(raw))


def _of_dae(folder: Path, data: bytes) -> Iterator[Path | None]:
    for raw in _DAE_IMAGE.findall(data):
        yield find_uri(folder, unescape(_text(raw)))


def _of_gltf(folder: Path, data: bytes) -> Iterator[Path | None]:
    try:
        if data[:4] == _GLB_MAGIC:
            data = data[_GLB_JSON : _GLB_JSON + struct.unpack_from("<I", data, 12)[0]]
        tree = json.loads(data.decode("utf-8-sig", "surrogateescape"))
    except (ValueError, struct.error, RecursionError):
        return
    for uri in _uris(tree):
        yield find_uri(folder, uri)


def _uris(tree: Any) -> Iterator[str]:
    """Every `uri` of buffers and images, of either version of glTF and its extensions."""
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if isinstance(uri := node.get("uri"), str):
                yield uri
            stack += reversed(node.values())
        elif isinstance(node, list):
            stack += reversed(node)


_NAMES: dict[str, Callable[[Path, bytes], Iterator[Path | None]]] = {
    ".obj": _of_obj,
    ".ply": _of_ply,
    ".dae": _of_dae,
    ".gltf": _of_gltf,
    ".glb": _of_gltf,
}
