"""The API's document: sound, complete, and of the types that requests are read and answered with."""

import ast
import html
import inspect
import json
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from types import FunctionType
from typing import TYPE_CHECKING, Any

import httpx
import jsonschema_rs
import msgspec
import pytest
import schemathesis
from msgspec import UNSET
from support import http

from tailrace.api import ROUTES, ApiRoute, notifiers, openapi, page
from tailrace.api.monitor_bodies import MonitorBody
from tailrace.events import (
    BadRequest,
    BodyTimeout,
    DiskFull,
    Overloaded,
    TailraceError,
    TooLarge,
    Unauthorized,
    UnsupportedEncoding,
)
from tailrace.protocols.http import BodyDoc, Protocol, Route
from tailrace.protocols.registry import PROTOCOLS

if TYPE_CHECKING:
    from conftest import MakeServer, Server

DOCUMENT = openapi.document(ROUTES, PROTOCOLS)
OPERATIONS = [(method, path, each) for path, methods in DOCUMENT["paths"].items() for method, each in methods.items()]
PROTOCOL_ROUTES = [(route, protocol) for protocol in PROTOCOLS for route in protocol.routes]
NAMES = [f"{route.method} {openapi.mounted(route, protocol)}" for route, protocol in PROTOCOL_ROUTES]
READERS = ("read_json", "decode_json")
READ_BY_LIBRARIES = {"/mcp"}  # paths whose handlers pass the body on
IN_ANY_LETTER_CASE = (MonitorBody, notifiers.NotifierBody)  # read as objects, whose names are then found


def name(route: ApiRoute) -> str:
    return f"{route.method} {route.path}"


def test_it_is_valid_openapi() -> None:
    schemathesis.openapi.from_dict(DOCUMENT).validate()
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema_rs.Draft202012Validator({**schema, "components": DOCUMENT["components"]})


def test_every_reference_leads_somewhere() -> None:
    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from (each for key, each in value.items() if key == "$ref")
            for each in value.values():
                yield from references(each)
        elif isinstance(value, list):
            for each in value:
                yield from references(each)

    known = {openapi.REFERENCE.format(name=name) for name in DOCUMENT["components"]["schemas"]}
    assert set(references(DOCUMENT)) == known


def test_every_route_is_in_it() -> None:
    served = [(route.method, openapi.path_of(route)) for route in ROUTES]
    served += [(route.method, openapi.mounted(route, protocol)) for route, protocol in PROTOCOL_ROUTES]

    assert sorted(served) == sorted((method.upper(), path) for method, path, _ in OPERATIONS)
    assert len({each["operationId"] for _, _, each in OPERATIONS}) == len(OPERATIONS)


@pytest.mark.parametrize("route", ROUTES, ids=name)
def test_every_route_says_what_goes_in_and_out(route: ApiRoute) -> None:
    assert route.answer is not UNSET or route.media, "give the row of the table its `answer` (None: no body) or `media`"
    assert route.handler.__doc__, "the docstring of the handler is the summary of the route"
    if route.body is not None:
        assert route.example is not UNSET, "give the route an `example` of its body"


@pytest.mark.parametrize(("route", "protocol"), PROTOCOL_ROUTES, ids=NAMES)
def test_every_route_of_a_protocol_says_what_goes_in_and_out(route: Route, protocol: Protocol) -> None:
    assert route.doc is not None
    assert route.doc.about
    assert route.doc.answers
    assert not route.doc.credential or protocol.credentials or protocol.is_door
    assert not route.doc.credential or protocol.credentials or protocol.is_door  # which takes the API's


@pytest.mark.parametrize("route", ROUTES, ids=name)
def test_the_body_of_a_route_is_what_its_handler_reads(route: ApiRoute) -> None:
    assert isinstance(route.handler, FunctionType)
    found = list(read_by(route.handler))
    if route.path in READ_BY_LIBRARIES:
        assert not found
        return

    if route.body in IN_ANY_LETTER_CASE:
        assert found == [dict[str, Any]]
    else:
        assert found == ([] if route.body is None else [route.body])


