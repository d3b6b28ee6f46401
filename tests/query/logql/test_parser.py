"""LogQL's grammar: whatever text comes, there is a tree or an error with its place."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rounds import rounds

from tailrace.query.logql.parser import LogqlError, duration_ns, parse
from tailrace.query.logql.tree import (
    Comparison,
    LogQuery,
    Matcher,
    RangeAggregation,
    VectorAggregation,
)

PARTS = (
    "{", "}", "(", ")", "[5m]", "[", "]", "|", "|=", "!=", "=~", "!~", "|~", "=", "==", ">", "<=", ",", "+", "-", "*",
    "/", '"a"', "`b`", '"\\x41"', "job", "by", "without", "sum", "rate", "count_over_time", "topk", "json", "logfmt",
    "unwrap", "line_format", "drop", "keep", "or", "and", "offset", "5m", "10kb", "2TiB", "1e999", "0.5", "1e9",
    " ", "#", "\n", "ü",
)  # fmt: skip


@given(st.lists(st.sampled_from(PARTS), max_size=30).map("".join))
@settings(max_examples=rounds(300))
def test_every_text_is_a_tree_or_an_error_with_its_place(text: str) -> None:
    with suppress(LogqlError):
        parse(text)
        return
    with pytest.raises(LogqlError, match=r"^line \d+, column \d+: "):
        parse(text)


def test_texts_are_unescaped_as_in_go() -> None:
    found = parse(r'{a="\"\\\n\x41\u00e9\U0001F600\101", b=`\n"`}')
    assert isinstance(found, LogQuery)
    assert [matcher.value for matcher in found.matchers] == ['"\\\nA\u00e9\U0001f600A', '\\n"']


def test_numbers_have_units() -> None:
    found = parse('{a="b"} | took > 1m30s | size <= 2KiB | n = -5 | m == 1e3 | big > 1TiB')
    assert isinstance(found, LogQuery)
    assert found.stages == (
        Comparison("took", ">", 90.0),
        Comparison("size", "<=", 2048.0),
        Comparison("n", "==", -5.0),
        Comparison("m", "==", 1000.0),
        Comparison("big", ">", 2.0**40),
    )
    assert [duration_ns(text) for text in ("1h30m", "1.5s", "5", "m5", "")] == [
        5400 * 10**9,
        1_500_000_000,
        None,
        None,
        None,
    ]


@pytest.mark.parametrize(
    "text",
    [
        'sum by (level) (count_over_time({a="b"} |= "x" [1m]))',
        'sum(count_over_time({a="b"} |= "x" [1m])) by (level)',
        'sum by (level) (count_over_time({a="b"}[1m] |= "x"))',
        'sum by (level) ((count_over_time(({a="b"} |= "x" [1m]))))',
    ],
)
def test_groups_ranges_and_brackets_stand_where_they_may(text: str) -> None:
    found = parse(text)
    assert isinstance(found, VectorAggregation)
    assert (found.function, found.by) == ("sum", ("level",))
    assert isinstance(found.of, RangeAggregation)
    assert found.of.query.matchers == (Matcher("a", "=", "b"),)
    assert len(found.of.query.stages) == 1
