"""Queries of URLs, CSV and paths read in whole columns are what they are row by row."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from query.functions.columns_kit import assert_columns_are_rows
from support.rounds import rounds

from tailrace.query.functions.udf import UDFS

CHARACTERS = [*"abZ019=&?#/:@.,-+%; ", "%20", "%41", "%2", "é", "\n", '"', "\\", "\x7f", "[", "'", "..", "a=1", "&b="]
ODD = st.lists(st.sampled_from(CHARACTERS), max_size=14).map("".join)
NAME = st.sampled_from(["", "a", "b", "c", "page"])
VALUE = st.sampled_from(["", "1", "x+y", "x%20", "%41", "é"])
QUERY = st.lists(st.tuples(NAME, VALUE).map("=".join), max_size=4).map("&".join)
PATH = st.lists(st.sampled_from(["/", "/", "a", ".", "..", ".gz", "log", "C:", "://"]), max_size=8).map("".join)


@pytest.mark.parametrize("name", ["parse_urlquery", "parse_csv", "parse_path"])
@settings(max_examples=rounds(40))
@given(texts=st.lists(QUERY | PATH | ODD, min_size=1, max_size=12))
def test_texts_of_any_kind(name: str, texts: list[str]) -> None:
    assert_columns_are_rows(UDFS[f"apl_{name}"], [pa.array(texts)])


@pytest.mark.parametrize(
    ("name", "plain", "odd"),
    [
        ("parse_urlquery", ["a=1", "", "a=1&b=x+y%20&=&c="], ["a=1&a=2", "a", "a%20=1", "a=%41", "é=1", "?a=1"]),
        ("parse_csv", ["a", ",", "a,b,,c d"], ["", '"a"', "a\nb", "é"]),
        ("parse_path", ["/var/log/a.tar.gz", "a", "/", "", "a/b.c/d"], [".profile", "C:/a", "a\\b", "http://a"]),
    ],
)
def test_what_is_plainly_written_is_read_in_bulk(name: str, plain: list[str], odd: list[str]) -> None:
    function = UDFS[f"apl_{name}"]
    assert function.columns is not None
    found = function.columns(pa.array(["cut off", *plain, *odd, *plain, *plain])[1:])
    assert found is not None
    assert found[1].tolist() == [True] * len(plain) + [False] * len(odd) + [True] * 2 * len(plain)
    assert_columns_are_rows(function, [pa.array(plain)])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("parse_csv", "a" * 140_000),
        ("parse_urlquery", "&".join(f"a{n}=1" for n in range(10_001))),
    ],
)
def test_long_texts(name: str, text: str) -> None:
    assert_columns_are_rows(UDFS[f"apl_{name}"], [pa.array([text, "a"])])
