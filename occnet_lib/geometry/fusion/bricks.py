"""Samples of a grid in bricks of 8×8×8, of which only those next to a surface are stored.

A sample is addressed by one number, `brick << 9 | x & 7 << 6 | y & 7 << 3 | z & 7`; arrays over the stored samples are
flat in that order, so that memory grows with the surface and not with the cube.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

SIDE = 8  # samples along a brick's edge
VOLUME = SIDE**3

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class Bricks:
    """Which bricks of a grid are stored.

    Attributes:
        shape: samples of the grid along x, y, z.
        slot: (bx, by, bz) int32 number of every brick; -1: not stored.
        corner: (n, 3) int32 first sample of every stored brick.
    """

    shape: tuple[int, int, int]
    slot: NDArray[np.int32]
    corner: NDArray[np.int32]

    @property
    def samples(self) -> int:
        """Length of an array over the stored samples; at the grid's far ends some of them lie beyond it."""
        return len(self.corner) * VOLUME

    def links(self, label: NDArray[np.int32]) -> NDArray[np.int32]:
        """(n, 6) the bricks below and above along x, y, z; where none is stored, minus its label (bx, by, bz) > 0.

        Beyond the grid the label is 1.
        """
        table = np.where(self.slot >= 0, self.slot, -label)
        table = np.pad(table, 1, constant_values=-1)
        x, y, z = self.corner.T // SIDE + 1
        beside = [table[x + dx, y, z] for dx in (-1, 1)] + [table[x, y + dy, z] for dy in (-1, 1)]
        return np.stack([*beside, *(table[x, y, z + dz] for dz in (-1, 1))], axis=1).astype(np.int32)

    def positions(self, index: NDArray[np.integer]) -> NDArray[np.int64]:
        """(n, 3) grid indices of stored samples."""
        local = np.asarray(index, dtype=np.int64) & (VOLUME - 1)
        offset = np.stack([local >> 6, local >> 3 & 7, local & 7], axis=1)
        return self.corner[np.asarray(index, dtype=np.int64) >> 9] + offset

    def to_dense(self, values: NDArray[T], fill: float) -> NDArray[T]:
        """(shape) array of values (samples,), `fill` where no brick is stored."""
        blocks = tuple(s * SIDE for s in self.slot.shape)
        out = np.full(blocks, fill, dtype=values.dtype)
        view = out.reshape(*(n for s in self.slot.shape for n in (s, SIDE))).transpose(0, 2, 4, 1, 3, 5)
        x, y, z = self.corner.T // SIDE
        view[x, y, z] = values.reshape(-1, SIDE, SIDE, SIDE)
        return np.ascontiguousarray(out[: self.shape[0], : self.shape[1], : self.shape[2]])

    def from_dense(self, values: NDArray[T]) -> NDArray[T]:
        """(samples,) the values of an array (shape), its last ones repeated beyond the grid."""
        pad = [(0, s * SIDE - n) for s, n in zip(self.slot.shape, self.shape, strict=True)]
        padded = np.pad(values, pad, mode="edge")
        view = padded.reshape(*(n for s in self.slot.shape for n in (s, SIDE))).transpose(0, 2, 4, 1, 3, 5)
        x, y, z = self.corner.T // SIDE
        return view[x, y, z].reshape(-1)


@dataclass(frozen=True)
class SignedBand:
    """Signed distances next to a triangle soup.

    Attributes:
        bricks: which samples are stored.
        far_outside: (bx, by, bz) bool sign of the bricks that are not.
        distance: (bricks.samples,) float32 voxels, negative inside.
        nearest: (bricks.samples,) int32 triangle closest to each sample, -1 far away.
    """

    bricks: Bricks
    far_outside: NDArray[np.bool_]
    distance: NDArray[np.float32]
    nearest: NDArray[np.int32]


def brick_counts(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Bricks along x, y, z that hold `shape` samples."""
    x, y, z = (-(-n // SIDE) for n in shape)
    return x, y, z


def store(shape: tuple[int, int, int], chosen: NDArray[np.bool_]) -> Bricks:
    """Bricks of a grid; chosen: (bx, by, bz) which to store."""
    place = np.argwhere(chosen)
    place = place[np.argsort(_morton(place), kind="stable")]
    slot = np.full(chosen.shape, -1, dtype=np.int32)
    slot[tuple(place.T)] = np.arange(len(place), dtype=np.int32)
    return Bricks(shape, slot, (place * SIDE).astype(np.int32))


def _morton(place: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) keys by which neighbouring bricks are close in memory, and with them the faces of the surface."""
    key = np.zeros(len(place), dtype=np.int64)
    for bit in range(10):
        for axis in range(3):
            key |= (place[:, axis] >> bit & 1) << (3 * bit + axis)
    return key


@njit(cache=True, inline="always")
def address(slot, x, y, z):  # type: ignore[no-untyped-def]
    """Number of the sample (x, y, z) of the grid; -1 where its brick is not stored."""
    s = slot[x >> 3, y >> 3, z >> 3]
    if s < 0:
        return -1
    return (np.int64(s) << 9) | ((x & 7) << 6) | ((y & 7) << 3) | (z & 7)


@njit(cache=True, inline="always")
def neighbour(links, n, axis, forth):  # type: ignore[no-untyped-def]
    """The sample beside sample n along an axis; negative as in `Bricks.links` where its brick is not stored."""
    shift = 6 - 3 * axis
    place = (n >> shift) & 7
    if forth:
        if place < 7:
            return n + (1 << shift)
    elif place > 0:
        return n - (1 << shift)
    link = np.int64(links[n >> 9, 2 * axis + forth])
    if link < 0:
        return link
    local = (n & 511) - (7 << shift) if forth else (n & 511) + (7 << shift)
    return (link << 9) | local
