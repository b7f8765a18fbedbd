"""occnet: single-view 3D reconstruction with occupancy networks, from raw meshes to a report."""

__version__ = "0.1.0"