def read_by(handler: FunctionType) -> Iterator[Any]:
    """Yield the types that a handler, and the functions of its module that it calls, read a body as."""
    module = sys.modules[handler.__module__]
    waiting, seen = [handler], {handler}
    while waiting:
        function = waiting.pop()
        for node in ast.walk(ast.parse(inspect.getsource(function))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in READERS:
                expression = ast.Expression(node.args[1])
                yield eval(compile(expression, module.__name__, "eval"), vars(module))
            called = vars(module).get(node.id) if isinstance(node, ast.Name) else None
            if isinstance(called, FunctionType) and called.__module__ == module.__name__ and called not in seen:
                seen.add(called)
                waiting.append(called)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_an_error_of_a_protocol_has_the_documented_type(protocol: Protocol) -> None:
    kinds = protocol.error if isinstance(protocol.error, tuple) else (protocol.error,)
    for error in errors(TailraceError):
        rendered = protocol.render_error(error("why"))

        assert rendered.content_type.decode().partition(";")[0] == protocol.error_media
        if protocol.error_media == "application/json":
            assert msgspec.json.decode(rendered.body, type=kinds[0])
        else:
            assert rendered.body == b"why\n"


@pytest.mark.parametrize(("route", "protocol"), PROTOCOL_ROUTES, ids=NAMES)
def test_what_can_go_wrong_with_a_body_is_documented(route: Route, protocol: Protocol) -> None:
    assert route.doc is not None
    documented = {*route.doc.refusals, *route.doc.failures}
    faults = (BadRequest, BodyTimeout, TooLarge, UnsupportedEncoding, Overloaded, DiskFull) if route.doc.bodies else ()
    missing = (Unauthorized,) if route.doc.credential else ()

    assert {protocol.render_error(each("why")).status for each in (*faults, *missing)} <= documented


def errors(tree: type[TailraceError]) -> Iterator[type[TailraceError]]:
    """Every class of the tree of errors that takes a message alone."""
    for each in tree.__subclasses__():
        if each.__init__ is TailraceError.__init__:
            yield each
        yield from errors(each)


def every_body() -> Iterator[tuple[str, BodyDoc]]:
    yield from ((name(route), BodyDoc(route.body, route.example)) for route in ROUTES if route.body is not None)
    for route, _ in PROTOCOL_ROUTES:
        if route.doc is not None and "application/json" in route.doc.bodies:
            yield f"{route.method} {route.path}", route.doc.bodies["application/json"]


@pytest.mark.parametrize("body", [pytest.param(body, id=label) for label, body in every_body()])
def test_an_example_decodes_with_its_type(body: BodyDoc) -> None:
    sent = json.dumps(body.example)
    kinds = body.type if isinstance(body.type, tuple) else (body.type,)
    wanted = dict if sent.startswith("{") else list
    kind = next(each for each in kinds if len(kinds) == 1 or getattr(each, "__origin__", None) is wanted)

    assert msgspec.json.decode(sent, type=kind) is not None
    if isinstance(body.example, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        assert body.example.keys() <= set(kind.__struct_encode_fields__), "a member that the type does not have"


def test_it_is_served_without_a_token(server: "Server") -> None:
    answer = http.get(f"{server.url}/openapi.json")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == json.loads(msgspec.json.encode(DOCUMENT))


def test_the_page_is_served_without_a_token_and_needs_nothing_else(server: "Server") -> None:
    answer = http.get(f"{server.url}/docs")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    seen = Page(answer.text)
    assert seen.outside == []
    assert seen.open == []
    assert {each["operationId"] for _, _, each in OPERATIONS} <= seen.ids
    assert seen.links <= {f"#{each}" for each in seen.ids} | {"openapi.json"}


class Page(HTMLParser):
    """What a page has: ids, links, what it would load, and elements that were not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.outside: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            assert given["id"] not in self.ids
            self.ids.add(given["id"])
        if tag == "a":
            self.links.add(given["href"])
        if tag in ("script", "link", "img", "iframe") or "src" in given:
            self.outside.append(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_what_comes_from_the_document_is_text_on_the_page() -> None:
    spoiled = json.loads(json.dumps(DOCUMENT).replace("Create a dataset;", "<script>alert(1)</script>"))

    assert b"<script>" not in page.render(spoiled)
    assert b"&lt;script&gt;alert(1)" in page.render(spoiled)


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("events.example.com:8443", "events.example.com:8443"),
        ("[::1]:80", "[::1]:80"),
        ("a;reboot", "127.0.0.1:8080"),  # which means something to a shell
        ("a&b", "127.0.0.1:8080"),
    ],
)
def test_the_examples_call_the_address_that_the_page_is_read_from(server: "Server", host: str, shown: str) -> None:
    text = html.unescape(httpx.get(f"{server.url}/docs", headers={"Host": host}, trust_env=False).text)

    assert f"curl 'http://{shown}/v2/datasets' -H" in text
    assert shown == "127.0.0.1:8080" or "127.0.0.1:8080" not in text


def test_the_examples_call_the_address_that_a_trusted_proxy_tells(make_server: "MakeServer") -> None:
    server = make_server("--trusted-proxies=127.0.0.1").start()
    sent = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "events.example.com"}

    text = html.unescape(server.client.get("/docs", headers=sent).text)

    assert "curl 'https://events.example.com/v2/datasets' -H" in text


def test_nothing_on_the_page_is_wider_than_a_narrow_window() -> None:
    text = page.render(DOCUMENT).decode()
    style = text.partition("<style>")[2].partition("</style>")[0]

    # Links without a space between them are one word, which no line could hold.
    assert re.search(r"nav {[^}]*flex-wrap: wrap", style)
    assert re.search(r"code, td[^{]*{ overflow-wrap: anywhere }", style)
    assert re.search(r"pre {[^}]*overflow-x: auto", style)
