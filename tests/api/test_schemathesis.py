"""Requests made from the API's document, sound ones and spoiled ones, against a server process."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)
from support.rounds import rounds

from tailrace.api import ROUTES, openapi, page
from tailrace.protocols.registry import PROTOCOLS

if TYPE_CHECKING:
    from conftest import Server

# Routes that are left out, and why.
EXCLUDED: dict[str, str] = {
    "GET /tailrace/v1/tail/{dataset}": "its answer has no end",
    "POST /mcp": "its messages are those of another document, which a library reads",
}
# Where what is not as documented is taken too, and why.
LENIENT: dict[str, str] = {
    label: reason
    for reason, labels in {
        "all that they take is a header that may have any value": (
            "GET /tailrace/v1/session",
            "DELETE /tailrace/v1/session",
            "POST /tailrace/v1/session/provider",
        ),
        "what is refused of a body is told event by event in an answer of 200": (
            "POST /v1/datasets/{dataset}/ingest",
            "POST /v1/ingest/{dataset}",
            "POST /api/v1/ingest",
        ),
        "the valid part of a batch is stored, and of no event what is not known is looked at": (
            *(f"POST /moesif/v1/{name}" for name in ("events", "actions", "users", "companies", "subscriptions")),
            *(f"POST /moesif/v1/{name}/batch" for name in ("actions", "users", "companies", "subscriptions")),
            "POST /moesif/v1/events/batch",
            "POST /moesif/moesifapi/events",
            "POST /moesif/moesifapi/events/batch",
        ),
        "messages are refused one by one in an answer of 200, and a form is read by its fields": (
            "POST /datamix/destinations/{destination}/logs",
        ),
        "what is refused of the lines is told in an answer of 200": ("POST /api/{organization}/{stream}/_multi",),
        "any tag that is not known is answered with the document": ("GET /moesif/v1/config", "GET /moesif/v1/rules"),
    }.items()
    for label in labels
}

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
CONFIG = schemathesis.Config.from_dict({"generation": {"with-security-parameters": False}})
DOCUMENT = openapi.document(ROUTES, PROTOCOLS)
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT, config=CONFIG)
NAME = re.compile(r"{(\w+)}")
PLACE = "here"
ODD = (
    r'"\u0000"',
    r'"\ud800"',
    '"' + "x" * 70_000 + '"',
    "123456789012345678901234567890",
    "-1e308",
    '"9999-12-31T23:59:59+23:59"',
    '[{"": [null]}]',
)
REAL = "documented"  # the name of what is there
# What these take is no text, or names a credential: the command shown says how it is sent, not what.
SHOWN_IN_FORM = {
    "POST /api/v1/write": "protobuf, compressed by snappy",
    "POST /gelf/{secret}": "the path has the token",
    "POST /loki/api/v1/push": "protobuf, compressed by snappy",
    "POST /services/collector/ack": "a channel, in a header or in the query",
}
DOORS = {openapi.mounted(route, door) for door in PROTOCOLS if door.is_door for route in door.routes}
DESTINATION = "shop.web.test"
BOUNDED = settings(
    max_examples=rounds(4),
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def one_path_of_each() -> set[str]:
    """One path for each handler, as others lead to the same."""
    found: dict[Any, str] = {}
    for protocol in PROTOCOLS:
        for route in protocol.routes:
            path = openapi.mounted(route, protocol)
            about = route.doc.about if route.doc else ""
            found.setdefault((protocol.name, route.method, route.handler, about), f"{route.method} {path}")
    for each in ROUTES:
        found.setdefault((each.method, each.handler), f"{each.method} {openapi.path_of(each)}")
    return set(found.values()) - set(EXCLUDED)


CHOSEN = one_path_of_each()
Case = schemathesis.Case[Any]
OPERATIONS = {
    each.ok().label: each.ok()
    for each in SCHEMA.get_all_operations()
    if isinstance(each, Ok) and each.ok().label in CHOSEN
}
SPOILED = [
    label
    for label, operation in OPERATIONS.items()
    if label not in LENIENT and (operation.body or operation.query or operation.headers)
]


@schemathesis.serializer("application/x-ndjson", "application/x-protobuf", "application/vnd.fdo.journal")
def as_text(context: Any, value: Any) -> bytes:
    """Return a body of a type that schemathesis does not know."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


