"""Moesif's collector: what is valid, what is stored of it, and every answer."""

import base64
import gzip
import json
import re
import zlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from google.protobuf.json_format import Parse
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from support import http
from support.events import flat
from support.moesif import Application, call

if TYPE_CHECKING:
    from conftest import MakeServer, Server

# The bodies of the first document, as printed.
SEED_EVENT = b"""{
  "request": {
    "time": "2016-08-16T09:21:56.998Z",
    "uri": "string",
    "verb": "string",
    "ip_address": "string",
    "headers": {},
    "body": {}
  },
  "response": {
    "time": "2016-08-16T09:21:56.998Z",
    "status": 200,
    "ip_address": "string",
    "headers": {},
    "body": {}
  }
}
"""
SEED_BATCH = b"[\n  " + SEED_EVENT.strip() + b",\n  {},\n]\n"
SEED_STORED = flat({"event_type": "api_call", **json.loads(SEED_EVENT)})

POSTS = ("events", "actions", "users", "companies", "subscriptions")
TAGS = ("x-moesif-config-etag", "x-moesif-rules-tag")


@pytest.fixture
def application(server: "Server") -> Application:
    return Application(server)


def accepted(answer: httpx.Response, count: int, *rejected: tuple[int, str]) -> None:
    """Assert that so many were accepted, and that those of an index were not, for a reason that contains the text."""
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert list(body) == ["accepted", "rejected"]
    assert body["accepted"] == count
    assert [each["index"] for each in body["rejected"]] == [index for index, _ in rejected]
    for each, (_, text) in zip(body["rejected"], rejected, strict=True):
        assert set(each) == {"index", "reason"}
        assert text in each["reason"]
    tagged(answer)


