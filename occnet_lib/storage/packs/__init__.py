"""Pack files: one HDF5 file per shard, which training and all later stages read."""

from __future__ import annotations

from .reader import Shard, verified_shapes, verify, verify_structure
from .writer import PackedShape, write_shard
