"""The environments are made from one list."""

from __future__ import annotations

import importlib.util
import re
import tomllib

import pytest
import yaml

from occnet_lib.storage.shape_file import read_status


@pytest.fixture
def generate(project):
    spec = importlib.util.spec_from_file_location("generate", project / "envs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_setup_compiles_kernels_of_every_stage(project, tmp_path):
    """The stages themselves compile their kernels; a stage that fails would compile none, without an error."""
    spec = importlib.util.spec_from_file_location("kernels", project / "envs" / "compile_kernels.py")
    kernels = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kernels)
    kernels.preprocess_and_measure(tmp_path)
    assert list(read_status(tmp_path / "shape.h5").stages) == ["watertight", "points", "views"]
    kernels.train_step()
    assert "envs/compile_kernels.py" in (project / "envs" / "setup.sh").read_text().replace("$here", "envs")


@pytest.mark.parametrize("name", ["cpu.yaml", "cuda.yaml", "Dockerfile"])
def test_generated_files_are_in_step_with_the_lists(project, generate, name):
    assert (project / "envs" / name).read_text() == generate.files()[name], "run `python envs/generate.py`"


@pytest.mark.parametrize("build", ["cpu", "cuda"])
def test_a_conda_environment_holds_the_same_versions_as_the_venv(project, generate, build):
    """Read back as conda reads it: an environment is the list of pins, whatever build of torch it names."""
    python, _, packages = yaml.safe_load(generate.conda(build))["dependencies"]
    assert python == "python=3.11"
    pins = [pin.removesuffix("+cpu") for pin in packages["pip"] if not pin.startswith("--")]
    lines = (project / "envs" / "requirements.txt").read_text().splitlines()
    assert pins == [line for line in lines if line and not line.startswith("#")]
    assert ("+cpu" in str(packages)) == (build == "cpu")


def test_every_environment_that_a_rule_names_is_there(project):
    named = {
        name
        for path in (project / "workflow").rglob("*.smk")
        for name in re.findall(r"envs/[a-z]+\.yaml", path.read_text())
    }
    assert named == {"envs/cpu.yaml", "envs/cuda.yaml"}
    assert all((project / name).is_file() for name in named)


def test_every_direct_dependency_is_pinned(project):
    pins, tools, app = (
        {
            line.split("==")[0].lower().replace("_", "-")
            for line in path.read_text().splitlines()
            if "==" in line
        }
        for path in (project / "envs" / f"{name}.txt" for name in ("requirements", "tools", "app"))
    )
    assert not pins & tools | pins & app | app & tools, "pinned twice"
    direct = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    extras = direct["optional-dependencies"]
    groups = {"dependencies": direct["dependencies"]} | extras
    for group, requirement in [(group, pin) for group, listed in groups.items() for pin in listed]:
        name = requirement.split(";")[0].split(">=")[0].split("[")[0].strip().lower().replace("_", "-")
        if name != "open3d":  # open3d-cpu is the same library on the platform of the pins
            known = {"docs": tools, "release": tools, "app": app}.get(group, pins)
            assert name in known, f"{name} is not pinned in envs/"
