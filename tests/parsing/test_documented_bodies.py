"""The example bodies of Axiom's two documents, as printed: their events, and the bytes that the answer will report."""

# ruff: noqa: E501 - the bodies stand as printed

import json

import pytest
from support import axiom_bodies

from tailrace.events import ParsedBatch
from tailrace.parsing import Limits, TimeRule, parse_csv, parse_json

PLACEHOLDER = b"""\
{  "description": "string",  "name": "string",  "scopes": [    "string"  ]}"""

DOWNLOAD = b"""\
{ "path": "/download", "method": "POST", "duration_ms": 231, "res_size_bytes": 3012, "endpoint":"/foo" }"""

STRAY_BRACE = b"""\
{"container": {"image": "front:master.0326.5","name": "tunnel-front"},"labels": {"component": "tunnel","pod-template-hash": "75f5666499"},"namespace": "kube-system","node": {"name": "32068356-vmss000002"},"pod": {"name": "fnxln","uid": "f0bdea4e57"},"replicaset": {"name": "75f5666499"}}}"""

CSV_ROW = b"""\
[name, area, country_code2, country_code3]"""

NESTED_OBJECTS = b"""\
[{ "axiom": {
        "logging": {
            "observability": [
                { "apl": 23, "function": "tostring" },
                { "apl": 24, "operator": "summarize" }
            ],
            "axiom": [
                { "stream": "livetail", "datasets": [4, 0, 16], "logging": "observability", "metrics": 8, "dashboard": 10, "alerting": "kubernetes" }
            ]
        },
        "apl": {
            "reference":
                [[80, 12], [30, 40]]
        }
    }
    }]"""

NDJSON = b"""\
{"id":1,"name":"machala"}
        {"id":2,"name":"axiom"}
        {"id":3,"name":"apl"}
        {"index": {"_index": "products"}}
        {"timestamp": "2016-06-06T12:00:00+02:00", "attributes": {"key1": "value1","key2": "value2"}}
        {"queryString": "count()"}"""

CSV = b"""\
user, name
        foo, bar"""


def parse(body: bytes) -> ParsedBatch:
    return parse_json(body, times=TimeRule(), limits=Limits(), received_ns=7)


@pytest.mark.parametrize(
    ("body", "count", "processed_bytes"),
    [
        (PLACEHOLDER, 1, 75),
        (DOWNLOAD, 1, 104),
        (axiom_bodies.GROUPED_OLD.encode(), 2, 219),
        (axiom_bodies.LABELS.encode(), 3, 885),
        (axiom_bodies.GROUPED.encode(), 2, 219),
        (axiom_bodies.NESTED_ARRAYS.encode(), 1, 1741),
        (NESTED_OBJECTS, 1, 490),
        (NDJSON, 6, 266),
    ],
)
def test_a_documented_json_body_is_taken_whole(body: bytes, count: int, processed_bytes: int) -> None:
    found = parse(body)

    parsed = json.loads(body) if body[:1] == b"[" else [json.loads(line) for line in body.splitlines()]
    assert [json.loads(line) for line in found.events.splitlines()] == parsed
    assert (found.count, found.processed_bytes, found.rejections) == (count, processed_bytes, ())


def test_the_documented_event_with_a_closing_brace_too_many_is_taken() -> None:
    found = parse(STRAY_BRACE)

    assert found.events == STRAY_BRACE[:-1] + b"\n"
    assert (found.count, found.processed_bytes, found.rejections) == (1, 288, ())


def test_the_documented_object_with_a_quote_mark_after_it_is_taken() -> None:
    body = b'{ "path": "/download", "method": "GET", "duration_ms": 231, "res_size_bytes": 3012 }'

    assert parse(body + b"'").events == body + b"\n"


def test_the_documented_objects_on_one_line_are_three_events() -> None:
    assert parse(b'{"id":1,"name":"Alice"} {"id":2,"name":"Bob"} {"id":3,"name":"Carol"}').count == 3


def test_the_documented_csv_is_one_event() -> None:
    found = parse_csv(CSV, fields=None, delimiter="", times=TimeRule(), limits=Limits(), received_ns=7)

    assert found.events == b'{"user":"foo","name":"bar"}\n'
    assert found.processed_bytes == 27


def test_the_documented_csv_row_of_names_has_no_events() -> None:
    # The quotes of the printed command are the shell's.
    found = parse_csv(CSV_ROW, fields=None, delimiter="", times=TimeRule(), limits=Limits(), received_ns=7)

    assert (found.count, found.processed_bytes) == (0, 42)
