"""What every function and aggregation of APL costs over 20,000 rows of distinct values, in CPU time of one thread.

python -m bench.functions            all of them, the dearest first
python -m bench.functions topk url   those with these words in their names
"""

import json
import sys
import time
from collections.abc import Callable, Iterator

import duckdb
import msgspec
import pyarrow as pa
import sqlglot.expressions as exp

from tailrace.query.apl import tree
from tailrace.query.apl.parser import parse
from tailrace.query.compile import aggregations
from tailrace.query.compile.aggregation_builders import AggregationCall
from tailrace.query.functions import FUNCTIONS, Context, binary, call, register, unary
from tailrace.query.functions.keyvalues import KeyValueRule
from tailrace.query.values import (
    BOOL,
    DATETIME,
    DYNAMIC,
    LONG,
    REAL,
    STRING,
    TIMESPAN,
    TYPE_NAMES,
    Type,
    Value,
    datetime_literal,
    dynamic_literal,
    fn,
    literal,
    null,
    text_node,
    timespan_literal,
)

ROWS = 20_000
LIMIT_MS = 50  # that none should cost more than
ROUNDS = 3  # of which the best counts

_MESSAGES = '[{{"role":"system","content":"Be brief"}},{{"role":"user","content":"Hi {n}"}},{{"role":"assistant","content":"Hello","tool_calls":[{{"id":"c{n}"}}]}}]'  # noqa: E501
_URL = "https://user:pass@host{n}.example.com:8080/api/v1/users/{n}?q=a%20b&page={n}#top"
_SQL_MODEL = '{"type":"select","columns":[{"colname":"id"},{"colname":"name"}],"from":[{"table":"users"}],"where":{"operator":">","params":[{"colname":"age"},{"value":"%d","valtype":"integer"}]}}'  # noqa: E501
TEXTS = {
    "base64_decode": "aGVsbG8gd29ybGQg{n:08}",
    "url": _URL,
    "parse_urlquery": "a={n}&b=x%20y&b=3",
    "iscc": "4111 1111 1111 {n:04}",
    "isimei": "4901542{n:08}",
    "ipv4": "10.{a}.{b}.7",
    "geo_info": "10.{a}.{b}.7",
    "ipv6": "fe80::{a}:{b}",
    "has_": "from 10.{a}.{b}.7:80 to 192.168.0.1",
    "parse_csv": 'a{n},"b,c",d',
    "parse_json": '{{"a": [1, {n}]}}',
    "todynamic": '{{"a": [1, {n}]}}',
    "toobject": '{{"a": [1, {n}]}}',
    "parse_path": "/var/log/app/syslog.{n}.gz",
    "parse_sql": "SELECT id, name FROM users WHERE age > {n} ORDER BY id DESC",
    "parse_bytes": "{n}.5 KB",
    "parse_pair": "key:{n}",
    "todatetime": "Mon, 02 Jan 2006 15:{m:02}:05 +0000",
    "totimespan": "{n}h30m",
    "to": "{n}",
    "genai_estimate_tokens": "Hello world {n}",
    "genai": _MESSAGES,
    "": "GET /api/v1/users/{n}?time={n}ms status=200 agent=Mozilla/5.0 (X11; Linux x86_64)",
}
"""Texts of rows, by what a function's name begins with or has in it, the first that fits."""
PAIRS = (
    ("with blanks", "level=info user=u{n} status=200 dur={n}ms path=/api/{n}", KeyValueRule(("status", "dur"))),
    ("with quotes", 'level=info msg="took {n} ms" status=200 user=u{n}', KeyValueRule(("status", "msg"))),
    ("with delimiters", "level: info, user: u {n}, status: 200", KeyValueRule(("status", "user"), ",", ":")),
)
"""Texts of rows for parse-kv, and its rules."""


def text_of(name: str) -> str:
    for part, template in TEXTS.items():
        if name.startswith(part) or (part and part in name and part not in ("to", "has_")):
            return template
    raise AssertionError(name)


