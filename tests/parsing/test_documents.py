"""Documents of which each is one event: in bulk as one by one, whatever stands in one of them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.events import BadRequest, ParsedBatch, TooLarge
from tailrace.parsing import ExactWayNeeded, Limits, parse_documents
from tailrace.parsing import documents as module

NOW_NS = 1_700_000_000_000_000_000
LIMITS = Limits(max_event_bytes=4096)


def parse(documents: list[bytes], **more: Any) -> ParsedBatch:
    return parse_documents(documents, times=("_time", "@timestamp"), limits=LIMITS, received_ns=NOW_NS, **more)


def parts(parsed: ParsedBatch) -> tuple[Any, ...]:
    rejections = [(each.index, each.code) for each in parsed.rejections]
    return parsed.events, parsed.times.tolist(), parsed.count, rejections


def test_an_object_is_never_part_of_another_documents() -> None:
    for documents in (
        [b'{"a":1', b'"b":2}', b'{"c":3},{"d":4}'],
        [b"", b"{}{}"],
        [b"{}{}", b""],
        [b'{"a":', b"1}", b"{} {}"],
        [b'{"a":1}]', b'[{"b":2}'],
    ):
        parsed = parse(documents)
        assert (parsed.count, [each.index for each in parsed.rejections]) == (0, list(range(len(documents))))


def test_the_first_field_of_a_time_that_is_there_decides() -> None:
    documents = [
        b'{"@timestamp":1,"_time":2}',
        b'{"@timestamp":3}',
        b'{"_time":null,"@timestamp":4}',
        b'{"@timestamp":null}',
        b'{"@timestamp":"no","_time":5}',
        b'{"@timestamp":6,"_time":"no"}',
    ]
    for copies in (1, 5):  # few are read one by one
        parsed = parse(documents * copies)
        seconds = [ns // 1_000_000_000 for ns in parsed.times.tolist()]
        assert seconds == [2, 3, 4, NOW_NS // 1_000_000_000, 5] * copies
        assert [(each.index % 6, each.code) for each in parsed.rejections] == [(5, "invalid_time")] * copies


def test_too_many_documents_are_refused() -> None:
    with pytest.raises(TooLarge):
        parse_documents([b"{}"] * 3, times=(), limits=Limits(max_events=2), received_ns=NOW_NS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.sampled_from(["@timestamp", "_time", "a", "b", "_source"]), JSON, max_size=4)
DOCUMENTS = st.one_of(
    OBJECTS.map(lambda value: json.dumps(value).encode()),
    OBJECTS.map(lambda value: b" " + json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\r"),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=12).map(lambda value: value.replace(b"\n", b"")),
    st.sampled_from([b"{}{}", b"{", b"}", b"", b'{"a":1}{', b'"', b"{},{}"]),
)


@given(st.lists(DOCUMENTS, max_size=30))
def test_in_bulk_and_one_by_one_are_the_same(documents: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "scan", lambda *args, **more: None)
        exact = parse(documents)
    parsed = parse(documents)
    assert parts(parsed) == parts(exact)
    assert parsed.count + len(parsed.rejections) == len(documents)
    try:
        bulk = parse(documents, in_bulk=True)
    except ExactWayNeeded:
        return
    assert parts(bulk) == parts(exact)


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\x1bb", "_sysTime"])
def test_a_field_that_cannot_be_looked_for_is_no_field_of_times(name: str) -> None:
    with pytest.raises(BadRequest, match="the time cannot be in the field"):
        parse_documents([b'{"a":1}'], times=(name,), limits=LIMITS, received_ns=NOW_NS)
