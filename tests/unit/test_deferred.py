"""Modules that are imported at their first use instead of with the library that names them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from occnet_lib.deferred import deferring


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a package whose `parts` imports `plots`, as libraries do."""
    package = tmp_path / "slow_library"
    package.mkdir()
    (package / "__init__.py").write_text("from slow_library.parts import draw\n")
    (package / "parts.py").write_text("from slow_library.plots import draw\n")
    (package / "plots.py").write_text("SIZE = 3\n\n\ndef draw(x, y=0):\n    return x + y + SIZE\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "slow_library"
    for name in [name for name in sys.modules if name.startswith("slow_library")]:
        del sys.modules[name]


def test_the_module_is_imported_when_its_function_is_called(slow: str) -> None:
    with deferring(f"{slow}.plots", "draw"):
        library = import_module(slow)
    assert f"{slow}.plots" not in sys.modules
    assert library.draw(1, y=2) == 6
    assert sys.modules[f"{slow}.plots"].SIZE == 3
    assert import_module(f"{slow}.plots").draw is library.draw, "the function itself, from its first use on"


def named_as_its_module(slow: str) -> ModuleType:
    """The library, imported with its function deferred, after that has moved to a module of its own name."""
    package = Path(sys.path[0]) / slow
    (package / "parts.py").unlink()
    (package / "__init__.py").write_text("from slow_library.draw import draw\n")
    (package / "plots.py").rename(package / "draw.py")
    with deferring(f"{slow}.draw", "draw"):
        return import_module(slow)


def test_a_function_with_the_name_of_its_module_stays_in_the_package(slow: str) -> None:
    library = named_as_its_module(slow)
    assert [library.draw(1), library.draw(2)] == [4, 5]
    assert sys.modules[f"{slow}.draw"].SIZE == 3


@pytest.mark.parametrize("way", ["from {} import draw", "from {} import *", "import {}", "call"])
def test_an_import_by_the_user_changes_no_function_of_the_package(slow: str, way: str) -> None:
    library = named_as_its_module(slow)
    names: dict = {}
    exec(
        "names = slow_library.draw(1)" if way == "call" else way.format("slow_library.draw"),
        {slow: library},
        names,
    )
    assert library.draw(1) == 4, "a function still, not the module"
    module = sys.modules["slow_library.draw"]
    assert module.SIZE == 3
    assert library.draw is module.draw, "the function itself, from its first use on"
    assert "from" not in way or names["draw"] is module.draw


def test_any_other_name_imports_the_module_at_once(slow: str) -> None:
    (Path(sys.path[0]) / slow / "parts.py").write_text(
        "from slow_library.plots import SIZE, draw\nassert draw(1) == 4\n"
    )
    with deferring(f"{slow}.plots", "draw"):
        library = import_module(slow)
    assert library.parts.SIZE == 3
    assert sys.modules[f"{slow}.plots"].draw(1) == 4


def test_an_imported_module_stays_and_a_failure_leaves_nothing_behind(slow: str) -> None:
    plots = import_module(f"{slow}.plots")
    with deferring(f"{slow}.plots", "draw"):
        assert sys.modules[f"{slow}.plots"] is plots
    with pytest.raises(KeyError), deferring(f"{slow}.other", "draw"):
        raise KeyError
    assert f"{slow}.other" not in sys.modules


def test_networks_and_scenes_do_without_the_compiler_of_torch_and_without_plots() -> None:
    code = (
        "import sys\n"
        "from occnet_lib.geometry.open3d_import import import_open3d\n"
        "from occnet_lib.networks.torchvision_shim import torchvision\n"
        "import_open3d().core.Tensor([1.0])\n"
        "torchvision.models.resnet18(weights=None)\n"
        "assert not {'dash', 'plotly', 'torch._dynamo'} & sys.modules.keys()\n"
        "import torch._dynamo.utils\n"
        "from torchvision.ops.roi_align import is_compile_supported\n"
        "assert torch._dynamo.utils.is_compile_supported('cpu') == is_compile_supported('cpu')\n"
        "from importlib import import_module\n"
        "assert callable(import_open3d().visualization.draw_plotly)\n"
        "from open3d.visualization.draw_plotly import draw_plotly\n"
        "assert draw_plotly is import_open3d().visualization.draw_plotly\n"
        "assert draw_plotly.__code__.co_argcount > 2\n"
        "assert import_module('open3d.visualization.draw_plotly').go\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
