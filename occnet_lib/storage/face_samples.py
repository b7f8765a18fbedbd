"""Files of meshes for the graph network of face normals: features, and the normals of the ground truth."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import DataError

from .atomic import replacing


@dataclass(frozen=True)
class FaceSample:
    """A mesh of F faces.

    Attributes:
        faces: (F, C) float16 features of faces; edges: (F, 3, E) float16 of edges; neighbours: (F, 3) int32
            (`networks.face_normals.FaceGraph`).
        target: (F, 3) float16, normals of the ground truth.
        weight: (F,) float16, weight of a face in the loss; 0 where it has no target.
    """

    faces: NDArray[np.float16]
    edges: NDArray[np.float16]
    neighbours: NDArray[np.int32]
    target: NDArray[np.float16]
    weight: NDArray[np.float16]


_NAMES = tuple(field.name for field in fields(FaceSample))


def write_face_sample(path: Path, sample: FaceSample, digest: str) -> None:
    """Write a sample, atomically, with the digest of what it was made of."""
    arrays = {name: getattr(sample, name) for name in _NAMES}
    with replacing(path) as temporary:
        np.savez(temporary, digest=np.array(digest), **arrays)


def face_sample_digest(path: Path) -> str:
    """The digest that a file was written with; empty where there is no file or it is damaged."""
    try:
        with np.load(path) as content:
            return str(content["digest"])
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return ""


def read_face_sample(path: Path) -> FaceSample:
    """The sample of a file.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        with np.load(path) as content:
            return FaceSample(*(content[name] for name in _NAMES))
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError("cannot be read as a mesh with its normals", path=path, hint="remove it") from error
