"""CSV bodies: names, cells, delimiters, limits, times."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.events import BadRequest, ParsedBatch, TooLarge
from tailrace.parsing import Limits, TimeRule, parse_csv

NS = 1_000_000_000


def parse(
    body: bytes,
    *,
    fields: Sequence[str] | None = None,
    delimiter: str = "",
    field: str = "_time",
    format: str = "",
    limits: Limits | None = None,
) -> ParsedBatch:
    rule = TimeRule(field=field, format=format)
    return parse_csv(body, fields=fields, delimiter=delimiter, times=rule, limits=limits or Limits(), received_ns=7)


def rows(found: ParsedBatch) -> list[Any]:
    events: list[Any] = msgspec.json.Decoder().decode_lines(found.events)
    assert len(events) == found.count == len(found.times)
    return events


def test_the_first_row_holds_the_names() -> None:
    found = parse(b"user,name\r\nfoo,bar\r\nx,\r\n")

    assert rows(found) == [{"user": "foo", "name": "bar"}, {"user": "x", "name": ""}]
    assert found.processed_bytes == 24
    assert found.times.tolist() == [7, 7]


def test_with_fields_given_every_row_is_an_event() -> None:
    assert rows(parse(b"foo,bar", fields=["user", " name "])) == [{"user": "foo", "name": "bar"}]


def test_without_fields_in_the_list_the_first_row_holds_the_names() -> None:
    assert rows(parse(b"a\n1\n", fields=[])) == [{"a": "1"}]


@pytest.mark.parametrize(
    "first", [b"sep=;\r\n", b"SEP=;\n", b'"sep=;"\r\n', b"\xef\xbb\xbfsep=;\n"], ids=["crlf", "caps", "quoted", "bom"]
)
@pytest.mark.parametrize("delimiter", ["", ",", ";"])
def test_excels_first_line_names_the_delimiter(first: bytes, delimiter: str) -> None:
    assert rows(parse(first + b"a;b,c\r\n1;2", delimiter=delimiter)) == [{"a": "1", "b,c": "2"}]


def test_excels_first_line_may_stand_before_rows_without_names_and_counts_as_a_line() -> None:
    assert rows(parse(b"sep=\t\n1\t2", fields=["a", "b"])) == [{"a": "1", "b": "2"}]
    assert rows(parse(b"sep=;")) == []
    [refused] = parse(b'sep=;\na;b\n"1"x;2\n3;4').rejections
    assert "(line 3)" in refused.reason


@pytest.mark.parametrize(
    ("delimiter", "body"),
    [(",", b"a,b\n1,2"), (";", b"a;b\n1;2"), ("tab", b"a\tb\n1\t2"), ("\\t", b"a\tb\n1\t2")],
)
def test_the_delimiter_may_be_given(delimiter: str, body: bytes) -> None:
    assert rows(parse(body, delimiter=delimiter)) == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize("delimiter", [",,", '"', "\n", " "])
def test_a_delimiter_that_cannot_part_cells_is_refused(delimiter: str) -> None:
    with pytest.raises(BadRequest, match="csv-delimiter"):
        parse(b"a,b\n1,2", delimiter=delimiter)


def test_quoted_cells_hold_delimiters_quotes_and_newlines() -> None:
    found = parse(b'a,b\n"x,""y""","line 1\r\nline 2"\n')

    assert rows(found) == [{"a": 'x,"y"', "b": "line 1\r\nline 2"}]
    assert found.events.count(b"\n") == 1


def test_blank_rows_and_a_byte_order_mark_are_passed_over() -> None:
    assert rows(parse(b"\xef\xbb\xbf\n a , b\n\n   \n1,2\n\n")) == [{"a": "1", "b": "2"}]


def test_missing_cells_are_absent_and_extra_ones_refuse_the_row() -> None:
    found = parse(b"a,b\n1\n1,2,3\n4,5\n")

    assert rows(found) == [{"a": "1"}, {"a": "4", "b": "5"}]
    assert [(one.index, one.code, one.event) for one in found.rejections] == [(1, "invalid_csv", b"1,2,3")]


