"""Random generators that depend on (seed, stage, shape), never on order or machine."""

from __future__ import annotations

import hashlib

import numpy as np


def entropy(seed: int, *words: str) -> int:
    """A 128-bit integer from a seed and words, the same on every machine and Python."""
    text = "\0".join((str(int(seed)), *words)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")


def rng(seed: int, stage: str, shape: str = "") -> np.random.Generator:
    """The generator of one stage of one shape.

    Args:
        seed: `seed` of the configuration.
        stage: the stage ("watertight", "points", "views", …).
        shape: "<category>/<id>"; empty for work that concerns no single shape.
    """
    return np.random.Generator(np.random.PCG64(entropy(seed, stage, shape)))


def unit_hash(seed: int, *words: str) -> float:
    """A number in [0, 1) that depends only on the seed and the words."""
    return entropy(seed, *words) / 2.0**128
