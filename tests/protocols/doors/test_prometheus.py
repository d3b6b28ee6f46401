"""Remote write 1.0 and 2.0: each sample, histogram and exemplar is an event, and what is refused is counted."""

import asyncio
import json
import struct
from pathlib import Path
from typing import Any

import cramjam
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.serving import Serving, serving

from tailrace.events import BadRequest, Overloaded, TooLarge
from tailrace.parsing import EventCollector, Limits
from tailrace.protocols.doors.prometheus_messages import MAX_BUCKETS, collect_samples

PATH = "/api/v1/write"
T_MS = 1_767_323_045_123
TIME = "2026-01-02T03:04:05.123Z"
NOW_NS = 1_790_000_000_000_000_000
STALE = struct.unpack("<d", b"\x02\x00\x00\x00\x00\x00\xf0\x7f")[0]
FIRST = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
SECOND = {**FIRST, "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}


# Messages as the specification of protobuf has them, apart from the tables that are tested.


def varint(number: int) -> bytes:
    number &= 2**64 - 1
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*written, number))


def message(*fields: tuple[int, Any]) -> bytes:
    """Return a message of fields by number: an int as varint, a float as double, bytes and texts by their length."""
    written = b""
    for number, value in fields:
        if isinstance(value, float):
            written += varint(number << 3 | 1) + struct.pack("<d", value)
        elif isinstance(value, int):
            written += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            written += varint(number << 3 | 2) + varint(len(data)) + data
    return written


def zigzag(number: int) -> int:
    return number << 1 if number >= 0 else (-number << 1) - 1


def packed(*numbers: int) -> bytes:
    return b"".join(map(varint, numbers))


def labels(**pairs: str) -> list[tuple[int, bytes]]:
    return [(1, message((1, name), (2, value))) for name, value in pairs.items()]


def sample(value: float, time_ms: int = T_MS, start_ms: int = 0) -> bytes:
    return message((1, value), (2, time_ms), *([(3, start_ms)] if start_ms else []))


HISTOGRAM = message(
    (1, 2**63 + 1),
    (3, 18.4),
    (4, zigzag(1)),
    (5, 0.001),
    (6, 2),
    (8, message((1, zigzag(0)), (2, 1))),
    (9, packed(zigzag(1))),
    (11, message((1, zigzag(-1)), (2, 2))),
    (11, message((1, zigzag(2)), (2, 1))),
    (12, packed(zigzag(3), zigzag(-2), zigzag(2**62))),
    (15, T_MS),
)
HISTOGRAM_EVENT = {
    "count": 2**63 + 1,
    "sum": 18.4,
    "scale": 1,
    "zero_count": 2,
    "zero_threshold": 0.001,
    "positive.offset": -2,
    "positive.bucket_counts": [3, 1, 0, 0, 2**62 + 1],
    "negative.offset": -1,
    "negative.bucket_counts": [1],
}
FIRST_BODY = message(
    (1, message(*labels(__name__="up", job="api", empty=""), (2, sample(1.0)), (2, sample(0.25, T_MS + 1)))),
    (1, message(*labels(__name__="up", job="gone"), (2, sample(STALE)), (2, sample(float("nan"))))),
    (1, message(*labels(__name__="took"), (4, HISTOGRAM))),
    (
        1,
        message(
            *labels(__name__="took"),
            (3, message(*labels(trace_id="abc", user="7"), (2, 0.5), (3, T_MS))),
        ),
    ),
    (3, message((1, 1), (2, "hits_total"), (4, "Hits."), (5, "hits"))),
)
FIRST_EVENTS: list[dict[str, Any]] = [
    {"metric": "up", "attributes.job": "api", "value": 1.0, "_time": T_MS * 10**6},
    {"metric": "up", "attributes.job": "api", "value": 0.25, "_time": (T_MS + 1) * 10**6},
    {"metric": "up", "attributes.job": "gone", "stale": True, "_time": T_MS * 10**6},
    {"metric": "up", "attributes.job": "gone", "value": "NaN", "_time": T_MS * 10**6},
    {"metric": "took", **HISTOGRAM_EVENT, "_time": T_MS * 10**6},
    {
        "metric": "took",
        "exemplars": [{"value": 0.5, "trace_id": "abc", "attributes": {"user": "7"}}],
        "_time": T_MS * 10**6,
    },
    {
        "metric": "hits_total",
        "otel.metric.type": "sum",
        "otel.metric.description": "Hits.",
        "otel.metric.unit": "hits",
        "otel.metric.temporality": "cumulative",
        "otel.metric.is_monotonic": True,
    },
]


