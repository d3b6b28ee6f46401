"""Functions of SQL statements: the model of a statement, and the statement of a model."""

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from query.functions.conftest import Ask

from tailrace.query.functions import sql_tokens
from tailrace.query.functions.sql import MAX_SQL_CHARACTERS
from tailrace.query.functions.udf import UDFS


def parsed(statement: str) -> Any:
    found = UDFS["apl_parse_sql"].row(statement)
    return None if found is None else json.loads(found)


def formatted(model: Any) -> str | None:
    found: str | None = UDFS["apl_format_sql"].row(json.dumps(model, separators=(",", ":")))
    return found


def integer(value: int | str) -> dict[str, str]:
    return {"value": str(value), "valtype": "integer"}


def text(value: str) -> dict[str, str]:
    return {"value": value, "valtype": "string"}


def column(name: str, table: str | None = None) -> dict[str, str]:
    return {"colname": name} if table is None else {"table": table, "colname": name}


def compared(operator: str, *params: Any) -> dict[str, Any]:
    return {"operator": operator, "params": list(params)}


DOCUMENTED: list[tuple[str, dict[str, Any], str]] = [
    (
        "select * from db",
        {"type": "select", "columns": [column("*")], "from": [{"table": "db"}]},
        "select * from db",
    ),
    (
        "SELECT id, email FROM customers WHERE subscription_status = 'active'",
        {
            "type": "select",
            "columns": [column("id"), column("email")],
            "from": [{"table": "customers"}],
            "where": compared("=", column("subscription_status"), text("active")),
        },
        "select id, email from customers where subscription_status = 'active'",
    ),
    (
        "SELECT orders.id, customers.name FROM orders JOIN customers ON orders.customer_id = customers.id",
        {
            "type": "select",
            "columns": [column("id", "orders"), column("name", "customers")],
            "from": [
                {"table": "orders"},
                {
                    "table": "customers",
                    "join": "join",
                    "on": compared("=", column("customer_id", "orders"), column("id", "customers")),
                },
            ],
        },
        "select orders.id, customers.name from orders join customers on orders.customer_id = customers.id",
    ),
    (
        "SELECT product_id, COUNT(*) as order_count FROM orders GROUP BY product_id",
        {
            "type": "select",
            "columns": [column("product_id"), {"function": "COUNT", "params": [column("*")], "as": "order_count"}],
            "from": [{"table": "orders"}],
            "group": [column("product_id")],
        },
        "select product_id, COUNT(*) as order_count from orders group by product_id",
    ),
    (
        "SELECT name FROM users WHERE id IN (SELECT user_id FROM orders WHERE purchase_date > '2022-01-01')",
        {
            "type": "select",
            "columns": [column("name")],
            "from": [{"table": "users"}],
            "where": compared(
                "in",
                column("id"),
                {
                    "subquery": {
                        "type": "select",
                        "columns": [column("user_id")],
                        "from": [{"table": "orders"}],
                        "where": compared(">", column("purchase_date"), text("2022-01-01")),
                    }
                },
            ),
        },
        "select name from users where id in (select user_id from orders where purchase_date > '2022-01-01')",
    ),
    (
        "SELECT name, registration_date FROM users ORDER BY registration_date DESC",
        {
            "type": "select",
            "columns": [column("name"), column("registration_date")],
            "from": [{"table": "users"}],
            "order": [{"direction": "desc", "expr": column("registration_date")}],
        },
        "select name, registration_date from users order by registration_date desc",
    ),
    (
        "SELECT * FROM users USE INDEX (index_name) WHERE user_id = 101",
        {
            "type": "select",
            "columns": [column("*")],
            "from": [{"table": "users", "hints": [{"type": "use", "indexes": ["index_name"]}]}],
            "where": compared("=", column("user_id"), integer(101)),
        },
        "select * from users use index (index_name) where user_id = 101",
    ),
    (
        "INSERT INTO settings (user_id, setting, value) VALUES (1, 'theme', 'dark') "
        "ON DUPLICATE KEY UPDATE value='dark'",
        {
            "type": "insert",
            "into": [{"table": "settings"}],
            "columns": [column("user_id"), column("setting"), column("value")],
            "values": [[integer(1), text("theme"), text("dark")]],
            "on_duplicate": [{"colname": "value", "expr": text("dark")}],
        },
        "insert into settings (user_id, setting, value) values (1, 'theme', 'dark') "
        "on duplicate key update value = 'dark'",
    ),
    (
        "SELECT JSON_EXTRACT(user_info, '$.age') AS age FROM users WHERE user_id = 101",
        {
            "type": "select",
            "columns": [{"function": "JSON_EXTRACT", "params": [column("user_info"), text("$.age")], "as": "age"}],
            "from": [{"table": "users"}],
            "where": compared("=", column("user_id"), integer(101)),
        },
        "select JSON_EXTRACT(user_info, '$.age') as age from users where user_id = 101",
    ),
    (
        "SELECT orders.order_id, customers.name FROM orders INNER JOIN customers "
        "ON orders.customer_id = customers.id WHERE orders.order_date > '2023-01-01'",
        {
            "type": "select",
            "columns": [column("order_id", "orders"), column("name", "customers")],
            "from": [
                {"table": "orders"},
                {
                    "table": "customers",
                    "join": "inner join",
                    "on": compared("=", column("customer_id", "orders"), column("id", "customers")),
                },
            ],
            "where": compared(">", column("order_date", "orders"), text("2023-01-01")),
        },
        "select orders.order_id, customers.name from orders inner join customers "
        "on orders.customer_id = customers.id where orders.order_date > '2023-01-01'",
    ),
    (
        "SELECT product_id, COUNT(*) as total_sales FROM sales GROUP BY product_id HAVING COUNT(*) > 100",
        {
            "type": "select",
            "columns": [column("product_id"), {"function": "COUNT", "params": [column("*")], "as": "total_sales"}],
            "from": [{"table": "sales"}],
            "group": [column("product_id")],
            "having": compared(">", {"function": "COUNT", "params": [column("*")]}, integer(100)),
        },
        "select product_id, COUNT(*) as total_sales from sales group by product_id having COUNT(*) > 100",
    ),
    (
        "SELECT id, status FROM requests WHERE req_duration_ms > 1000 ORDER BY req_duration_ms DESC",
        {
            "type": "select",
            "columns": [column("id"), column("status")],
            "from": [{"table": "requests"}],
            "where": compared(">", column("req_duration_ms"), integer(1000)),
            "order": [{"direction": "desc", "expr": column("req_duration_ms")}],
        },
        "select id, status from requests where req_duration_ms > 1000 order by req_duration_ms desc",
    ),
    (
        "SELECT id, status FROM logs WHERE status = 401 OR status = 403",
        {
            "type": "select",
            "columns": [column("id"), column("status")],
            "from": [{"table": "logs"}],
            "where": compared(
                "or",
                compared("=", column("status"), integer(401)),
                compared("=", column("status"), integer(403)),
            ),
        },
        "select id, status from logs where status = 401 or status = 403",
    ),
]
"""The statements of Axiom's documentation, with their models and what these are written as."""


