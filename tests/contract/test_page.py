"""`make docs` shows all of the document, on a page that needs nothing else."""

from __future__ import annotations

from html.parser import HTMLParser

from docs.page import Page
from tests.openapi import document, resolved


class Parsed(HTMLParser):
    """The text of a page, its anchors, and what it refers to; tags that are not closed in order are found."""

    VOID = ("meta", "br")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.ids, self.links, self.open = "", set[str](), set[str](), list[str]()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids |= {value for name, value in attrs if name == "id" and value}
        self.links |= {value for name, value in attrs if name in ("href", "src") and value}
        assert tag != "script"
        assert given.keys() <= {"id", "href", "class", "lang", "charset", "name", "content"}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_shows_all_of_the_document() -> None:
    """Every operation, parameter, response, schema and field."""
    page = Parsed(Page(document()).html())
    for path, item in document()["paths"].items():
        for operation in item.values():
            assert path in page.text
            assert operation["operationId"] in page.ids
            for parameter in operation["parameters"]:
                assert resolved(parameter)["name"] in page.text
            for status in operation["responses"]:
                assert status in page.text
    for name, schema in document()["components"]["schemas"].items():
        assert f"schema-{name}" in page.ids
        for field in schema.get("properties", {}):
            assert field in page.text


def test_the_page_stands_alone() -> None:
    """Well formed, no script, and no link but to itself, each of which leads somewhere."""
    page = Parsed(Page(document()).html())

    assert page.open == []
    assert {link.removeprefix("#") for link in page.links} <= page.ids


def test_text_is_escaped() -> None:
    """Whatever the document says is text."""
    changed = {**document(), "info": {**document()["info"], "title": "<script>", "summary": "a & b"}}
    html = Page(changed).html()

    assert "&lt;script&gt;" in html
    assert "a &amp; b" in html
