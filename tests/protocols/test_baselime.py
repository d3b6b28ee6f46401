"""Baselime's Events API against a real server: every example and row of its documents, every limit at its edge."""

import gzip
import itertools
import json
import re
import subprocess
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

if TYPE_CHECKING:
    from conftest import MakeServer, Server

KIB = 1024
MIB = 1024 * KIB
REQUEST_ACCEPTED = '{"message": "Request Accepted"}'
BAD_REQUEST = '{"message": "Bad Request"}'
UNAUTHORISED = '{"message": "Unauthorised"}'
METHOD_NOT_ALLOWED = '{"message": "Method Not Allowed"}'
TOO_LARGE = '{"message": "Request Entity Too Large"}'
EXAMPLE = """[
        {"key1":"value1","key2":"value2"},
        {"key3":"value3","key4":"value4"}
      ]"""
NUMBERS = itertools.count(1)


def make_key(server: "Server", *datasets: str) -> str:
    answer = server.client.post(
        "/tailrace/v1/keys", json={"protocol": "baselime", "name": "test", "datasets": list(datasets)}
    )
    assert answer.status_code == 201, answer.text
    key: str = answer.json()["key"]
    return key


class Client:
    """Sends with one key and nothing else of a client's own."""

    def __init__(self, server: "Server") -> None:
        self.server = server
        self.key = make_key(server, "*")
        self.http = httpx.Client(base_url=server.url, timeout=60, trust_env=False)

    def post(self, path: str, body: bytes | str | Any, headers: dict[str, str] | None = None) -> httpx.Response:
        content = body if isinstance(body, bytes | str) else json.dumps(body)
        return self.http.post(path, content=content, headers={"x-api-key": self.key, **(headers or {})})

    def numbers(self, dataset: str) -> list[int]:
        """Return the values of `n` stored."""
        if not self.server.sql(f'SELECT count(*) AS c FROM "{dataset}"')[0]["c"]:
            return []
        return [row["n"] for row in self.server.sql(f'SELECT n FROM "{dataset}" ORDER BY n')]

    def fields(self, dataset: str, *names: str) -> list[dict[str, Any]]:
        columns = ", ".join(f'"{name}"' for name in names)
        return self.server.sql(f'SELECT {columns} FROM "{dataset}" ORDER BY n')


@pytest.fixture(scope="module")
def client(server: "Server") -> Client:
    return Client(server)


def new_name() -> str:
    """Return a dataset that is not there yet."""
    return f"baselime-{next(NUMBERS)}"


def says(answer: httpx.Response, status: int, body: str, *parts: str) -> None:
    """Assert a documented answer, byte for byte, and what the header with the reason tells."""
    assert (answer.status_code, answer.text) == (status, body)
    assert answer.headers["content-type"] == "application/json"
    for part in parts:
        assert part in answer.headers["x-tailrace-error"]


def partly(answer: httpx.Response, status: int, *refused: tuple[int, Any, str]) -> None:
    """Assert an answer that lists these events: index, what is shown of it, a part of the reason."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert list(body) == ["message", "invalid", "errors"]
    assert body["message"] == ("Request Accepted" if status == 202 else "Bad Request")
    assert body["invalid"] == [event for _, event, _ in refused]
    assert [error["index"] for error in body["errors"]] == [index for index, _, _ in refused]
    for error, (_, _, part) in zip(body["errors"], refused, strict=True):
        assert part in error["reason"]


# The documented example and status tables.


def test_the_documented_request_is_202_and_stored(client: Client, dataset: str) -> None:
    says(client.post(f"/v1/{dataset}/prod", EXAMPLE), 202, REQUEST_ACCEPTED)

    rows = client.server.sql(
        f'SELECT key1, key2, key3, key4, "$baselime.namespace" AS ns FROM "{dataset}" ORDER BY key1'
    )
    assert rows == [
        {"key1": "value1", "key2": "value2", "key3": None, "key4": None, "ns": "prod"},
        {"key1": None, "key2": None, "key3": "value3", "key4": "value4", "ns": "prod"},
    ]


def test_the_documented_command_runs_as_printed(client: Client, dataset: str) -> None:
    command = """