def refused(answer: httpx.Response, status: int, error: str, *parts: str) -> None:
    """Assert an error in this protocol's shape that says these things."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) - {"rejected"} == {"error", "message"}
    assert body["error"] == error
    for part in parts:
        assert part in body["message"]
    tagged(answer)


def tagged(answer: httpx.Response) -> None:
    for tag in TAGS:
        assert re.fullmatch("[0-9a-f]{32}", answer.headers[tag])
    assert answer.headers["access-control-allow-origin"] == "*"


# The documents' examples


def test_the_single_event_as_printed(application: Application) -> None:
    accepted(application.post("/moesifapi/events", SEED_EVENT), 1)

    [stored] = application.stored(times=True)
    assert stored.pop("_time") == "2016-08-16T09:21:56.998Z"
    assert stored == SEED_STORED


def test_the_batch_as_printed_is_no_json(application: Application) -> None:
    refused(application.post("/moesifapi/events/batch", SEED_BATCH), 400, "bad_request", "malformed JSON")

    assert application.count() == 0


def test_the_batch_with_a_real_empty_object(application: Application) -> None:
    body = SEED_BATCH.replace(b"{},\n]", b"{}\n]")

    accepted(application.post("/moesifapi/events/batch", body), 1, (1, "request is required"))
    assert application.stored() == [SEED_STORED]


# Routes


@pytest.mark.parametrize("base", ["/v1", "/collector/v1", "/moesif/v1"])
def test_every_route_under_every_base(application: Application, base: str) -> None:
    action = {"action_name": "a", "request": {"uri": "/"}}
    bodies: dict[str, Any] = {
        "events": call(),
        "actions": action,
        "users": {"user_id": "u"},
        "companies": {"company_id": "c"},
        "subscriptions": {"subscription_id": "s", "company_id": "c", "status": "active"},
    }
    for noun in POSTS:
        accepted(application.post(f"{base}/{noun}", bodies[noun]), 1)
        accepted(application.post(f"{base}/{noun}/batch", [bodies[noun]]), 1)
    assert application.get(f"{base}/config").status_code == 200
    assert application.get(f"{base}/rules").json() == []
    assert application.count() == 4


def test_the_health_probe_needs_no_application(server: "Server") -> None:
    answer = http.get(f"{server.url}/health/probe")

    assert answer.status_code == 200
    assert answer.json() == {"status": True, "region": "self-hosted"}
    tagged(answer)


def test_an_unknown_path_and_a_wrong_method(application: Application) -> None:
    refused(application.post("/moesif/v1/governance", {}), 404, "not_found", "/v1/governance")
    wrong = application.get("/v1/events")
    refused(wrong, 405, "method_not_allowed", "GET", "POST")
    assert wrong.headers["allow"] == "POST"


# Who


@pytest.mark.parametrize("sent", [[], [b""], [b"x" * 60], [b"no", b"neither"]])
def test_a_missing_or_unknown_application_is_401(server: "Server", sent: list[bytes]) -> None:
    headers = [(b"X-Moesif-Application-Id", value) for value in sent]
    with httpx.Client(trust_env=False) as client:
        for path in ("/moesifapi/events", "/v1/events", "/v1/events/batch", "/v1/users", "/collector/v1/actions"):
            answer = client.post(server.url + path, headers=headers, json=call())
            refused(answer, 401, "unauthorized", "X-Moesif-Application-Id")
        for path in ("/v1/config", "/v1/rules"):
            refused(client.get(server.url + path, headers=headers), 401, "unauthorized")


def test_of_several_application_ids_one_that_is_known_is_enough(application: Application) -> None:
    headers = [("X-Moesif-Application-Id", "unknown"), ("X-Moesif-Application-Id", application.key)]
    answer = http.post(f"{application.server.url}/v1/events", headers=headers, json=call())

    accepted(answer, 1)


def test_a_revoked_application_is_401_at_once(server: "Server") -> None:
    application = Application(server)
    accepted(application.post("/v1/events", call()), 1)
    keys = server.client.get("/tailrace/v1/keys").json()
    [key] = [each for each in keys if each.get("dataset") == application.dataset]
    assert server.client.delete(f"/tailrace/v1/keys/{key['id']}").status_code == 204

    refused(application.post("/v1/events", call()), 401, "unauthorized")


def test_applications_are_apart(server: "Server") -> None:
    one, other = Application(server), Application(server)
    event = call(transaction_id="same")
    accepted(one.post("/v1/events", event), 1)
    accepted(other.post("/v1/events", event), 1)
    one.post("/v1/users", {"user_id": "u", "metadata": {"of": "one"}})
    other.post("/v1/users", {"user_id": "u", "metadata": {"of": "other"}})

    assert (one.count(), other.count()) == (1, 1)
    assert one.stored("users")[0]["metadata.of"] == "one"
    assert other.stored("users")[0]["metadata.of"] == "other"


# Required fields


def without(*path: str) -> dict[str, Any]:
    """Return a call without a field."""
    event = call()
    part = event
    for name in path[:-1]:
        part = part[name]
    del part[path[-1]]
    return event


def changed(value: Any, *path: str) -> dict[str, Any]:
    """Return a call with another value of a field."""
    event = call()
    part = event
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    return event


REQUIRED = [
    ("request",),
    ("request", "time"),
    ("request", "uri"),
    ("request", "verb"),
    ("response", "time"),
    ("response", "status"),
]


@pytest.mark.parametrize("path", REQUIRED, ids=".".join)
def test_a_required_field_that_is_absent_or_null_refuses_the_event(
    application: Application, path: tuple[str, ...]
) -> None:
    for event in (without(*path), changed(None, *path)):
        reason = f"{'.'.join(path)} is required"
        refused(application.post("/v1/events", event), 400, "invalid", reason)
        accepted(application.post("/v1/events/batch", [event, call()]), 1, (0, reason))
    assert application.count() == 2


OPTIONAL = [
    ("response",),
    ("request", "ip_address"),
    ("request", "headers"),
    ("response", "headers"),
    ("response", "body"),
]


@pytest.mark.parametrize("path", OPTIONAL, ids=".".join)
def test_an_optional_field_may_be_absent_or_null(application: Application, path: tuple[str, ...]) -> None:
    accepted(application.post("/v1/events/batch", [without(*path), changed(None, *path)]), 2)

    expected = flat({**without(*path), "event_type": "api_call"})
    if path[-1] == "ip_address":
        expected["request.ip_address"] = "127.0.0.1"
    assert application.stored() == [expected] * 2


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (changed("yesterday", "request", "time"), "invalid time"),
        (changed("", "request", "uri"), "request.uri is required"),
        (changed(7, "request", "uri"), "request.uri is text"),
        (changed(["GET"], "request", "verb"), "request.verb is text"),
        (changed("two hundred", "response", "status"), "response.status is an HTTP status"),
        (changed(True, "response", "status"), "response.status is an HTTP status"),
        (changed([], "response"), "response is an object"),
        (changed("x", "request"), "request is an object"),
        (changed("1300-01-01T00:00:00Z", "request", "time"), "invalid time"),
    ],
)
def test_a_field_that_cannot_be_read_refuses_the_event(
    application: Application, event: dict[str, Any], reason: str
) -> None:
    accepted(application.post("/v1/events/batch", [call(), event]), 1, (1, reason))


@pytest.mark.parametrize(("sent", "stored"), [("404", 404), (" 200 ", 200), (201.0, 201), ("503.0", 503)])
def test_a_status_may_be_a_numeric_string(application: Application, sent: Any, stored: int) -> None:
    accepted(application.post("/v1/events", changed(sent, "response", "status")), 1)

    assert application.stored()[0]["response.status"] == ("int", stored)


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("2026-11-21T09:22:08.882588", "2026-11-21T09:22:08.882588Z"),
        ("2026-11-21T09:22:08.869", "2026-11-21T09:22:08.869Z"),
        ("2026-11-21T09:22:08.879362+00:00", "2026-11-21T09:22:08.879362Z"),
        ("2026-11-21T11:22:08.8793621+02:00", "2026-11-21T09:22:08.879362Z"),
        ("2026-11-21T09:22:08.8793629Z", "2026-11-21T09:22:08.879362Z"),
        ("2016-08-16T09:21:56Z", "2016-08-16T09:21:56Z"),
    ],
)
def test_times_of_every_sdk_are_read(application: Application, sent: str, stored: str) -> None:
    body = [changed(sent, "request", "time")] * 20  # enough to be read in bulk
    accepted(application.post("/v1/events/batch", body), 20)

    rows = application.stored(times=True)
    assert {(row["_time"], row["request.time"]) for row in rows} == {(stored, sent)}


def test_ids_that_are_numbers_become_text(application: Application) -> None:
    ids = {"user_id": 7, "company_id": 12345678901234567890, "session_token": 1.5, "subscription_id": 0}
    accepted(application.post("/v1/events", call(**ids)), 1)

    [stored] = application.stored()
    assert {name: stored[name] for name in ids} == {
        "user_id": "7",
        "company_id": "12345678901234567890",
        "session_token": "1.5",
        "subscription_id": "0",
    }


def test_headers_of_the_time_of_the_proxy_are_copied(application: Application) -> None:
    headers = {
        "x-moesif-TAGS": "me",
        "X-Moesif-Api-Version": "1.1",
        "X-Moesif-User-Id": "u1",
        "X-Moesif-Session-Token": "t1",
        "X-Moesif-Transaction-Id": "not an id of the event",
    }
    event = changed(headers, "request", "headers")
    accepted(application.post("/v1/events/batch", [event, {**event, "tags": "own", "user_id": None}, call()]), 3)

    expected = {
        "event_type": "api_call",
        **event,
        "tags": "me",
        "user_id": "u1",
        "session_token": "t1",
        "request": {**event["request"], "api_version": "1.1"},
    }
    assert application.stored() == [
        flat(expected),
        flat({**expected, "tags": "own"}),
        flat({"event_type": "api_call", **call()}),
    ]


def test_what_is_not_known_is_kept(application: Application) -> None:
    event = call(
        tags="",
        weight=5,
        direction="Sideways",
        blocked_by="rule",
        action_name="kept",
        trace_id="t",
        span={"id": "s", "parent_id": "p", "links": [1]},
        unheard_of={"of": [1, {"two": 2.5}], "big": 2**70},
    )
    event["request"] |= {"transfer_encoding": "Strange", "content_length": 3, "body": "aGk=", "user_agent_string": "x"}
    event["request"]["headers"] = {"A": None, "B": 1, "C": ["x", "y"]}
    accepted(application.post("/v1/events", event), 1)

    assert application.stored() == [flat({**event, "event_type": "api_call"})]


def test_the_server_s_own_names_are_the_server_s(application: Application) -> None:
    accepted(application.post("/v1/events", call(_time="mine", _sysTime=1)), 1)

    [stored] = application.stored(times=True)
    assert (stored["_time"], stored["_user_time"], stored["_user_sysTime"]) == (
        "2026-08-16T09:21:56.998Z",
        "mine",
        ("int", 1),
    )


# Actions


def test_an_action_takes_the_time_of_its_receipt_when_it_has_none(application: Application) -> None:
    action = {"action_name": "Clicked", "request": {"uri": "http://a/", "verb": "GET"}, "metadata": {"n": 1}}
    timed = {**action, "request": {**action["request"], "time": "2026-08-16T09:21:56.998Z"}}  # type: ignore[dict-item]
    null = {**action, "request": {**action["request"], "time": None}}  # type: ignore[dict-item]
    accepted(application.post("/v1/actions/batch", [action, timed, null]), 3)

    rows = application.server.sql(f'SELECT _time = _sysTime AS now, * FROM "{application.dataset}" ORDER BY _time')
    assert [row["now"] for row in rows] == [False, True, True]
    assert {row["event_type"] for row in rows} == {"action"}
    assert {row["request.ip_address"] for row in rows} == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ({"request": {"uri": "/"}}, "action_name is required"),
        ({"action_name": "a", "request": {}}, "request.uri is required"),
        ({"action_name": "a"}, "request is required"),
        ({"action_name": "a", "request": {"uri": "/", "time": "never"}}, "invalid time"),
    ],
)
def test_a_required_field_of_an_action(application: Application, action: dict[str, Any], reason: str) -> None:
    refused(application.post("/v1/actions", action), 400, "invalid", reason)


# OTLP

TRACE = {
    "resourceSpans": [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
            "scopeSpans": [
                {
                    "spans": [
                        {
                            "traceId": "5b8efff798038103d269b633813fc60c",
                            "spanId": "eee19b7ec3c1b174",
                            "name": "checkout",
                            "startTimeUnixNano": "1790000000000000000",
                            "endTimeUnixNano": "1790000000500000000",
                        }
                    ]
                }
            ],
        }
    ]
}
LOG = {
    "resourceLogs": [
        {"scopeLogs": [{"logRecords": [{"timeUnixNano": "1790000000000000000", "body": {"stringValue": "hello"}}]}]}
    ]
}


@pytest.mark.parametrize("base", ["/v1", "/collector/v1"])
def test_otlp_lands_in_the_application_s_dataset(application: Application, base: str) -> None:
    for path in (f"{base}/traces", f"{base}/traces/v1/traces"):
        answer = application.post(path, TRACE)
        assert (answer.status_code, answer.json()) == (200, {})
        tagged(answer)
    for path in (f"{base}/logs", f"{base}/logs/v1/logs"):
        assert application.post(path, LOG).status_code == 200

    rows = application.stored(times=True)
    assert [row["event_type"] for row in rows] == ["span", "span", "log", "log"]
    assert {row["_time"] for row in rows} == {"2026-09-21T14:13:20Z"}
    assert (rows[0]["name"], rows[0]["service"]) == ("checkout", "shop")


def test_otlp_in_protobuf(application: Application) -> None:
    request = Parse(json.dumps(LOG), ExportLogsServiceRequest())
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
    answer = application.post("/v1/logs", gzip.compress(request.SerializeToString()), headers=headers)

    assert (answer.status_code, answer.content) == (200, b"")
    assert application.count() == 1
    refused(application.post("/v1/logs", b"{}}"), 400, "bad_request", "OTLP")


# Bodies


@pytest.mark.parametrize(
    ("path", "body", "parts"),
    [
        ("/v1/events", b"", ["empty"]),
        ("/v1/events", b"  \n ", ["empty"]),
        ("/v1/events", b"[]", ["an array", "one JSON object"]),
        ("/v1/events", b'"x"', ["neither"]),
        ("/v1/events", b'{"request":', ["malformed JSON"]),
        ("/v1/events", json.dumps(call()).encode() * 2, ["2 objects"]),
        ("/v1/events/batch", json.dumps(call()).encode(), ["an object", "array"]),
        ("/v1/events/batch", b"[1, 2", ["malformed JSON"]),
        ("/v1/events/batch", b"null", ["neither"]),
        ("/v1/users/batch", b"{}", ["an object", "array"]),
        ("/v1/users", b"\x00", ["neither"]),
    ],
)
def test_a_body_that_is_not_what_the_route_takes_is_400(
    application: Application, path: str, body: bytes, parts: list[str]
) -> None:
    refused(application.post(path, body), 400, "bad_request", *parts)


def test_a_batch_of_nothing_is_taken(application: Application) -> None:
    accepted(application.post("/v1/events/batch", b"[]"), 0)


def test_a_batch_of_which_nothing_is_valid_is_400(application: Application) -> None:
    answer = application.post("/v1/events/batch", [{}, 1, "two"])

    refused(answer, 400, "invalid", "nothing of the 3", "element 0")
    assert [each["index"] for each in answer.json()["rejected"]] == [0, 1, 2]


@pytest.mark.parametrize("wbits", [31, 15, -15], ids=["gzip", "zlib", "raw deflate"])
@pytest.mark.parametrize("path", ["/v1/events/batch", "/v1/users/batch"])
def test_compressed_bodies_sent_as_text(application: Application, wbits: int, path: str) -> None:
    body = [call(), call(user_id="u2")] if "events" in path else [{"user_id": "u1"}, {"user_id": "u2"}]
    pressed = zlib.compressobj(wbits=wbits)
    content = pressed.compress(json.dumps(body).encode()) + pressed.flush()
    headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Encoding": "gzip" if wbits == 31 else "deflate"}

    accepted(application.post(path, content, headers=headers), 2)
    assert len(application.stored("" if "events" in path else "users")) == 2


def test_an_unknown_encoding_is_415_and_a_broken_one_400(application: Application) -> None:
    body = json.dumps(call()).encode()
    refused(application.post("/v1/events", body, headers={"Content-Encoding": "lzma"}), 415, "unsupported_encoding")
    broken = application.post("/v1/events", body, headers={"Content-Encoding": "gzip"})
    refused(broken, 400, "bad_request", "gzip")


# Limits


def batch_of(size: int) -> bytes:
    """Return a batch of exactly so many bytes."""
    empty = json.dumps([call(pad="")]).encode()
    return json.dumps([call(pad="x" * (size - len(empty)))]).encode()


@pytest.mark.parametrize("compressed", [False, True])
def test_the_first_document_s_batch_holds_250_kb(application: Application, compressed: bool) -> None:
    def send(size: int, path: str) -> httpx.Response:
        body = batch_of(size)
        assert len(body) == size
        headers = {"Content-Encoding": "gzip"} if compressed else {}
        return application.post(path, gzip.compress(body) if compressed else body, headers=headers)

    accepted(send(256_000, "/moesifapi/events/batch"), 1)
    refused(send(256_001, "/moesifapi/events/batch"), 413, "too_large", "256000", "/moesifapi/events/batch")
    accepted(send(256_001, "/v1/events/batch"), 1)


def test_a_request_of_more_than_50_mb_is_413(application: Application) -> None:
    size = 50 * 1024 * 1024
    line = json.dumps({"user_id": "u", "metadata": {"pad": "x" * 900_000}}).encode()
    exact = b"[" + b",".join([line] * 57) + b"]"
    exact += b" " * (size - len(exact))
    headers = {"Content-Encoding": "gzip"}

    accepted(application.post("/v1/users/batch", gzip.compress(exact, 1), headers=headers), 57)
    refused(
        application.post("/v1/users/batch", gzip.compress(exact + b" ", 1), headers=headers),
        413,
        "too_large",
        str(size),
        "/v1/users/batch",
    )


def test_the_server_s_own_limit_of_a_body_holds_too(make_server: "MakeServer") -> None:
    application = Application(make_server("--max-body-bytes=2KiB").start())

    refused(application.post("/v1/events", call(pad="x" * 2048)), 413, "too_large", "2048", "max_body_bytes")


MIB = 1024 * 1024
TRUNCATED_BYTES = 450 * 1024


def event_of(size: int, which: str) -> dict[str, Any]:
    """Return an event of exactly so many bytes as JSON, most of them in a body, which is an object."""
    filled = changed({"a": ["0123456789"] * 1000}, which, "body")
    rows = (size - len(json.dumps(filled, separators=(",", ":")))) // 14
    filled = changed({"a": ["0123456789"] * (1000 + rows)}, which, "body")
    while len(json.dumps(filled, separators=(",", ":"))) > size:
        filled[which]["body"]["a"].pop()
    filled["pad"] = ""
    left = size - len(json.dumps(filled, separators=(",", ":")))
    if left < 0:
        filled[which]["body"]["a"].pop()
        left = size - len(json.dumps(filled, separators=(",", ":")))
    filled["pad"] = "x" * left
    assert len(json.dumps(filled, separators=(",", ":"))) == size
    return filled


@pytest.mark.parametrize("which", ["request", "response"])
def test_an_event_of_1_mb_is_whole_and_a_larger_one_has_its_body_cut(application: Application, which: str) -> None:
    exact, larger = event_of(MIB, which), event_of(MIB + 1, which)
    body = json.dumps([exact, larger, call()], separators=(",", ":")).encode()
    accepted(application.post("/v1/events/batch", body), 3)

    whole, parsed, small = application.stored()
    assert whole == flat({**exact, "event_type": "api_call"})
    assert small == flat({**call(), "event_type": "api_call"})
    sent = json.dumps(larger[which]["body"], separators=(",", ":")).encode()
    assert base64.b64decode(parsed[f"{which}.body"]) == sent[:TRUNCATED_BYTES]
    assert parsed[f"{which}.transfer_encoding"] == "base64"
    assert parsed[f"{which}.body_truncated"] == ("bool", True)
    assert parsed[f"{which}.body_bytes"] == ("int", len(sent))
    assert parsed["request.uri"] == larger["request"]["uri"]


def test_a_base64_body_and_a_text_are_cut_as_what_they_are(application: Application) -> None:
    data = bytes(range(256)) * 4096
    binary = changed(base64.b64encode(data).decode(), "request", "body")
    binary["request"]["transfer_encoding"] = "BASE64"
    text = changed("é" * 800_000, "response", "body")
    body = json.dumps([binary, text], ensure_ascii=False).encode()
    accepted(application.post("/v1/events/batch", body), 2)

    first, second = application.stored()
    assert base64.b64decode(first["request.body"]) == data[:TRUNCATED_BYTES]
    assert base64.b64decode(second["response.body"]) == ("é" * 800_000).encode()[:TRUNCATED_BYTES]


def test_an_event_past_the_server_s_limit_is_refused_alone(make_server: "MakeServer") -> None:
    application = Application(make_server("--max-event-bytes=2KiB").start())
    large = call(metadata={"a": ["x"] * 1000})

    accepted(application.post("/v1/events/batch", [large, call()]), 1, (0, "max_event_bytes is 2048"))


def test_events_past_an_age_are_refused_where_that_is_set(make_server: "MakeServer") -> None:
    application = Application(make_server("--moesif-max-age-s=30d").start())

    now = datetime.now(UTC)
    ages = [timedelta(days=30, minutes=1), timedelta(days=29, hours=23), timedelta(0), -timedelta(days=1)]
    events = [changed((now - age).isoformat(), "request", "time") for age in ages]

    accepted(application.post("/v1/events/batch", events), 3, (0, "older than moesif_max_age_s = 2592000 s"))


# Answers


def test_the_configuration_has_every_key_and_integers(application: Application) -> None:
    config = application.get("/v1/config")

    assert config.json() == {
        "org_id": "tailrace",
        "app_id": application.dataset,
        "sample_rate": 100,
        "block_bot_traffic": False,
        "user_sample_rate": {},
        "company_sample_rate": {},
        "user_rules": {},
        "company_rules": {},
        "ip_addresses_blocked_by_name": {},
        "regex_config": [],
        "billing_config_jsons": {},
    }
    assert b"100.0" not in config.content
    tagged(config)


@pytest.mark.parametrize("path", ["/v1/config", "/v1/rules"])
@pytest.mark.parametrize("shape", ["{}", '"{}"', 'W/"{}"', '"other", "{}"'])
def test_a_known_tag_is_answered_304(application: Application, path: str, shape: str) -> None:
    first = application.get(path)
    tag = first.headers[TAGS[0] if path.endswith("config") else TAGS[1]]
    again = application.get(path, {"If-None-Match": shape.format(tag)})

    assert again.status_code == 304
    assert again.content == b""
    tagged(again)
    assert application.get(path, {"If-None-Match": "another"}).status_code == 200


def test_tags_are_the_same_on_every_answer_and_after_a_restart(make_server: "MakeServer") -> None:
    running = make_server().start()
    application = Application(running)

    def tags() -> set[tuple[str, ...]]:
        answers = [
            application.get("/v1/config"),
            application.get("/v1/rules"),
            application.get("/health/probe"),
            application.get("/v1/events"),
            application.post("/v1/events", call()),
            application.post("/v1/events", b"{"),
            application.post("/v1/users/batch", [{}]),
        ]
        return {tuple(answer.headers[tag] for tag in TAGS) for answer in answers}

    before = tags()
    running.stop()
    running.start()
    assert len(before) == 1
    assert tags() == before


def test_a_preflight_is_allowed(server: "Server") -> None:
    asked = "content-type, x-moesif-application-id, x-moesif-sdk"
    answer = httpx.options(
        f"{server.url}/v1/events",
        headers={
            "Origin": "http://shop.example.com",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": asked,
        },
        trust_env=False,
    )

    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-headers"] == asked
    assert "POST" in answer.headers["access-control-allow-methods"]


def test_refusals_are_counted(make_server: "MakeServer") -> None:
    running = make_server().start()
    application = Application(running)
    application.post("/v1/events/batch", [{}, call()])
    application.post("/v1/users/batch", [{}, {"user_id": "u"}])
    application.post("/v1/events", b"{")

    metrics = running.client.get("/metrics").text
    lines = [line for line in metrics.splitlines() if 'protocol="moesif"' in line]
    for route in ("/v1/events/batch", "/v1/users/batch"):
        assert any(f'"missing_field",route="{route}"' in line and line.endswith(" 1.0") for line in lines), lines
    assert any('"bad_request"' in line and line.endswith(" 1.0") for line in lines), lines
