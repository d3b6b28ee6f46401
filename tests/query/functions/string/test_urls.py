"""URLs are read and written as urllib does it."""

import json
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from tailrace.query.functions.udf import FAILURES, UDFS


def parsed(text: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(UDFS["apl_parse_url"].row(text))
    except FAILURES:
        return None
    return found


def parsed_by_urllib(text: str) -> dict[str, Any] | None:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    query: dict[str, Any] = {}
    for name, value in parse_qsl(parts.query.removeprefix("?"), keep_blank_values=True):
        if name in query:
            query[name] = [*query[name], value] if isinstance(query[name], list) else [query[name], value]
        else:
            query[name] = value
    return {
        "scheme": parts.scheme,
        "host": parts.hostname or "",
        "port": "" if port is None else str(port),
        "path": parts.path,
        "username": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "query": query,
        "fragment": parts.fragment,
    }


PIECES = [
    "a",
    "b",
    "1",
    "=",
    "=",
    "&",
    "?",
    "#",
    "/",
    ":",
    "@",
    ".",
    "-",
    "+",
    "%20",
    "%41",
    "%26",
    "é",
    " ",
    '"',
    "\\",
    "[",
]
ENDS = st.lists(st.sampled_from(PIECES), max_size=16).map("".join)
STARTS = st.sampled_from(
    ["http://", "x+y://", "http://a.b", "HTTP://A", "//a", "http://u:p@a:080/", "http://a?", "", "a:"]
)


@given(STARTS, ENDS)
def test_a_url_is_read_as_urllib_reads_it(start: str, end: str) -> None:
    assert parsed(start + end) == parsed_by_urllib(start + end)


TEXTS = st.text("aB1 &=%+-é", max_size=4)


@given(
    st.dictionaries(TEXTS, TEXTS | st.lists(TEXTS | st.integers(), max_size=2) | st.integers() | st.none(), max_size=3)
)
def test_a_query_is_written_as_urllib_writes_it(query: dict[str, Any]) -> None:
    written = urlencode(query, doseq=True)

    found = UDFS["apl_format_url"].row({"scheme": "http", "host": "a", "query": query})

    assert found == (f"http://a?{written}" if written else "http://a")


def test_names_of_parts_may_be_in_capitals_and_a_query_has_two() -> None:
    write = UDFS["apl_format_url"].row

    assert write({"Scheme": "http", "HOST": "a", "Port": 80, "n": 1}) == "http://a:80"
    assert write({"host": "a", "query": "", "query parameters": {"b": "c d"}}) == "//a?b=c+d"
    assert write({"host": "a", "query": {"q": "1"}, "Query Parameters": {"b": "2"}}) == "//a?q=1"
    assert write({"host": "a", "Host": "", "path": None}) == "//a"