@pytest.mark.parametrize(("statement", "model", "written"), DOCUMENTED, ids=[each for each, _, _ in DOCUMENTED])
def test_the_documented_statements_have_a_model_and_come_back(
    statement: str, model: dict[str, Any], written: str
) -> None:
    assert parsed(statement) == model
    assert formatted(model) == written
    assert parsed(written) == model


@pytest.mark.parametrize(
    ("condition", "model", "written"),
    [
        (
            "a = 1 AND b = 2 AND c = 3",
            compared("and", *(compared("=", column(name), integer(n)) for name, n in (("a", 1), ("b", 2), ("c", 3)))),
            "a = 1 and b = 2 and c = 3",
        ),
        (
            "(a OR b) AND NOT c",
            compared("and", compared("or", column("a"), column("b")), compared("not", column("c"))),
            "(a or b) and not c",
        ),
        ("a BETWEEN 1 AND -2.5", compared("between", column("a"), integer(1), {"value": "-2.5", "valtype": "float"}),
         "a between 1 and -2.5"),
        ("a NOT IN (1, 'x')", compared("not in", column("a"), {"list": [integer(1), text("x")]}), "a not in (1, 'x')"),
        ("a LIKE 'x%'", compared("like", column("a"), text("x%")), "a like 'x%'"),
        ("a IS NOT NULL", compared("is not", column("a"), {"value": "null", "valtype": "null"}), "a is not null"),
        ("a - (b - c) - d", compared("-", compared("-", column("a"), compared("-", column("b"), column("c"))),
                                     column("d")), "a - (b - c) - d"),
        ("a = $1", compared("=", column("a"), {"value": "$1", "valtype": "placeholder"}), "a = $1"),
        ("a = 'it''s' -- why", compared("=", column("a"), text("it's")), "a = 'it''s'"),
        ("a = 'it\\'s'", compared("=", column("a"), text("it's")), "a = 'it''s'"),
        ("a = 'C:\\\\'", compared("=", column("a"), text("C:\\\\")), "a = 'C:\\\\'"),
        ("a = '\"100%\"\n'", compared("=", column("a"), text('"100%"\n')), "a = '\"100%\"\n'"),
        ("t1.a2 = 0x1F", compared("=", column("a2", "t1"), {"value": "0x1F", "valtype": "hex"}), "t1.a2 = 0x1F"),
        ('"u"."userId" = `it``s`', compared("=", {**column("userId", "u"), "quoted": {"colname": '"'}},
                                            {"colname": "it`s", "quoted": {"colname": "`"}}),
         'u."userId" = `it``s`'),
    ],
)  # fmt: skip
def test_conditions_are_nested_operators(condition: str, model: dict[str, Any], written: str) -> None:
    found = parsed(f"SELECT 1 FROM t WHERE {condition}")

    assert found["where"] == model
    assert formatted(found) == f"select 1 from t where {written}"


