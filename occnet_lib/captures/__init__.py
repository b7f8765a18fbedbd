"""Captures: photos of objects with their cameras, to pack shards without 3D shapes (docs/how-to/adapt-to-photos.md)."""