def test_a_broken_quote_costs_its_row() -> None:
    found = parse(b'a,b\n"x"y,1\n2,3\n"open,4\n')

    assert rows(found) == [{"a": "2", "b": "3"}]
    assert [(one.index, one.code, one.event) for one in found.rejections] == [
        (0, "invalid_csv", b'"x"y,1'),
        (2, "invalid_csv", b'"open,4'),
    ]


@pytest.mark.parametrize("body", [b"a,a\n1,2", b"a,\n1,2", b"a, ,b\n", b'"x"y\n1', b"\xff,b\n1,2", b"n" * 201 + b"\n1"])
def test_names_that_cannot_be_used_refuse_the_request(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse(body)


@pytest.mark.parametrize("body", [b"", b"\n", b"a,b", b"a,b\r\n\r\n"])
def test_a_body_without_rows_has_no_events(body: bytes) -> None:
    found = parse(body)

    assert (found.count, found.events, len(found.times), found.rejections) == (0, b"", 0, ())


def test_a_cell_that_is_not_utf8_or_too_long_is_replaced() -> None:
    found = parse(b"a,b\nx\xff," + b"y" * 51 + b"\nok," + b"y" * 50, limits=Limits(max_string_bytes=50))

    assert rows(found) == [
        {"a": "<invalid data>", "b": "<invalid string: too long>"},
        {"a": "ok", "b": "y" * 50},
    ]


def test_a_cell_may_be_larger_than_the_csv_module_allows_by_itself() -> None:
    assert rows(parse(b"a\n" + b"x" * 500_000)) == [{"a": "x" * 500_000}]


def test_an_event_that_is_too_large_costs_itself() -> None:
    found = parse(b"a,_time\n1,5\n" + b"x" * 100 + b",6\n", limits=Limits(max_event_bytes=90))

    assert rows(found) == [{"a": "1", "_time": "5"}]
    assert [(one.index, one.code, one.time_ns) for one in found.rejections] == [(1, "event_too_large", 6 * NS)]


def test_one_row_past_the_count_refuses_the_request() -> None:
    assert parse(b"a\n1\n2\n", limits=Limits(max_events=2)).count == 2
    with pytest.raises(TooLarge, match="max_events = 2 "):
        parse(b"a\n1\n2\n3\n", limits=Limits(max_events=2))


def test_a_body_over_its_limit_is_refused() -> None:
    with pytest.raises(TooLarge, match="max_body_bytes"):
        parse(b"a\n1\n2\n", limits=Limits(max_body_bytes=5))


def test_the_time_column_is_read() -> None:
    found = parse(b"_time,a\n2026-03-05T10:11:12Z,1\n1700000000,2\n,3\nsoon,4\n")

    assert found.times.tolist() == [1772705472 * NS, 1700000000 * NS, 7]
    assert [event["a"] for event in rows(found)] == ["1", "2", "3"]
    assert [(one.index, one.code) for one in found.rejections] == [(3, "invalid_time")]


def test_the_time_column_may_have_another_name_and_format() -> None:
    found = parse(b"when,a\n05/Mar/2026,1\n", field="when", format="2/Jan/2006")

    assert found.times.tolist() == [1772668800 * NS]


def test_a_reserved_name_is_stored_as_the_users_own() -> None:
    assert rows(parse(b"_sysTime,_user_sysTime\n1,2\n")) == [{"_user_sysTime_": "1", "_user_sysTime": "2"}]


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=10)


@given(
    table=st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=20),
    delimiter=st.sampled_from([",", ";", "\t", "|", "é"]),
    newline=st.sampled_from(["\n", "\r\n"]),
)
def test_what_a_csv_writer_wrote_comes_back(table: list[list[str]], delimiter: str, newline: str) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator=newline)
    writer.writerows([["a", "b"], *table])

    found = parse(text.getvalue().encode(), delimiter=delimiter)

    assert rows(found) == [{"a": a, "b": b} for a, b in table]
    assert found.rejections == ()
