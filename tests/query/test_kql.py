"""What APL shares with KQL gives the same answers as duckdb-kql, another implementation, on the same rows.

Every difference is in DIFFERENT, with words that the deviations or the notes in docs/apl.md have.
"""

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb_kql
import msgspec
import numpy as np
import pyarrow as pa
import pytest
from query.kit import Desk
from support.events import batch

from tailrace.query import QueryLimits
from tailrace.query.apl_request import AplRequest
from tailrace.query.apl_result import AplTable
from tailrace.query.arrow_json import is_json
from tailrace.query.reference import apl_reference
from tailrace.query.run import run_apl

START = datetime(2026, 3, 5, 22, 58, 30, 250_000, UTC)
STEP = timedelta(hours=7, minutes=13, seconds=11, microseconds=1_500)

TEXTS = [
    "GET /v1/orders/17",
    "",
    "Get_Order",
    "naïve café",
    "a,b,,c",
    "ERROR: disk full (code=28)",
    "10.0.0.17",
    "  padded  ",
    "get",
    "x-y.z",
    "ORDERS",
    "id=7;ok=true",
    "2026-03-05T10:00:00Z",
    "aaa",
]
NUMBERS = [3, -7, 0, None, 12, 100, -1, 2, 7, 12, 5, None, 64, 1]
REALS = [0.5, -2.25, None, 3.0, 1e9, 0.1, 2.5, -0.5, 12.75, 1.0, None, 100.125, -3.5, 0.0]
FLAGS = [True, False, None, True, True, False, False, True, None, True, False, True, True, False]
SERVICES = ["api", "web", "api", "db", "web", "api", "db", "api", "web", "cron", "api", "web", "db", "api"]

EVENTS = [
    {"id": n, "s": text, "n": number, "x": real, "b": flag, "svc": service}
    for n, (text, number, real, flag, service) in enumerate(zip(TEXTS, NUMBERS, REALS, FLAGS, SERVICES, strict=True), 1)
]

