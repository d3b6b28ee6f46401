"""No query ends in an internal error: made from a grammar, or golden ones with their tokens changed about."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from query.golden_kit import all_cases
from query.test_golden import NOW_NS, Stand
from support.rounds import rounds

from tailrace.events import TailraceError
from tailrace.query import AplRequest, run_apl
from tailrace.query.compile.aggregations import AGGREGATIONS, AggregationFunction
from tailrace.query.functions import FUNCTIONS, Function

FEW = settings(max_examples=rounds(150), suppress_health_check=list(HealthCheck))

FIELDS = ["id", "method", "status", "duration", "user", "geo", "geo.city", "tags", "ok", "error", "['my key']", "_time",
          "nowhere"]  # fmt: skip
LITERALS = ["1", "-1", "0", "1.5", "'a'", "''", "'['", "null", "true", "1h", "datetime(2026-03-01)", "1e308",
            "9223372036854775807", "dynamic([1, 'a', null])", "dynamic({'a': 1})", "long(null)"]  # fmt: skip
BINARY = ["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "and", "or", "=~", "has", "!has_cs", "contains", "startswith",
          "hassuffix", "matches regex"]  # fmt: skip
TOKEN = re.compile(r"\s+|\w+|'[^']*'|\"[^\"]*\"|.", re.DOTALL)
WORDS = [*FIELDS, *LITERALS, *BINARY, "|", "(", ")", ",", "by", "users", "empty", "where", "extend x =", "summarize",
         "project", "take 2", "sort by", "desc", "count()", "bin(_time, 1h)", "mv-expand", "distinct", "join", "union",
         "*"]  # fmt: skip

atoms = st.sampled_from(FIELDS + LITERALS)


def calls(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def call(function: Function) -> st.SearchStrategy[str]:
        least = sum(not each.optional and not each.many for each in function.parameters) + function.least
        arguments = st.lists(inner, min_size=least, max_size=least + 1)
        return arguments.map(lambda given: f"{function.name}({', '.join(given)})")

    return st.sampled_from(sorted(FUNCTIONS.values(), key=lambda each: each.name)).flatmap(call)


def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.tuples(inner, st.sampled_from(BINARY), inner).map(lambda parts: f"({' '.join(parts)})")
    members = st.tuples(inner, inner).map(lambda parts: f"({parts[0]} in ({parts[1]}, 'x'))")
    return binary | members | calls(inner)


expressions = st.recursive(atoms, larger, max_leaves=5)


def aggregate(aggregation: AggregationFunction) -> st.SearchStrategy[str]:
    others = st.sampled_from(["1", "50", "dynamic([50])", "1h", "0.5", "id", "id > 2"])
    places = [expressions if n in (0, aggregation.predicate) else others for n in range(aggregation.least)]
    return st.tuples(*places).map(lambda given: f"{aggregation.name}({', '.join(given)})")


aggregates = st.sampled_from(sorted(AGGREGATIONS.values(), key=lambda each: each.name)).flatmap(aggregate)
kinds = st.sampled_from(["inner", "innerunique", "leftouter", "rightouter", "fullouter", "leftanti", "rightsemi"])
keys = st.sampled_from(["id", "user", "status == level", "tostring(id) == user"])
operators = st.one_of(
    expressions.map("where {}".format),
    st.builds("extend z = {}, user = {}".format, expressions, expressions),
    st.builds("summarize a = {}, {} by {}".format, aggregates, aggregates, expressions),
    aggregates.map("summarize {}".format),
    expressions.map("project id, user, y = {}".format),
    st.builds("sort by {} {}".format, expressions, st.sampled_from(["asc", "desc", "asc nulls last"])),
    st.integers(0, 9).map("take {}".format),
    expressions.map("top 3 by {}".format),
    expressions.map("mv-expand {}".format),
    expressions.map("distinct {}".format),
    st.builds("join kind={} (users | extend id = level) on {}".format, kinds, keys),
    st.builds("make-series {} on {} step {} by {}".format, aggregates, st.sampled_from(["_time", "id", "status"]),
              st.sampled_from(["1h", "1", "0.5"]), atoms),
    st.builds("parse {} with 'a' x:{} *".format, expressions, st.sampled_from(["long", "datetime", "bool", "string"])),
    st.sampled_from(["count", "getschema", "union users", "redact '[a-z]+'", "search 'an*'", "where * has 'a'",
                     "project-away geo*", "distinct *", "extend-valid id = status"]),
)  # fmt: skip
queries = st.lists(operators, min_size=1, max_size=4).map(lambda parts: " | ".join(["['http-logs']", *parts]))


@st.composite
def mutated(draw: st.DrawFn) -> str:
    golden = st.sampled_from([case.query for case in all_cases() if case.query])
    tokens = TOKEN.findall(draw(golden))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(tokens)))
        match draw(st.sampled_from(["drop", "change", "insert", "graft"])):
            case "drop":
                del tokens[at : at + 1]
            case "change":
                tokens[at : at + 1] = [draw(st.sampled_from(WORDS))]
            case "insert":
                tokens[at:at] = [" ", draw(st.sampled_from(WORDS)), " "]
            case _:
                tokens[at:at] = TOKEN.findall(draw(golden))[: draw(st.integers(0, 8))]
    return "".join(tokens)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    made = Stand(Path(tmp_path_factory.mktemp("fuzz")), "half of each")
    yield made
    made.close()


def run(stand: Stand, query: str) -> None:
    try:
        result = run_apl(stand.lake, stand.engine, AplRequest(apl=query, now_ns=NOW_NS), check=lambda name: None)
    except TailraceError as error:
        if error.status >= 500 or "cannot be run" in error.message:  # DuckDB refuses only what is compiled wrongly
            raise
        return
    for table in result.tables:
        assert [field.name for field in table.fields] == table.rows.column_names


@given(queries)
@FEW
def test_a_query_of_the_grammar_runs_or_is_refused(stand: Stand, query: str) -> None:
    run(stand, query)


@given(mutated())
@FEW
@example("['http-logs'] | summarize stdev(1e308 * id)")
def test_a_golden_query_with_changed_tokens_runs_or_is_refused(stand: Stand, query: str) -> None:
    run(stand, query)
