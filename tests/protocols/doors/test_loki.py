"""Loki's push API: what is sent in protobuf or in JSON is stored entry by entry, and what is refused costs no other."""

import asyncio
import gzip
import json
import time
import zlib
from base64 import b64encode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import cramjam
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rounds import rounds
from support.serving import Serving, serving

from tailrace.events import BadRequest, Overloaded, TailraceError, TooLarge
from tailrace.events.times import rfc3339
from tailrace.parsing import EventCollector, Limits
from tailrace.protocols.doors.loki_messages import ENTRY, PUSH, STREAM, collect_json, collect_protobuf

PUSH_PATH = "/loki/api/v1/push"
T = 1_767_323_045_123_456_000
NOW_NS = 1_790_000_000_000_000_000
JSON_TYPE = {"Content-Type": "application/json"}
PROTOBUF_TYPE = {"Content-Type": "application/x-protobuf"}


def protobuf_body(*streams: tuple[str, list[tuple[Any, ...]]]) -> bytes:
    """Return what Promtail sends: streams of labels as text, and of entries (ns, line, structured metadata)."""
    push = PUSH()
    for labels, sent in streams:
        entries: list[bytes] = []
        for time_ns, line, *metadata in sent:
            entry = ENTRY(line=line if isinstance(line, bytes) else line.encode())
            if time_ns is not None:
                entry.timestamp.seconds, entry.timestamp.nanos = divmod(time_ns, 1_000_000_000)
            for name, value in (metadata[0] if metadata else {}).items():
                entry.metadata.add(name=name.encode(), value=value.encode())
            entries.append(entry.SerializeToString())
        push.streams.append(STREAM(labels=labels.encode(), entries=entries).SerializeToString())
    encoded: bytes = push.SerializeToString()
    return encoded


def snappy(body: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(body))


def json_body(*streams: Any) -> bytes:
    return json.dumps({"streams": list(streams)}).encode()


async def token_of(served: Serving, *datasets: str) -> str:
    capabilities = {name: {"ingest": ["create"]} for name in datasets}
    answer = await served.client.post("/v2/tokens", json={"name": "t", "datasetCapabilities": capabilities})
    secret: str = answer.json()["token"]
    return secret


async def rows_of(served: Serving, dataset: str = "d") -> list[dict[str, Any]]:
    query = f'SELECT * EXCLUDE (_sysTime) FROM "{dataset}" ORDER BY _time'
    answer = await served.client.post("/tailrace/v1/sql", json={"sql": query})
    return [{name: value for name, value in row.items() if value is not None} for row in answer.json()["rows"]]


def on_a_server(test: Callable[[Serving, httpx.AsyncClient], Awaitable[None]], directory: Path) -> None:
    """Run a test with a client whose token may send to the dataset `d` alone, and another dataset `e`."""

    async def run() -> None:
        async with serving(directory) as served:
            served.parts.lake.create("d")
            served.parts.lake.create("e")
            headers = {"Authorization": f"Bearer {await token_of(served, 'd')}"}
            async with httpx.AsyncClient(
                transport=served.client._transport, base_url="http://127.0.0.1", headers=headers
            ) as client:
                await test(served, client)

    asyncio.run(run())


def test_protobuf_and_json_are_the_same_events(tmp_path: Path) -> None:
    entries = [(T, "hello \u20ac"), (T + 1000, 'said "no"\n\\', {"trace_id": "0242ac", "a.b": "c"})]
    values = [[str(time_ns), line, *metadata] for time_ns, line, *metadata in entries]
    labels = {"job": "api", "path": 'C:\\x "y"'}
    bodies = {
        "protobuf": (snappy(protobuf_body((r'{job="api", path="C:\\x \"y\""}', entries))), PROTOBUF_TYPE),
        "said snappy": (
            snappy(protobuf_body((r'{job="api", path="C:\\x \"y\""}', entries))),
            {**PROTOBUF_TYPE, "Content-Encoding": "snappy"},
        ),
        "no type": (snappy(protobuf_body((r'{job="api", path="C:\\x \"y\""}', entries))), {}),
        "json": (json_body({"stream": labels, "values": values}), JSON_TYPE),
        "gzip": (
            gzip.compress(json_body({"stream": labels, "values": values})),
            {"Content-Type": "application/json; charset=utf-8", "Content-Encoding": "gzip"},
        ),
        "deflate": (
            zlib.compress(json_body({"stream": labels, "values": values}))[2:-4],
            {**JSON_TYPE, "Content-Encoding": "deflate"},
        ),
    }

    async def test(served: Serving, client: httpx.AsyncClient) -> None:
        for form, (body, headers) in bodies.items():
            answer = await client.post(PUSH_PATH, content=body, headers=headers)
            assert (answer.status_code, answer.content) == (204, b""), (form, answer.text)
        rows = await rows_of(served)
        shared = {"job": "api", "path": 'C:\\x "y"'}
        first = {"_time": rfc3339(T), "message": "hello \u20ac", **shared}
        second = {"_time": rfc3339(T + 1000), "message": 'said "no"\n\\', "trace_id": "0242ac", "a.b": "c", **shared}
        assert sorted(map(_key, rows)) == sorted(map(_key, [first, second] * len(bodies)))

    on_a_server(test, tmp_path)