EXPRESSIONS = [
    # numbers
    "n + 2",
    "n - id",
    "n * x",
    "n / 2",
    "n / 2.0",
    "x / 4",
    "n % 5",
    "id % 3",
    "-n",
    "n + x",
    "abs(n)",
    "abs(x)",
    "sign(n)",
    "round(x)",
    "round(x, 1)",
    "ceiling(x)",
    "bin(n, 5)",
    "bin(x, 0.5)",
    "bin(id, 3)",
    "sqrt(n)",
    "pow(id, 2)",
    "exp(x / 100)",
    "log(id)",
    "log2(id)",
    "log10(id)",
    "exp2(id)",
    "exp10(2)",
    "min_of(n, id)",
    "max_of(n, id)",
    "max_of(x, 1.5)",
    "sin(x)",
    "cos(x)",
    "tan(x)",
    "atan(x)",
    "pi()",
    "isnan(x)",
    "isfinite(x)",
    "isinf(x)",
    "n / 0",
    "1.0 / 0",
    "n % 0",
    "1 / 3 * id",
    "toint(x)",
    "tolong(x)",
    # comparisons
    "n == 12",
    "n != 12",
    "n < x",
    "n <= id",
    "x > 1",
    "n >= 7",
    "n == id",
    "b == true",
    "b != true",
    "not(b)",
    "n > 0 and x > 0",
    "n > 0 or x > 0",
    "n in (12, 7)",
    "n !in (12, 7)",
    "svc in ('api', 'db')",
    "svc !in ('api', 'db')",
    "svc in~ ('API', 'Db')",
    "svc !in~ ('API', 'Db')",
    "n between (0 .. 10)",
    "n !between (0 .. 10)",
    "x between (0.0 .. 3.0)",
    # texts
    "s == 'get'",
    "s != 'get'",
    "s =~ 'GET'",
    "s !~ 'GET'",
    "s contains 'order'",
    "s !contains 'order'",
    "s contains_cs 'Order'",
    "s !contains_cs 'Order'",
    "s startswith 'get'",
    "s !startswith 'get'",
    "s startswith_cs 'GET'",
    "s endswith 'L)'",
    "s endswith '8)'",
    "s !endswith '8)'",
    "s endswith_cs 'Z'",
    "s has 'get'",
    "s !has 'get'",
    "s has_cs 'get'",
    "s has 'order'",
    "s has 'orders'",
    "s has 'café'",
    "s has 'full'",
    "s has_any ('full', 'orders')",
    "s hasprefix 'ord'",
    "s hassuffix 'ders'",
    "s hasprefix 'dis'",
    "s matches regex '[0-9]+'",
    "s matches regex '^[a-z]+$'",
    "s has ''",
    "s contains ''",
    "s has '10.0'",
    "tolower(s)",
    "toupper(s)",
    "strlen(s)",
    "substring(s, 2)",
    "substring(s, 1, 3)",
    "strcat(svc, '-', s)",
    "strcat(svc, n)",
    "split(s, ',')",
    "indexof(s, 'o')",
    "indexof(s, 'zz')",
    "isempty(s)",
    "isnotempty(s)",
    "isnull(n)",
    "isnotnull(n)",
    "isnull(s)",
    "reverse(s)",
    "trim(' ', s)",
    "extract('([a-z]+)=([0-9]+)', 2, s)",
    "extract('[0-9]+', 0, s)",
    "extract('nothing', 0, s)",
    "countof(s, 'o')",
    "strcat_delim('/', svc, id)",
    "strrep(svc, 2)",
    "base64_decode_tostring('aGk=')",
    "replace_string(s, 'o', '0')",
    "replace_regex(s, '[0-9]', '#')",
    "hash_md5(s)",
    "hash_sha1(s)",
    "hash_sha256(s)",
    # conversions
    "tostring(n)",
    "tostring(x)",
    "tostring(b)",
    "tostring(_time)",
    "toint('12')",
    "toint('x')",
    "tolong(s)",
    "todouble('2.5')",
    "toreal(s)",
    "tobool('true')",
    "tobool('x')",
    "tobool(n)",
    "todatetime('2026-03-05T10:00:00Z')",
    "todatetime(s)",
    "totimespan('01:30:00')",
    "todynamic('[1, 2]')",
    "parse_json('{\"a\": 1}').a",
    "gettype(n)",
    "gettype(s)",
    "gettype(x)",
    "coalesce(n, id)",
    "coalesce(x, 0.0)",
    "iff(n > 0, 'p', 'q')",
    "iff(b, 'p', 'q')",
    "case(n > 10, 'big', n > 0, 'small', 'none')",
    # times
    "bin(_time, 1h)",
    "bin(_time, 1d)",
    "bin(_time, 7m)",
    "bin(_time, 7d)",
    "startofday(_time)",
    "startofweek(_time)",
    "startofmonth(_time)",
    "startofyear(_time)",
    "startofday(_time, 1)",
    "startofmonth(_time, -1)",
    "endofday(_time)",
    "endofweek(_time)",
    "endofmonth(_time)",
    "dayofmonth(_time)",
    "dayofyear(_time)",
    "dayofweek(_time)",
    "hourofday(_time)",
    "getmonth(_time)",
    "getyear(_time)",
    "monthofyear(_time)",
    "week_of_year(_time)",
    "datetime_add('hour', 3, _time)",
    "datetime_add('month', 1, _time)",
    "datetime_diff('minute', _time, datetime(2026-03-05))",
    "datetime_diff('hour', _time, datetime(2026-03-05))",
    "datetime_diff('day', _time, datetime(2026-03-05 23:00))",
    "datetime_part('hour', _time)",
    "datetime_part('second', _time)",
    "_time + 1h",
    "_time - 30m",
    "_time - datetime(2026-03-05)",
    "_time > datetime(2026-03-07)",
    "_time between (datetime(2026-03-06) .. datetime(2026-03-07))",
    "(_time - datetime(2026-03-05)) / 1h",
    "2h + 30m",
    "1d / 6h",
    "90m > 1h",
    "datetime(2026-03-05 10:00)",
    "tolong(1h / 1ms)",
    "1h * 2",
    # dynamic
    "dynamic([1, 2, 3])[1]",
    "dynamic({'a': {'b': 7}}).a.b",
    "array_length(dynamic([1, 2]))",
    "pack_array(n, id)",
    "array_concat(dynamic([1]), dynamic([2, 3]))",
    "array_slice(dynamic([1, 2, 3, 4]), 1, 2)",
    "array_index_of(dynamic(['a', 'b']), 'b')",
    "array_sum(dynamic([1, 2, 3]))",
    "array_reverse(dynamic([1, 2]))",
    "array_sort_asc(dynamic([3, 1, 2]))",
    "array_sort_desc(dynamic([3, 1, 2]))",
    "bag_pack('a', n)",
    "set_has_element(dynamic([1, 2]), 2)",
    "strcat_array(dynamic(['a', 'b']), '-')",
    # addresses
    "parse_ipv4('10.0.0.1')",
]

