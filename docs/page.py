"""`make docs`: the OpenAPI document as one page of HTML that needs no network and no script.

Own, because a renderer from npm brings a hundred packages into every installation, for one page of three operations.
"""

from __future__ import annotations

import json
import sys
from html import escape
from pathlib import Path
from typing import Any

import yaml
from markdown_it import MarkdownIt

DOCUMENT = Path(__file__).with_name("openapi.yaml")
PAGE = Path(__file__).parents[1] / ".build" / "api.html"

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: #0a6; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 1rem; }
h2 { border-top: 1px solid var(--line); padding-top: 1.5rem; margin-top: 2.5rem; }
code, pre { font: 0.875em/1.4 ui-monospace, monospace; }
code { background: var(--soft); padding: 0 0.2em; overflow-wrap: anywhere; }
pre { background: var(--soft); padding: 0.75rem; overflow: auto; max-height: 24rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 0.35rem 0.75rem 0.35rem 0; border-bottom: 1px solid var(--line); }
td p { margin: 0; }
.method { color: var(--accent); font-weight: bold; }
"""


class Page:
    """A document on its way to HTML."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._markdown = MarkdownIt()

    def html(self) -> str:
        """The page."""
        info = self._document["info"]
        operations = [
            (method, path, operation)
            for path, item in self._document["paths"].items()
            for method, operation in item.items()
        ]
        links = "".join(
            f'<li><a href="#{operation["operationId"]}"><code>{method.upper()} {escape(path)}</code></a></li>'
            for method, path, operation in operations
        )
        body = [
            f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>",
            f"<p>{escape(info['summary'])}</p>",
            f"<ul>{links}<li><a href='#schemas'>Schemas</a></li></ul>",
            self._text(info["description"]),
            "<h2>Servers</h2>",
            *(
                f"<p><code>{escape(server['url'])}</code></p>{self._text(server['description'])}"
                for server in self._document["servers"]
            ),
            *(self._operation(*operation) for operation in operations),
            "<h2 id='schemas'>Schemas</h2>",
            *(self._schema(name, schema) for name, schema in self._document["components"]["schemas"].items()),
        ]
        head = f"<meta charset='utf-8'><meta name='viewport' content='width=device-width'><title>{escape(info['title'])}</title>"
        return f"<!doctype html><html lang='en'><head>{head}<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"

    def _resolved(self, value: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in value:
            steps, value = value["$ref"].removeprefix("#/").split("/"), self._document
            for step in steps:
                value = value[step]
        return value

    def _text(self, text: str | None) -> str:
        html: str = self._markdown.render(text or "")
        return html

    def _operation(self, method: str, path: str, operation: dict[str, Any]) -> str:
        signed = "" if operation.get("security") == [] else " Signed."
        parameters = [self._resolved(one) for one in operation.get("parameters", [])]
        return "".join(
            [
                f"<h2 id='{operation['operationId']}'>{escape(operation['summary'])}</h2>",
                f"<p><span class='method'>{method.upper()}</span> <code>{escape(path)}</code>{signed}</p>",
                self._text(operation.get("description")),
                "<h3>Parameters</h3>",
                _table(
                    [
                        f"<code>{escape(one['name'])}</code>",
                        f"{one['in']}{', required' if one.get('required') else ''}",
                        self._type(one["schema"]),
                        self._text(one.get("description")),
                    ]
                    for one in parameters
                ),
                "<h3>Responses</h3>",
                _table(
                    self._response(status, response) for status, response in operation["responses"].items()
                ),
            ]
        )

    def _response(self, status: str, reference: dict[str, Any]) -> list[str]:
        response = self._resolved(reference)
        content = response.get("content", {}).get("application/json", {})
        examples = {name: self._resolved(one)["value"] for name, one in content.get("examples", {}).items()}
        if "example" in content:
            examples["example"] = content["example"]
        shown = "".join(
            f"<details><summary>{escape(name)}</summary><pre>{escape(json.dumps(value, indent=2, ensure_ascii=False))}</pre></details>"
            for name, value in examples.items()
        )
        headers = ", ".join(f"<code>{escape(name)}</code>" for name in response.get("headers", {}))
        schema = self._type(content["schema"]) if content else "no body"
        return [
            f"<strong>{status}</strong>",
            f"{schema}<br>{headers}",
            self._text(response["description"]) + shown,
        ]

    def _schema(self, name: str, schema: dict[str, Any]) -> str:
        heading = f"<h3 id='schema-{name}'>{name}</h3>{self._text(schema.get('description'))}"
        bases = "".join(f"<p>All of {self._type(base)}, and:</p>" for base in schema.get("allOf", []))
        if "properties" not in schema:
            return f"{heading}<p>{self._type(schema)}</p>"
        rows = (
            [
                f"<code>{escape(field)}</code>",
                self._type(one),
                self._text(one.get("description")),
            ]
            for field, one in schema["properties"].items()
        )
        return heading + bases + _table(rows)

    def _type(self, schema: dict[str, Any]) -> str:
        """A schema in a line."""
        if "$ref" in schema:
            name = schema["$ref"].rsplit("/", 1)[-1]
            return f"<a href='#schema-{name}'>{name}</a>"
        if "anyOf" in schema:
            return " or ".join(self._type(one) for one in schema["anyOf"])
        if "enum" in schema or "const" in schema:
            return " | ".join(
                f"<code>{escape(str(one))}</code>" for one in schema.get("enum", [schema.get("const")])
            )
        if schema.get("type") == "array":
            return f"list of {self._type(schema['items'])}"
        if "allOf" in schema and "properties" not in schema:
            return " and ".join(self._type(one) for one in schema["allOf"])
        kinds = schema.get("type", "object")
        text = " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
        bounds = {
            "minimum": "from",
            "maximum": "to",
            "minLength": "from",
            "maxLength": "to",
            "default": "default",
            "format": "",
        }
        text += "".join(f" {word} {schema[key]}" for key, word in bounds.items() if key in schema)
        return escape(text)


def _table(rows: Any) -> str:
    return f"<table>{''.join('<tr>' + ''.join(f'<td>{cell}</td>' for cell in row) + '</tr>' for row in rows)}</table>"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(Page(yaml.safe_load(DOCUMENT.read_text(encoding="utf-8"))).html(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
