"""What cannot be stored is refused by name, and the good events beside it are stored."""

import gzip
import json
import re
import zlib
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from support import http

if TYPE_CHECKING:
    from conftest import MakeServer, Server

GOOD = {"n": 1}
MIB = 1024 * 1024


def error(answer: httpx.Response, status: int, *parts: str) -> None:
    """Assert an error in Axiom's shape that says these things."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"code", "message"}
    assert body["code"] == status
    for part in parts:
        assert part in body["message"]
    assert answer.headers["content-type"] == "application/json"
    assert re.fullmatch("[0-9a-f]+", answer.headers["x-axiom-trace-id"])


def partly(answer: httpx.Response, ingested: int, *failures: str) -> dict[str, Any]:
    """Assert an answer in which some events failed, each for a reason that contains the text."""
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert list(body) == ["ingested", "failed", "failures", "processedBytes", "blocksCreated", "walLength"]
    assert (body["ingested"], body["failed"]) == (ingested, len(failures))
    for failure, text in zip(body["failures"], failures, strict=True):
        assert set(failure) == {"timestamp", "error"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", failure["timestamp"])
        assert text in failure["error"]
    return body


def numbers(server: "Server", dataset: str) -> list[int]:
    """Return the values of `n` stored."""
    if not server.sql(f'SELECT count(*) AS c FROM "{dataset}"')[0]["c"]:
        return []
    return [row["n"] for row in server.sql(f'SELECT n FROM "{dataset}" ORDER BY n')]


@pytest.mark.parametrize(
    "authorization", [None, "Bearer xapt-123", "Bearer", "Basic abc", "xapt-123", "Bearer x\u00fc"]
)
def test_a_wrong_token_is_401(server: "Server", dataset: str, authorization: str | None) -> None:
    headers = {b"Authorization": authorization.encode()} if authorization else None
    answer = http.post(f"{server.url}/v1/datasets/{dataset}/ingest", headers=headers, json=[GOOD])

    error(answer, 401)
    assert numbers(server, dataset) == []


def test_the_scheme_of_the_token_may_be_written_in_any_case(server: "Server", dataset: str) -> None:
    answer = server.ingest(dataset, [GOOD], headers={"Authorization": f"bEARER {server.token}"})

    partly(answer, 1)


def test_a_token_for_another_dataset_is_403(server: "Server", dataset: str) -> None:
    token = server.api_token("another")

    answer = server.ingest(dataset, [GOOD], headers={"Authorization": f"Bearer {token}"})

    error(answer, 403, "ingest:create", dataset)
    assert numbers(server, dataset) == []


def test_a_wrong_token_is_told_before_a_missing_dataset(server: "Server") -> None:
    error(server.ingest("missing", [GOOD], headers={"Authorization": "Bearer xapt-123"}), 401)


def test_a_missing_dataset_is_404_and_comes_before_the_media_type(server: "Server") -> None:
    hint = "dataset 'missing' not found: `tailrace dataset create` or POST /v2/datasets makes it"
    error(server.ingest("missing", "x", "image/png"), 404, hint)


@pytest.mark.parametrize("media_type", ["application/x-www-form-urlencoded", "text/html", "application/xml"])
def test_a_wrong_media_type_is_415_and_names_those_accepted(server: "Server", dataset: str, media_type: str) -> None:
    answer = server.ingest(dataset, [GOOD], media_type)

    error(answer, 415, media_type, "application/json", "application/x-ndjson", "text/csv")
    assert numbers(server, dataset) == []


@pytest.mark.parametrize(
    "media_type",
    [
        None,
        "application/json",
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
        "application/x-ndjson",
        "application/nd-json",
        "application/ndjson",
    ],
)
def test_json_is_taken_under_every_name_that_clients_use(
    server: "Server", dataset: str, media_type: str | None
) -> None:
    partly(server.ingest(dataset, '{"n":1}\n{"n":2}', media_type), 2)

    assert numbers(server, dataset) == [1, 2]


OPAQUE = pytest.mark.parametrize("media_type", ["text/plain; charset=utf-8", "application/octet-stream"])


@OPAQUE
def test_lines_of_json_are_taken_under_a_type_that_says_nothing(
    server: "Server", dataset: str, media_type: str
) -> None:
    body = gzip.compress(b'\xef\xbb\xbf\n {"n":1}\n{"n":2}\n{"n":\n')  # as Cloudflare's Logpush sends them

    answer = server.ingest(dataset, body, media_type, headers={"Content-Encoding": "gzip"})

    assert (answer.status_code, answer.json()["ingested"], answer.json()["failed"]) == (200, 2, 1)
    partly(server.ingest(dataset, ' [{"n":3}]', media_type), 1)
    assert numbers(server, dataset) == [1, 2, 3]


@OPAQUE
@pytest.mark.parametrize("body", ["n,m\n1,2\n", "<13>Oct 11 22:14:15 host su: failed", '"text"', "7"])
def test_what_is_no_json_is_415_under_a_type_that_says_nothing(
    server: "Server", dataset: str, media_type: str, body: str
) -> None:
    error(server.ingest(dataset, body, media_type), 415, media_type.partition(";")[0], "application/x-ndjson")


def test_the_password_of_basic_authentication_is_the_token(server: "Server", dataset: str) -> None:
    token = server.api_token(dataset)
    for path in (f"/v1/datasets/{dataset}/ingest", f"/v1/ingest/{dataset}"):
        answer = http.post(f"{server.url}{path}", auth=("axiom", token), json=[{"n": 1}])
        assert answer.status_code == 200, answer.text

    for sent in ("Basic !", "Basic YXhpb20=", "Basic YXhpb206", "Basic YXhpb206bm9uZQ=="):  # the last is axiom:none
        error(server.ingest(dataset, [{"n": 2}], headers={"Authorization": sent}), 401)
    assert numbers(server, dataset) == [1, 1]


def test_an_unknown_content_encoding_is_415(server: "Server", dataset: str) -> None:
    error(server.ingest(dataset, b"x", headers={"Content-Encoding": "snappy"}), 415, "snappy")


@pytest.mark.parametrize("encoding", ["", "1", "identity"])
def test_the_odd_names_that_clients_give_to_no_encoding_are_taken(
    server: "Server", dataset: str, encoding: str
) -> None:
    partly(server.ingest(dataset, [GOOD], headers={"Content-Encoding": encoding}), 1)


@pytest.mark.parametrize("body", [b"no gzip at all", gzip.compress(b'[{"n":1}]', mtime=0)[:-9]])
def test_broken_gzip_is_400(server: "Server", dataset: str, body: bytes) -> None:
    error(server.ingest(dataset, body, headers={"Content-Encoding": "gzip"}), 400, "gzip")
    assert numbers(server, dataset) == []


@pytest.mark.parametrize("body", ['[{"n":1},{"n":', '[{"n":1}', '{"n":', '[{"n":1}] x'])
def test_truncated_json_is_400_and_stores_nothing(server: "Server", dataset: str, body: str) -> None:
    error(server.ingest(dataset, body), 400)
    assert numbers(server, dataset) == []


def test_a_bad_line_among_good_ones_fails_alone(server: "Server", dataset: str) -> None:
    answer = server.ingest(dataset, '{"n":1}\n{"n":oops}\n{"n":3}\n', "application/x-ndjson")

    partly(answer, 2, "event 1: ")
    assert numbers(server, dataset) == [1, 3]


def test_a_first_line_that_is_an_array_fails_alone(server: "Server", dataset: str) -> None:
    partly(server.ingest(dataset, '[7]\n{"n":1}\n{"n":2}\n', "application/x-ndjson"), 2, "event 0: ")
    assert numbers(server, dataset) == [1, 2]


@pytest.mark.parametrize("body", ['[{"n":1},\n{"n":2}]', '\n[{"n":1},{"n":2}]\n\n'])
def test_an_array_may_be_sent_as_ndjson(server: "Server", dataset: str, body: str) -> None:
    partly(server.ingest(dataset, body, "application/x-ndjson"), 2)
    assert numbers(server, dataset) == [1, 2]


def test_a_truncated_array_sent_as_ndjson_is_400_and_stores_nothing(server: "Server", dataset: str) -> None:
    error(server.ingest(dataset, '[\n{"n":1},\n{"n":2},\n', "application/x-ndjson"), 400, "malformed JSON")
    assert numbers(server, dataset) == []


def test_an_array_element_that_is_no_object_fails_alone(server: "Server", dataset: str) -> None:
    partly(server.ingest(dataset, '[{"n":1},7,{"n":3}]'), 2, "event 1: ")
    assert numbers(server, dataset) == [1, 3]


def test_a_request_whose_events_all_fail_is_200(server: "Server", dataset: str) -> None:
    partly(server.ingest(dataset, "[7,8]"), 0, "event 0: ", "event 1: ")


def test_bad_utf8_is_marked_and_stored(server: "Server", dataset: str) -> None:
    partly(server.ingest(dataset, b'[{"n":1},{"n":2,"text":"\xff\xfe"}]'), 2)

    rows = server.sql(f'SELECT n, "text" FROM "{dataset}" ORDER BY n')
    assert rows == [{"n": 1, "text": None}, {"n": 2, "text": "<invalid data>"}]


def test_a_number_too_big_is_stored_as_it_came(server: "Server", dataset: str) -> None:
    huge = "123456789012345678901234567890"
    partly(server.ingest(dataset, f'[{{"n":1}},{{"n":2,"big":{huge},"wide":1e999}}]'), 2)

    assert numbers(server, dataset) == [1, 2]
    answer = server.client.post(
        "/tailrace/v1/sql", json={"sql": f'SELECT "big" FROM "{dataset}" WHERE n = 2'}, headers={"Accept": "text/csv"}
    )
    assert huge in answer.text


def test_an_event_too_large_fails_alone(make_server: "MakeServer") -> None:
    server = make_server("--max-event-bytes=2000").start()
    server.create("d")

    answer = server.ingest("d", [{"n": 1}, {"n": 2, "text": "x" * 2000}, {"n": 3}])

    partly(answer, 2, "max_event_bytes")
    assert numbers(server, "d") == [1, 3]


def test_a_text_too_long_is_marked_and_its_event_stored(server: "Server", dataset: str) -> None:
    partly(server.ingest(dataset, [{"n": 1, "text": "x" * 1_000_001}]), 1)

    assert server.sql(f'SELECT "text" FROM "{dataset}"') == [{"text": "<invalid string: too long>"}]


def test_as_many_events_as_the_limit_are_taken_and_one_more_is_413(make_server: "MakeServer") -> None:
    server = make_server("--max-events=10").start()
    server.create("d")

    partly(server.ingest("d", [{"n": n} for n in range(10)]), 10)
    error(server.ingest("d", [{"n": n} for n in range(11)]), 413, "max_events")
    assert numbers(server, "d") == list(range(10))


def test_a_name_of_300_bytes_fails_its_event_alone(server: "Server", dataset: str) -> None:
    partly(server.ingest(dataset, [{"n": 1}, {"n": 2, "x" * 300: 1}, {"n": 3}]), 2, "max_name_bytes")
    assert numbers(server, dataset) == [1, 3]


def test_what_lies_200_levels_deep_becomes_null(server: "Server", dataset: str) -> None:
    deep = '{"n":2,"deep":' + '{"d":' * 200 + "1" + "}" * 200 + "}"

    partly(server.ingest(dataset, f'[{{"n":1}},{deep},{{"n":3}}]'), 3)
    assert numbers(server, dataset) == [1, 2, 3]


def test_an_unreadable_time_fails_its_event_alone(server: "Server", dataset: str) -> None:
    partly(server.ingest(dataset, [{"n": 1}, {"n": 2, "_time": "yesterday-ish"}, {"n": 3}]), 2, "yesterday-ish")
    assert numbers(server, dataset) == [1, 3]


def test_a_time_that_does_not_follow_the_format_fails_its_event_alone(server: "Server", dataset: str) -> None:
    events = [{"n": 1, "at": "05/Mar/2026:10:11:12 +0000"}, {"n": 2, "at": "2026-03-05T10:11:12Z"}]
    params = {"timestamp-field": "at", "timestamp-format": "2/Jan/2006:15:04:05 +0000", "csv-delimiter": ";"}

    partly(server.ingest(dataset, events, params=params), 1, "2026-03-05T10:11:12Z")
    assert server.sql(f'SELECT n, _time FROM "{dataset}"') == [{"n": 1, "_time": "2026-03-05T10:11:12Z"}]


def test_a_body_past_the_decoded_limit_is_413(make_server: "MakeServer") -> None:
    server = make_server("--max-body-bytes=1MiB").start()
    server.create("d")
    bomb = zlib.compress(b"[" + b" " * 200 * MIB + b"]")

    error(server.ingest("d", bomb, headers={"Content-Encoding": "deflate"}), 413, "max_body_bytes")
    assert numbers(server, "d") == []


def test_a_body_past_the_wire_limit_is_413_declared_or_not(make_server: "MakeServer") -> None:
    server = make_server("--max-wire-bytes=1MiB").start()
    server.create("d")
    body = json.dumps([{"n": 1, "text": "x" * 2 * MIB}]).encode()

    declared = server.ingest("d", body)
    chunked = server.client.post(
        "/v1/datasets/d/ingest",
        content=(body[start : start + 50_000] for start in range(0, len(body), 50_000)),
        headers={"Content-Type": "application/json"},
    )

    error(declared, 413, "max_wire_bytes")
    error(chunked, 413, "max_wire_bytes")
    assert numbers(server, "d") == []


@pytest.mark.parametrize("labels", ["no json", "[1]", '{"a":1}{"b":2}', "7", '{"_time":"2020-01-01T00:00:00Z"}'])
def test_bad_labels_are_400(server: "Server", dataset: str, labels: str) -> None:
    error(server.ingest(dataset, [GOOD], headers={"X-Axiom-Event-Labels": labels}), 400, "X-Axiom-Event-Labels")
    assert numbers(server, dataset) == []


def test_refusals_are_counted_by_reason(make_server: "MakeServer") -> None:
    server = make_server().start()
    server.create("d")

    server.ingest("d", "[7,8]")
    server.ingest("missing", [GOOD])

    metrics = server.client.get("/metrics").text
    where = 'route="/v1/datasets/{dataset}/ingest"'
    refused = f'{{protocol="axiom",reason="dataset_not_found",{where},status="404"}} 1.0'
    rejected = rf'_events_total{{protocol="axiom",reason="[a-z_]+",{re.escape(where)}}} 2\.0'
    assert f"tailrace_refused_requests_total{refused}" in metrics
    assert re.search(rejected, metrics)