QUERIES = [
    "where n > 1 | project id",
    "where b | project id",
    "where not(b) | project id",
    "where s has 'get' | project id",
    "where isnull(x) | project id",
    "where n == x | project id",
    "where n != 12 | project id",
    "summarize v = count()",
    "summarize v = count() by svc",
    "summarize v = sum(n), w = avg(x) by svc",
    "summarize a = min(n), b2 = max(n), c = min(x), d = max(x) by svc",
    "summarize a = min(_time), b2 = max(_time)",
    "summarize v = dcount(svc)",
    "summarize v = dcount(n) by svc",
    "summarize v = countif(n > 1), w = sumif(n, b) by svc",
    "summarize v = avgif(x, n > 0), w = dcountif(n, b)",
    "summarize v = stdev(n), w = variance(n)",
    "summarize v = stdevif(n, b), w = varianceif(n, b)",
    "summarize v = percentile(id, 50), w = percentile(id, 90)",
    "summarize v = count() by bin(_time, 1d)",
    "summarize v = count() by svc, d = bin(_time, 1d)",
    "summarize v = count() by n",
    "summarize v = sum(n) by b",
    "summarize v = make_set(svc) | project w = array_sort_asc(v)",
    "summarize v = make_list(svc) | project w = array_sort_asc(v)",
    "summarize v = avg(n) / 2 by svc",
    "summarize v = max(n) - min(n)",
    "where id < 0 | summarize v = count(), w = sum(n)",
    "where id < 0 | summarize v = avg(n), w = max(n)",
    "where id < 0 | summarize v = count() by svc",
    "where id < 0 | summarize v = make_list(n)",
    "summarize v = sumif(n, id < 0)",
    "summarize v = avgif(n, id < 0)",
    "summarize arg_max(id, s) by svc",
    "summarize arg_min(n, id)",
    "distinct svc",
    "distinct svc, b",
    "count",
    "extend v = n * 2, w = strlen(s) | project id, v, w",
    "extend n = n + 1 | project id, n",
    "project id, w = n + 1, s",
    "project-away s, x, b, n, _time | project id, svc",
    "project-rename v = n | project id, v",
    "order by n asc, id asc | project id",
    "order by n desc, id asc | project id",
    "order by n, id asc | project id",
    "order by s asc | project s",
    "order by x asc nulls last, id asc | project id",
    "order by n desc nulls first, id asc | project id",
    "top 3 by id | project id",
    "top 3 by n asc | project n",
    "top 4 by x desc | project x",
    "take 100 | project id",
    "where svc == 'api' | extend k = id % 2 | summarize v = count() by k | order by k asc",
    "join kind=inner (logs | summarize v = max(id) by svc) on svc | project id, v",
    "join kind=leftouter (logs | where n > 5 | summarize v = count() by svc) on svc | project id, v",
    "join kind=inner (logs | project other = id, svc) on $left.id == $right.other | project id, other",
    "join (logs | project svc, k = id) on svc | project svc, k",
    "lookup (logs | summarize v = max(id) by svc) on svc | project id, v",
    "lookup kind=inner (logs | where n > 5 | summarize v = count() by svc) on svc | project id, v",
    "union (logs | where n > 5) | summarize v = count()",
    "mv-expand k = dynamic([1, 2]) to typeof(long) | project id, k",
    "where id == 5 | project p = split(s, ',') | mv-expand p to typeof(string)",
    "parse s with 'GET ' path | project id, path",
    "parse s with * 'code=' code:long ')' | project id, code",
    "parse-where s with * 'id=' key:long ';' rest | project id, key, rest",
    "where svc in ((logs | where n > 50 | project svc)) | project id",
    "extend v = bin(n, 10) | summarize w = count() by v",
    "summarize v = countif(s contains 'o') by svc, big = n > 5",
    "distinct b",
    "where _time > datetime(2026-03-07) | project id",
]

DIFFERENT = {
    "n % 5": "Kusto's is never negative",
    "sign(n)": "Functions of null",
    "exp(x / 100)": "Functions of null",
    "where id < 0 | summarize v = avg(n), w = max(n)": "Functions of null",
    "summarize v = avgif(n, id < 0)": "Functions of null",
    "n between (0 .. 10)": "`between` of null",
    "n !between (0 .. 10)": "`between` of null",
    "x between (0.0 .. 3.0)": "`between` of null",
    "trim(' ', s)": "a set of characters; Kusto's is a regex",
    "extract('([a-z]+)=([0-9]+)', 2, s)": "Kusto's are empty strings",
    "extract('[0-9]+', 0, s)": "Kusto's are empty strings",
    "extract('nothing', 0, s)": "Kusto's are empty strings",
    "parse s with 'GET ' path | project id, path": "Kusto's are empty strings",
    "countof(s, 'o')": "| `countof()` | Kusto has the text first",
    "replace_string(s, 'o', '0')": "| `replace_string()` | Kusto has the text first",
    "replace_regex(s, '[0-9]', '#')": "| `replace_regex()` | Kusto has the text first",
    "hash_md5(s)": "The hash of an empty string",
    "hash_sha1(s)": "The hash of an empty string",
    "hash_sha256(s)": "The hash of an empty string",
    "tostring(x)": "Kusto's are `3.0`",
    "tostring(b)": "Kusto's are `3.0`",
    "tostring(_time)": "Kusto's are `3.0`",
    "tobool('x')": "| `tobool()` | What cannot be converted is false",
    "tobool(n)": "| `tobool()` | What cannot be converted is false",
    "gettype(n)": "Kusto's are those of the column",
    "gettype(x)": "Kusto's are those of the column",
    "dayofweek(_time)": "| `dayofweek()` | Kusto gives a timespan",
    "datetime_diff('day', _time, datetime(2026-03-05 23:00))": "Kusto counts the boundaries",
    "array_slice(dynamic([1, 2, 3, 4]), 1, 2)": "| `array_slice()` | Kusto includes the end",
    "join (logs | project svc, k = id) on svc | project svc, k": "Kusto's is innerunique",
}
"""What differs, and where the page says so."""


