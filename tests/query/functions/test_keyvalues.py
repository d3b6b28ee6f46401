"""parse-kv reads a text in one scan."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.query.functions.keyvalues import KeyValueRule, read_pairs, scanned_pairs

SPACES: dict[str, Any] = {"pair_delimiter": " ", "kv_delimiter": "=", "quotes": ('"',)}


def read(text: str, *keys: str, **options: Any) -> list[str | None]:
    return read_pairs(text, KeyValueRule(keys, **options))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("referer= handler=/x size=29", {"referer": "", "handler": "/x", "size": "29"}),
        ('msg="got code=5 now" code=7', {"msg": "got code=5 now", "code": "7"}),
        (r'msg="say \"hi\" now" code=7', {"msg": 'say "hi" now', "code": "7"}),
        (r'path="C:\\new\temp" n=1', {"path": r"C:\new\temp", "n": "1"}),
        ('msg="never closed code=7', {"msg": '"never', "code": "7"}),
        ('"event time"=5 n=1', {"event time": "5", "n": "1"}),
        ('"n=5 and more" n=1', {"n": "1"}),
        ("name=John Doe phone=555 5555 city=New York", {"name": "John", "phone": "555", "city": "New", "Doe": None}),
        ("a=1 a=2", {"a": "1"}),
        ("xcode=1 code=2", {"code": "2"}),
        ("a==b", {"a": "=b"}),
        ("=5 a=1", {"a": "1", "": None}),
        ('a="" b=1', {"a": "", "b": "1"}),
        ('a="x"y b=1', {"a": "x", "b": "1"}),
        ("", {"a": None}),
        ("a", {"a": None}),
        ("a=", {"a": ""}),
    ],
)
def test_pairs_between_spaces(text: str, expected: dict[str, str | None]) -> None:
    assert read(text, *expected, **SPACES, escapes=("\\",)) == list(expected.values())


def test_white_space_around_keys_and_values_is_left_out() -> None:
    text = "ThreadId:458745723, Machine:Node001, Text: The service is up, Level: Info"

    found = read(text, "Text", "ThreadId", "Machine", "Level", pair_delimiter=",", kv_delimiter=":")
    assert found == ["The service is up", "458745723", "Node001", "Info"]
    assert read('a = "x, y" ,b= 2', "a", "b", pair_delimiter=",", kv_delimiter="=") == ["x, y", "2"]


def test_quotes_may_open_and_close_by_different_characters() -> None:
    text = "bytes=125 failure=(connection aborted) (event time)=(2021-01-01 10:00:54)"

    found = read(text, "event time", "failure", "bytes", pair_delimiter=" ", kv_delimiter="=", quotes=("()",))
    assert found == ["2021-01-01 10:00:54", "connection aborted", "125"]


def test_a_greedy_value_goes_on_to_the_next_key() -> None:
    text = "name=John Doe phone=555 5555 city=New York"

    found = read(text, "name", "phone", "city", **SPACES, greedy=True)
    assert found == ["John Doe", "555 5555", "New York"]


def test_without_delimiters_any_usual_ones_are_known() -> None:
    text = "2021-01-01T10:00:34 [INFO] ThreadId:458745723, Machine:Node001, Text: Started"

    assert read(text, "Text", "ThreadId", "Machine") == ["Started", "458745723", "Node001"]
    assert read("user=ann code=7;ok = true, empty= x=1", "user", "code", "ok", "empty", "x") == [
        *("ann", "7", "true", "", "1")
    ]


VALUES = st.text('ab "\\=,', max_size=8)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), VALUES, max_size=6))
def test_what_is_written_in_quotes_is_read_back(pairs: dict[str, str]) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    text = " ".join(f"{key}={quoted(value)}" for key, value in pairs.items())

    assert read(text, *pairs, **SPACES, escapes=("\\",)) == list(pairs.values())


@given(st.text("ab =:,;\"'\\\n()", max_size=40), st.booleans(), st.sampled_from(["", " ", ", "]))
def test_any_text_is_read(text: str, greedy: bool, pair: str) -> None:
    found = read(text, "a", "b", "ab", pair_delimiter=pair, escapes=("\\",), greedy=greedy)

    assert all(value is None or value in text.replace("\\", "") or "\\" in text for value in found)


@pytest.mark.parametrize("text", ["a " * 200_000, '"' * 400_000, ' "a' * 130_000, "=" * 400_000, 'b="' * 130_000,
                                  " " * 400_000, "a" * 400_000, "a" * 400_000 + "=", 'x="\\' * 100_000])  # fmt: skip
@pytest.mark.parametrize("greedy", [True, False])
def test_a_long_text_takes_a_time_in_proportion(text: str, greedy: bool) -> None:
    began = time.process_time()

    read(text, "key", **SPACES, escapes=("\\",), greedy=greedy)
    read(text, "key", greedy=greedy)
    assert time.process_time() - began < 5


_PIECES = st.lists(
    st.sampled_from(["a", "b", "ab", "=", "=", ":", " ", " ", ",", ";", '"', '"', "'", "\n", "\u00a0", "|", "->", "é"]),
    max_size=24,
).map("".join)
_RULES = st.sampled_from(
    [
        KeyValueRule(("a", "b", "ab")),
        KeyValueRule(("a", "b", "ab"), ",", "="),
        KeyValueRule(("a", "b", "ab"), " ", ":"),
        KeyValueRule(("a", "b", "ab"), "|", "->", quotes=('"',)),
        KeyValueRule(("a", "b", "ab"), "", "="),
        KeyValueRule(("a", "b", "ab"), ", ", ","),
        KeyValueRule(("a", "b", "ab"), "=", " "),
    ]
)


@given(_PIECES, _RULES)
def test_pairs_without_a_scan_are_those_of_a_scan(text: str, rule: KeyValueRule) -> None:
    assert read_pairs(text, rule) == [*map(scanned_pairs(text, rule).get, rule.keys)]
