"""The OpenGL renderer on every platform."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from occnet_lib.config import ViewsConfig
from occnet_lib.geometry.cameras import choy_cameras
from occnet_lib.rendering import raycast
from occnet_lib.types import Mesh

SCRIPT = """
import sys, hashlib, os
import numpy as np
from occnet_lib.config import ViewsConfig
from occnet_lib.geometry.cameras import choy_cameras
from occnet_lib.types import DEPTH_STEP, Mesh
from occnet_lib.rendering import pyrender_backend
size = 96
if not pyrender_backend.available(size):
    sys.exit(77)
rng = np.random.default_rng(0)
mesh = Mesh(rng.uniform(-.4, .4, (90, 3)), np.arange(90, dtype=np.int32).reshape(30, 3))
camera_mat, world_mat = choy_cameras(3, rng, ViewsConfig(image_size=size))
ids = np.stack(list(pyrender_backend.face_ids(mesh, camera_mat, world_mat, size)))
np.save(sys.argv[1], ids)
programs = pyrender_backend._renderer(size)[1]._renderer._program_cache._program_cache
assert len(programs) == 1, f"{len(programs)} programs compiled for {len(ids) + 1} images"
"""


@pytest.mark.parametrize("platform", ["egl", "osmesa"])
def test_platforms_give_exact_ids(platform: str, tmp_path: Path, project: Path) -> None:
    """EGL's multisampling must not mix the numbers of faces at edges."""
    environment = os.environ | {"PYOPENGL_PLATFORM": platform, "PYTHONPATH": str(project)}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "ids.npy")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode == 77:
        pytest.skip(f"{platform} does not work here")
    assert result.returncode == 0, result.stderr
    ids = np.load(tmp_path / "ids.npy")
    rng = np.random.default_rng(0)
    mesh = Mesh(rng.uniform(-0.4, 0.4, (90, 3)), np.arange(90, dtype=np.int32).reshape(30, 3))
    cameras = choy_cameras(3, rng, ViewsConfig(image_size=96))
    want = np.stack(list(raycast.face_ids(mesh, *cameras, 96)))
    assert (ids == want).mean() > 0.998
