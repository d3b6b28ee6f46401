"""SQL tells which datasets and views there are, what columns they and queries have, and how a query would run."""

from collections.abc import Sequence
from typing import Any

import pytest
from query.kit import Desk

from tailrace.events import DatasetNotFound, Forbidden, QueryInvalid

FIELDS = [
    {"whole": 1, "real": 0.5, "yes": True, "text": "a", "list": [1], "o": {"in": 2}, "mixed": 1},
    {"whole": 2, "real": 1.5, "yes": False, "text": "b", "list": [2], "o": {"in": 3}, "mixed": "x"},
    {"whole": 3, "real": 2.5, "yes": False, "text": "c", "list": [], "o": {"in": 4}, "mixed": 2.5},
]


@pytest.fixture
def filled(desk: Desk) -> Desk:
    desk.put("demo", *FIELDS)
    desk.put("other-logs", {"n": 1})
    return desk


def not_others(dataset: str) -> None:
    if dataset != "demo":
        raise Forbidden("no")


def rows(desk: Desk, sql: str, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = desk.run(sql, **more).table.to_pylist()
    return found


@pytest.mark.parametrize("sql", ["SHOW TABLES", " show  all tables ;", "-- which?\nSHOW /* all */ TABLES"])
def test_tables_are_shown(filled: Desk, sql: str) -> None:
    if "/*" in sql:
        sql = sql.replace("/* all */", "ALL")
    assert rows(filled, sql) == [{"name": "demo"}, {"name": "other-logs"}]


def test_only_what_may_be_read_is_told_of(filled: Desk) -> None:
    def views() -> Sequence[str]:
        return ["errors"]

    assert rows(filled, "SHOW TABLES", check=not_others, view_names=views) == [{"name": "demo"}, {"name": "errors"}]
    assert {row["table_name"] for row in rows(filled, "FROM information_schema.columns", check=not_others)} == {"demo"}
    with pytest.raises(Forbidden):
        filled.run('DESCRIBE "other-logs"', check=not_others)


def test_information_schema_has_tables_columns_and_schemas(filled: Desk) -> None:
    tables = rows(filled, "SELECT * FROM INFORMATION_SCHEMA.TABLES ORDER BY table_name", view_names=lambda: ["errors"])
    assert [(row["table_schema"], row["table_name"], row["table_type"]) for row in tables] == [
        ("main", "demo", "BASE TABLE"),
        ("main", "errors", "VIEW"),
        ("main", "other-logs", "BASE TABLE"),
    ]
    joined = """
        SELECT t.table_name, count(*) AS n
        FROM information_schema.tables t JOIN information_schema.columns c USING (table_name)
        GROUP BY ALL ORDER BY ALL
    """
    assert rows(filled, joined) == [{"table_name": "demo", "n": 10}, {"table_name": "other-logs", "n": 4}]
    assert [row["schema_name"] for row in rows(filled, "FROM information_schema.schemata")] == [
        "main",
        "information_schema",
    ]


def test_the_columns_are_those_of_a_star_with_their_types(filled: Desk) -> None:
    described = [(row["column_name"], row["column_type"]) for row in rows(filled, "DESCRIBE demo")]
    listed = rows(filled, "FROM information_schema.columns WHERE table_name = 'demo' ORDER BY ordinal_position")

    assert dict(described) == {
        "_time": "TIMESTAMP WITH TIME ZONE",
        "_sysTime": "TIMESTAMP WITH TIME ZONE",
        "_rest": "JSON",
        "whole": "BIGINT",
        "real": "JSON",  # as it may have whole numbers, which stay whole
        "yes": "BOOLEAN",
        "text": "VARCHAR",
        "list": "JSON",
        "o.in": "BIGINT",
        "mixed": "JSON",
    }
    assert [(row["column_name"], row["data_type"]) for row in listed] == described
    assert [name for name, _ in described] == filled.run("SELECT * FROM demo").table.column_names


def test_a_dataset_without_events_has_the_columns_of_every_one(desk: Desk) -> None:
    desk.lake.create("empty")

    assert [row["column_name"] for row in rows(desk, "DESC empty")] == ["_time", "_sysTime", "_rest"]
    assert len(rows(desk, "FROM information_schema.columns")) == 3


@pytest.mark.parametrize(
    ("select", "kind"),
    [
        ("SELECT count(*) FROM demo", "BIGINT"),
        ("SELECT sum(whole) FROM demo", "DECIMAL(38,0)"),
        ("(SELECT DATE '2026-01-01')", "DATE"),
        ("WITH a AS (SELECT [1, 2] AS l) SELECT l FROM a", "INTEGER[]"),
        ("SELECT {'a': 1, 'b': 'x'} AS s", 'STRUCT("a" INTEGER, "b" VARCHAR)'),
        ("SELECT INTERVAL 1 DAY", "INTERVAL"),
        ("SELECT TIME '01:02:03'", "TIME"),
        ("SELECT TIMESTAMP '2026-01-01'", "TIMESTAMP"),
        ("FROM demo SELECT mixed", "JSON"),
    ],
)
def test_the_columns_of_a_query_are_described(filled: Desk, select: str, kind: str) -> None:
    [column] = rows(filled, f"DESCRIBE {select}")

    assert column["column_type"] == kind
    assert (column["null"], column["key"]) == ("YES", None)


@pytest.mark.parametrize("before", ["tailrace.main.", "main.", '"tailrace"."main".', "tailrace."])
def test_a_name_may_have_its_catalog_and_schema_before_it(filled: Desk, before: str) -> None:
    assert rows(filled, f"SELECT demo.whole FROM {before}demo WHERE demo.whole > 2", check=not_others) == [{"whole": 3}]
    assert rows(filled, f'SELECT count(*) AS n FROM {before}"other-logs" AS o, demo') == [{"n": 3}]
    assert rows(filled, "SELECT count(*) AS n FROM tailrace.information_schema.tables") == [{"n": 2}]
    with pytest.raises(DatasetNotFound, match="'missing'"):
        rows(filled, f"SELECT * FROM {before}missing")
    with pytest.raises(Forbidden):
        rows(filled, f'SELECT * FROM {before}"other-logs"', check=not_others)
    filled.put("main.demo", {"n": 7})
    assert rows(filled, "SELECT n FROM main.demo") == [{"n": 7}]


def test_a_query_is_explained_and_not_run(filled: Desk) -> None:
    filled.lake.commit_now("demo")
    [explained] = rows(filled, "EXPLAIN SELECT yes, sum(whole) FROM demo WHERE real > 1 GROUP BY yes")

    assert explained["explain_key"] == "physical_plan"
    assert "Group By" in explained["explain_value"]
    assert str(filled.root) not in explained["explain_value"]
    assert rows(filled, "EXPLAIN SELECT error('it runs')")


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("EXPLAIN ANALYZE SELECT 1", "without running it"),
        ("EXPLAIN DROP TABLE demo", "may be sent|met 'DROP'"),
        ("SHOW", "SQL"),
        ("DESCRIBE", "SQL"),
        ("EXPLAIN", "SQL"),
        ("DROP TABLE demo", "only SELECT, SHOW TABLES, DESCRIBE and EXPLAIN"),
        ("SUMMARIZE demo", "only SELECT"),
        ("SELECT whole FROM demo WHERE whole > ?", "write the values into the SQL"),
        ("SELECT whole FROM demo WHERE whole > $1", "write the values into the SQL"),
        ("SHOW TABLES; DROP TABLE demo", "SQL"),
        ("DESCRIBE demo; DROP TABLE demo", "one statement"),
        ("EXPLAIN SELECT * FROM read_csv('/etc/passwd')", "read_csv"),
        ("DESCRIBE SELECT getenv('HOME')", "getenv"),
        ("EXPLAIN\nSELECT whole FRM demo", "line 2"),
    ],
)
def test_other_statements_are_refused_in_words(filled: Desk, sql: str, said: str) -> None:
    with pytest.raises(QueryInvalid, match=said):
        filled.run(sql)


@pytest.mark.parametrize("sql", ["DESCRIBE none", "FROM information_schema.none", "SHOW none"])
def test_what_is_not_there_is_not_found(filled: Desk, sql: str) -> None:
    with pytest.raises(DatasetNotFound):
        filled.run(sql)
