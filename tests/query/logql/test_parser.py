"""LogQL's grammar: whatever text comes, there is a tree or an error with its place."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rounds import rounds

from tailrace.query.logql.parser import LogqlError, duration_ns, parse
from tailrace.query.logql.tree import (
    Comparison,
    Grouping,
    LabelFormat,
    LogQuery,
    Matcher,
    RangeAggregation,
    Rename,
    Template,
    Unwrap,
    VectorAggregation,
)

PARTS = (
    "{", "}", "(", ")", "[5m]", "[", "]", "|", "|=", "!=", "=~", "!~", "|~", "=", "==", ">", "<=", ",", "+", "-", "*",
    "/", '"a"', "`b`", '"\\x41"', "job", "by", "without", "sum", "rate", "count_over_time", "topk", "json", "logfmt",
    "label_format", "duration", "bytes", "unwrap", "line_format",
    "drop", "keep", "or", "and", "offset", "5m", "10kb", "2TiB", "1e999", "0.5", "1e9",
    " ", "#", "\n", "ü",
)  # fmt: skip


def test_a_duration_is_within_the_longest_whatever_its_digits() -> None:
    digits = "9" * 400

    assert duration_ns(f"{digits}s") == duration_ns(f"1s{digits}y") == 2**63 - 1
    with pytest.raises(LogqlError, match="the range is longer than 100 years"):
        parse(f"rate({{}}[{digits}h])")
    assert isinstance(parse(f"{{}} | took > {digits}ms"), LogQuery)


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
        Comparison("took", ">", 90.0, "seconds"),
        Comparison("size", "<=", 2048.0, "bytes"),
        Comparison("n", "==", -5.0),
        Comparison("m", "==", 1000.0),
        Comparison("big", ">", 2.0**40, "bytes"),
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
        'sum by (level) (count_over_time(({a="b"} |= "x")[1m]))',
    ],
)
def test_groups_ranges_and_brackets_stand_where_they_may(text: str) -> None:
    found = parse(text)
    assert isinstance(found, VectorAggregation)
    assert (found.function, found.grouping) == ("sum", Grouping(("level",)))
    assert isinstance(found.of, RangeAggregation)
    assert found.of.query.matchers == (Matcher("a", "=", "b"),)
    assert len(found.of.query.stages) == 1


def test_labels_are_formatted_by_names_and_templates() -> None:
    found = parse('{a="b"} | label_format to=from, x="{{.y}} of {{ .z }}" | label_format n=`1`')
    assert isinstance(found, LogQuery)
    assert found.stages == (
        LabelFormat((Rename("to", "from"), Template("x", ("", "y", " of ", "z", "")))),
        LabelFormat((Template("n", ("1",)),)),
    )


@pytest.mark.parametrize(
    ("text", "offset_s"),
    [
        ('rate({a="b"}[5m] offset 1h30m)', 5400),
        ('rate({a="b"} |= "x" [5m] offset -30s)', -30),
        ('rate({a="b"}[5m] offset 1m | unwrap n)', 60),
        ('rate(({a="b"})[5m] offset 1m)', 60),
        ('rate(({a="b"}[5m] offset 1m))', 60),
        ('rate({a="b"}[5m])', 0),
    ],
)
def test_an_offset_stands_behind_the_range(text: str, offset_s: int) -> None:
    found = parse(text)
    assert isinstance(found, RangeAggregation)
    assert (found.range_ns, found.offset_ns) == (300 * 10**9, offset_s * 10**9)


def test_series_are_grouped_without_labels_as_well() -> None:
    found = parse('sum without (pod, host) (max_over_time({a="b"} | unwrap bytes(size) [1m]) without (job))')
    assert isinstance(found, VectorAggregation)
    assert found.grouping == Grouping(("pod", "host"), is_without=True)
    assert isinstance(found.of, RangeAggregation)
    assert found.of.grouping == Grouping(("job",), is_without=True)
    assert found.of.query.stages == (Unwrap("size", "bytes"),)
    assert [found.grouping.has(label) for label in ("pod", "job")] == [False, True]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{a="b"} | label_format x=y, x="z"', "line 1, column 29: label_format sets x twice: take two stages"),
        ('{a="b"} | label_format x="{{ToUpper .y}}"', "functions in it are not supported"),
        ('{a="b"} | label_format x', "but ="),
        ('rate({a="b"}[5m]) offset 5m', "'offset' is not expected after the query"),
        ('rate({a="b"}[5m] |= "x" offset 5m)', "offset stands right behind the range"),
        ('rate({a="b"}[5m] offset 300y)', "longer than 100 years"),
        ('rate({a="b"}[5m] offset)', "but how long before"),
        ('rate({a="b"}[5m] | unwrap duration(x)', "but )"),
        ('sum without pod (rate({a="b"}[5m]))', "but ("),
    ],
)
def test_what_is_not_as_it_should_be_is_told(text: str, why: str) -> None:
    with pytest.raises(LogqlError) as refused:
        parse(text)
    assert why in str(refused.value)
