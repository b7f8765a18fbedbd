"""Reading of glTF files: version 2.0 with the extensions of `reader.READ`, version 1.0 through Assimp.

Own code: trimesh and Assimp ignore sparse and normalised accessors, skins, instances and texture transforms without an
error; pygltflib does not decode accessors, and its data classes take 3 CPU s to parse 2,000 primitives, which are read
completely in 0.2 CPU s here. Draco and meshopt are decompressed by
libraries.
"""

from .reader import read_gltf
