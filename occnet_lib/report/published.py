"""Published single-view results on ShapeNet, for reference.

Rows: category, synset, then IoU, Chamfer-L1 (unit: a tenth of the longest edge) and normal consistency of
Mescheder et al. 2019 (Table 1), and of the authors' later released weights (read off the table in their
repository, autonomousvision/occupancy_networks).
"""

from __future__ import annotations

ROWS: tuple[tuple[str, str, tuple[float, float, float], tuple[float, float, float]], ...] = (
    ("airplane", "02691156", (0.571, 0.147, 0.840), (0.591, 0.134, 0.845)),
    ("bench", "02828884", (0.485, 0.155, 0.813), (0.492, 0.150, 0.814)),
    ("cabinet", "02933112", (0.733, 0.167, 0.879), (0.750, 0.153, 0.884)),
    ("car", "02958343", (0.737, 0.159, 0.852), (0.746, 0.149, 0.852)),
    ("chair", "03001627", (0.501, 0.228, 0.823), (0.530, 0.206, 0.829)),
    ("display", "03211117", (0.471, 0.278, 0.854), (0.518, 0.258, 0.857)),
    ("lamp", "03636649", (0.371, 0.479, 0.731), (0.400, 0.368, 0.751)),
    ("loudspeaker", "03691459", (0.647, 0.300, 0.832), (0.677, 0.266, 0.842)),
    ("rifle", "04090263", (0.474, 0.141, 0.766), (0.480, 0.143, 0.783)),
    ("sofa", "04256520", (0.680, 0.194, 0.863), (0.693, 0.181, 0.867)),
    ("table", "04379243", (0.506, 0.189, 0.858), (0.542, 0.182, 0.860)),
    ("telephone", "04401088", (0.720, 0.140, 0.935), (0.746, 0.127, 0.939)),
    ("vessel", "04530566", (0.530, 0.218, 0.794), (0.547, 0.201, 0.797)),
)
MEAN = ((0.571, 0.215, 0.834), (0.593, 0.194, 0.840))
NAMES = {synset: name for name, synset, _, _ in ROWS}
