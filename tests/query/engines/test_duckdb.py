"""DuckDB in this process."""

import duckdb
from query.kit import Desk


def test_an_answer_has_the_columns_and_rows_of_a_relation(desk: Desk) -> None:
    query = (
        "SELECT i AS a, i / 2 AS b, 't' || i AS c, i > 1 AS d, to_json([i]) AS e, TIMESTAMPTZ '2024-01-01' AS f, "
        "CASE WHEN i > 0 THEN i END AS g, CAST(NULL AS JSON) AS h, CAST(i AS HUGEINT) AS j FROM range(3000) r(i)"
    )
    with desk.engine.session() as session, duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        answer = session.table(query)
        relation = connection.sql(query).to_arrow_table()

    assert answer.equals(relation.cast(answer.schema))


def test_a_session_has_the_settings_of_its_engine(desk: Desk) -> None:
    names = ("TimeZone", "parquet_metadata_cache", "python_enable_replacements", "enable_external_access")
    with desk.engine.session() as session:
        [row] = session.table(
            "SELECT " + ", ".join(f"current_setting('{name}') AS {name}" for name in names)
        ).to_pylist()

    assert row == {
        "TimeZone": "UTC",
        "parquet_metadata_cache": True,
        "python_enable_replacements": False,
        "enable_external_access": False,
    }
