"""Text in which nothing is hidden: for terminals, tables, JSON, pages and copying.

What a record says can hold control characters that steer a terminal and marks that turn the direction of writing.
`static/dom.js` has the same function for the dashboard's scripts.
"""

from __future__ import annotations


def visible(text: str, keep: str = "") -> str:
    r"""The text with each invisible character written as JSON writes it, `\u001b`; those of `keep` stay.

    Invisible are control characters, marks of direction, spaces that are not the space, lone surrogates, and what
    Unicode has not assigned. In a JSON document they occur in strings only, so it stays the same document.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in keep else _escaped(one) for one in text)


def _escaped(one: str) -> str:
    units = one.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
