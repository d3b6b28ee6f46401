"""Cutting files into request bodies."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.cli.pieces import FLUSH, BadFile, Format, format_of, pieces, sniffed


def chunked(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def bodies(data: bytes, form: Format, max_bytes: int = 1 << 20, max_events: int = 10_000) -> list[bytes]:
    return [piece.body for piece in pieces([data], form, max_bytes=max_bytes, max_events=max_events)]


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.json", Format.JSON),
        ("a.ndjson", Format.NDJSON),
        ("A.JSONL", Format.NDJSON),
        ("a.csv.gz", Format.CSV),
        ("a.b.json.zst", Format.JSON),
        ("a.txt", None),
        ("a.gz", None),
        ("json", None),
    ],
)
def test_the_extension_tells_the_format(name: str, form: Format | None) -> None:
    assert format_of(name) == form


events = st.dictionaries(st.text(max_size=4), st.one_of(st.integers(), st.text(max_size=30)), max_size=3)
sizes = st.integers(min_value=1, max_value=200)
counts = st.integers(min_value=1, max_value=5)


@given(st.lists(events, max_size=20), sizes, sizes, counts, st.booleans())
def test_ndjson_pieces_are_the_file_cut_at_line_ends(
    rows: list[dict[str, object]], chunk: int, max_bytes: int, max_events: int, final_newline: bool
) -> None:
    lines = [json.dumps(row).encode() for row in rows]
    data = b"\n".join(lines) + (b"\n" if final_newline and lines else b"")
    cut = list(pieces(chunked(data, chunk), Format.NDJSON, max_bytes=max_bytes, max_events=max_events))
    assert b"".join(piece.body for piece in cut) == data
    for piece in cut:
        inside = piece.body.splitlines()
        assert all(line in lines for line in inside)
        assert piece.events == len(inside) <= max_events
        assert len(piece.body) <= max_bytes or len(inside) == 1


def test_blank_lines_are_no_events() -> None:
    (piece,) = pieces([b'\n{"a":1}\r\n\r\n  \n{"a":2}\n\n'], Format.NDJSON)
    assert piece.events == 2
    assert list(pieces([b"\n \r\n"], Format.NDJSON)) == []
    assert list(pieces([], Format.NDJSON)) == []


def test_a_line_larger_than_a_piece_goes_by_itself() -> None:
    long = b'{"a":"%s"}\n' % (b"x" * 50)
    assert bodies(b'{"b":1}\n' + long + b'{"b":2}\n', Format.NDJSON, max_bytes=20) == [
        b'{"b":1}\n',
        long,
        b'{"b":2}\n',
    ]


@given(st.lists(events, min_size=1, max_size=20), sizes, sizes, counts, st.sampled_from([None, 1]))
def test_array_pieces_are_arrays_of_the_same_events(
    rows: list[dict[str, object]], chunk: int, max_bytes: int, max_events: int, indent: int | None
) -> None:
    data = b" \n" + json.dumps(rows, indent=indent).encode()
    cut = list(pieces(chunked(data, chunk), Format.JSON, max_bytes=max_bytes, max_events=max_events))
    inside = [json.loads(piece.body) for piece in cut]
    assert [event for part in inside for event in part] == rows
    assert all(piece.events == len(part) <= max_events for piece, part in zip(cut, inside, strict=True))
    assert all(len(piece.body) <= max_bytes or piece.events == 1 for piece in cut)


def test_an_empty_array_has_no_pieces() -> None:
    assert bodies(b" [] ", Format.JSON) == []
    assert bodies(b" \n ", Format.JSON) == []


def test_objects_in_a_row_printed_over_many_lines_are_cut_between_them() -> None:
    data = b'{\n "a": 1\n}\n{\n "a": "}\\n{"\n} {"a": 3}'
    cut = bodies(data, Format.JSON, max_events=2)
    assert [json.loads(body) for body in cut] == [[{"a": 1}, {"a": "}\n{"}], [{"a": 3}]]


def test_a_json_file_of_one_object_a_line_is_read_as_it_goes() -> None:
    read = 0

    def chunks() -> Iterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield b'{"a":1}\n'

    first = next(pieces(chunks(), Format.JSON, max_events=1))
    assert first.body == b'{"a":1}\n'
    assert read < 5


def test_a_bad_line_of_a_json_file_of_lines_is_left_to_the_server() -> None:
    assert bodies(b'{"a":1}\n{"a":\n', Format.JSON) == [b'{"a":1}\n{"a":\n']


@pytest.mark.parametrize("data", [b'[{"a":1}', b'[{"a":1} {"b":2}]', b'{"a":\n', b"a,b\n1,2\n", b"[\x00]"])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(BadFile):
        bodies(data, Format.JSON)


@pytest.mark.parametrize("form", [Format.JSON, Format.NDJSON, Format.CSV])
def test_a_byte_order_mark_is_left_out(form: Format) -> None:
    data = b'a\n"b"\n' if form is Format.CSV else b'{"a":1}\n'
    assert b"".join(piece.body for piece in pieces(chunked(b"\xef\xbb\xbf" + data, 1), form)) == data


values = st.text(st.sampled_from('ab",;\n\r é'), max_size=8)


@given(
    st.lists(st.lists(values, min_size=2, max_size=2), max_size=12),
    sizes,
    sizes,
    counts,
    st.sampled_from([",", ";"]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_csv_pieces_have_the_header_and_the_same_records(
    rows: list[list[str]], chunk: int, max_bytes: int, max_events: int, delimiter: str, end: str, quoted: bool
) -> None:
    if not quoted:  # the writer leaves a lone carriage return bare, and readers then differ about it
        rows = [[value.replace("\r", "") for value in row] for row in rows]
    quoting: Literal[0, 1] = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    head = ["na,m;e", "zwölf"]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows([head, *rows])
    data = text.getvalue().encode()
    cut = list(
        pieces(chunked(data, chunk), Format.CSV, delimiter=delimiter, max_bytes=max_bytes, max_events=max_events)
    )
    back: list[list[str]] = []
    for piece in cut:
        first, *inside = csv.reader(io.StringIO(piece.body.decode(), newline=""), delimiter=delimiter)
        assert first == head
        assert piece.events == len(inside) <= max_events
        back += inside
    assert back == rows


def test_a_quote_inside_an_unquoted_value_opens_nothing() -> None:
    data = b'a,b\n1,5" pipe\n2,x"y"z\n"3","q""\nr"\n'
    assert bodies(data, Format.CSV, max_events=1) == [
        b'a,b\n1,5" pipe\n',
        b'a,b\n2,x"y"z\n',
        b'a,b\n"3","q""\nr"\n',
    ]


def test_a_csv_file_without_records_has_no_pieces() -> None:
    assert bodies(b"", Format.CSV) == []
    assert bodies(b"a,b\n", Format.CSV) == []


def test_a_csv_file_that_ends_inside_quotes_is_refused_after_the_records_before() -> None:
    cut = pieces([b'a,b\n1,2\n3,"4\n'], Format.CSV, max_events=1)
    with pytest.raises(BadFile, match="quoted"):
        list(cut)


def test_an_empty_name_in_the_header_row_is_refused() -> None:
    with pytest.raises(BadFile, match="empty name"):
        bodies(b"a,,c\n1,2,3\n", Format.CSV)


def test_what_is_whole_is_sent_when_nothing_more_comes_for_now() -> None:
    assert [p.body for p in pieces([b'{"a":1}\n{"a"', FLUSH, b":2}\n"], Format.NDJSON)] == [b'{"a":1}\n', b'{"a":2}\n']
    assert [p.body for p in pieces([b"a\n1\n2", FLUSH, b"3\n"], Format.CSV)] == [b"a\n1\n", b"a\n23\n"]
    assert [p.body for p in pieces([b'a\n"1\n', FLUSH, b'2"\n'], Format.CSV)] == [b'a\n"1\n2"\n']
    assert [p.body for p in pieces([b"one\ntw", FLUSH, b"o\n"], Format.RAW)] == [
        b'{"message":"one"}\n',
        b'{"message":"two"}\n',
    ]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_the_line_by_which_excel_names_the_delimiter_is_read(size: int) -> None:
    [piece] = pieces(chunked(b"sep=;\r\na;b\r\n1;2\r\n", size), Format.CSV)

    assert (piece.body, piece.csv_delimiter, piece.events) == (b"a;b\n1;2\r\n", ";", 1)


def test_what_is_no_text_is_told() -> None:
    for content, said in ((b"PAR1...", "--format parquet"), (b"\xff\xfea\0", "--encoding utf-16"), (b"a\0", "binary")):
        with pytest.raises(BadFile, match=said):
            list(pieces([content], Format.NDJSON))


def test_a_log_s_format_is_seen() -> None:
    assert sniffed(b'{"a":1}\n{"a":2}\n{"a"') is Format.NDJSON
    assert sniffed(b'level=info msg="a b" n=1\nlevel=warn msg=x\n') is Format.LOGFMT
    assert sniffed(b'1.2.3.4 - - [10/Oct/2025:13:55:36 -0700] "GET / HTTP/1.1" 200 5\n') is Format.COMBINED
    assert sniffed(b"Mar  7 18:04:07 web sshd[7]: hello\n") is Format.SYSLOG
    assert sniffed(b"hello there\n") is Format.RAW
    assert sniffed(b"PAR1") is Format.PARQUET
