"""Geometry of meshes, cameras and fields: arrays in, arrays out, no files."""