curl -X 'POST' 'https://events.baselime.io/v1/<dataset>/<namespace>' \\
  -H 'x-api-key: $BASELIME_API_KEY' \\
  -H 'Content-Type: application/json' \\
  -d '[
        {"key1":"value1","key2":"value2"},
        {"key3":"value3","key4":"value4"}
      ]'
""".strip()
    for printed, name in {
        "https://events.baselime.io": client.server.url,
        "<dataset>": dataset,
        "<namespace>": "prod",
        "$BASELIME_API_KEY": client.key,
    }.items():
        command = command.replace(printed, name)

    done = subprocess.run(["bash", "-c", f"{command} --silent"], capture_output=True, check=True, timeout=30)

    assert done.stdout.decode() == REQUEST_ACCEPTED
    assert client.server.sql(f'SELECT count(*) AS n FROM "{dataset}"') == [{"n": 2}]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/v1/d/n", "/v1/d", "/v1/d/s/n", "/v1", "/v1/", "/v1/d/", "/v1/a/b/c/d", "/"])
def test_another_method_is_405_before_anything_else(client: Client, method: str, path: str) -> None:
    answer = client.http.request(method, "/baselime" + path)

    says(answer, 405, METHOD_NOT_ALLOWED)
    assert answer.headers["allow"] == "POST, OPTIONS"


@pytest.mark.parametrize("path", ["/v1/d/n", "/v1/d", "/v1/d/s/n", "/v1", "/v1/d/", "/v1//n", "/v1/a/b/c/d"])
@pytest.mark.parametrize(
    "headers",
    [{}, {"x-api-key": ""}, {"x-api-key": "wrong"}, {"authorization": "Bearer wrong"}, {"authorization": "Bearer"}],
)
def test_a_missing_or_invalid_key_is_401_before_path_and_body(
    client: Client, path: str, headers: dict[str, str]
) -> None:
    says(client.http.post("/baselime" + path, content="nonsense", headers=headers), 401, UNAUTHORISED)


@pytest.mark.parametrize("header", ["x-api-key", "authorization"])
def test_a_token_of_another_protocol_is_401(client: Client, header: str) -> None:
    token = client.server.token
    value = f"Bearer {token}" if header == "authorization" else token

    says(client.http.post("/baselime/v1/d/n", content="[]", headers={header: value}), 401, UNAUTHORISED)


@pytest.mark.parametrize("value", ["Bearer {}", "bearer {}", "{}"])
def test_the_key_may_be_a_bearer_token(client: Client, dataset: str, value: str) -> None:
    headers = {"authorization": value.format(client.key)}

    for mount in ("", "/baselime"):
        answer = client.http.post(f"{mount}/v1/{dataset}/n", content='[{"n":1}]', headers=headers)
        says(answer, 202, REQUEST_ACCEPTED)


def test_a_key_is_good_for_its_datasets_only(client: Client, dataset: str) -> None:
    other = client.server.create(new_name())
    headers = {"x-api-key": make_key(client.server, dataset)}

    says(client.post(f"/v1/{dataset}/n", [{"n": 1}], headers), 202, REQUEST_ACCEPTED)
    says(client.post(f"/v1/{other}/n", [{"n": 1}], headers), 401, UNAUTHORISED, other)
    says(client.post(f"/v1/{new_name()}", [{"n": 1}], headers), 401, UNAUTHORISED)
    assert client.numbers(other) == []


def test_a_revoked_key_is_401_at_once(client: Client, dataset: str) -> None:
    made = client.server.client.post(
        "/tailrace/v1/keys", json={"protocol": "baselime", "name": "t", "datasets": ["*"]}
    ).json()
    headers = {"x-api-key": made["key"]}
    says(client.post(f"/v1/{dataset}/n", [{"n": 1}], headers), 202, REQUEST_ACCEPTED)

    assert client.server.client.delete(f"/tailrace/v1/keys/{made['id']}").status_code == 204

    says(client.post(f"/v1/{dataset}/n", [{"n": 2}], headers), 401, UNAUTHORISED)


@pytest.mark.parametrize(
    "path", ["/v1/{}/", "/v1//n", "/v1//", "/v1/{}//n", "/v1/{}/s/", "/v1/{}/s/n/more", "/v2x/{}/n"]
)
def test_a_bad_path_is_400(client: Client, dataset: str, path: str) -> None:
    says(client.post("/baselime" + path.format(dataset), [{"n": 1}]), 400, BAD_REQUEST, "is no path for events")
    assert client.numbers(dataset) == []


def test_a_bad_dataset_name_is_400(client: Client) -> None:
    says(client.post("/v1/a%20b", [{"n": 1}]), 400, BAD_REQUEST, "dataset name")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("nonsense", "no JSON array"),
        ('{"n":1}', "no JSON array"),
        ('"text"', "no JSON array"),
        ("null", "no JSON array"),
        ('{"n":1}\n{"n":2}', "no JSON array"),
        ('[{"n":1}', "not closed"),
        ('[{"n":1},{"n":"2}]', "not closed"),
        ('[{"n":[1},{"n":2}]', "not closed"),
        ('[{"n":1}}]', "unexpected '}'"),
        ('[{"n":1}][{"n":2}]', "follows the array"),
        ('[{"n":1}] x', "follows the array"),
        ("[" * 100_000, "not closed"),
    ],
)
def test_a_body_that_cannot_be_taken_apart_is_400_as_a_whole(
    client: Client, dataset: str, body: str, reason: str
) -> None:
    says(client.post(f"/v1/{dataset}/n", body), 400, BAD_REQUEST, reason)
    assert client.numbers(dataset) == []


def test_an_empty_array_is_202(client: Client, dataset: str) -> None:
    says(client.post(f"/v1/{dataset}/n", "[ ]"), 202, REQUEST_ACCEPTED)


def test_elements_that_are_no_json_objects_cost_only_themselves(client: Client, dataset: str) -> None:
    body = (
        '[{"n":1}, {"n":}, 7, "x", null, [1], {"n":2}, {"n":3,"s":"two\nlines"}, ,{"n":4} {"n":5}, nonsense, {"n":6}]'
    )

    answer = client.post(f"/v1/{dataset}/n", body)

    partly(
        answer,
        400,
        (1, '{"n":}', "malformed JSON"),
        (2, 7, "not '7'"),
        (3, "x", "an event is a JSON object"),
        (4, None, "an event is a JSON object"),
        (5, [1], "an event is a JSON object"),
        (7, '{"n":3,"s":"two\nlines"}', "malformed JSON"),
        (8, "", "nothing stands between"),
        (9, '{"n":4} {"n":5}', "malformed JSON: trailing characters"),
        (10, "nonsense", "malformed JSON"),
    )
    assert client.numbers(dataset) == [1, 2, 6]


def test_an_event_that_is_not_utf8_costs_only_itself(client: Client, dataset: str) -> None:
    partly(
        client.post(f"/v1/{dataset}/n", b'[{"n":1},{"n":2,"s":"\xff"},{"n":3}]'),
        400,
        (1, '{"n":2,"s":"�"}', "UTF-8"),
    )
    assert client.numbers(dataset) == [1, 3]


def test_a_trailing_comma_is_told_and_costs_nothing(client: Client, dataset: str) -> None:
    partly(client.post(f"/v1/{dataset}/n", '[{"n":1},]'), 400, (1, "", "nothing stands"))
    assert client.numbers(dataset) == [1]


def test_refusals_are_counted_by_reason(client: Client, dataset: str) -> None:
    def counted(metric: str, reason: str) -> float:
        text = client.server.client.get("/metrics").text
        found = re.findall(rf'^{metric}{{protocol="baselime",reason="{reason}",.*}} (\S+)$', text, re.MULTILINE)
        return sum(map(float, found))

    wanted = [
        ("tailrace_rejected_events_total", "invalid_json"),
        ("tailrace_rejected_events_total", "not_an_object"),
        ("tailrace_rejected_events_total", "event_too_large"),
        ("tailrace_refused_requests_total", "unauthorized"),
        ("tailrace_refused_requests_total", "bad_request"),
        ("tailrace_refused_requests_total", "method_not_allowed"),
        ("tailrace_refused_requests_total", "too_large"),
    ]
    before = [counted(*name) for name in wanted]

    client.post(f"/v1/{dataset}/n", '[{"n":},1,{"s":"' + "x" * 40_000 + '"}]')
    client.post(f"/v1/{dataset}/n", "[]", {"x-api-key": "wrong"})
    client.post(f"/v1/{dataset}/n", "")
    client.http.get("/baselime/v1/d/n")
    client.post(f"/v1/{dataset}/n", b" " * (6 * MIB + 1))

    assert [counted(*name) - count for name, count in zip(wanted, before, strict=True)] == [1.0] * len(wanted)


# Limits.


def sized(size: int) -> str:
    """Return an event of that many bytes."""
    return '{"n":1,"s":"' + "x" * (size - 14) + '"}'


LIMITS = pytest.mark.parametrize(
    ("path", "limit"), [("/v1/{}/n", 32 * KIB), ("/v1/{}/s/n", 128 * KIB), ("/v1/{}", 256 * KIB)]
)


@LIMITS
def test_an_event_of_exactly_the_routes_limit_is_taken(client: Client, dataset: str, path: str, limit: int) -> None:
    says(client.post(path.format(dataset), f"[ \n{sized(limit)}  \n,{{}}]"), 202, REQUEST_ACCEPTED)
    assert client.server.sql(f'SELECT length(s) AS l FROM "{dataset}" WHERE n = 1') == [{"l": limit - 14}]


@LIMITS
def test_an_event_one_byte_past_the_limit_costs_only_itself(
    client: Client, dataset: str, path: str, limit: int
) -> None:
    answer = client.post(path.format(dataset), f'[{{"n":0}},{sized(limit + 1)},{{"n":2}}]')

    partly(answer, 400, (1, json.loads(sized(limit + 1)), f"event is larger than {limit} bytes"))
    assert client.numbers(dataset) == [0, 2]


def test_the_white_space_within_an_event_counts(client: Client, dataset: str) -> None:
    event = '{"n": 1,' + " " * (32 * KIB - 8) + '"m":1}'

    assert client.post(f"/v1/{dataset}/n", f"[{event}]").status_code == 400
    assert client.numbers(dataset) == []


def filled(size: int) -> bytes:
    """Return an array of that many bytes."""
    event = b'{"n":1},'
    body = b"[" + event * 1000
    return body + b" " * (size - len(body) - 8) + b'{"n":2}]'


def test_six_mebibytes_are_taken_and_one_byte_more_is_413(client: Client, dataset: str) -> None:
    says(client.post(f"/v1/{dataset}/n", filled(6 * MIB)), 202, REQUEST_ACCEPTED)
    says(client.post(f"/v1/{dataset}/n", filled(6 * MIB + 1)), 413, TOO_LARGE, "6291456")
    assert len(client.numbers(dataset)) == 1001


def test_the_size_counts_decoded(client: Client, dataset: str) -> None:
    headers = {"content-encoding": "gzip"}

    says(client.post(f"/v1/{dataset}/n", gzip.compress(filled(6 * MIB)), headers), 202, REQUEST_ACCEPTED)
    says(client.post(f"/v1/{dataset}/n", gzip.compress(filled(6 * MIB + 1)), headers), 413, TOO_LARGE)
    assert len(client.numbers(dataset)) == 1001


def test_the_path_is_judged_before_the_size(client: Client) -> None:
    says(client.post("/v1/d/", filled(6 * MIB + 1)), 400, BAD_REQUEST)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "deflate-raw", "identity"])
def test_compressed_bodies(client: Client, dataset: str, encoding: str) -> None:
    raw = zlib.compressobj(wbits=-15)
    encode: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "x-gzip": gzip.compress,
        "deflate": zlib.compress,
        "deflate-raw": lambda body: raw.compress(body) + raw.flush(),
        "identity": bytes,
    }
    headers = {"content-encoding": encoding.removesuffix("-raw")}

    says(client.post(f"/v1/{dataset}/n", encode[encoding](b'[{"n":1}]'), headers), 202, REQUEST_ACCEPTED)
    assert client.numbers(dataset) == [1]


@pytest.mark.parametrize(
    ("encoding", "body"), [("gzip", b"[]"), ("zip", b"[]"), ("gzip", gzip.compress(b"[]", mtime=0)[:-4])]
)
def test_a_body_that_cannot_be_decoded_is_400(client: Client, dataset: str, encoding: str, body: bytes) -> None:
    says(client.post(f"/v1/{dataset}/n", body, {"content-encoding": encoding}), 400, BAD_REQUEST)


@pytest.mark.parametrize("content_type", ["text/plain;charset=UTF-8", "application/json", "text/csv", "nonsense"])
def test_the_content_type_does_not_matter(client: Client, dataset: str, content_type: str) -> None:
    says(client.post(f"/v1/{dataset}/n", '[{"n":1}]', {"content-type": content_type}), 202, REQUEST_ACCEPTED)
    assert client.numbers(dataset) == [1]


# Routes, datasets, services and namespaces.


def test_the_first_route_wants_a_dataset_that_is_there(client: Client) -> None:
    name = new_name()

    says(client.post(f"/v1/{name}/n", [{"n": 1}]), 400, BAD_REQUEST, name, "not found")
    says(client.post(f"/v1/{name}/s/n", [{"n": 1}]), 400, BAD_REQUEST, name)


def test_the_last_route_makes_its_dataset(client: Client) -> None:
    name = new_name()

    says(client.post(f"/v1/{name}", [{"n": 1}]), 202, REQUEST_ACCEPTED)
    assert client.numbers(name) == [1]


def test_a_body_that_is_refused_makes_no_dataset(client: Client) -> None:
    name = new_name()

    says(client.post(f"/v1/{name}", "nonsense"), 400, BAD_REQUEST)
    assert client.server.client.get(f"/v2/datasets/{name}").status_code == 404


@pytest.mark.parametrize("path", ["/baselime/v1", "/baselime/v1/", "/baselime/", "/v1", "/v1/"])
def test_an_array_for_the_dataset_of_a_header(client: Client, dataset: str, path: str) -> None:
    says(client.post(path, [{"n": 1}], {"x-dataset": dataset}), 202, REQUEST_ACCEPTED)
    assert client.numbers(dataset) == [1]
    says(client.post(path, [{"n": 1}]), 400, BAD_REQUEST, "x-dataset")


def test_service_and_namespace_by_path_header_and_event(client: Client, dataset: str) -> None:
    def send(path: str, event: dict[str, Any], **headers: str) -> None:
        named = {"x-" + name: value for name, value in headers.items()}
        says(client.post(f"/v1/{dataset}{path}", [event], named), 202, REQUEST_ACCEPTED)

    send("/ns", {"n": 1})
    send("/svc/ns", {"n": 2})
    send("", {"n": 3}, service="hs", namespace="/a/b")
    send("", {"n": 4}, service="undefined", namespace="undefined")
    send("", {"n": 5, "service": "own", "namespace": "mine"}, service="hs", namespace="hn")
    send("/ns", {"n": 6, "namespace": "mine"}, service="hs", namespace="hn")
    send("", {"n": 7, "service": "", "namespace": 3}, service="hs", namespace="hn")
    send("", {"n": 8, "$baselime": {"service": "kept"}, "service": "own"}, namespace="hn")

    rows = client.fields(dataset, "$baselime.service", "$baselime.namespace")
    assert [tuple(row.values()) for row in rows] == [
        (None, "ns"),
        ("svc", "ns"),
        ("hs", "/a/b"),
        (None, None),
        ("own", "mine"),
        ("hs", "mine"),
        ("hs", "hn"),
        ("kept", "hn"),
    ]


def test_events_of_one_request_may_be_of_several_namespaces(client: Client, dataset: str) -> None:
    events = [{"n": n} if n % 3 == 0 else {"n": n, "namespace": f"ns{n % 3}"} for n in range(30)]

    client.post(f"/v1/{dataset}", events, {"x-namespace": "default"})

    rows = client.fields(dataset, "$baselime.namespace")
    assert [row["$baselime.namespace"] for row in rows] == ["default", "ns1", "ns2"] * 10


def test_a_namespace_is_percent_decoded_and_has_at_most_512_bytes(client: Client, dataset: str) -> None:
    says(client.post(f"/v1/{dataset}/" + "%C3%A9" * 256, [{"n": 1}]), 202, REQUEST_ACCEPTED)
    says(client.post(f"/v1/{dataset}/" + "%C3%A9" * 256 + "x", [{"n": 2}]), 400, BAD_REQUEST, "512")
    assert client.fields(dataset, "n", "$baselime.namespace") == [{"n": 1, "$baselime.namespace": "é" * 256}]


def test_event_times(client: Client, dataset: str) -> None:
    times: list[dict[str, Any]] = [
        {"timestamp": 1_700_000_000},
        {"timestamp": 1_700_000_000_123},
        {"timestamp": 1_700_000_000_123_456},
        {"timestamp": 1_700_000_000_123_456_000},
        {"date": 1_700_000_000.25},
        {"@timestamp": "2023-11-14T22:13:20.5Z"},
        {"_time": "2023-11-14T22:13:20.5Z"},
        {"time": 1_700_000_000_123},
        {"timestamp": "nonsense", "@timestamp": None, "time": 1_700_000_000_123, "date": 1},
    ]
    client.post(f"/v1/{dataset}/n", [{"n": n, **event} for n, event in enumerate(times)])

    assert [row["_time"] for row in client.fields(dataset, "_time", "n")] == [
        "2023-11-14T22:13:20Z",
        "2023-11-14T22:13:20.123Z",
        "2023-11-14T22:13:20.123456Z",
        "2023-11-14T22:13:20.123456Z",
        "2023-11-14T22:13:20.25Z",
        "2023-11-14T22:13:20.5Z",
        "2023-11-14T22:13:20.5Z",
        "2023-11-14T22:13:20.123Z",
        "2023-11-14T22:13:20.123Z",
    ]


def test_an_event_without_a_time_has_that_of_its_receipt(client: Client, dataset: str) -> None:
    client.post(f"/v1/{dataset}/n", '[{"n":1},{"n":2,"timestamp":{}}]')

    rows = client.fields(dataset, "_time", "_sysTime", "n")
    assert [row["_time"] for row in rows] == [row["_sysTime"] for row in rows]


def test_every_kind_of_value_is_stored(client: Client, dataset: str) -> None:
    event = {"n": 1, "s": "é", "b": True, "f": 1.5, "o": {"p": {"q": "r"}}, "a": [1, "x"], "nothing": None}

    says(client.post(f"/v1/{dataset}/n", [event]), 202, REQUEST_ACCEPTED)

    assert client.fields(dataset, "n", "s", "b", "f", "o.p.q", "a") == [
        {"n": 1, "s": "é", "b": True, "f": 1.5, "o.p.q": "r", "a": [1, "x"]}
    ]


# What the operator chooses.


def test_partly_stored_requests_may_be_answered_202(make_server: "MakeServer") -> None:
    client = Client(make_server("--baselime-partial=202").start())
    name = client.server.create("d")

    partly(client.post(f"/v1/{name}/n", '[{"n":1},{"n":}]'), 202, (1, '{"n":}', "malformed"))
    partly(client.post(f"/v1/{name}/n", "[7]"), 400, (0, 7, "an event is a JSON object"))
    assert client.numbers(name) == [1]


def test_strict_path_and_auto_create(make_server: "MakeServer") -> None:
    client = Client(make_server("--baselime-strict-path=true", "--baselime-auto-create=true").start())

    says(client.post("/v1/new/n", [{"n": 1}]), 202, REQUEST_ACCEPTED)
    says(client.post("/v1/new", [{"n": 2}]), 400, BAD_REQUEST)
    says(client.post("/v1/new/s/n", [{"n": 3}]), 400, BAD_REQUEST)
    says(client.post("/v1", [{"n": 4}], {"x-dataset": "new"}), 400, BAD_REQUEST)
    assert client.numbers("new") == [1]


def test_a_browser_may_send_from_any_page(client: Client, dataset: str) -> None:
    asked = "contenttype,library,x-api-key,x-namespace,x-service"
    preflight = client.http.options(f"/v1/{dataset}", headers={"access-control-request-headers": asked})

    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-headers"] == asked
    answers = [preflight, client.post(f"/v1/{dataset}", [{"n": 1}]), client.http.post("/v1/x", content="[]")]
    assert [answer.headers["access-control-allow-origin"] for answer in answers] == ["*", "*", "*"]


# OTLP.

SPANS = {
    "resourceSpans": [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
            "scopeSpans": [
                {
                    "spans": [
                        {
                            "traceId": "0af7651916cd43dd8448eb211c80319c",
                            "spanId": "b7ad6b7169203331",
                            "name": "GET /",
                            "kind": 2,
                            "startTimeUnixNano": "1700000000000000000",
                            "endTimeUnixNano": "1700000000002000000",
                            "attributes": [{"key": "n", "value": {"intValue": 1}}],
                        }
                    ]
                }
            ],
        }
    ]
}
LOGS = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "hello"}}]}]}]}
POINT = {"asInt": "5", "timeUnixNano": "1700000000000000000"}
METRICS = {
    "resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "m", "gauge": {"dataPoints": [POINT]}}]}]}],
}


def otlp_ok(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (200, "{}", "application/json")


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/traces", "/baselime/", "/baselime/v1", "/baselime/v1/traces"])
def test_otlp_spans_in_json(client: Client, path: str) -> None:
    name = new_name()
    headers = {"content-type": "application/json", "x-baselime-dataset": name, "x-namespace": "ns"}

    otlp_ok(client.post(path, SPANS, headers))

    columns = '_time, name, kind, duration, traceId, "attributes.n" AS n, '
    columns += '"$baselime.service" AS s, "$baselime.namespace" AS ns'
    assert client.server.sql(f'SELECT {columns} FROM "{name}"') == [
        {
            "_time": "2023-11-14T22:13:20Z",
            "name": "GET /",
            "kind": "server",
            "duration": 2.0,
            "traceId": "0af7651916cd43dd8448eb211c80319c",
            "n": 1,
            "s": "shop",
            "ns": "ns",
        }
    ]


def test_otlp_logs_and_metrics(client: Client) -> None:
    name = new_name()
    for path, body in (("/v1/logs", LOGS), ("/v1/metrics", METRICS), ("/v1", LOGS)):
        otlp_ok(client.post(path, body, {"x-baselime-dataset": name}))

    rows = client.server.sql(f'SELECT message, name, value FROM "{name}" ORDER BY message')
    assert rows == [
        {"message": "hello", "name": None, "value": None},
        {"message": "hello", "name": None, "value": None},
        {"message": None, "name": "m", "value": 5},
    ]


def test_otlp_without_a_header_goes_to_the_dataset_otel(client: Client) -> None:
    otlp_ok(client.post("/v1/logs", LOGS))

    assert {"message": "hello"} in client.server.sql("SELECT DISTINCT message FROM otel")


def test_otlp_in_compressed_protobuf_is_answered_in_protobuf(client: Client) -> None:
    name = new_name()
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(name="small")
    request.resource_spans[0].scope_spans[0].spans.add(name="x" * 300_000)
    headers = {
        "content-type": "application/x-protobuf",
        "content-encoding": "gzip",
        "x-baselime-dataset": name,
    }

    answer = client.post("/v1/traces", gzip.compress(request.SerializeToString()), headers)

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-protobuf")
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert (partial.rejected_spans, partial.error_message) == (1, "event is larger than 262144 bytes")
    assert client.server.sql(f'SELECT name FROM "{name}"') == [{"name": "small"}]

    del request.resource_spans[0].scope_spans[0].spans[1]
    answer = client.post("/v1/traces", gzip.compress(request.SerializeToString()), headers)
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    ("path", "body", "content_type"),
    [
        ("/v1", "{}", "application/json"),
        ("/v1/logs", '{"n":1}', "application/json"),
        ("/v1/logs", "", "application/json"),
        ("/v1/traces", "\x0a\x7fx", "application/x-protobuf"),
        ("/v1/traces", '{"resourceSpans":[', "application/json"),
    ],
)
def test_what_is_neither_otlp_nor_an_array_is_400(client: Client, path: str, body: str, content_type: str) -> None:
    says(client.post(path, body, {"content-type": content_type, "x-dataset": "d"}), 400, BAD_REQUEST)


@pytest.mark.parametrize("path", ["logs", "traces", "metrics"])
def test_an_array_for_a_dataset_with_the_name_of_a_signal(client: Client, path: str) -> None:
    says(client.post(f"/v1/{path}", [{"n": 1}]), 202, REQUEST_ACCEPTED)

    assert client.numbers(path) == [1]


def test_a_key_that_may_not_send_to_the_dataset_of_otlp_is_401(client: Client, dataset: str) -> None:
    headers = {"x-api-key": make_key(client.server, dataset)}

    says(client.post("/v1/traces", SPANS, headers), 401, UNAUTHORISED, "otel")
    otlp_ok(client.post("/v1/traces", SPANS, {**headers, "x-baselime-dataset": dataset}))
