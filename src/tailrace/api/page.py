"""The OpenAPI document as one HTML page, without scripts or other files."""

import html
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from tailrace.api.media import JSON

Document = Mapping[str, Any]

URL = "http://127.0.0.1:8080"  # in the examples, where the server's URL is not known
_CODE = re.compile(r"`([^`]+)`")
_NAME = re.compile(r"{(\w+)}")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2330; background: #fff; }
body { max-width: 68rem; margin: 0 auto; padding: 1rem }
h1, h2, h3 { line-height: 1.2 }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #d5dae3 }
h4 { margin: 1rem 0 .2rem }
a { color: #14599e }
code, pre { font: 13px/1.45 ui-monospace, monospace }
pre { background: #f3f5f8; padding: .7rem; overflow-x: auto }
nav { display: flex; flex-wrap: wrap; gap: .1rem .8rem }
code, td, summary, p { overflow-wrap: anywhere }
pre code { overflow-wrap: normal }
details { border: 1px solid #d5dae3; border-radius: 4px; margin: .4rem 0; padding: .3rem .7rem }
summary { cursor: pointer }
summary b { display: inline-block; min-width: 4.2rem; font: bold 13px ui-monospace, monospace }
summary span { color: #5a6375 }
summary .needs { float: right; font-size: 13px; margin-left: .8rem }
table { border-collapse: collapse; width: 100% }
td { vertical-align: top; padding: .2rem .8rem .2rem 0; border-top: 1px solid #e6e9ef; min-width: 3rem }
@media (max-width: 40rem) {
  body { padding: .6rem }
  summary .needs { float: none; margin: 0; display: block }
  td { display: block; padding: .1rem 0; border: 0 }
  tr { display: block; border-top: 1px solid #e6e9ef; padding: .2rem 0 }
}
@media (prefers-color-scheme: dark) {
  body { color: #dde2ec; background: #14171d }
  a { color: #7ab5f0 }
  pre { background: #1e232c }
  h2, details, td, tr { border-color: #343b48 }
  summary span { color: #98a2b5 }
}
"""


def render(document: Document) -> bytes:
    """Return the page of an OpenAPI document."""
    return "".join(_page(document)).encode()


def at(page: bytes, url: str) -> bytes:
    """Return the page whose examples call the server at a base URL."""
    return page.replace(html.escape(URL).encode(), html.escape(url).encode())


def _page(document: Document) -> Iterator[str]:
    info = document["info"]
    title = html.escape(info["title"])
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}: the API</title>'
    yield f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>'
    yield f"<h1>{title}: the API</h1>"
    for paragraph in info["description"].split("\n\n"):
        yield f"<p>{_text(paragraph)}</p>"
    yield '<p>The same for programs: <a href="openapi.json">openapi.json</a></p><nav>'
    areas = [(tag["name"], tag["description"]) for tag in document["tags"]]
    yield from (f'<a href="#{html.escape(name)}">{html.escape(name)}</a>' for name, _ in areas)
    yield '<a href="#credentials">credentials</a><a href="#objects">objects</a></nav>'
    for name, about in areas:
        yield f'<h2 id="{html.escape(name)}">{html.escape(name)}</h2><p>{_text(about)}</p>'
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if name in operation["tags"]:
                    yield from _operation(method.upper(), path, operation, document)
    yield '<h2 id="credentials">credentials</h2><table>'
    for name, scheme in document["components"]["securitySchemes"].items():
        header = scheme.get("name", "Authorization")
        yield f"<tr><td>{html.escape(name)}</td><td><code>{html.escape(header)}</code></td>"
        yield f"<td>{_text(scheme['description'])}</td></tr>"
    yield '</table><h2 id="objects">objects</h2>'
    for name, schema in document["components"]["schemas"].items():
        yield from _object(name, schema)
    yield "</body></html>"


def _operation(method: str, path: str, operation: Mapping[str, Any], document: Document) -> Iterator[str]:
    needs = operation["x-tailrace-needs"]
    yield f'<details id="{html.escape(operation["operationId"])}"><summary>'
    yield f"<b>{method}</b><code>{html.escape(path)}</code> "
    yield f'<span class="needs">{html.escape(needs or _credential_names(operation))}</span>'
    yield f"<br><span>{_text(operation['summary'])}</span></summary>"
    if operation.get("parameters"):
        yield "<h4>Parameters</h4><table>"
        for each in operation["parameters"]:
            where = f"{each['in']}, required" if each["required"] else each["in"]
            yield f"<tr><td><code>{html.escape(each['name'])}</code></td><td>{where}</td>"
            yield f"<td>{_type(each['schema'])}</td><td>{_text(each['description'])}</td></tr>"
        yield "</table>"
    if "requestBody" in operation:
        yield "<h4>Body</h4><table>"
        for media, content in operation["requestBody"]["content"].items():
            yield f"<tr><td><code>{html.escape(media)}</code></td><td>{_type(content['schema'])}</td></tr>"
        yield "</table>"
    yield "<h4>Answers</h4><table>"
    for status, answer in operation["responses"].items():
        yield f"<tr><td>{status}</td><td>{html.escape(answer['description'])}</td><td>"
        yield "<br>".join(
            f"<code>{html.escape(media)}</code> {_type(content['schema'])}"
            for media, content in answer.get("content", {}).items()
        )
        yield "</td></tr>"
    yield f"</table><h4>With curl</h4><pre>{html.escape(curl(method, path, operation, document))}</pre></details>"


def _credential_names(operation: Mapping[str, Any]) -> str:
    return " or ".join(name for each in operation["security"] for name in each) or "no token"


def curl(method: str, path: str, operation: Mapping[str, Any], document: Document) -> str:
    """Return a command for a shell that calls the operation with the first of its examples."""
    filled = _NAME.sub(lambda match: _filled(match[1], path), path)
    query = "&".join(
        f"{each['name']}={quote(each.get('example', 'ID' if each['name'].endswith('Ids') else 'demo'))}"
        for each in operation.get("parameters", ())
        if each["required"] and each["in"] == "query"
    )
    url = f"{URL}{filled}{'?' + query if query else ''}"
    words = ["curl", *([] if method == "GET" else ["-X", method]), _quoted(url)]
    for name in [name for each in operation["security"] for name in each][:1]:
        scheme = document["components"]["securitySchemes"][name]
        header = f"{scheme['name']}: $KEY" if "name" in scheme else "Authorization: Bearer $TOKEN"
        words += ["-H", f'"{header}"']
    if "requestBody" in operation:
        media, content = next(iter(operation["requestBody"]["content"].items()))
        example = content.get("example", {})
        text = json.dumps(example, ensure_ascii=False) if media == JSON else example
        words += ["\\\n  -H", shlex.quote(f"Content-Type: {media}"), "-d", shlex.quote(text)]
    return " ".join(words)


def _quoted(url: str) -> str:
    """Return the URL in quotes, as the server's URL that replaces URL later may have brackets (IPv6)."""
    quoted = shlex.quote(url)
    return quoted if quoted != url else f"'{url}'"


def _filled(name: str, path: str) -> str:
    if name == "dataset" or (name == "id" and "/datasets/{id}" in path):
        return "demo"
    return {"destination": "batch.publisher.staging", "field": "level"}.get(name, name.upper())


def _object(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f'<details id="object-{html.escape(name)}"><summary><code>{html.escape(name)}</code>'
    yield f" <span>{_text(schema.get('description', ''))}</span></summary>"
    if "properties" not in schema:
        yield f"<p>{_type(schema)}</p></details>"
        return
    yield "<table>"
    for member, kind in schema["properties"].items():
        required = "required" if member in schema.get("required", ()) else ""
        yield f"<tr><td><code>{html.escape(member)}</code></td><td>{required}</td><td>{_type(kind)}</td></tr>"
    yield "</table></details>"


def _type(schema: Mapping[str, Any]) -> str:
    """Return a description of a schema as HTML."""
    if "$ref" in schema:
        name = html.escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#object-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"<code>{html.escape(json.dumps(each))}</code>" for each in schema["enum"])
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"array of {_type(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    bounds = [f"{word} {schema[name]}" for name, word in (("minimum", "from"), ("maximum", "to")) if name in schema]
    return html.escape(" ".join([kind, *bounds]))


def _text(text: str) -> str:
    """Return text with code in backquotes as HTML."""
    return _CODE.sub(r"<code>\1</code>", html.escape(text))
