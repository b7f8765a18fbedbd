"""The glossary of CONTRIBUTING.md, enforced: names and texts use the field's terms.

A word list, so that terms which only this project used do not return. What a name means is for review.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PYTHON = [
    path
    for folder in ("occnet_lib", "tests", "benchmarks", "docs", "envs")
    for path in sorted((PROJECT / folder).rglob("*.py"))
    if path != Path(__file__)
]
TEXTS = [
    *(PROJECT / name for name in ("README.md", "config.yaml", "Makefile")),
    *sorted((PROJECT / "docs").rglob("*.md")),
    *(path for path in sorted((PROJECT / "workflow").rglob("*")) if path.suffix in {".smk", ".yaml", ".rst"}),
]

TEXT_TOKENS = {
    number for number, name in tokenize.tok_name.items() if name in ("COMMENT", "STRING", "FSTRING_MIDDLE")
}
# Names of libraries.
ALLOWED_NAMES = {"FileNotFoundError", "ModuleNotFoundError", "PackageNotFoundError", "shares_memory"}

# Parts of names (between underscores or capitals), and what to use in their place.
NAMES = {
    "found": "the result's own name",
    "share": "fraction",
    "shares": "fractions",
    "told": "given",
    "asked": "queried, requested",
    "slope": "gradient",
    "slopes": "gradients",
    "treat": "process",
    "treated": "processed",
    "mend": "repair",
    "mended": "repaired",
    "seal": "checksum",
    "sealed": "with checksum",
    "twin": "reference",
    "anew": "again",
    "rough": "approximate, low precision",
    "picture": "image",
    "pictures": "images",
    "verdict": "headline",
    "rival": "competitor",
    "rivals": "competitors",
    "keeper": "callback",
    "tidy": "the operation's name",
}
# Patterns in comments, docstrings, messages and pages.
PHRASES = {
    r"\btold\b|\btells?\b": "given; returns, reports, logs",
    r"\basked\b": "queried, evaluated, requested",
    r"\bslopes?\b": "gradient",
    r"\btreat(s|ed|ing)?\b": "process",
    r"\bmend(s|ed|ing)?\b": "repair",
    r"\b(un)?seal(s|ed)?\b": "checksum",
    r"\btwins?\b": "reference implementation",
    r"\blest\b|\banew\b|\bfor want of\b|\bin turns\b|\bone behind the other\b": "so that … not, again, out of, alternately",
    r"\bby heart\b": "memorised",
    r"\bpictures?\b": "image",
    r"(?<!ground )(?<!ground-)\btruth\b": "ground truth",
    r"(?<!there )\b(is|are) no (?!longer\b|more\b|less\b|larger\b)": "is not a valid …, has no …",
    r"\bshare of\b": "fraction of",
    r"(?<![\w.\])/*%-])\.\d\d": "a leading zero",
}


@cache
def parts(name: str) -> list[str]:
    """The words of an identifier, lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def matches(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, phrase and what to write in its place. A sentence may be broken over lines."""
    text = re.sub(r"\n[ \t]*(?:# )?", "\n", text)
    for pattern, instead in PHRASES.items():
        for match in re.finditer(pattern.replace(" ", r"[ \n]"), text, re.I):
            yield text.count("\n", 0, match.start()) + 1, match[0], instead


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_names_and_texts_of_code(path: Path) -> None:
    wrong = []
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        line = token.start[0]
        if token.type == tokenize.NAME and token.string not in ALLOWED_NAMES:
            wrong += [(line, token.string, NAMES[w]) for w in parts(token.string) if w in NAMES]
        if token.type in TEXT_TOKENS:  # with their first lines
            wrong += [(line + k - 1, phrase, instead) for k, phrase, instead in matches(token.string)]
    assert not wrong


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_words_of_pages(path: Path) -> None:
    assert list(matches(path.read_text())) == []


def test_the_glossary_names_what_is_rejected() -> None:
    glossary = (PROJECT / "CONTRIBUTING.md").read_text().partition("## Language")[2]
    words = set(re.findall(r"[a-z]+", glossary))
    assert [
        name for name in NAMES if not {name, name.removesuffix("s"), name.removesuffix("ed")} & words
    ] == []


def test_names_and_phrases_are_matched() -> None:
    """The patterns themselves."""
    assert parts("_theRoughSlope_of2") == ["the", "rough", "slope", "of"]
    text = "The ground truth, a\n    # share of .50; there is no file.\n    It is no\n    valid truth"
    assert [(line, phrase) for line, phrase, _ in matches(text)] == [
        (4, "truth"),
        (3, "is no\n"),
        (2, "share of"),
        (2, ".50"),
    ]
