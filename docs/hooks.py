"""What the site builds from code: the command line's reference, which takes the place of its marker."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

MARKER = "<!-- command line -->"
COMMON = ("help", "config", "log", "verbose")  # arguments of every command, which the page explains once


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for every page."""
    return markdown.replace(MARKER, "\n".join(command_line())) if MARKER in markdown else markdown


def command_line() -> Iterator[str]:
    """Markdown lines of every command with its arguments, from the parser itself."""
    from occnet_lib.cli import parser

    for action in parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                if name != "job":  # called by Snakemake
                    yield from _command(name, command)


def _command(name: str, command: argparse.ArgumentParser) -> Iterator[str]:
    usage = " ".join(command.format_usage().removeprefix("usage: ").split())
    yield from ("", f"## occnet {name}", "", f"{_sentence(command.description)}", "")
    yield from ("```text", usage, "```", "", "| argument | meaning |", "|---|---|")
    for action in command._actions:
        if action.dest not in COMMON:
            yield f"| {_argument(action)} | {_meaning(action)} |"


def _argument(action: argparse.Action) -> str:
    value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    value = value.replace("|", "\\|")
    if action.choices is not None:
        value = ", ".join(map(str, action.choices))
    if not action.option_strings:
        return f"`{value}`"
    takes_value = action.nargs != 0
    return ", ".join(f"`{option}{f' {value}' if takes_value else ''}`" for option in action.option_strings)


def _meaning(action: argparse.Action) -> str:
    text = str(action.help or "").replace("%%", "%").replace("|", "\\|").replace("<", "&lt;")
    default = action.default not in (None, False, argparse.SUPPRESS, [])
    text += f" (default: `{action.default}`)" if default else ""
    return text + (" (required)" if action.option_strings and action.required else "")


def _sentence(text: str | None) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""