class Target:
    """A server with a dataset, a destination and a key of each protocol."""

    def __init__(self, server: "Server") -> None:
        self.url = server.url
        self.session = requests.Session()
        self.session.trust_env = False
        server.create(REAL)
        server.ingest(REAL, [{"level": "info", "n": 1}, {"level": "error", "n": 2.5}])
        server.ingest("demo", [{"level": "info"}])  # whose fields the examples name

        def key(protocol: str, **what: Any) -> str:
            answer = server.client.post("/tailrace/v1/keys", json={"protocol": protocol, "name": protocol, **what})
            assert answer.status_code == 201, answer.text
            made: str = answer.json()["key"]
            return made

        self.unnamed = server.api_token(REAL)  # for routes that do not name the dataset
        everywhere = {"datasetCapabilities": {"*": {"ingest": ["create"]}}, "orgCapabilities": {"datasets": ["create"]}}
        answer = server.client.post("/v2/tokens", json={"name": "doors", "defaultDataset": REAL, **everywhere})
        assert answer.status_code == 200, answer.text
        self.unbound: str = answer.json()["token"]  # for doors, whose bodies may name another
        self.datamix = key("datamix", destination=DESTINATION)
        self.headers = {
            "axiom": {"Authorization": f"Bearer {server.token}"},
            "baselime": {"x-api-key": key("baselime", datasets=["*"])},
            "moesif": {"X-Moesif-Application-Id": key("moesif", dataset=REAL)},
        }

    def call(self, case: Case, *, real: bool, data: bytes | None = None) -> Any:
        """Send the case, or `data` as its body; where `real`, to a path of what is there."""
        path = case.operation.path
        if real and case.method != "DELETE":
            there = {
                "dataset": REAL,
                "destination": DESTINATION,
                **({"id": REAL} if "/datasets/{id}" in path else {}),
            }
            case.path_parameters = {name: there.get(name, each) for name, each in case.path_parameters.items()}
        security = [name for each in DOCUMENT["paths"][path][case.method.lower()]["security"] for name in each]
        headers = self.headers[security[0]] if security else {}
        if data is None:
            return case.call(base_url=self.url, session=self.session, headers=headers)
        url = self.url + case.formatted_path
        return self.session.request(
            case.method, url, data=data, headers={**headers, "Content-Type": "application/json"}
        )

    def let_in(self, case: Case) -> None:
        """Put into the body what lets it in, where that is part of it."""
        if not isinstance(case.body, dict):
            return
        if case.operation.path == "/datamix/sessions":
            case.body = {**case.body, "key": self.datamix}
        elif case.operation.path.startswith("/datamix/destinations"):
            started = self.session.post(f"{self.url}/datamix/sessions", json={"key": self.datamix})
            case.body = {**case.body, "session": started.json()["token"]}


@pytest.fixture(scope="module")
def target(process: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    from conftest import Server

    running = Server(tmp_path_factory.mktemp("schemathesis") / "data").start()
    try:
        yield Target(running)
    finally:
        running.end()


def test_every_route_is_tested_or_left_out_with_a_reason() -> None:
    assert set(OPERATIONS) == CHOSEN
    shown = {f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert not {*EXCLUDED, *LENIENT} - shown


def spoiled(label: str) -> Iterator[bytes]:
    """Yield the example of a body with one member after the other in the place of odd values, as JSON."""
    method, path = label.split(" ")
    content = DOCUMENT["paths"][path][method.lower()].get("requestBody", {}).get("content", {})
    example = content.get("application/json", {}).get("example")
    for place in places(example) if content else ():
        for odd in ODD:
            text = json.dumps(put(example, place, PLACE) if place else PLACE)
            yield text.replace(json.dumps(PLACE), odd).encode()


def places(value: Any) -> Iterator[tuple[Any, ...]]:
    yield ()
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from ((key, *place) for place in places(each))


def put(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    """Return a copy of the value with another in that place."""
    if not place:
        return new
    copy = value.copy()
    copy[place[0]] = put(value[place[0]], place[1:], new)
    return copy


@pytest.mark.parametrize("label", [label for label in OPERATIONS if next(spoiled(label), None)])
def test_no_odd_value_is_too_much(label: str, target: Target) -> None:
    operation = OPERATIONS[label]
    documented = set(DOCUMENT["paths"][operation.path][operation.method.lower()]["responses"])
    for body in spoiled(label):
        case = operation.Case(path_parameters=dict.fromkeys(NAME.findall(operation.path), "none"))
        answer = target.call(case, real=True, data=body)

        assert answer.status_code < 500, body
        assert str(answer.status_code) in documented, body


@pytest.mark.skipif(shutil.which("curl") is None, reason="the commands shown use curl")
@pytest.mark.parametrize("label", [label for label in OPERATIONS if not label.startswith("DELETE")])
def test_the_command_shown_is_taken(label: str, target: Target) -> None:
    method, path = label.split(" ")
    shown = page.curl(method, path, DOCUMENT["paths"][path][method.lower()], DOCUMENT).replace(page.URL, target.url)
    key = next((name for name in ("baselime", "moesif") if path.startswith(f"/{name}")), "axiom")
    secret = next(iter(target.headers[key].values())).removeprefix("Bearer ")
    secret = target.unnamed if path == "/api/v1/ingest" else target.unbound if path in DOORS else secret
    environment = {**os.environ, "TOKEN": secret, "KEY": secret, "no_proxy": "*"}
    command = f"{shown} --silent --max-time 60 --output /dev/null --write-out '%{{http_code}}'"
    ran = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=True)

    # What it names may not be there, and a few routes are for one sort of token only.
    if label in SHOWN_IN_FORM:
        assert int(ran.stdout) in (400, 401), ran.stdout
        return
    assert int(ran.stdout) in (200, 201, 202, 204, 403, 404, 409), ran.stdout
    assert int(ran.stdout) != 404 or "ID" in shown or "UID" in shown, "what the command names is not there"


@pytest.mark.parametrize("label", OPERATIONS)
def test_a_route_answers_as_documented(label: str, target: Target) -> None:
    @BOUNDED
    @given(case=OPERATIONS[label].as_strategy(GenerationMode.POSITIVE), real=st.booleans())
    def check(case: Case, real: bool) -> None:
        if real:
            target.let_in(case)
        case.validate_response(target.call(case, real=real), checks=CHECKS)

    check()


@pytest.mark.parametrize("label", SPOILED)
def test_what_is_not_as_documented_is_refused(label: str, target: Target) -> None:
    @BOUNDED
    @given(case=OPERATIONS[label].as_strategy(GenerationMode.NEGATIVE), real=st.booleans())
    def check(case: Case, real: bool) -> None:
        case.validate_response(target.call(case, real=real), checks=[*CHECKS, negative_data_rejection])

    check()