def test_limit_with_a_comma_has_the_offset_first() -> None:
    found = parsed("SELECT a FROM t LIMIT 5, 10")

    assert (found["limit"], found["offset"]) == (integer(10), integer(5))
    assert formatted(found) == "select a from t limit 10 offset 5"


def test_updates_and_deletes_have_models() -> None:
    assert parsed("UPDATE t SET a = a + 1 WHERE id = 7") == {
        "type": "update",
        "from": [{"table": "t"}],
        "set": [{"colname": "a", "expr": compared("+", column("a"), integer(1))}],
        "where": compared("=", column("id"), integer(7)),
    }
    assert parsed("DELETE FROM db.t WHERE id = 7") == {
        "type": "delete",
        "from": [{"schema": "db", "table": "t"}],
        "where": compared("=", column("id"), integer(7)),
    }


@pytest.mark.parametrize(
    "statement",
    [
        "",
        "(((",
        "CREATE TABLE t (a int)",
        "with x as (select 1) select * from x",
        "SELECT row_number() OVER (ORDER BY a) FROM t",
        "SELECT 1 UNION SELECT 2",
        "SELECT 1; SELECT 2",
        "SELECT 'a",
        "SELECT 1 /* a",
        "SELECT a FROM t WHERE 'it\\'",
        "SELECT 5abc FROM t",
        "SELECT 1 FROM t WHERE " + "(" * 200 + "1" + ")" * 200,
        "SELECT " + "-" * 200 + "a",
        "SELECT " + " ".join(["-"] * 200) + " a",
        "SELECT " + "a = " * 200 + "b",
        f"SELECT '{'x' * MAX_SQL_CHARACTERS}'",
    ],
)
def test_what_is_no_simple_statement_is_null(statement: str) -> None:
    assert parsed(statement) is None


def test_a_long_list_and_a_long_chain_are_read() -> None:
    condition = " AND ".join(f"a{n} = {n}" for n in range(300))
    found = parsed(f"SELECT 1 FROM t WHERE {condition}")
    assert len(found["where"]["params"]) == 300

    found = parsed(f"SELECT 1 FROM t WHERE a IN ({', '.join(map(str, range(1000)))})")
    assert found["where"]["params"][1]["list"][999] == integer(999)


@pytest.mark.parametrize(
    "model",
    [None, 5, [], {}, {"type": "select"}, {"type": "merge"}, {"type": "select", "columns": "ab"},
     {"type": "select", "columns": [compared("@", column("a"), column("b"))]},
     {"type": "select", "columns": [{"colname": 5}]}],
)  # fmt: skip
def test_what_is_no_model_is_null(model: Any) -> None:
    assert formatted(model) is None


def test_a_changed_model_is_written_with_the_quotes_it_needs() -> None:
    model = parsed("SELECT a FROM t WHERE b = 'x'")
    model["columns"][0]["colname"] = "order"
    model["from"][0]["table"] = "my table"
    model["where"]["params"][1]["value"] = "it's \\"

    assert formatted(model) == "select \"order\" from \"my table\" where b = 'it''s \\\\'"


def test_they_are_functions_of_a_query(ask: Ask) -> None:
    statement = "SELECT id FROM t WHERE a > 1 ORDER BY a DESC"
    assert ask(f"print parse_sql('{statement}').from[0].table") == "t"
    assert ask(f"print format_sql(parse_sql('{statement}'))") == "select id from t where a > 1 order by a desc"


