"""The parser: precedence, literals, names, and errors that say where."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.query.apl import tree
from tailrace.query.apl.errors import AplError
from tailrace.query.apl.parser import MAX_BYTES, MAX_DEPTH, parse, parse_expression


def shown(node: Any) -> Any:
    """Return a tree without its positions, short."""
    match node:
        case tree.Constant(kind=kind, value=value):
            return value if kind != "timespan" else (kind, value)
        case tree.Name(name=name):
            return name
        case tree.Unary(operator=operator, of=of):
            return (operator, shown(of))
        case tree.Binary(operator=operator, left=left, right=right):
            return (shown(left), operator, shown(right))
        case tree.Call(name=name, arguments=arguments):
            return (name, *map(shown, arguments))
        case tree.Member(of=of, key=key):
            return (shown(of), ".", key)
        case tree.Index(of=of, index=index):
            return (shown(of), "[]", shown(index))
        case tree.Between(of=of, low=low, high=high, negated=negated):
            return (shown(of), "!between" if negated else "between", shown(low), shown(high))
        case tree.Membership(operator=operator, of=of, items=items):
            return (shown(of), operator, [shown(item) for item in items])
    return node


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", (1, "+", (2, "*", 3))),
        ("(1 + 2) * 3", ((1, "+", 2), "*", 3)),
        ("1 - 2 - 3", ((1, "-", 2), "-", 3)),
        ("a or b and c", ("a", "or", ("b", "and", "c"))),
        ("a == 1 and b < 2 or c", ((("a", "==", 1), "and", ("b", "<", 2)), "or", "c")),
        ("-a + 1", (("-", "a"), "+", 1)),
        ("- 5", -5),
        ("a + 1 > b - 1", (("a", "+", 1), ">", ("b", "-", 1))),
        ("a has 'x' and b !has 'y'", (("a", "has", "x"), "and", ("b", "!has", "y"))),
        ("a <> 1", ("a", "!=", 1)),
        ("a matches regex 'x'", ("a", "matches regex", "x")),
        ("a !matches regex 'x'", ("a", "!matches regex", "x")),
        ("a between (1 .. 2)", ("a", "between", 1, 2)),
        ("a between (1..2)", ("a", "between", 1, 2)),
        ("a !between (1 .. b + 1)", ("a", "!between", 1, ("b", "+", 1))),
        ("a in (1, 'x')", ("a", "in", [1, "x"])),
        ("a in~ ('x',)", ("a", "in~", ["x"])),
        ("a !in~ ('x')", ("a", "!in~", ["x"])),
        ("a !in (b)", ("a", "!in", ["b"])),
        ("a has_any ('x', 'y')", ("a", "has_any", ["x", "y"])),
        ("a in (dynamic([1, -2]))", ("a", "in", [[1, -2]])),
        ("a =~ b", ("a", "=~", "b")),
        ("a.b.c", (("a", ".", "b"), ".", "c")),
        ("['a b']['c'][0]", ((("a b"), ".", "c"), "[]", 0)),
        ('["a b"].c', ("a b", ".", "c")),
        ("f(a, 1)[b]", (("f", "a", 1), "[]", "b")),
        ("not(a)", ("not", "a")),
        ("2 * 1.5h", (2, "*", ("timespan", 5_400_000_000_000))),
    ],
)
def test_expressions(text: str, expected: Any) -> None:
    assert shown(parse_expression(text)) == expected


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("1", "long", 1),
        ("0xFF", "long", 255),
        ("1.5", "real", 1.5),
        ("1e3", "real", 1000.0),
        ("-9223372036854775808", "long", -(2**63)),
        ("'it\\'s'", "string", "it's"),
        ('"a\\tb"', "string", "a\tb"),
        ("@'a\\tb'", "string", "a\\tb"),
        ('@"say ""x"""', "string", 'say "x"'),
        (r"'\d+'", "string", r"\d+"),
        (r"'\u00e9\U0001F600\x41'", "string", "é😀A"),
        (r"'\ud83d\ude00'", "string", "😀"),
        ("true", "bool", True),
        ("null", "null", None),
        ("2d", "timespan", 172_800_000_000_000),
        ("0.1s", "timespan", 100_000_000),
        ("10min", "timespan", 600_000_000_000),
        ("1tick", "timespan", 100),
        ("5microseconds", "timespan", 5_000),
        ("timespan(1.02:03:04.5)", "timespan", 93_784_500_000_000),
        ("time(15s)", "timespan", 15_000_000_000),
        ("timespan(null)", "timespan", None),
        ("datetime(1970-01-02)", "datetime", 86_400_000_000_000),
        ("datetime(1970-01-01 00:01)", "datetime", 60_000_000_000),
        ("datetime(1970-01-01T00:00:00.000000001Z)", "datetime", 1),
        ("datetime('1970-01-01T01:00:00+01:00')", "datetime", 0),
        ('datetime("Thu Jan 01 1970 01:00:00 GMT+0100 (CET)")', "datetime", 0),
        ("datetime(Thu Jan 01 1970 01:00:01 GMT+0100 (CET) )", "datetime", 1_000_000_000),
        ("datetime(null)", "datetime", None),
        ("long(5)", "long", 5),
        ("int(-5)", "long", -5),
        ("long(null)", "long", None),
        ("real(2)", "real", 2.0),
        ("bool(true)", "bool", True),
        ("dynamic({'a': [1, null, true], b: -2.5})", "dynamic", {"a": [1, None, True], "b": -2.5}),
        ("dynamic(null)", "dynamic", None),
    ],
)
def test_literals(text: str, kind: str, value: Any) -> None:
    found = parse_expression(text)

    assert isinstance(found, tree.Constant)
    assert (found.kind, found.value) == (kind, value)


