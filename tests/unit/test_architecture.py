"""The house's rules, held by reading the code: who imports whom, no work at import, no cycles."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "occnet_lib"
MODULES = sorted(PACKAGE.rglob("*.py"))

# What a part may import of ours, beside itself (docs/architecture.md, "Levels").
BASE = {"config", "deferred", "errors", "seeds", "types", "versions"}
ALLOWED = {
    "config": {"errors"},
    "deferred": set(),
    "errors": set(),
    "seeds": set(),
    "types": set(),
    "versions": set(),
    "logs": set(),
    "progress": {"errors", "storage"},
    "geometry": BASE,
    "storage": BASE | {"geometry"},
    "interop": BASE | {"storage"},
    "demo": BASE | {"geometry", "storage"},
    "rendering": BASE | {"geometry"},
    "stages": BASE | {"geometry", "storage", "interop", "rendering"},
    "networks": BASE | {"storage"},
    "training": BASE | {"logs", "networks", "storage"},
    "reconstruction": BASE | {"geometry", "storage", "networks"},
    "captures": BASE | {"geometry", "storage", "networks", "training", "reconstruction"},
    "evaluation": BASE | {"geometry", "storage"},
    "analysis": BASE | {"geometry", "storage", "evaluation"},
    "report": BASE | {"geometry", "storage", "rendering"},
    "app": BASE | {"storage", "reconstruction"},
}
EDGE = {"api", "cli", "__main__", "__init__"}
HEAVY = {
    *("torch", "torchvision", "lightning", "torchmetrics", "open3d", "trimesh", "pyrender", "OpenGL"),
    *("pymeshfix", "sklearn", "skimage", "matplotlib", "pandas", "snakemake", "tensorboard"),
    *("DracoPy", "meshopt", "gradio", "fastapi", "uvicorn"),
}
BANNED = {
    "geometry": {"torch", "lightning", "snakemake", "h5py"},
    "storage": {"torch", "lightning", "snakemake", "pyrender"},
    "interop": {"torch", "lightning", "snakemake", "pyrender"},
    "rendering": {"torch", "lightning", "snakemake"},
    "stages": {"torch", "lightning", "snakemake"},
    "networks": {"open3d", "trimesh", "pyrender", "snakemake", "skimage", "sklearn"},
    "training": {"open3d", "trimesh", "pyrender", "snakemake", "skimage", "sklearn"},
    "captures": {"open3d", "trimesh", "pyrender", "snakemake", "skimage", "sklearn", "lightning"},
    "report": {"torch", "lightning", "snakemake"},
}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def is_module(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return name.startswith("occnet_lib") and (path.with_suffix(".py").exists() or path.is_dir())


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def nodes_of(path: Path) -> list[ast.Import | ast.ImportFrom | ast.Attribute]:
    """Of a whole file, what the rules are about."""
    return [
        node
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Attribute)
    ]


@cache
def imports(path: Path, top_only: bool = False) -> list[str]:
    """Absolute names of the modules that a file imports."""
    return list(imported_by(tree_of(path).body if top_only else nodes_of(path), path))


def imported_by(nodes: Sequence[ast.AST], path: Path) -> Iterator[str]:
    package = ("occnet_lib", *path.relative_to(PACKAGE).with_suffix("").parts)[:-1]
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module or ""]))
            inside = [f"{module}.{alias.name}" for alias in node.names if is_module(f"{module}.{alias.name}")]
            yield from inside
            if len(inside) < len(node.names):
                yield module


def ours(path: Path) -> set[str]:
    names = (name.split(".") for name in imports(path) if name.startswith("occnet_lib."))
    return {name[1] for name in names} - {part_of(path), "__version__"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_lower_levels_do_not_import_higher_ones(path):
    part = part_of(path)
    if part not in EDGE:
        assert ours(path) <= ALLOWED[part], f"{part} may import only {sorted(ALLOWED[part])}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_libraries_are_imported_where_they_belong(path):
    part = part_of(path)
    anywhere = {name.split(".")[0] for name in imports(path)}
    assert not anywhere & BANNED.get(part, set())
    at_import = {name.split(".")[0] for name in imports(path, top_only=True)} & HEAVY
    if part in ("networks", "training", "reconstruction", "captures"):
        at_import -= {"torch"} if part == "reconstruction" else {"torch", "torchvision", "lightning"}
    if path == PACKAGE / "app/page.py":  # imported where the page is built
        at_import -= {"gradio"}
    assert not at_import, "import heavy libraries inside the functions that use them"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_runs_at_import(path):
    allowed = (
        *(ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign, ast.If),
        ast.AsyncFunctionDef,
    )
    for node in tree_of(path).body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        assert docstring or isinstance(node, allowed), f"line {node.lineno}: {ast.unparse(node)[:80]}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_global_random_numbers_and_short_modules(path):
    allowed = {"default_rng", "Generator", "PCG64", "Philox", "SeedSequence", "BitGenerator"}
    for node in nodes_of(path):
        of_random = isinstance(node, ast.Attribute) and getattr(node.value, "attr", "") == "random"
        if of_random and ast.unparse(node.value) in ("np.random", "numpy.random"):
            assert node.attr in allowed, f"line {node.lineno}: np.random.{node.attr}"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300, "is there a second room inside?"


def test_no_import_cycles():
    graph = {}
    names = {
        ".".join(("occnet_lib", *path.relative_to(PACKAGE).with_suffix("").parts)): path for path in MODULES
    }
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}
    for name, path in names.items():
        graph[name] = {other for other in imports(path, top_only=True) if other in names and other != name}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " → ".join([*trail[trail.index(name) :], name])
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_a_stage_process_starts_without_heavy_libraries():
    code = (
        "import sys, occnet_lib.cli as cli, occnet_lib.stages.process_shape, occnet_lib.stages.workers\n"
        "import occnet_lib.app.server\n"
        "cli.parser()\n"
        f"print(sorted(set({sorted(HEAVY)!r}) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    assert done.stdout.strip() == "[]"


# Tests of no single module: what they are about is in their first line.
OF_NO_MODULE = {
    "architecture",
    "camera_errors",
    "cameras_benchmark",
    "data_scaling",
    "fields",
    "resolutions",
    "shard_efficiency",
    "side_by_side",
    "docs",
    "envs",
    "language",
    "cli/frames",
    "storage/meshes/fuzz",
    "training/libraries",
}


def test_tests_lie_as_what_they_test():
    """`tests/unit/<package>/test_<name>.py` is of the module or package `<name>`, or of the package as a whole."""
    folder = Path(__file__).parent
    lost = set()
    for path in folder.rglob("test_*.py"):
        place = path.relative_to(folder).parent
        name = (place / path.stem.removeprefix("test_")).as_posix()
        module = PACKAGE / name
        there = module.with_suffix(".py").exists() or (module / "__init__.py").exists()
        if not there and module.name != place.name:
            lost.add(name)
    assert lost == OF_NO_MODULE


def test_rules_that_evaluate_fields_run_again_when_their_options_change():
    """Fields depend on the threshold and on `reconstruct.fit`, which not every rule had among its parameters."""
    rules = [
        rule
        for path in sorted((PACKAGE.parent / "workflow" / "rules").glob("*.smk"))
        for rule in path.read_text().split("\nrule ")[1:]
        if "threshold=CONFIG.reconstruct.threshold" in rule
    ]
    assert len(rules) > 4
    for rule in rules:
        assert "**field_options()" in rule or "fit=CONFIG.reconstruct.fit" in rule, rule.partition(":")[0]