class Both:
    """The same rows in a dataset and in a table."""

    def __init__(self, root: Path) -> None:
        self.desk = Desk(root, QueryLimits())
        self.desk.lake.create("logs")
        times = [START + STEP * n for n in range(len(EVENTS))]
        whole = batch([{name: v for name, v in event.items() if v is not None} for event in EVENTS], "logs")
        nanoseconds = np.array([round(t.timestamp() * 1e6) * 1000 for t in times], np.int64)
        self.desk.lake.accept(1, msgspec.structs.replace(whole, times=nanoseconds))
        self.kql = duckdb_kql.connect()
        table = pa.Table.from_pylist(EVENTS).append_column(
            "_time", pa.array([t.replace(tzinfo=None) for t in times], pa.timestamp("us"))
        )
        self.kql.register("rows", table)
        self.kql.sql("CREATE TABLE logs AS FROM rows")

    def close(self) -> None:
        self.desk.close()
        self.kql.close()

    def apl_rows(self, query: str) -> list[tuple[Any, ...]]:
        result = run_apl(self.desk.lake, self.desk.engine, AplRequest(apl=f"logs | {query}"), check=lambda name: None)
        table = result.tables[0]
        return list(zip(*_columns(table), strict=True))

    def kql_rows(self, query: str) -> list[tuple[Any, ...]]:
        table = duckdb_kql.query(self.kql, f"logs | {query}").to_arrow_table()
        return [tuple(map(_plain, row.values())) for row in table.to_pylist()]


class Dynamic(msgspec.Struct, frozen=True):
    """A dynamic value, which KQL shows as JSON text or as an array."""

    value: Any


def _columns(table: AplTable) -> list[list[Any]]:
    return [
        [
            Dynamic(json.loads(cell)) if is_json(kind) and cell is not None else _plain(cell)
            for cell in column.to_pylist()
        ]
        for column, kind in zip(table.rows.columns, table.rows.schema, strict=True)
    ]


def _plain(cell: Any) -> Any:
    """Return a cell so that those of both sides are alike: UTC, nanoseconds, JSON."""
    if isinstance(cell, datetime):
        return cell.replace(tzinfo=None).isoformat()
    if isinstance(cell, pa.MonthDayNano):
        return cell.days * 86_400 * 10**9 + cell.nanoseconds
    if isinstance(cell, float) and not math.isfinite(cell):
        return str(cell)
    return cell


def _alike(left: Any, right: Any) -> bool:
    if isinstance(left, Dynamic):
        return _alike(left.value, json.loads(right) if isinstance(right, str) else right)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_alike, left, right))
    if isinstance(left, float) or isinstance(right, float):
        numeric = isinstance(left, (int, float)) and isinstance(right, (int, float))
        return numeric and math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-12)
    return bool(left == right) and (left is None) == (right is None)


def _difference(both: Both, query: str, *, is_ordered: bool) -> str:
    """Return what differs, or nothing."""
    found, expected = both.apl_rows(query), both.kql_rows(query)
    if not is_ordered:
        found.sort(key=repr)
        expected.sort(key=repr)
    if len(found) != len(expected):
        return f"{len(found)} rows in APL, {len(expected)} in KQL"
    for row, other in zip(found, expected, strict=True):
        if len(row) != len(other) or not all(map(_alike, row, other)):
            return f"{row} in APL, {other} in KQL"
    return ""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    made = Both(tmp_path_factory.mktemp("kql"))
    yield made
    made.close()


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_is_what_it_is_in_kql(both: Both, expression: str) -> None:
    query = f"project id, v = {expression} | order by id asc"
    assert bool(_difference(both, query, is_ordered=True)) == (expression in DIFFERENT)


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_gives_what_it_gives_in_kql(both: Both, query: str) -> None:
    assert bool(_difference(both, query, is_ordered="order by" in query)) == (query in DIFFERENT)


@pytest.mark.parametrize(("query", "words"), DIFFERENT.items())
def test_every_difference_is_documented(query: str, words: str) -> None:
    assert words in apl_reference()
