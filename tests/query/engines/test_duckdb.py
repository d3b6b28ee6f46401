"""DuckDB in this process."""

from query.kit import Desk

from tailrace.query.engines.duckdb import LONG_QUERY_CHARACTERS


def test_a_long_query_is_answered_as_a_short_one(desk: Desk) -> None:
    query = (
        "SELECT i AS a, i / 2 AS b, 't' || i AS c, i > 1 AS d, to_json([i]) AS e, TIMESTAMPTZ '2024-01-01' AS f, "
        "CASE WHEN i > 0 THEN i END AS g, CAST(NULL AS JSON) AS h, CAST(i AS HUGEINT) AS j FROM range(3000) r(i)"
    )
    with desk.engine.session() as session:
        short = session.table(query)
        long = session.table(query + " " * LONG_QUERY_CHARACTERS)

    assert long.schema.equals(short.schema, check_metadata=True)
    assert long.equals(short)