def _key(row: dict[str, Any]) -> str:
    return json.dumps(row, sort_keys=True, default=str)


def test_the_curl_of_lokis_document_and_the_former_route_work(tmp_path: Path) -> None:
    documented = b'{"streams": [{ "stream": { "foo": "bar2" }, "values": [ [ "1570818238000000000", "fizzbuzz" ] ] }]}'
    former = (
        b'{"streams":[{"labels":"{foo=\\"bar\\"}","entries":[{"ts":"2018-12-18T08:28:06.801064-04:00","line":"baz"}]}]}'
    )

    async def test(served: Serving, client: httpx.AsyncClient) -> None:
        assert (await client.post(PUSH_PATH, content=documented, headers=JSON_TYPE)).status_code == 204
        assert (await client.post("/api/prom/push", content=former, headers=JSON_TYPE)).status_code == 204
        assert await rows_of(served) == [
            {"_time": "2018-12-18T12:28:06.801064Z", "message": "baz", "foo": "bar"},
            {"_time": "2019-10-11T18:23:58Z", "message": "fizzbuzz", "foo": "bar2"},
        ]
        assert (await client.get("/ready")).text == "ready\n"

    on_a_server(test, tmp_path)


def test_the_dataset_is_the_headers_or_a_labels_or_the_tokens(tmp_path: Path) -> None:
    async def test(served: Serving, client: httpx.AsyncClient) -> None:
        both = await token_of(served, "d", "e")
        client.headers["Authorization"] = "Basic " + b64encode(f"user:{both}".encode()).decode()
        streams = [
            {"stream": labels, "values": [[str(T + 1000 * number), str(number)]]}
            for number, labels in enumerate(({"dataset": "d"}, {"_axiom_dataset": "e", "dataset": "d"}, {"x": "y"}))
        ]
        some = await client.post(PUSH_PATH, content=json_body(*streams), headers=JSON_TYPE)
        assert some.status_code == 400
        assert some.text.startswith("1 of 3 entries were refused, the others are stored: number 2: no dataset is named")
        named = {**JSON_TYPE, "X-Axiom-Dataset": "e"}
        assert (await client.post(PUSH_PATH, content=json_body(*streams), headers=named)).status_code == 204
        assert [row["message"] for row in await rows_of(served)] == ["0"]
        assert sorted(row["message"] for row in await rows_of(served, "e")) == ["0", "1", "1", "2"]

    on_a_server(test, tmp_path)


def test_the_tenant_is_a_field_and_no_credential(tmp_path: Path) -> None:
    async def test(served: Serving, client: httpx.AsyncClient) -> None:
        body = json_body({"stream": {"a": "b"}, "values": [[str(T), "m"]]})
        headers = {**JSON_TYPE, "X-Scope-OrgID": "team-1"}
        assert (await client.post(PUSH_PATH, content=body, headers=headers)).status_code == 204
        assert await rows_of(served) == [{"_time": rfc3339(T), "message": "m", "a": "b", "tenant": "team-1"}]
        bad = await client.post(PUSH_PATH, content=body, headers={**JSON_TYPE, "X-Scope-OrgID": "a/b"})
        assert (bad.status_code, bad.text) == (
            400,
            "X-Scope-OrgID is no tenant: 1 to 150 letters, digits and characters of !-_.*'()\n",
        )
        del client.headers["Authorization"]
        none = await client.post(PUSH_PATH, content=body, headers=headers)
        assert (none.status_code, none.headers["content-type"]) == (401, "text/plain; charset=utf-8")
        assert "Authorization" in none.text

    on_a_server(test, tmp_path)


def test_no_name_takes_the_place_of_another(tmp_path: Path) -> None:
    labels = '{message="label", _time="label", a="label", a_extracted="label"}'
    metadata = {"a": "data", "message": "data", "_sysTime": "data"}

    async def test(served: Serving, client: httpx.AsyncClient) -> None:
        body = snappy(protobuf_body((labels, [(T, "line", metadata)])))
        assert (await client.post(PUSH_PATH, content=body)).status_code == 204
        assert await rows_of(served) == [
            {
                "_time": rfc3339(T),
                "message": "line",
                "message_extracted": "label",
                "_time_extracted": "label",
                "a": "label",
                "a_extracted": "label",
                "a_extracted_2": "data",
                "message_extracted_2": "data",
                "_user_sysTime": "data",
            }
        ]

    on_a_server(test, tmp_path)


