"""Every value that goes into the lake comes out with its type: hot, committed, and after a restart."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.events import Flat, batch, conflicting, flat, objects
from support.lakes import flat_rows
from support.rounds import rounds

from tailrace.events import Batch
from tailrace.lake import Lake, LakeSettings, Snapshot
from tailrace.lake.fields import Fields
from tailrace.lake.leaves import leaves
from tailrace.lake.shred import Shredder


def flat_snapshot(snapshot: Snapshot) -> list[Flat]:
    parts = [pq.ParquetFile(file.location).read() for file in snapshot.files] + [part.rows for part in snapshot.hot]
    return [event for part in parts for event in flat_rows(part, snapshot.fields)]


@given(st.lists(st.lists(objects | conflicting, min_size=1, max_size=6), min_size=1, max_size=4), st.integers(1, 8))
@settings(max_examples=rounds(80))
def test_any_events_come_back_from_shredding(batches: list[list[dict[str, Any]]], max_columns: int) -> None:
    fields = Fields(max_columns=max_columns, density=0.3)
    shredder = Shredder(fields)

    for events in batches:
        table = shredder.shred([batch(events)])

        assert flat_rows(table, fields.view()) == [flat(event) for event in events]


@given(st.lists(conflicting, min_size=1, max_size=6), conflicting)
@settings(max_examples=rounds(60))
def test_labels_are_fields_of_every_event_and_an_events_own_value_wins(
    events: list[dict[str, Any]], labels: dict[str, Any]
) -> None:
    fields = Fields()

    table = Shredder(fields).shred([batch(events, labels=labels)])

    kept = flat(labels)
    for event, row in zip(events, flat_rows(table, fields.view()), strict=True):
        own = {*event, *leaves(json.dumps(event).encode())}
        assert row == {path: value for path, value in kept.items() if path not in own} | flat(event)


@given(st.lists(objects | conflicting, min_size=1, max_size=8))
@settings(max_examples=rounds(15))
def test_any_events_come_back_hot_committed_and_after_a_restart(events: list[dict[str, Any]]) -> None:
    with TemporaryDirectory() as directory:
        root = Path(directory)
        lake = Lake.open(root, LakeSettings())
        lake.create("d")
        lake.accept(1, batch(events))
        wanted = [flat(event) for event in events]

        assert flat_snapshot(lake.snapshot("d")) == wanted
        lake.commit_now()
        assert flat_snapshot(lake.snapshot("d")) == wanted
        lake.close()

        lake = Lake.open(root, LakeSettings())
        assert flat_snapshot(lake.snapshot("d")) == wanted
        lake.close()


def test_a_doubled_key_counts_as_json_parsers_count_it() -> None:
    fields = Fields()
    lines = b'{"a":1,"a":2,"o":{"x":1,"x":"s"}}\n'
    doubled = Batch("d", lines, batch([{}]).times, 1, 1)

    table = Shredder(fields).shred([doubled])

    assert flat_rows(table, fields.view()) == [flat({"a": 2, "o": {"x": "s"}})]


@pytest.mark.parametrize(
    "line",
    [
        b'{"o":{"x":2},"o":{"rare":1}}',
        b'{"o":{"x":2},"o" :{"rare":1}}',
        b'{"o":{"x":2},"\\u006f":{"rare":1}}',
        b'{"o":{"p":{"x":1},"p":{"rare":{"x":2}}}}',
        b'{"o":{"rare":1},"o":{"x":2}}',
        b'{"rare":1,"o":{"x":1},"rare":2,"x":3,"x":4}',
    ],
)
def test_doubled_objects_beside_rare_fields_count_as_json_parsers_count_them(line: bytes) -> None:
    fields = Fields(density=0.5)
    shredder = Shredder(fields)
    shredder.shred([batch([{"o": {"x": 1, "p": {"x": 1}}, "x": 1}] * 100)])

    table = shredder.shred([Batch("d", line + b"\n", batch([{}]).times, 1, 1)])

    assert flat_rows(table, fields.view()) == [flat(json.loads(line))]


def test_an_object_that_the_columns_emptied_hides_no_value_of_the_same_path() -> None:
    fields = Fields(max_columns=1)
    events = [{"a.b": {"a": False}}, {"a": {"a": False, "b": False}}]

    table = Shredder(fields).shred([batch(events)])

    assert flat_rows(table, fields.view()) == [flat(event) for event in events]


def test_numbers_beyond_64_bits_keep_every_digit() -> None:
    fields = Fields()
    lines = b'{"n":123456789012345678901234567890,"f":1e400,"i":9223372036854775807,"u":9223372036854775808}\n'

    table = Shredder(fields).shred([Batch("d", lines, batch([{}]).times, 1, 1)])

    rest = table["_rest"].to_pylist()[0]
    assert rest == '{"n":123456789012345678901234567890,"f":1e400,"u":9223372036854775808}'
    assert table["i"].to_pylist() == [2**63 - 1]


def test_a_decimal_number_is_the_nearest_double_and_beyond_the_largest_kept_as_sent() -> None:
    fields = Fields()
    shredder = Shredder(fields)
    lines = b'{"f":0.5}\n{"f":1e-400}\n{"f":-1e-400}\n{"f":0.12345678901234567890}\n{"f":1.8e308}\n{"f":-1e999}\n'
    sent = Batch("d", lines, batch([{}] * 6).times, 6, 1)

    for _ in range(2):  # the first time the exact path, then the fast one
        table = shredder.shred([sent])
        assert table["f"].to_pylist() == [0.5, 0.0, -0.0, 0.12345678901234568, None, None]
        assert table["_rest"].to_pylist() == [None, None, None, None, '{"f":1.8e308}', '{"f":-1e999}']
    rare = Batch("d", lines.replace(b'"f"', b'"rare"'), sent.times, 6, 1)
    table = Shredder(Fields(max_columns=0)).shred([rare])
    assert [json.loads(rest)["rare"] for rest in table["_rest"].to_pylist()[:4]] == [
        0.5,
        0.0,
        -0.0,
        0.12345678901234568,
    ]
    assert table["_rest"].to_pylist()[4:] == ['{"rare":1.8e308}', '{"rare":-1e999}']
