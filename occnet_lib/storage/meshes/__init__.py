"""Reading and writing of mesh files; every error is a `MeshError` of one line."""

from .frame import MeshFrame, Up, read_frame
from .read import digest, load_mesh
from .side_files import side_files
from .suffixes import SUFFIXES, known_suffix
from .write import WRITABLE, save_mesh
