"""The face visible in each pixel, by OpenGL (pyrender with EGL or OSMesa).

A process that has rendered must not be forked: the child hangs. Start workers by spawn.
"""

from __future__ import annotations

import ctypes.util
import functools
import glob
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import DependencyError
from occnet_lib.types import Mesh

logger = logging.getLogger(__name__)

_SHADERS = Path(__file__).with_name("shaders")
_LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}
_HINT = "apt install libosmesa6, or set views.renderer=raycast"
# From the camera's y down, z forward to OpenGL's y up, z backward.
_TO_OPENGL = np.diag([1.0, -1.0, -1.0])


def face_ids(
    mesh: Mesh, camera_mat: NDArray[np.float64], world_mat: NDArray[np.float64], size: int
) -> Iterator[NDArray[np.int32]]:
    """The face visible at the centre of each pixel, camera by camera.

    Args:
        mesh: view frame.
        camera_mat: (V, 3, 3) intrinsics in pixels of an image of `size` pixels.
        world_mat: (V, 3, 4) extrinsics, view frame to camera.
        size: pixels along the image's edge.

    Yields:
        (size, size) int32 face indices; -1 for the background.

    Raises:
        DependencyError: no OpenGL platform works.
    """
    pyrender, renderer = _renderer(size)
    # pyrender culls back faces in this mode: every face is drawn in both windings.
    faces = np.concatenate([mesh.faces, mesh.faces[:, ::-1]]).astype(np.uint32)
    primitive = pyrender.Primitive(positions=mesh.vertices.astype(np.float32), indices=faces, mode=4)
    scene = pyrender.Scene()
    body = scene.add(pyrender.Mesh([primitive]))
    near, far = _depth_range(mesh.vertices, world_mat)
    try:
        for intrinsic, extrinsic in zip(camera_mat, world_mat, strict=True):
            camera = pyrender.IntrinsicsCamera(
                intrinsic[0, 0], intrinsic[1, 1], intrinsic[0, 2], intrinsic[1, 2], near, far
            )
            node = scene.add(camera, pose=_pose(extrinsic))
            image, _ = renderer.render(scene, pyrender.RenderFlags.SEG, {body: 0})
            scene.remove_node(node)
            numbers = image.astype(np.int32) @ np.array([1, 1 << 8, 1 << 16], np.int32)
            yield np.where(numbers > 0, (numbers - 1) % len(mesh.faces), -1).astype(np.int32)
    finally:
        scene.clear()


@functools.lru_cache
def available(size: int) -> bool:
    """Whether pyrender renders images of `size` pixels in this process, tested with a triangle."""
    corners = np.array([[-1.0, -1.0, 2.0], [1.0, -1.0, 2.0], [0.0, 2.0, 2.0]])
    triangle = Mesh(corners, np.array([[0, 1, 2]], np.int32))
    camera = np.array([[[size, 0.0, size / 2], [0.0, size, size / 2], [0.0, 0.0, 1.0]]])
    try:
        ids = next(face_ids(triangle, camera, np.eye(3, 4)[None], size))
    except Exception as error:  # OpenGL fails in many ways
        logger.info("pyrender cannot be used: %s", error)
        return False
    return bool(ids[size // 2, size // 2] == 0 and ids[-1, 0] == -1)


def _pose(extrinsic: NDArray[np.float64]) -> NDArray[np.float64]:
    """(4, 4) OpenGL camera to world, of a world_mat (3, 4)."""
    rotation, translation = extrinsic[:, :3], extrinsic[:, 3]
    pose = np.eye(4)
    pose[:3, :3] = rotation.T @ _TO_OPENGL
    pose[:3, 3] = -rotation.T @ translation
    return pose


def _depth_range(vertices: NDArray[np.float64], world_mat: NDArray[np.float64]) -> tuple[float, float]:
    """Near and far plane just around all that some camera sees, for a precise depth buffer."""
    depths = vertices @ world_mat[:, 2, :3].T + world_mat[:, 2, 3]
    far = max(float(depths.max()), 1e-3) * 1.01
    return max(float(depths.min()) * 0.99, 1e-3 * far), far


@functools.lru_cache(maxsize=1)
def _renderer(size: int) -> tuple[Any, Any]:
    """pyrender and a renderer of images of `size` pixels; the context is reused for the next shape.

    Raises:
        DependencyError: no OpenGL platform works.
    """
    failures = []
    for platform in _platforms():
        os.environ["PYOPENGL_PLATFORM"] = platform
        try:
            return _create(size)
        except Exception as error:  # from missing libraries to failed assertions
            failures.append(f"{platform}: {type(error).__name__} {error}")
            # PyOpenGL keeps the platform of its first import.
            for name in [name for name in sys.modules if name.partition(".")[0] in ("OpenGL", "pyrender")]:
                del sys.modules[name]
            del os.environ["PYOPENGL_PLATFORM"]
    raise DependencyError(f"pyrender cannot render: {'; '.join(failures)}", hint=_HINT)


def _platforms() -> list[str]:
    """Platforms to try. Without a GPU, OSMesa is first: it takes half the time of Mesa's EGL."""
    chosen = os.environ.get("PYOPENGL_PLATFORM", "")
    if chosen in _LIBRARIES:
        return [chosen]
    installed = [name for name, library in _LIBRARIES.items() if ctypes.util.find_library(library)]
    gpu = glob.glob("/dev/nvidia[0-9]*") or glob.glob("/dev/dri/renderD*")
    installed = installed or list(_LIBRARIES)  # find_library does not search everywhere
    return installed if gpu else installed[::-1]


def _create(size: int) -> tuple[Any, Any]:
    logging.getLogger("OpenGL").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations within PyOpenGL and pyrender
        import pyrender

        renderer = pyrender.OffscreenRenderer(size, size)
        # pyrender has no public way to use other shaders.
        renderer._renderer._program_cache = _programs()
    return pyrender, renderer


def _programs() -> Any:
    """A cache of compiled shaders for one context.

    The keys of pyrender's own hold the object that stands for the current context, which is a new one in each call: it
    compiles, and never frees, a program per image.
    """
    from pyrender.shader_program import ShaderProgramCache

    class Programs(ShaderProgramCache):
        def get_program(
            self, vertex_shader: str, fragment_shader: str, geometry_shader: Any = None, defines: Any = None
        ) -> Any:
            key = (vertex_shader, fragment_shader, geometry_shader, *sorted((defines or {}).items()))
            if key not in compiled:
                compiled[key] = super().get_program(vertex_shader, fragment_shader, geometry_shader, defines)
            return compiled[key]

    compiled: dict[tuple[Any, ...], Any] = {}
    return Programs(str(_SHADERS))
