"""The documentation agrees with the code: commands parse, names exist, every public name has its entry."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import yaml

import occnet_lib as occnet
from occnet_lib.cli import parser
from occnet_lib.storage.tables import read_rows

PROJECT = Path(__file__).parents[2]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
NAMES = [str(path.relative_to(PROJECT)) for path in PAGES]


def blocks(path: Path, *languages: str) -> list[str]:
    """Code blocks of a page in these languages; the empty one is not a language."""
    parts = re.findall(r"^ *```(\w*)\n(.*?)^ *```", path.read_text(encoding="utf-8"), re.S | re.M)
    return [text for language, text in parts if language in languages]


def occnet_commands(path: Path) -> list[str]:
    lines = "\n".join(blocks(path, "", "bash")).splitlines()
    return [line.strip() for line in lines if line.strip().startswith("occnet ")]


@pytest.fixture(scope="module")
def commands():
    return parser()


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_every_occnet_command_is_valid(path, commands):
    for line in occnet_commands(path):
        words = shlex.split(line, comments=True)
        try:
            commands.parse_args(words[1:])
        except SystemExit as end:
            if end.code:
                pytest.fail(f"{path.name}: {line}")


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_every_snippet_uses_names_that_exist(path):
    for snippet in blocks(path, "python"):
        for node in ast.walk(ast.parse(snippet)):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "occnet":
                assert hasattr(occnet, node.attr), f"{path.name}: occnet.{node.attr}"


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_every_settings_block_is_valid(path):
    """YAML blocks with sections of the configuration, and the settings that Python snippets pass."""
    for text in blocks(path, "yaml"):
        values = yaml.safe_load(text)
        occnet.load_config(**values if set(values) <= set(occnet.Config.model_fields) else {"models": values})
    for snippet in blocks(path, "python"):
        for node in ast.walk(ast.parse(snippet)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "occnet.load_config":
                occnet.load_config(**{word.arg: ast.literal_eval(word.value) for word in node.keywords})


def test_pages_with_commands_are_seen():
    assert sum(len(occnet_commands(path)) for path in PAGES) > 20


def test_every_public_name_is_on_the_python_page():
    text = (PROJECT / "docs/reference/python.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^      heading: occnet\.(\w+)$", text, re.M)) == sorted(
        {*occnet.__all__} - {"Config"}
    )


def test_the_command_line_page_has_every_command_and_argument():
    spec = importlib.util.spec_from_file_location("hooks", PROJECT / "docs/hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    page = (PROJECT / "docs/reference/command-line.md").read_text(encoding="utf-8")
    text = hooks.on_page_markdown(page)
    assert hooks.MARKER not in text
    from occnet_lib.cli.main import VERBS

    assert re.findall(r"^## occnet (\w+)$", text, re.M) == list(VERBS)
    assert "| `--simplify FACES\\|ERROR` |" in text
    assert "| `-o OUT`, `--out OUT` | closed mesh to write (OBJ, OFF, PLY, STL, GLB) (required) |" in text
    assert hooks.on_page_markdown("# Another page") == "# Another page"


def test_the_table_of_data_scaling_is_what_was_measured():
    page = (PROJECT / "docs/explanation/data.md").read_text(encoding="utf-8")
    lines = {line.split("|")[1].strip().replace(",", ""): line for line in page.splitlines() if "|" in line}
    rows = read_rows(PROJECT / "docs/images/data_scaling.csv")
    assert len(rows) == 35
    for row in rows:
        assert f"| {float(row['iou']):.3f} |" in lines[row["shapes"]]
        if row["model"] in ("baseline_retrieval-network", "baseline_class_mean"):
            less, low, high = (f"{float(row[f'less_network{end}']):+.3f}" for end in ("", "_low", "_high"))
            assert f"| {less} [{low}, {high}] |" in lines[row["shapes"]]


def test_every_image_of_the_explanations_is_made_by_the_script():
    used = {
        name
        for path in (PROJECT / "docs/explanation").glob("*.md")
        for name in re.findall(r"\.\./images/(\w+)\.png", path.read_text(encoding="utf-8"))
    }
    assert used == {path.stem for path in (PROJECT / "docs/images").glob("*.png")}
    script = ast.parse((PROJECT / "docs/figures.py").read_text(encoding="utf-8"))
    assert used <= {node.name for node in script.body if isinstance(node, ast.FunctionDef)}
