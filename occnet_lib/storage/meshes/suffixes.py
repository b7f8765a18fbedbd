"""Mesh file formats, by suffix."""

from __future__ import annotations

# In order of preference if a shape has several files.
SUFFIXES = (
    *(".obj", ".glb", ".gltf", ".ply", ".off", ".stl", ".dae", ".3mf"),
    *(".step", ".stp", ".iges", ".igs"),
    *(".obj.gz", ".glb.gz", ".gltf.gz", ".ply.gz", ".off.gz", ".stl.gz", ".dae.gz"),
)

_BLENDER = "convert it to GLB with Blender"

IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".bmp", ".gif")

# Unsupported formats of 3D models, and files of other commands: name and way out.
UNREAD_FORMATS = {
    ".fbx": ("Autodesk FBX", _BLENDER),
    **dict.fromkeys((".usd", ".usda", ".usdc", ".usdz"), ("Universal Scene Description", _BLENDER)),
    ".blend": ("Blender", "export it as GLB with Blender"),
    ".3ds": ("Autodesk 3D Studio", _BLENDER),
    ".max": ("Autodesk 3ds Max", "export it as GLB or OBJ with 3ds Max"),
    **dict.fromkeys((".ma", ".mb"), ("Autodesk Maya", "export it as GLB or OBJ with Maya")),
    ".c4d": ("Cinema 4D", "export it as GLB or OBJ with Cinema 4D"),
    ".skp": ("SketchUp", "export it as COLLADA or OBJ with SketchUp"),
    ".abc": ("Alembic", _BLENDER),
    **dict.fromkeys((".x3d", ".wrl"), ("VRML or X3D", _BLENDER)),
    **dict.fromkeys((".lwo", ".x"), ("a model in a format of another program", _BLENDER)),
    **dict.fromkeys(
        (".vtk", ".vtp", ".vtu", ".msh"), ("a mesh of a simulation", "convert it to PLY with meshio")
    ),
    **dict.fromkeys((".amf", ".dxf", ".ctm", ".drc"), ("a mesh format", "convert it to PLY with MeshLab")),
    **dict.fromkeys((".pcd", ".las", ".laz", ".e57"), ("a point cloud", "reconstruct a surface first")),
    **dict.fromkeys(
        (".sldprt", ".sldasm", ".ipt", ".catpart", ".brep"), ("a CAD model", "export it as STEP")
    ),
    **dict.fromkeys(
        (".h5", ".hdf5"), ("processed shapes", "give the raw mesh; occnet analyse and export read packs")
    ),
    **dict.fromkeys(IMAGES, ("an image", "occnet reconstruct makes a mesh of a photo")),
    **dict.fromkeys(
        (".zip", ".zae", ".7z", ".rar", ".tar", ".gz", ".xz", ".bz2"), ("an archive", "unpack it")
    ),
}


def known_suffix(name: str) -> str:
    """The suffix of a mesh file's name in lower case, the longest match of `SUFFIXES`; empty without a match.

    Suffixes may have two dots (`.obj.gz`). A name that consists of a suffix (`.obj`) has none.
    """
    lower = name.lower()
    fitting = [suffix for suffix in SUFFIXES if lower.endswith(suffix) and len(lower) > len(suffix)]
    return max(fitting, key=len, default="")


def unread_format(name: str) -> tuple[str, str]:
    """Name and way out of a file in an unsupported format; empty if it is not a format of 3D models."""
    return UNREAD_FORMATS.get("." + name.lower().rpartition(".")[2], ("", ""))


def preference(name: str) -> int:
    """Rank of a mesh file among those of one shape, by its suffix; the lowest is used."""
    return SUFFIXES.index(known_suffix(name))


def stem(name: str) -> str:
    """The name without the suffix of a mesh file, otherwise without the part after its last dot."""
    if suffix := known_suffix(name):
        return name[: -len(suffix)]
    return name.rpartition(".")[0] or name
