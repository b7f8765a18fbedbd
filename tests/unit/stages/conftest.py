"""What the tests of the stages share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from occnet_lib.stages import points, views, watertight
from occnet_lib.storage.meshes import save_mesh
from tests.support.storage_shapes import OCTAHEDRON


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with two good shapes, an empty file and one without faces."""
    folder = tmp_path / "raw"
    save_mesh(OCTAHEDRON, folder / "solid" / "a.obj")
    save_mesh(type(OCTAHEDRON)(OCTAHEDRON.vertices * [1, 2, 3], OCTAHEDRON.faces), folder / "solid" / "b.obj")
    (folder / "solid" / "empty.obj").write_text("")
    (folder / "solid" / "lines.obj").write_text("v 0 0 0\nv 1 0 0\nl 1 2\n")
    return folder


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stages that ran, in order."""
    ran: list[str] = []
    for module in (watertight, points, views):
        name, work = module.__name__.rpartition(".")[2], module.run

        def noted(*args: Any, name: str = name, work: Any = work, **more: Any) -> Any:
            ran.append(name)
            return work(*args, **more)

        monkeypatch.setattr(module, "run", noted)
    return ran
