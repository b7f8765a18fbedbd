"""HTML of the page."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from occnet_lib.app import texts
from occnet_lib.app.meshes import Outcome
from occnet_lib.app.photos import Photo

EVIL = "<img src=x onerror=alert(1)>\"'</li><script>alert(2)</script>"


def tags(html: str) -> list[str]:
    """Tags of a text, in order."""
    names: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag, attrs):
            names.append(tag)

    Tags().feed(html)
    return names


def test_texts_from_outside_are_escaped():
    photo = Photo(EVIL, Path("x"), problem=EVIL)
    assert tags(texts.notes([photo])) == ["ul", "li"]
    assert tags(texts.error(EVIL)) == ["ul", "li"]
    made = Outcome(
        {"glb": Path(EVIL.replace("/", ""))},
        Path("view.glb"),
        5,
        0.2,
        warnings=(EVIL,),
        seen=(np.zeros((2, 2, 3), np.uint8),),
        command=EVIL,
    )
    assert tags(texts.outcome(made)) == ["ul", "li", "li"]
    shown = texts.details(replace(made, seconds={"encode": 0.25}), [EVIL])
    assert "script" not in tags(shown)
    assert tags(shown).count("img") == 1
    assert "<td>0.25</td>" in shown
    assert "alert" in shown


def test_a_command_needs_the_configuration_of_the_page():
    assert "--config" not in texts.command("occnet", is_configured=False)
    assert "--config" in texts.command("occnet", is_configured=True)
    assert texts.command("", is_configured=True) == ""