_NAMES = st.sampled_from(["a", "t1", "Name", "value", '"userId"', "`order`", '"a ""b"'])
_LITERALS = st.one_of(
    st.integers(-99, 99).map(str),
    st.sampled_from(["1.5", ".5", "1e9", "0x1f", "null", "TRUE", "?", ":id", "%s", "$2", "date '2020-01-01'"]),
    st.text(max_size=8).map(lambda value: "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"),
)
_BINARY = st.sampled_from([*sql_tokens.BINARY, *sorted(sql_tokens.PATTERNS), "NOT LIKE", "IS", "IS NOT"])


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(inner, min_size=1, max_size=3).map(", ".join)
    return st.one_of(
        st.tuples(inner, _BINARY, inner).map(lambda each: f"{each[0]} {each[1]} {each[2]}"),
        st.tuples(st.sampled_from(["NOT ", "-", "- ", "~"]), inner).map("".join),
        inner.map("({})".format),
        several.map("coalesce({})".format),
        several.map("(7, {})".format),
        st.tuples(inner, several).map(lambda each: f"{each[0]} IN ({each[1]})"),
        st.tuples(inner, inner, inner).map(lambda each: f"({each[0]} between {each[1]} AND {each[2]})"),
        st.tuples(inner, inner).map(lambda each: f"CASE WHEN {each[0]} THEN {each[1]} ELSE 1 END"),
        inner.map("count(DISTINCT {})".format),
        inner.map("CAST({} AS decimal(10, 2))".format),
        inner.map("({})::text".format),
        inner.map("EXISTS (SELECT * FROM t WHERE {})".format),
        inner.map("a = ANY(SELECT {} FROM t)".format),
    )


_EXPRESSIONS = st.recursive(_NAMES | _LITERALS, _larger, max_leaves=8)
_STATEMENTS = st.one_of(
    st.tuples(_EXPRESSIONS, _NAMES, _EXPRESSIONS, _EXPRESSIONS).map(
        lambda e: f"SELECT {e[0]} AS {e[1]}, x.* FROM t x LEFT JOIN u ON {e[2]}, v WHERE {e[3]}"
    ),
    st.tuples(_EXPRESSIONS, _EXPRESSIONS).map(
        lambda e: f"SELECT DISTINCT a FROM (SELECT {e[0]}) s GROUP BY a, b HAVING {e[1]} ORDER BY {e[0]} DESC LIMIT 5"
    ),
    st.tuples(_EXPRESSIONS, _NAMES).map(lambda e: f"INSERT INTO t ({e[1]}) VALUES ({e[0]}), ({e[0]}) RETURNING *"),
    st.tuples(_EXPRESSIONS, _NAMES, _EXPRESSIONS).map(lambda e: f"UPDATE t SET {e[1]} = {e[0]} WHERE {e[2]}"),
    _EXPRESSIONS.map("DELETE FROM s.t WHERE {}".format),
)


@given(_STATEMENTS)
def test_a_statement_that_is_written_anew_means_the_same(statement: str) -> None:
    model = parsed(statement)
    assume(model is not None)

    written = formatted(model)

    assert written is not None
    assert parsed(written) == model


_FRAGMENTS = """select from where join on as t a and or not in is null between like case when end then else values
into set order by group limit interval cast exists any :: ? # 0x1 1e 1 . = - -- * ( ) ( ) , , a a ' " ` /* */ 'x'
'it\\'s' distinct union use index""".replace("\n", " ").split(" ")
_PIECES = st.lists(st.sampled_from(_FRAGMENTS), max_size=30)
_BEGINNINGS = st.sampled_from(["select ", "delete from t where ", "insert into t values ", "update t set "])
_LIKE_SQL = st.builds("{}{}".format, _BEGINNINGS, _PIECES.map(" ".join) | _PIECES.map("".join))


@given(st.text() | _LIKE_SQL)
def test_any_text_is_a_model_that_comes_back_or_null(text: str) -> None:
    model = parsed(text)
    if model is not None:
        written = formatted(model)
        assert written is not None
        assert parsed(written) == model


_KEYS = """type columns from where operator params value valtype colname table function list subquery as quoted order
expr join when""".replace("\n", " ").split(" ")
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(_KEYS), inner | st.sampled_from(["select", "and", "string", "=", "not"]), max_size=4
        ),
    ),
    max_leaves=20,
)


@given(_JSON)
def test_any_json_is_written_or_null(model: Any) -> None:
    assert isinstance(formatted({"type": "select", "columns": model}), (str, type(None)))