def test_nodes_know_where_they_begin() -> None:
    [where] = parse("['logs']\n| where a == 'x'").query.operators

    assert isinstance(where, tree.Where)
    assert where.at == 11
    assert isinstance(where.predicate, tree.Binary)
    assert (where.predicate.left.at, where.predicate.at, where.predicate.right.at) == (17, 19, 22)


@pytest.mark.parametrize(
    ("text", "line", "column", "part"),
    [
        ("", 1, 1, "a query"),
        ("logs |", 1, 7, "the end of the query"),
        ("logs | where", 1, 13, "expected a value"),
        ("logs\n| where a ==\n", 3, 1, "expected a value"),
        ("logs | take 1 x", 1, 15, "met 'x', expected '|' or the end of the query"),
        ("logs | wher x", 1, 8, "did you mean 'where'?"),
        ("logs | project-awya x", 1, 8, "did you mean 'project-away'?"),
        ("logs | where (a", 1, 16, "expected ')'"),
        ("logs | where a in (1, 2", 1, 24, "expected ')'"),
        ("logs | join kind=iner (b) on x", 1, 18, "did you mean"),
        ("logs | sort by a ascending", 1, 18, "'ascending'"),
        ("logs | mv-expand a to typeof(strng)", 1, 30, "did you mean 'string'?"),
        ("print 'abc", 1, 7, "no end"),
        ("print 12abc", 1, 7, "['12abc']"),
        ("print datetime(yesterday)", 1, 7, "2026-01-31"),
        ("logs | where (a == 'x' | count", 1, 24, "met '|', expected ')'"),
        ("logs | extend b = (1 + 2 | project b", 1, 26, "met '|', expected ')'"),
        ("logs | where (a and b | count", 1, 23, "met '|', expected ')'"),
        ("logs | where f(a, 'x' | count", 1, 23, "met '|', expected ')' or ','"),
        ("print datetime(2026-01-01", 1, 7, "')'"),
        ("print int(x)", 1, 7, "toint"),
        ("print `a`", 1, 7, "['name']"),
        ("print €", 1, 7, "'€' has no meaning"),
        ("print 99999999999999999999", 1, 7, "largest integer"),
        ("let a = 1", 1, 10, "expected a query"),
        ("let a = 1 print a", 1, 11, "expected ';'"),
        ("print 1; let a = 1", 1, 10, "let stands before"),
        ("set strict; print 1", 1, 5, "stricttypes"),
        ("print '\\udc00'", 1, 8, "surrogate"),
    ],
)
def test_errors_say_where_and_what(text: str, line: int, column: int, part: str) -> None:
    with pytest.raises(AplError) as caught:
        parse(text)

    error = caught.value
    assert error.place is not None
    assert (error.place.line, error.place.column) == (line, column)
    assert part in error.message
    assert error.message.startswith(f"line {line}, column {column}: ")


@pytest.mark.parametrize(
    "text",
    [
        "(" * 10_000,
        "print " + "-" * 10_000 + "1",
        "print " + "f(" * 10_000,
        "print dynamic(" + "[" * 10_000,
        "a | where x in (" * 10_000,
        "print a" + "[b" * 10_000,
    ],
)
def test_depth_is_limited(text: str) -> None:
    with pytest.raises(AplError, match=f"more than {MAX_DEPTH} levels"):
        parse(text)


def test_length_is_limited() -> None:
    with pytest.raises(AplError, match=f"the limit is {MAX_BYTES}"):
        parse("print '" + "x" * MAX_BYTES + "'")


def test_a_long_chain_is_no_depth() -> None:
    parse("print " + " or ".join(["true"] * 5_000))
    parse("print " + "+".join(["1"] * 5_000))


def test_a_long_list_is_read() -> None:
    program = parse("a | where x in (" + ", ".join(map(str, range(50_000))) + ")")

    [where] = program.query.operators
    assert isinstance(where, tree.Where)
    assert isinstance(where.predicate, tree.Membership)
    assert len(where.predicate.items) == 50_000


WORDS = """
| ( ) [ ] { } , ; . .. = == ! !in ~ * - + : 'a' " ['x'] 1 1.5 2h null a b // where summarize by project-away join kind
on parse with let in between dynamic( datetime( union print search make-series step from to mv-expand limit asc
"""
words = st.sampled_from(WORDS.split())


@given(st.text(max_size=60) | st.lists(words, max_size=40).map(" ".join))
def test_any_text_is_a_tree_or_an_error(text: str) -> None:
    try:
        found = parse(text)
    except AplError:
        return
    assert isinstance(found, tree.Program)


@pytest.mark.parametrize("end", ["x", "x(", "(x", ""])
@pytest.mark.parametrize("begin", ["datetime(", "timespan(", 'datetime("'])
def test_a_literal_that_nothing_closes_takes_no_longer_than_its_text(begin: str, end: str) -> None:
    began_s = time.process_time()
    with pytest.raises(AplError):
        parse(f"print {begin}{' ' * 2_000}{end}")
    assert time.process_time() - began_s < 1
