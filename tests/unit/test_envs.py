"""The environments are made from one list."""

from __future__ import annotations

import importlib.util
import tomllib


def test_conda_definition_is_in_step_with_the_requirements(project):
    spec = importlib.util.spec_from_file_location("generate", project / "envs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (project / "envs" / "cpu.yaml").read_text() == module.conda(), "run `python envs/generate.py`"


def test_every_direct_dependency_is_pinned(project):
    pins = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (project / "envs" / "requirements.txt").read_text().splitlines()
    }
    direct = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    for requirement in [*direct["dependencies"], *direct["optional-dependencies"]["dev"]]:
        name = requirement.split(";")[0].split(">=")[0].strip().lower().replace("_", "-")
        if name != "open3d":  # open3d-cpu is the same library on the platform of the pins
            assert name in pins, f"{name} is not in envs/requirements.txt"
