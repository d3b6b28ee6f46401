"""No SQL reads anything but the datasets that `check` allows, changes anything, or outlives its time."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from query.kit import Desk
from support.rounds import rounds

from tailrace.events import Forbidden, QueryFailed, QueryInvalid, TailraceError
from tailrace.query import Interrupt, QueryLimits
from tailrace.query.engines import sql_policy

SECRET = "4111-1111"


@pytest.fixture(scope="module")
def vault() -> Iterator[Desk]:
    """Yield a dataset that may be read, one that may not, and a file beside them."""
    with TemporaryDirectory() as directory:
        desk = Desk(Path(directory), QueryLimits(timeout_s=20, memory_bytes=256 * 1024**2))
        desk.put("open", {"a": 1, "x": 1, "tags": [1]}, {"a": 2, "x": "s", "rare": {"deep": 1}})
        desk.put("secret", {"card": SECRET})
        desk.lake.commit_now()
        desk.put("open", {"a": 3})
        (desk.root / "lake" / "secret.csv").write_text(f"card\n{SECRET}\n")
        yield desk
        desk.close()


def check(dataset: str) -> None:
    if dataset != "open":
        raise Forbidden(f"not {dataset}")


def secret_file(desk: Desk) -> Path:
    return next((desk.root / "lake" / "secret").glob("_day=*/*.parquet"))


def tried(desk: Desk, sql: str) -> TailraceError | list[dict[str, Any]]:
    """Return the answer, or the error of ours; any other error fails the test."""
    try:
        rows: list[dict[str, Any]] = desk.run(sql, check=check).table.to_pylist()
        return rows
    except TailraceError as error:
        return error


def refused(desk: Desk, sql: str) -> None:
    outcome = tried(desk, sql)
    assert isinstance(outcome, Forbidden | QueryInvalid), outcome
    assert str(desk.root) in sql or str(desk.root) not in outcome.message


FILE_READERS = (
    "read_parquet('{file}')",
    "parquet_scan('{file}')",
    "READ_PARQUET(['{file}'])",
    "\"read_parquet\"('{file}')",
    "main.read_parquet('{file}')",
    "system.main.read_parquet('{file}')",
    "read_csv('{lake}/secret.csv')",
    "read_csv_auto('{lake}/secret.csv')",
    "read_text('{lake}/secret/_tailrace/dataset.json')",
    "read_blob('{lake}/secret.csv')",
    "read_json('{lake}/secret/_tailrace/dataset.json')",
    "read_json_objects('{lake}/secret/_tailrace/dataset.json')",
    "read_ndjson('{lake}/secret/_tailrace/dataset.json')",
    "read_duckdb('{lake}/x.db')",
    "glob('{lake}/**')",
    "sniff_csv('{lake}/secret.csv')",
    "parquet_metadata('{file}')",
    "parquet_schema('{file}')",
    "parquet_file_metadata('{file}')",
    "parquet_kv_metadata('{file}')",
    "parquet_full_metadata('{file}')",
    "query('SELECT * FROM read_parquet(''{file}'')')",
    "query_table('{file}')",
    "query_table(['hot_0'])",
    "json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
    "arrow_scan(1, 2, 3)",
    "pandas_scan(1)",
    "python_map_function(1)",
    "seq_scan('x')",
    "delta_scan('{lake}/secret')",
    "sqlite_scan('{lake}/x', 'y')",
    "duckdb_settings()",
    "duckdb_secrets()",
    "duckdb_functions()",
    "duckdb_tables()",
    "duckdb_temporary_files()",
    "duckdb_logs()",
    "duckdb_variables()",
    "duckdb_external_file_cache()",
    "pragma_version()",
    "pragma_table_info('hot_0')",
    "pragma_show('hot_0')",
    "pragma_database_size()",
    "pg_timezone_names()",
    "which_secret('x', 's3')",
    "test_all_types()",
    "summary('hot_0')",
    "show_tables()",
    "no_such_function()",
)

TABLES = (
    "'{file}'",
    '"{file}"',
    "'{lake}/secret.csv'",
    "'{lake}/secret/*/*.parquet'",
    "'https://127.0.0.1:9/x.parquet'",
    "hot_0",
    "dataset_0",
    "main.hot_0",
    "temp.dataset_0",
    "memory.main.dataset_0",
    "pg_catalog.pg_tables",
    "pg_class",
    "sqlite_master",
    "duckdb_settings",
    "duckdb_tables",
    "duckdb_logs",
    "pragma_database_list",
    "secret",
    '"secret"',
    '"Secret"',
    "main.secret",
    '"open"."secret"',
    "(DESCRIBE secret)",
    "(SHOW TABLES)",
    "(SUMMARIZE secret)",
    '(DESCRIBE "open")',
    '"op\u200ben"',
    '"open; DROP TABLE x"',
    '"open"" "',
)

PLACES = (
    "SELECT * FROM {}",
    "FROM {}",
    'SELECT * FROM "open", {}',
    'SELECT * FROM "open" JOIN {} ON true',
    'SELECT * FROM "open" NATURAL JOIN {}',
    'SELECT * FROM "open" POSITIONAL JOIN {}',
    'SELECT * FROM "open" ASOF JOIN {} t ON "open".a >= t.a',
    'SELECT * FROM "open" SEMI JOIN {} ON true',
    "SELECT (SELECT count(*) FROM {})",
    "SELECT EXISTS (FROM {})",
    "SELECT [(SELECT count(*) FROM {})]",
    "SELECT {{'a': (SELECT count(*) FROM {})}}",
    'SELECT a FROM "open" WHERE a IN (FROM {})',
    'SELECT a FROM "open" WHERE a = ANY (FROM {})',
    'SELECT a FROM "open" GROUP BY a HAVING (SELECT count(*) > 0 FROM {})',
    'SELECT a FROM "open" QUALIFY (SELECT count(*) > 0 FROM {})',
    'SELECT a FROM "open" ORDER BY (SELECT count(*) FROM {})',
    'SELECT a FROM "open" LIMIT (SELECT count(*) FROM {})',
    'SELECT a FROM "open" LIMIT 1 OFFSET (SELECT count(*) FROM {})',
    'SELECT a FROM "open" GROUP BY (SELECT count(*) FROM {}), a',
    'SELECT DISTINCT ON ((SELECT count(*) FROM {})) a FROM "open"',
    'SELECT count(*) FILTER (WHERE (SELECT count(*) > 0 FROM {})) FROM "open"',
    'SELECT sum(a) OVER (PARTITION BY (SELECT count(*) FROM {})) FROM "open"',
    'SELECT sum(a) OVER w FROM "open" WINDOW w AS (ORDER BY (SELECT count(*) FROM {}))',
    'SELECT * FROM "open", LATERAL (SELECT * FROM {}) l',
    "SELECT * FROM (VALUES ((SELECT count(*) FROM {})))",
    "VALUES ((SELECT count(*) FROM {}))",
    "SELECT * FROM unnest((SELECT list(1) FROM {}))",
    "SELECT unnest((SELECT list(1) FROM {}))",
    "SELECT * FROM range((SELECT count(*) FROM {}))",
    "WITH c AS (SELECT * FROM {}) SELECT * FROM c",
    "WITH c AS (SELECT * FROM {}) SELECT 1",
    "WITH c AS MATERIALIZED (SELECT * FROM {}) FROM c",
    "WITH RECURSIVE c AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM c, {} WHERE i < 3) SELECT * FROM c",
    "SELECT 1 UNION ALL (SELECT count(*) FROM {})",
    "SELECT 1 EXCEPT SELECT count(*) FROM {}",
    "SELECT * FROM (((SELECT * FROM {})))",
    "SELECT * FROM (FROM {}) PIVOT (count(*) FOR a IN (1))",
    "SELECT * FROM {} PIVOT (count(*) FOR a IN (1))",
    "SELECT * FROM {} UNPIVOT (v FOR n IN (a))",
    'SELECT * FROM "open" PIVOT (count(*) FOR a IN (SELECT 1 FROM {}))',
    "SELECT * FROM {} TABLESAMPLE 10%",
    "SELECT CASE WHEN (SELECT count(*) > 0 FROM {}) THEN 1 END",
    "SELECT list_transform([1], x -> (SELECT count(*) FROM {}))",
    'SELECT * REPLACE ((SELECT count(*) FROM {}) AS a) FROM "open"',
    'SELECT COLUMNS(c -> (SELECT count(*) > 0 FROM {})) FROM "open"',
    'SELECT a COLLATE nocase, (SELECT count(*) FROM {}) FROM "open"',
    "SELECT CAST((SELECT count(*) FROM {}) AS INT)",
    "SELECT [x FOR x IN [1] IF (SELECT count(*) > 0 FROM {})]",
)


@pytest.mark.parametrize("source", FILE_READERS + TABLES)
def test_a_source_that_is_no_dataset_is_refused(vault: Desk, source: str) -> None:
    refused(vault, f"SELECT * FROM {source}".format(file=secret_file(vault), lake=vault.root / "lake"))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("source", ["read_parquet('{file}')", "'{file}'", "secret", "duckdb_settings()"])
def test_nothing_is_read_in_any_clause(vault: Desk, place: str, source: str) -> None:
    refused(vault, place.format(source.format(file=secret_file(vault))))


@pytest.mark.parametrize(
    "sql",
    [
        # A CTE is in sight only where SQL says so; out of sight its name would be that of a file.
        'SELECT * FROM (WITH "{file}" AS (SELECT 1) FROM "{file}") t, "{file}"',
        'WITH b AS (FROM "{file}"), "{file}" AS (SELECT 1) FROM b',
        'WITH "{file}" AS (FROM "{file}") FROM "{file}"',
        'SELECT (WITH "{file}" AS (SELECT 1) SELECT count(*) FROM "{file}"), * FROM "{file}"',
        'SELECT * FROM "open" AS "{file}", LATERAL (FROM "{file}")',
        'SELECT * FROM (SELECT 1) AS "{file}" WHERE EXISTS (FROM "{file}")',
        "WITH secret AS (SELECT 1) SELECT * FROM main.secret",
        "WITH duckdb_settings AS (SELECT 1) SELECT * FROM duckdb_settings()",
    ],
)
def test_aliases_and_ctes_do_not_hide_a_source(vault: Desk, sql: str) -> None:
    refused(vault, sql.format(file=secret_file(vault)))


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO \"open\" VALUES (1)",
        "UPDATE \"open\" SET a = 1",
        "DELETE FROM \"open\"",
        "MERGE INTO \"open\" USING secret ON true WHEN MATCHED THEN DELETE",
        "TRUNCATE \"open\"",
        "CREATE TABLE t AS SELECT 1",
        "CREATE OR REPLACE VIEW hot_0 AS SELECT 1",
        "CREATE MACRO m() AS 1",
        "CREATE SECRET s (TYPE s3)",
        "CREATE TEMP TABLE t (a INT)",
        "DROP TABLE \"open\"",
        "ALTER TABLE \"open\" ADD COLUMN b INT",
        "COPY (SELECT 1) TO '{lake}/x.csv'",
        "COPY \"open\" FROM '{lake}/secret.csv'",
        "COPY FROM DATABASE a TO b",
        "EXPORT DATABASE '{lake}/x'",
        "IMPORT DATABASE '{lake}/x'",
        "ATTACH '{lake}/x.db'",
        "ATTACH ':memory:' AS y",
        "DETACH memory",
        "USE memory",
        "INSTALL httpfs",
        "FORCE INSTALL httpfs",
        "LOAD httpfs",
        "LOAD '{lake}/x.duckdb_extension'",
        "SET memory_limit = '1TB'",
        "SET GLOBAL threads = 1",
        "SET VARIABLE v = 1",
        "RESET memory_limit",
        "PRAGMA database_list",
        "PRAGMA memory_limit='1TB'",
        "CALL pragma_version()",
        "CALL duckdb_settings()",
        "CHECKPOINT",
        "VACUUM",
        "ANALYZE",
        "BEGIN TRANSACTION",
        "COMMIT",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "DEALLOCATE p",
            "EXPLAIN ANALYZE SELECT * FROM \"open\"",
                    "SUMMARIZE \"open\"",
        "PIVOT \"open\" ON a",
        "UNPIVOT \"open\" ON a",
        "COMMENT ON TABLE \"open\" IS 'x'",
        "KILL 1",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE x",
        "; ; ",
        "",
        "-- nothing",
        "SELECT 1 INTO t",
        "WITH x AS (INSERT INTO \"open\" VALUES (1) RETURNING *) FROM x",
        "WITH x AS (DELETE FROM \"open\" RETURNING *) SELECT 1",
        "SELECT $1",
        "SELECT ?",
        "SELECT :name",
        "SELECT * FROM \"open\" AT (VERSION => 1)",
        "SELECT 1) UNION ALL (SELECT 2",
        "SELECT 1) TO '{lake}/x.csv' --",
        "SELECT 1 /* ",
        "SELECT 'a",
        "SELECT \"a",
        "SELECT $$a",
        "TABLE secret",
        "TABLE \"{lake}/secret.csv\"",
    ],
)  # fmt: skip
def test_a_statement_that_is_no_select_is_refused(vault: Desk, sql: str) -> None:
    refused(vault, sql.format(lake=vault.root / "lake"))
    assert vault.ask("SELECT count(*) AS n FROM open") == [{"n": 3}]
    assert sorted(each.name for each in (vault.root / "lake").iterdir()) == ["open", "secret", "secret.csv"]


@pytest.mark.parametrize(
    "call",
    [
        "current_setting('temp_directory')",
        "current_query()",
        "getenv('PATH')",
        "getvariable('x')",
        "nextval('s')",
        "currval('s')",
        "setseed(0.5)",
        "write_log('x')",
        "stats(1)",
        "sleep_ms(1)",
        "pg_sleep(1)",
        "main.current_setting('threads')",
        "\"current_setting\"('threads')",
        "'threads'.current_setting()",
        "json_serialize_sql('SELECT 1')",
        "json_serialize_plan('SELECT * FROM read_csv(''{lake}/secret.csv'')')",
        "json_deserialize_sql('{{}}')",
        "list_transform(['threads'], x -> current_setting(x))",
        "sum(1) FILTER (WHERE current_setting('threads') = '1')",
        "list_aggregate([1], 'combine')",
        "list_aggr(['threads'], 'current_setting')",
        "finalize('x'::BLOB)",
        "__internal_compress_string_ubigint('x')",
        "st_asgeojson('x')",
        "make_type('VARIANT')",
        "repeat(chr(91), 100000)::JSON::VARIANT",
        "CAST('[]' AS VARIANT)",
        "TRY_CAST('[]' AS STRUCT(a VARIANT)[])",
        "'POINT(0 0)'::GEOMETRY",
        # what takes memory or time that no limit sees
        "repeat('x', 3000000000)",
        "repeat('x', a * 1000000000)",
        "lpad('x', 2000000000, 'y')",
        "rpad('x', 2000000000, 'y')",
        "range(4000000000)",
        "generate_series(1, 4000000000)",
        "list_resize([1], 1000000000)",
        "bitstring('1', 2000000000)",
        "format('{{:1000000000}}', 1)",
        "format('{{:>{{}}}}', 1, 2000000000)",
        "printf('%1000000000d', 1)",
        "printf('%*d', 1000000000, 1)",
        "format(tags::VARCHAR, 1)",
        "levenshtein('a', 'b')",
        "damerau_levenshtein('a', 'b')",
    ],
)
def test_a_function_with_effects_or_without_bounds_is_refused(vault: Desk, call: str) -> None:
    refused(vault, f'SELECT {call} FROM "open"'.format(lake=vault.root / "lake"))


def test_every_function_of_duckdb_with_effects_is_known() -> None:
    harmless = {"error", "gen_random_uuid", "random", "uuid", "uuidv4", "uuidv7"}
    with duckdb.connect() as connection:
        allowed = sql_policy.functions(connection)
        found = connection.execute("SELECT function_name FROM duckdb_functions() WHERE has_side_effects").fetchall()

    assert {name for (name,) in found} & allowed <= harmless


def test_the_engine_itself_opens_no_file_outside_the_lake(vault: Desk, tmp_path: Path) -> None:
    outside = tmp_path / "outside.csv"
    outside.write_text("a\n1\n")
    connection = vault.engine._instance.cursor()

    for statement in (
        f"SELECT * FROM read_csv('{outside}')",
        f"COPY (SELECT 1) TO '{tmp_path}/new.csv'",
        f"ATTACH '{tmp_path}/new.db'",
        "SET enable_external_access = true",
        "SET threads = 1",
        "LOAD httpfs",
    ):
        with pytest.raises(duckdb.Error):
            connection.execute(statement)


def nested(opening: str, closing: str, depth: int, inner: str = "1") -> str:
    return "SELECT " + opening * depth + inner + closing * depth


@pytest.mark.slow
@pytest.mark.parametrize("depth", [10, 60, 120, 400, 2000])
@pytest.mark.parametrize(
    ("opening", "closing", "inner"),
    [
        ("(", ")", "1"),
        ("[", "]", "1"),
        ("- ", "", "1"),
        ("NOT ", "", "true"),
        ("(SELECT ", ")", "1"),
        ("CASE WHEN true THEN ", " END", "1"),
        ("list_transform([1], x -> ", ")", "1"),
        ("abs(", ")", "1"),
        ("", "::INT", "1"),
        ("", "[1]", "[1]"),
        ("", ".a", "a"),
        ("", " + 1", "1"),
        ("", " || 'a'", "'a'"),
        ("", " AND true", "true"),
        ("", " UNION ALL SELECT 1", "1"),
        ("{'a': ", "}", "1"),
        ("NULL::", "[]", "INT"),
        ("* FROM (SELECT ", ")", "1"),
    ],
)
def test_deep_nesting_is_answered_or_refused(vault: Desk, opening: str, closing: str, inner: str, depth: int) -> None:
    outcome = tried(vault, nested(opening, closing, depth, inner))

    assert isinstance(outcome, list | QueryInvalid | QueryFailed)


STATEMENTS = [
    'SELECT a, x FROM "open" WHERE x > 3 ORDER BY a LIMIT 5',
    'SELECT x, count(*) AS n FROM "open" GROUP BY x HAVING n > 0',
    'WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t WHERE i < 9) FROM t JOIN "open" o ON o.a = i',
    'SELECT rare.deep, tags->>0, list_transform([a], v -> v + 1) FROM "open" TABLESAMPLE 50%',
    "SELECT * EXCLUDE (a) REPLACE ('x' AS x) FROM \"open\" PIVOT (sum(a) FOR x IN (1, 's'))",
    'SELECT sum(a) OVER (PARTITION BY x ORDER BY _time ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM "open"',
    "SELECT CAST('2020-01-01' AS TIMESTAMP) AT TIME ZONE 'UTC', {'a': [1, NULL]}, 1e400, INTERVAL 1 DAY",
    'SELECT * FROM "open" WHERE EXISTS (SELECT 1 FROM range(3) r(v) WHERE v = "open".a) UNION ALL BY NAME FROM "open"',
]  # fmt: skip
WORDS = sorted(
    {word for statement in STATEMENTS for word in statement.replace("(", " ( ").replace(")", " ) ").split()}
    | {"'", '"', "--", "/*", "*/", ";", "$$", "::", "->", "\\", "\0", "\ud800", "é", "VALUES", "LATERAL", "DESCRIBE",
       "QUALIFY", "INSERT", "read_parquet('x')", "'x.parquet'", "COLUMNS", "*", ".", ",", "=", "[", "]", "{", "}", "?"}
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> str:
    words = draw(st.sampled_from(STATEMENTS)).split(" ")
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(words)))
        cut = draw(st.integers(0, 2))
        words[at : at + cut] = draw(st.lists(st.sampled_from(WORDS), max_size=2))
    return draw(st.sampled_from(["", "SELECT * FROM "])) + " ".join(words)


@given(mutated() | st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join) | st.text(max_size=40))
@settings(max_examples=rounds(400))
def test_any_text_is_answered_or_refused_with_an_error_of_ours(vault: Desk, sql: str) -> None:
    outcome = tried(vault, sql)

    assert "error of its own" not in str(outcome)
    assert SECRET not in str(outcome)


def test_sql_that_is_too_long_is_refused(vault: Desk) -> None:
    with pytest.raises(QueryInvalid, match="longer than"):
        vault.run("SELECT '" + "x" * 300_000 + "'", check=check)


@pytest.mark.costly
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM range(1000000000) a, range(1000000000) b",
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
        " UNION ALL ".join(["SELECT 1"] * 3000),
    ],
    ids=["cross join", "endless recursion", "long to bind"],
)
def test_a_query_ends_when_its_time_is_over(open_desk: Callable[..., Desk], sql: str) -> None:
    desk = open_desk(timeout_s=0.3)
    started = time.monotonic()

    with pytest.raises(QueryFailed, match=r"query_timeout_s = 0\.3 s"):
        desk.run(sql)

    assert time.monotonic() - started < 20
    assert desk.run("SELECT 1 AS n", interrupt=Interrupt(30.0)).table["n"].to_pylist() == [1]


def test_an_engine_that_failed_is_opened_anew(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise duckdb.FatalException("invalidated")

    failed = desk.engine._instance
    with monkeypatch.context() as patched:
        patched.setattr(sql_policy, "check", fail)
        with pytest.raises(QueryFailed, match="error of its own"):
            desk.run("SELECT 41 + 1")

    assert desk.engine._instance is not failed
    assert desk.column("SELECT 41 + 1") == [42]


@pytest.mark.costly
def test_a_hung_query_does_not_stop_others(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(timeout_s=5, concurrency=2)

    def hang() -> None:
        with pytest.raises(QueryFailed):
            desk.run("SELECT count(*) FROM range(1000000000) a, range(1000000000) b")

    slow = threading.Thread(target=hang)
    slow.start()

    assert desk.column("SELECT 1") == [1]
    slow.join()
