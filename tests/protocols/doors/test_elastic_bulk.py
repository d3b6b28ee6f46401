"""Bodies of the bulk API: whatever stands in the documents, each operation has its own."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tailrace.events import BadRequest, TooLarge
from tailrace.parsing import ExactWayNeeded, Limits
from tailrace.protocols.doors.elastic_bulk import items, read_bulk
from tailrace.protocols.doors.filter_path import EVERYTHING, filter_of

NOW_NS = 1_700_000_000_000_000_000


def read(body: bytes, **more: Any) -> Any:
    return read_bulk(
        body, dataset_of=lambda index: index or "default", times=(), limits=Limits(), received_ns=NOW_NS, **more
    )


IDS = st.none() | st.text(max_size=5)
ACTIONS = st.fixed_dictionaries(
    {}, optional={"_index": st.sampled_from(["a", "b"]), "_id": IDS, "pipeline": st.just("p"), "x": st.integers()}
)
OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["index", "create", "update", "delete"]),
        ACTIONS,
        st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=6), max_size=3),
        st.sampled_from([b"\n", b"\r\n"]),
        st.booleans(),
    ),
    max_size=20,
)


@given(OPERATIONS)
def test_each_operation_has_its_document(operations: list[Any]) -> None:
    body = b""
    expected: dict[str, list[Any]] = {}
    for number, (action, meta, document, ending, is_blank) in enumerate(operations):
        body += b"\n" * is_blank + json.dumps({action: meta}).encode() + ending
        if action != "delete":
            body += json.dumps({"n": number, **document}).encode() + ending
        if action in ("index", "create") and not (meta.get("_id") and "_id" in document):
            identity = {"_id": meta["_id"]} if meta.get("_id") else {}
            expected.setdefault(meta.get("_index", "default"), []).append({**identity, "n": number, **document})
    sent = read(body)
    stored = {
        name: [json.loads(line) for line in batch.parsed.events.splitlines()]
        for name, batch in sent.batches.items()
        if batch.numbers
    }
    assert stored == expected
    assert [operation.action for operation in sent.operations] == [each[0] for each in operations]
    answer = json.loads(items(sent.operations, sent.failures, "default", EVERYTHING, 1))
    refused = {number for number, each in enumerate(answer.get("items", ())) if "error" in next(iter(each.values()))}
    assert refused == set(sent.failures)
    assert len(answer.get("items", ())) == len(operations)


@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from([b'{"index":{}}', b"{}", b"", b"{", b'{"delete":{}}', b" "])).map(b"\n".join)
)
def test_any_body_is_taken_or_refused(body: bytes) -> None:
    try:
        sent = read(body)
    except (BadRequest, TooLarge):
        return
    numbers = [number for batch in sent.batches.values() for number in batch.numbers]
    assert sorted([*numbers, *sent.failures]) == list(range(len(sent.operations)))
    try:
        in_bulk = read(body, in_bulk=True)
    except ExactWayNeeded:
        return
    assert [each.parsed.events for each in in_bulk.batches.values()] == [
        each.parsed.events for each in sent.batches.values()
    ]


def test_wildcards_of_filter_path() -> None:
    answer = {
        "took": 1,
        "items": [{"index": {"_id": "a", "error": {"type": "t"}}}, {"create": {"_id": "b"}}],
        "other": {},
    }
    for selection, expected in {
        "items.*._id": {"items": [{"index": {"_id": "a"}}, {"create": {"_id": "b"}}]},
        "items.i*x._i*": {"items": [{"index": {"_id": "a"}}]},
        "items.*n*d*": {"items": [{"index": {"_id": "a", "error": {"type": "t"}}}]},
        "**.type": {"items": [{"index": {"error": {"type": "t"}}}]},
        "items.**": {"items": answer["items"]},
        "t*k": {"took": 1},
        "t*ook*k": {},
        "took.more": {},
        "-**._id,-took": {"items": [{"index": {"error": {"type": "t"}}}]},
        "": answer,
    }.items():
        assert filter_of(selection).apply(answer) == expected, selection