def second(*series: bytes, symbols: tuple[str, ...] = ("", "__name__", "up", "job", "api", "Up.", "s")) -> bytes:
    return message(*((4, symbol) for symbol in symbols), *((5, each) for each in series))


def snappy(body: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(body))


def collected(body: bytes, version: int, limits: Limits | None = None) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the events of a request, and why others are refused."""
    collector = EventCollector(limits or Limits(), NOW_NS)
    collect_samples(body, version, collector, limits or Limits(), lambda label: "d")
    batch = collector.batches().get("d")
    assert batch is None or not batch.rejections
    events = [] if batch is None else [json.loads(line) for line in batch.events.splitlines()]
    return events, [f"{each.index}: {each.reason}" for each in collector.rejections]


def test_what_version_one_has_is_read() -> None:
    assert collected(FIRST_BODY, 1) == (FIRST_EVENTS, [])


def test_what_version_two_has_is_read() -> None:
    counter = message((1, 1), (3, 5), (4, 6))
    body = second(
        message((1, packed(1, 2, 3, 4)), (2, sample(1.0, start_ms=T_MS - 5)), (5, counter)),
        message((1, packed(1, 2)), (2, sample(2.0)), (6, T_MS - 7), (5, message((1, 6)))),
        message((1, packed(1, 2)), (4, message((1, packed(3, 4)), (2, 1.5), (3, T_MS)))),
    )

    events, refused = collected(body, 2)

    assert refused == []
    shared = {"metric": "up", "_time": T_MS * 10**6}
    assert events == [
        {
            **shared,
            "attributes.job": "api",
            "value": 1.0,
            "start_time_unix_nano": (T_MS - 5) * 10**6,
            "otel.metric.type": "sum",
            "otel.metric.description": "Up.",
            "otel.metric.unit": "s",
            "otel.metric.temporality": "cumulative",
            "otel.metric.is_monotonic": True,
        },
        {**shared, "value": 2.0, "start_time_unix_nano": (T_MS - 7) * 10**6, "otel.metric.type": "info"},
        {**shared, "exemplars": [{"value": 1.5, "attributes": {"job": "api"}}]},
    ]


def test_histograms_of_floats_and_of_bounds_of_their_own_are_read() -> None:
    floats = message(
        (2, 2.5),
        (3, float("inf")),
        (4, zigzag(-4)),
        (7, 0.5),
        (11, message((2, 1))),
        (13, struct.pack("<d", 2.0)),
        (15, T_MS),
    )
    custom = message(
        (1, 3),
        (3, 7.0),
        (4, zigzag(-53)),
        (11, message((1, zigzag(1)), (2, 1))),
        (12, packed(zigzag(3))),
        (16, struct.pack("<2d", 0.5, 2.0)),
        (15, T_MS),
    )
    stale = message((3, STALE), (15, T_MS))
    body = message((1, message(*labels(__name__="h"), (4, floats), (4, custom), (4, stale))))

    events, refused = collected(body, 1)

    assert refused == []
    shared = {"metric": "h", "_time": T_MS * 10**6}
    assert events == [
        {
            **shared,
            "count": 2.5,
            "sum": "Infinity",
            "scale": -4,
            "zero_count": 0.5,
            "zero_threshold": 0.0,
            "positive.offset": -1,
            "positive.bucket_counts": [2.0],
        },
        {**shared, "count": 3, "sum": 7.0, "bucket_counts": [0, 3, 0], "explicit_bounds": [0.5, 2.0]},
        {**shared, "stale": True},
    ]


def test_what_cannot_be_costs_no_other() -> None:
    spans = {
        "gap": message((11, message((2, 1))), (11, message((1, zigzag(-1)), (2, 1))), (12, packed(2, 2)), (15, T_MS)),
        "far": message((11, message((2, 1))), (11, message((1, zigzag(2**31 - 1)), (2, 1))), (12, packed(2, 2))),
        "many": message((11, message((2, 2**32 - 1))), (12, packed(2))),
        "few": message((12, packed(2)), (15, T_MS)),
        "wide": message((4, zigzag(-53)), (11, message((1, zigzag(2**31 - 1)), (2, 1))), (12, packed(2))),
        "below": message((4, zigzag(-53)), (11, message((1, zigzag(-1)), (2, 1))), (12, packed(2))),
    }
    good = sample(1.0)
    body = message(
        (1, message(*labels(a="1"), *labels(a="2"), (2, good))),
        (1, message(*labels(a="1"), (2, sample(1.0, 2**62)), (2, good))),
        (1, message(*labels(a="1"), *((4, histogram) for histogram in spans.values()))),
    )

    events, refused = collected(body, 1)

    assert events == [{"attributes.a": "1", "value": 1.0, "_time": T_MS * 10**6}]
    assert [reason.partition(":")[0] for reason in refused] == ["0", "1", "3", "4", "5", "6", "7", "8"]
    assert refused[0] == "0: a label stands twice in its series"
    assert refused[1] == "1: its time is outside the years 1677 to 2262"
    assert str(MAX_BUCKETS) in refused[3]

    events, refused = collected(
        second(
            message((1, packed(1, 2, 3)), (2, good)),
            message((1, packed(1, 99)), (2, good)),
            message((1, packed(1, 2)), (5, message((3, 99))), (2, good)),
            message((1, packed(1, 2)), (4, message((1, packed(1)))), (2, good)),
        ),
        2,
    )
    assert [event["metric"] for event in events] == ["up"]
    assert [reason.partition(":")[0] for reason in refused] == ["0", "1", "2", "4"]


@pytest.mark.parametrize(
    ("body", "version", "error", "reason"),
    [
        (
            second(message((1, packed(1, 2)), (2, sample(1.0)))),
            1,
            BadRequest,
            "no time series in a request of version 1.0",
        ),
        (FIRST_BODY, 2, BadRequest, "no time series in a request of version 2.0"),
        (b"\xff", 1, BadRequest, "no write request 1.0 of Prometheus in protobuf"),
        (message(*[(1, message(*labels(a="b")))] * 101), 1, TooLarge, "max_events"),
        (message((1, message(*labels(a="b"), *[(2, sample(1.0))] * 101))), 1, TooLarge, "max_events"),
        (message((1, message(*labels(a="b" * 50), *[(2, sample(1.0))] * 99))), 1, TooLarge, "max_body_bytes"),
    ],
)
def test_a_request_that_is_none_is_refused(body: bytes, version: int, error: type[Exception], reason: str) -> None:
    with pytest.raises(error, match=reason):
        collected(body, version, Limits(max_events=100, max_body_bytes=4096))


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from(["a", "b", "__name__", "é"]), st.text(min_size=1, max_size=3)),
            st.lists(st.tuples(st.floats(), st.integers(-(2**42), 2**42)), max_size=3),
        ),
        max_size=3,
    )
)
def test_both_versions_are_read_alike(series: list[tuple[dict[str, str], list[tuple[float, int]]]]) -> None:
    symbols = ["", *dict.fromkeys(text for pairs, _ in series for pair in pairs.items() for text in pair)]
    first = message(
        *((1, message(*labels(**pairs), *((2, sample(*each)) for each in samples))) for pairs, samples in series)
    )
    second_body = second(
        *(
            message(
                (1, packed(*(symbols.index(text) for pair in pairs.items() for text in pair))),
                *((2, sample(*each)) for each in samples),
            )
            for pairs, samples in series
        ),
        symbols=tuple(symbols),
    )

    assert collected(first, 1) == collected(second_body, 2) if series else collected(b"", 2) == ([], [])


@given(st.binary(max_size=60), st.sampled_from([1, 2]))
def test_any_bytes_are_events_or_refused(body: bytes, version: int) -> None:
    for form in (body, message((1, body)), message((5, body)), message((1, message((4, body), (2, body))))):
        try:
            events, _ = collected(form, version)
        except (BadRequest, TooLarge):
            events = []
        assert all("_time" in event or "metric" in event for event in events)


# By HTTP.


async def token_of(served: Serving, *datasets: str) -> str:
    capabilities = {name: {"ingest": ["create"]} for name in datasets}
    answer = await served.client.post("/v2/tokens", json={"name": "t", "datasetCapabilities": capabilities})
    secret: str = answer.json()["token"]
    return secret


def written(answer: httpx.Response) -> list[str]:
    names = ("samples", "histograms", "exemplars")
    return [answer.headers[f"x-prometheus-remote-write-{name}-written"] for name in names]


def test_a_write_is_answered_with_what_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            for name in ("d", "closed"):
                served.parts.lake.create(name)
            client = served.client
            one, two = await token_of(served, "d"), await token_of(served, "d", "other")
            client.headers["Authorization"] = f"Bearer {one}"
            answer = await client.post(PATH, content=snappy(FIRST_BODY), headers=FIRST)
            assert (answer.status_code, answer.content, written(answer)) == (204, b"", ["4", "1", "1"])
            rows = await asyncio.to_thread(served.parts.rows, "d")
            assert sorted(row["metric"] for row in rows) == ["hits_total", "took", "took", "up", "up", "up", "up"]
            zstd = bytes(cramjam.zstd.compress(FIRST_BODY))  # as vmagent
            answer = await client.post(PATH, content=zstd, headers={**FIRST, "Content-Encoding": "zstd"})
            assert (answer.status_code, written(answer)) == (204, ["4", "1", "1"])

            client.headers["Authorization"] = f"Bearer {two}"
            good = message((1, packed(1, 2, 3, 4)), (2, sample(1.0)))
            closed = message((1, packed(1, 2, 3, 5)), (2, sample(1.0)), (2, sample(2.0)))
            bad = message((1, packed(1, 99)), (2, sample(1.0)), (3, HISTOGRAM))
            symbols = ("", "__name__", "up", "dataset", "d", "closed")
            body = second(good, closed, bad, good, symbols=symbols)
            answer = await client.post(PATH, content=snappy(body), headers=SECOND)
            assert (answer.status_code, written(answer)) == (400, ["2", "0", "0"])
            assert answer.text.startswith("4 of 6 samples were refused, the others are stored: 'closed': ")
            assert "number 3: its labels refer to more than the 6 symbols of the request" in answer.text

            named = {**SECOND, "X-Axiom-Dataset": "nowhere", "X-Axiom-Metrics-Dataset": "d"}
            answer = await client.post(PATH, content=snappy(second(closed, symbols=symbols)), headers=named)
            assert (answer.status_code, written(answer)) == (204, ["2", "0", "0"])

            for headers, status in (
                ({**FIRST, "Content-Type": "application/json"}, 415),
                ({**FIRST, "Content-Type": "application/x-protobuf;proto=other"}, 415),
                ({**FIRST, "Content-Encoding": "lzma"}, 415),
                ({**FIRST, "Authorization": "Bearer no"}, 401),
                (SECOND, 400),
            ):
                refused = await client.post(PATH, content=snappy(FIRST_BODY), headers=headers)
                assert (refused.status_code, refused.headers["content-type"]) == (status, "text/plain; charset=utf-8")

            def refuse(name: str) -> None:
                raise Overloaded("too much", retry_after_s=2)

            monkeypatch.setattr(served.parts.service, "check_dataset", refuse)
            answer = await client.post(PATH, content=snappy(second(good, symbols=symbols)), headers=SECOND)
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")

    asyncio.run(run())