def test_an_entry_that_is_none_costs_no_other(tmp_path: Path) -> None:
    values: list[Any] = [
        [str(T), "good"],
        [T, "a number"],
        [str(T)],
        [str(T), 7],
        ["soon", "x"],
        ["9" * 25, "x"],
        [str(T), "x", {}, 1],
        "x",
        [str(T + 1000), "also good", {"n": 12345678901234567890, "o": {"p": [1.5]}}],
    ]
    streams = ({"stream": {"a": 1}, "values": values}, {"values": [[str(T), "no labels"]]}, 7)

    async def test(served: Serving, client: httpx.AsyncClient) -> None:
        answer = await client.post(PUSH_PATH, content=json_body(*streams), headers=JSON_TYPE)
        assert answer.status_code == 400
        assert answer.text.startswith("9 of 11 entries were refused, the others are stored: number 1: ")
        assert answer.text.count("\n") == 1
        assert len(answer.text) < 1000
        assert [(row["message"], row["a"]) for row in await rows_of(served)] == [("good", 1), ("also good", 1)]
        streams_of = protobuf_body(("{a=", [(T, "x"), (T, "y")]), ('{a="b"}', [(2**63, "z"), (T + 2000, b"\xff!")]))
        answer = await client.post(PUSH_PATH, content=snappy(streams_of))
        assert answer.status_code == 400
        assert answer.text.startswith("3 of 4 entries were refused, the others are stored: number 0: the labels '{a='")
        assert "number 2: its time is outside the years 1677 to 2262" in answer.text
        assert (await rows_of(served))[-1] == {"_time": rfc3339(T + 2000), "message": "\ufffd!", "a": "b"}

    on_a_server(test, tmp_path)


def test_a_body_that_is_none_is_refused(tmp_path: Path) -> None:
    refusals: list[tuple[bytes, dict[str, str], int, str]] = [
        (b"", {}, 400, "not compressed by snappy"),
        (b"{}", {}, 400, "JSON needs the header 'Content-Type: application/json'"),
        (snappy(b"\xff\xff"), {}, 400, "no push request of Loki in protobuf"),
        (b"\xff\xff\xff\xff\x07\x00a", {}, 413, "max_body_bytes"),
        (b"[]", JSON_TYPE, 400, "no push request of Loki in JSON"),
        (b'{"streams":[{"stream":{}', JSON_TYPE, 400, "no push request of Loki in JSON"),
        (b"{}", {**JSON_TYPE, "Content-Encoding": "lzma"}, 415, "lzma"),
        (snappy(b"\x0a\x00" * 150_000), {}, 413, "too many are those of more than"),
    ]

    async def test(served: Serving, client: httpx.AsyncClient) -> None:
        for body, headers, status, reason in refusals:
            answer = await client.post(PUSH_PATH, content=body, headers=headers)
            assert (answer.status_code, reason in answer.text) == (status, True), answer.text
        assert (await client.post(PUSH_PATH, content=json_body(), headers=JSON_TYPE)).status_code == 204
        assert await rows_of(served) == []

    on_a_server(test, tmp_path)


def test_an_overload_is_answered_so_that_clients_send_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(served: Serving, client: httpx.AsyncClient) -> None:
        def refuse(name: str) -> None:
            raise Overloaded("too much", retry_after_s=3)

        body = snappy(protobuf_body(('{a="b"}', [(T, "x")])))
        with monkeypatch.context() as patched:
            patched.setattr(served.parts.service, "check_dataset", refuse)
            answer = await client.post(PUSH_PATH, content=body)
        assert (answer.status_code, answer.text, answer.headers["retry-after"]) == (429, "too much\n", "3")
        assert (await client.post(PUSH_PATH, content=body)).status_code == 204
        assert len(await rows_of(served)) == 1
        closed = Overloaded("closed for a while")
        monkeypatch.setattr(type(served.parts.service), "closed", property(lambda service: closed))
        assert (await client.get("/ready")).status_code == 429

    on_a_server(test, tmp_path)


# The decoders by themselves.

_LABELS = st.dictionaries(
    st.sampled_from(["a", "b", "message", "_time", "a_extracted"]), st.text("x\u00e9", max_size=2)
)
_TIMES = st.integers(-(2**63) + 1, 2**63 - 1) | st.integers(-100, 10**18)
_ENTRIES = st.lists(st.tuples(_TIMES, st.text(max_size=8), _LABELS), max_size=4)


