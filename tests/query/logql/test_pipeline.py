"""Stages as operators: what a line has, and what a template makes, is computed once, and only where it is used."""

import pytest

from tailrace.query.apl.tree import Constant, Extend
from tailrace.query.logql.fields import LabelFields
from tailrace.query.logql.parser import LogqlError, parse
from tailrace.query.logql.pipeline import Pipeline
from tailrace.query.logql.tree import LogQuery


def columns(stages: str) -> int:
    """Return how many columns the stages of a query make, of a dataset with lines and a host."""
    query = parse("{} " + stages)
    assert isinstance(query, LogQuery)
    pipeline = Pipeline(query, LabelFields({"message": "string", "host": "string"}), Constant(0, "string", "web"))
    return sum(isinstance(operator, Extend) for operator in pipeline.operators)


@pytest.mark.parametrize(
    ("stages", "count"),
    [
        ("| json", 0),
        ('| json | host="a"', 0),
        ('| json | a="1" | b="2"', 3),  # with the line, parsed
        ("| json | " + " or ".join(['a_b_c="1"'] * 400), 2),
        ('| logfmt | a="1" or a="2"', 1),
        ('| label_format a="{{.host}}"', 0),
        ('| label_format a="{{.host}}" | a="1" | a="2"', 1),
        ('| label_format a="{{.host}}" | label_format b=a, c="{{.host}}" | b="1"', 2),
        ('| line_format "{{.host}}" |= "x" | logfmt | a="1"', 2),
    ],
)
def test_a_value_is_computed_once_and_only_where_it_is_used(stages: str, count: int) -> None:
    assert columns(stages) == count


@pytest.mark.parametrize(
    "stage",
    ['| a=~"b)|(c"', '| a!~"b)|(?:c"', '|~ "b)|(c"', '!~ "a" or "("', '|~ "(?:(?:(?:x?y?){1000}){1000}){1000}"'],
)
def test_a_pattern_is_one_by_itself_and_looked_at_as_the_engine_does(stage: str) -> None:
    with pytest.raises(LogqlError, match="is no regular expression: "):
        columns(stage)


def test_a_text_is_no_pattern() -> None:
    assert columns('| a="(" | a!="(" |= "(" != "("') == 0


def test_lines_are_read_a_few_times_only() -> None:
    assert columns('| json | logfmt | json | a="1"') == 5
    with pytest.raises(LogqlError, match="at most 3 stages json or logfmt"):
        columns("| json " * 4)
