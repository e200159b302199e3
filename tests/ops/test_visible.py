"""What is printed hides nothing: text from records can steer neither a terminal nor the eye."""

from __future__ import annotations

import io
import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ras.terminal import console, plain
from ras.visible import visible

HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
TEXT = st.text() | st.text(alphabet="\x1b[]/\\:ab1;m\u202e\x9b\n\t \u2066\U000e0041", max_size=12)


def hidden(text: str) -> list[str]:
    return [one for one in text if unicodedata.category(one) in HIDDEN]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, å, 漢字, 😀", "plain, å, 漢字, 😀"),
        ("\x1b]0;title\x07", "\\u001b]0;title\\u0007"),
        ("\x9b31m", "\\u009b31m"),
        ("a\u202eb\u2066c", "a\\u202eb\\u2066c"),
        ("a\u200bb\u2028c\x7f", "a\\u200bb\\u2028c\\u007f"),
        ("line\nline\r\ttab", "line\\u000aline\\u000d\\u0009tab"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\udb40\\udc41"),
    ],
)
def test_what_is_invisible_is_shown_by_its_number(text: str, shown: str) -> None:
    """As JSON writes it, so that JSON stays JSON."""
    assert visible(text) == shown


@given(TEXT)
def test_nothing_is_hidden(text: str) -> None:
    """Of no text; what is to be kept is kept."""
    assert hidden(visible(text)) == []
    assert [one for one in visible(text, keep="\n") if one == "\n"] == re.findall("\n", text)


@given(st.recursive(TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=5))
def test_json_is_exact(document: object) -> None:
    """Made visible it reads as before, indented or not."""
    for indent in (None, 2):
        written = visible(json.dumps(document, ensure_ascii=False, indent=indent), keep="\n")
        assert json.loads(written) == document
        assert hidden(written.replace("\n", "")) == []


@given(TEXT)
def test_plain_text_is_printed_as_it_is(text: str) -> None:
    """On a terminal with colours too: no markup, no emoji, nothing hidden, no character lost."""
    out = console()
    out.file = io.StringIO()
    out._force_terminal = True
    out.print(f"[bold]x[/]{plain(text)}", soft_wrap=True)

    assert re.sub("\x1b\\[[0-9;]*m", "", out.file.getvalue()) == f"x{visible(text)}\n"