@given(st.lists(st.tuples(_LABELS, _ENTRIES), max_size=3))
def test_both_forms_are_read_alike(streams: list[tuple[dict[str, str], list[tuple[int, str, dict[str, str]]]]]) -> None:
    as_json = json_body(
        *(
            {"stream": labels, "values": [[str(entry[0]), *entry[1:]] for entry in entries]}
            for labels, entries in streams
        )
    )
    as_protobuf = protobuf_body(
        *(
            ("{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}", list(entries))
            for labels, entries in streams
        )
    )
    first, second = EventCollector(Limits(), NOW_NS), EventCollector(Limits(), NOW_NS)
    collect_json(as_json, first, Limits(), lambda label: "d")
    collect_protobuf(as_protobuf, second, Limits(), lambda label: "d")

    assert first.rejections == second.rejections == []
    batches = [collector.batches().get("d") for collector in (first, second)]
    times = [time_ns for _, entries in streams for time_ns, _, _ in entries]
    lines = [line for _, entries in streams for _, line, _ in entries]
    for batch in batches:
        events = [] if batch is None else [json.loads(line) for line in batch.events.splitlines()]
        assert ([] if batch is None else batch.times.tolist()) == times
        assert [event["message"] for event in events] == lines
    if batches[0] is not None and batches[1] is not None:
        parsed = [[json.loads(line) for line in batch.events.splitlines()] for batch in batches if batch is not None]
        assert parsed[0] == parsed[1]


@pytest.mark.costly
def test_one_name_many_times_costs_no_more_than_many_names() -> None:
    def cost_s(names: list[str]) -> float:
        entry = ENTRY(line=b"x", metadata=[{"name": each.encode(), "value": b"v"} for each in names])
        stream = STREAM(labels=b"{}", entries=[entry.SerializeToString()])
        body = PUSH(streams=[stream.SerializeToString()]).SerializeToString()
        began_s = time.process_time()
        collect_protobuf(body, EventCollector(Limits(), NOW_NS), Limits(), lambda label: "d")
        return time.process_time() - began_s

    many = 20_000
    different = min(cost_s([f"n{number}" for number in range(many)]) for _ in range(3))
    assert min(cost_s(["n"] * many) for _ in range(3)) < 5 * different + 0.05


@pytest.mark.parametrize(
    ("collect", "body", "limit"),
    [
        (collect_json, json_body(*[{}] * 6000), "max_events"),
        (collect_json, json_body(*[{"stream": {}, "values": [["1", "x"]]}] * 1001), "max_events"),
        (collect_json, json_body({"stream": {"a": "b"}, "values": [["1", "x"]] * 1001}), "max_events"),
        (collect_json, json_body({"stream": {"a": "b" * 10_000}, "values": [["1", "x"]] * 1000}), "max_body_bytes"),
        (collect_protobuf, protobuf_body(*[("{}", [])] * 1001), "max_events"),
        (collect_protobuf, protobuf_body(('{a="b"}', [(T, "x")] * 1001)), "max_events"),
        (collect_protobuf, protobuf_body(('{a="' + "b" * 10_000 + '"}', [(T, "x")] * 1000)), "max_body_bytes"),
    ],
)
def test_what_a_request_makes_of_its_bytes_is_bounded(collect: Any, body: bytes, limit: str) -> None:
    limits = Limits(max_events=1000, max_body_bytes=1024 * 1024)
    with pytest.raises(TooLarge, match=limit):
        collect(body, EventCollector(limits, NOW_NS), limits, lambda label: "d")


def test_an_entry_without_a_time_has_that_of_the_request() -> None:
    collector = EventCollector(Limits(), NOW_NS)
    body = protobuf_body(("{}", [(None, "none"), (-62_135_596_800 * 10**9, "Go's zero"), (0, "the epoch")]))
    collect_protobuf(body, collector, Limits(), lambda label: "d")

    assert collector.batches()["d"].times.tolist() == [NOW_NS, NOW_NS, 0]


@settings(max_examples=rounds(40))
@given(st.binary(max_size=60), st.sampled_from(["json", "protobuf", "stream", "entry"]))
def test_any_bytes_are_events_or_refused(body: bytes, form: str) -> None:
    collector = EventCollector(Limits(), NOW_NS)
    collect = collect_protobuf if form == "protobuf" else collect_json
    if form == "stream":
        body = b'{"streams":[{"stream":{"a":"b"},"values":[["1","m"]]},%b]}' % body
    elif form == "entry":
        body = b'{"streams":[{"stream":{"a":"b"},"values":[["1","m"],%b]}]}' % body
    refused: TailraceError | None = None
    try:
        collect(body, collector, Limits(), lambda label: "d")
        collector.batches()
    except (BadRequest, TooLarge) as error:
        refused = error
    assert refused is None or refused.message
