"""Both renderers."""

from __future__ import annotations

import pytest

from occnet_lib.rendering import pyrender_backend


@pytest.fixture(params=["pyrender", "raycast"])
def renderer(request: pytest.FixtureRequest) -> str:
    if request.param == "pyrender" and not pyrender_backend.available(128):
        pytest.skip("no OpenGL: neither EGL nor OSMesa works")
    return str(request.param)