def rows(name: str, kind: Type, example: Value) -> pa.Array:
    """Return a column that is like the first argument of a function's example, each row another."""
    numbers = range(ROWS)
    if kind is STRING or (kind is DYNAMIC and name.startswith("genai")):
        template = text_of(name)
        return pa.array([template.format(n=n, a=n // 250, b=n % 250, m=n % 60) for n in numbers])
    if name == "format_sql":
        return pa.array([_SQL_MODEL % n for n in numbers])
    if kind is DYNAMIC:
        return pa.array([json.dumps(_varied(example.constant, n)) for n in numbers])
    if kind is BOOL:
        return pa.array([n % 2 == 0 for n in numbers])
    if kind is DATETIME:
        return pa.array([1_600_000_000_000_000 + n * 61_000_000 for n in numbers], pa.timestamp("us", "UTC"))
    if kind is REAL:
        return pa.array([n / 20_001 for n in numbers])
    return pa.array([n * 1_000_000_007 if kind is TIMESPAN else n for n in numbers], pa.int64())


def _varied(value: object, n: int) -> object:
    if isinstance(value, list):
        return [*(each + n if type(each) in (int, float) else each for each in value)]
    if isinstance(value, dict):
        return {**value, "n": n}
    return n


def value_of(node: tree.Expression) -> Value:
    """Return the literal, or call of literals, that an example has for an argument."""
    if isinstance(node, tree.Constant):
        if node.value is None:
            return null(TYPE_NAMES[node.kind]) if node.kind != "null" else literal(None)
        if node.kind == "datetime":
            return datetime_literal(node.value // 1000)
        if node.kind == "timespan":
            return timespan_literal(node.value)
        return dynamic_literal(node.value) if node.kind == "dynamic" else literal(node.value)
    if isinstance(node, tree.Name):
        return literal(node.name)
    if isinstance(node, tree.Binary):
        return binary(node.operator, value_of(node.left), value_of(node.right))
    if isinstance(node, tree.Unary):
        return unary(node.operator, value_of(node.of))
    assert isinstance(node, tree.Call), node
    return call(node.name, [value_of(each) for each in node.arguments], Context())


def call_in(node: object, name: str) -> tree.Call | None:
    """Return the call of a function in an example."""
    if isinstance(node, tree.Call) and node.name == name:
        return node
    parts = [getattr(node, field) for field in getattr(node, "__struct_fields__", ())]
    parts += list(node) if isinstance(node, tuple) else []
    return next((found for part in parts if (found := call_in(part, name)) is not None), None)


def scalar_cases() -> Iterator[tuple[str, pa.Array, exp.Expr]]:
    """Each function with a column for the argument that carries the text or the value."""
    for name, function in sorted(FUNCTIONS.items()):
        found = call_in(parse(function.example), name)
        assert found is not None, name
        arguments = [value_of(each) for each in found.arguments]
        index = next((n for n, each in enumerate(function.parameters) if each.name in ("text", "array", "values")), 0)
        if name.startswith(("replace", "trim", "translate", "extract", "countof")):
            index = len(arguments) - 1
        if name == "case":
            index = 0
        if index >= len(arguments) or function.parameters[min(index, len(function.parameters) - 1)].kind == "constant":
            continue  # of literals only
        example = arguments[index]
        kind = example.type
        if function.parameters and function.parameters[0].kind == "real" and kind is LONG:
            kind = REAL
        arguments[index] = Value(kind, exp.column("a"))
        yield name, rows(name, kind, example), call(name, arguments, Context(now_ns=1)).sql
    for shown, template, rule in PAIRS:
        texts = pa.array([template.format(n=n) for n in range(ROWS)])
        written = msgspec.json.encode(rule).decode()
        yield f"parse-kv {shown}", texts, fn("apl_parse_kv", exp.column("a"), text_node(written))


def aggregate_cases() -> Iterator[tuple[str, pa.Array, exp.Expr]]:
    numbers = pa.array([n / 7 for n in range(ROWS)])
    texts = pa.array([f"application/{n % 2000}" for n in range(ROWS)])
    distinct = pa.array([f"application/{n}" for n in range(ROWS)])

    def column(kind: Type) -> Value:
        return Value(kind, exp.column("a"))

    def extremes(value: exp.Expr, predicate: exp.Expr | None) -> tuple[exp.Expr, exp.Expr]:
        return literal(0.0).sql, literal(2858.0).sql

    more: dict[str, tuple[Value, ...]] = {
        "percentile": (literal(95),),
        "percentiles_array": (literal(50), literal(99)),
        "topk": (literal(20),),
        "histogram": (literal(15),),
    }
    for name, aggregation in aggregations.AGGREGATIONS.items():
        if name.startswith("arg_") or aggregation.predicate is not None:
            continue
        kinds = [(REAL, numbers, "")]
        if name in ("topk", "make_set", "make_list", "dcount", "phrases", "max"):
            kinds = [(STRING, texts, " of texts"), (STRING, distinct, " of distinct texts")]
        for kind, values, shown in kinds:
            arguments = () if aggregation.most == 0 else (column(kind), *more.get(name, ()))
            made = aggregation.build(
                AggregationCall(name, arguments, ("a",), seconds=literal(60.0).sql, extremes=extremes)
            )
            yield f"{name}{shown}", values, made.sql


def cost_ms(database: duckdb.DuckDBPyConnection, values: pa.Array, select: str) -> float:
    database.register("t", pa.table({"a": values}))
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        database.sql(select).fetchall()
        best = min(best, (time.process_time() - began) * 1000)
    database.unregister("t")
    return best


def main(words: list[str]) -> None:
    database = duckdb.connect(":memory:")
    database.execute("SET threads = 1")
    register(database)
    costs: list[tuple[float, str]] = []
    sources: list[tuple[Callable[[], Iterator[tuple[str, pa.Array, exp.Expr]]], str]] = [
        (scalar_cases, "SELECT count(hash({0})) FROM t"),
        (aggregate_cases, "SELECT {0} FROM t"),
    ]
    for cases, select in sources:
        for name, values, node in cases():
            if not words or any(word in name for word in words):
                costs.append((cost_ms(database, values, select.format(node.sql("duckdb"))), name))
    for cost, name in sorted(costs, reverse=True):
        print(f"{cost:8.1f} ms  {name}{'  ← over the limit' if cost > LIMIT_MS else ''}")
    print(f"{sum(cost > LIMIT_MS for cost, _ in costs)} of {len(costs)} cost more than {LIMIT_MS} ms for {ROWS:,} rows")


if __name__ == "__main__":
    main(sys.argv[1:])
