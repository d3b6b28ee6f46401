"""SQL over HTTP: formats, rights, refusals."""

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tailrace.api.media import accepted

if TYPE_CHECKING:
    from conftest import Server

ROWS: list[dict[str, Any]] = [{"n": 1, "text": 'a,"b'}, {"n": 2, "text": "\u20ac"}]


def post(server: "Server", sql: object, accept: str = "application/json", token: str = "") -> httpx.Response:
    headers = {"Accept": accept, **({"Authorization": f"Bearer {token}"} if token else {})}
    return server.client.post("/tailrace/v1/sql", json={"sql": sql}, headers=headers)


def test_rows_come_in_the_format_asked_for(server: "Server", dataset: str) -> None:
    server.ingest(dataset, ROWS)
    query = f'SELECT n, "text" FROM "{dataset}" ORDER BY n'

    as_json = post(server, query)
    assert as_json.headers["content-type"] == "application/json"
    assert as_json.json()["rows"] == ROWS
    assert as_json.json()["fields"] == [{"name": "n", "type": "integer"}, {"name": "text", "type": "string"}]
    assert as_json.json()["rowCount"] == 2
    assert as_json.json()["elapsedMs"] > 0

    as_lines = post(server, query, "application/x-ndjson")
    assert as_lines.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in as_lines.text.splitlines()] == ROWS

    as_csv = post(server, query, "text/csv")
    assert as_csv.headers["content-type"] == "text/csv"
    assert list(csv.reader(io.StringIO(as_csv.text))) == [["n", "text"], ["1", 'a,"b'], ["2", "\u20ac"]]

    as_arrow = post(server, query, "application/vnd.apache.arrow.stream")
    with pa.ipc.open_stream(as_arrow.content) as reader:
        assert reader.read_all().to_pylist() == ROWS

    as_parquet = post(server, query, "application/vnd.apache.parquet")
    assert as_parquet.headers["content-type"] == "application/vnd.apache.parquet"
    assert pq.read_table(io.BytesIO(as_parquet.content)).to_pylist() == ROWS


@pytest.mark.parametrize(
    ("header", "media_type"),
    [
        ("*/*", "application/json"),
        ("", "application/json"),
        ("application/*", "application/json"),
        ("text/html, */*;q=0.1", "application/json"),
        ("text/*, application/json;q=0.9", "text/csv"),
        ("application/json, text/csv", "application/json"),
        ("image/png, application/vnd.apache.parquet;q=0.2", "application/vnd.apache.parquet"),
        ("text/csv;q=0.5, application/x-ndjson", "application/x-ndjson"),
        ("text/csv;q=0, application/json;q=0.1", "application/json"),
        ("TEXT/CSV; q=x, text/csv; charset=utf-8", "text/csv"),
    ],
)
def test_an_accept_header_is_read_by_its_weights(header: str, media_type: str) -> None:
    assert accepted(header) == media_type


@pytest.mark.parametrize("accept", ["text/html", "application/xml, image/*", "text/csv;q=0"])
def test_what_cannot_be_answered_is_406(server: "Server", accept: str) -> None:
    for answer in (
        post(server, "SELECT 1", accept),
        server.client.post("/v1/datasets/_apl", json={"apl": "print 1"}, headers={"Accept": accept}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (406, 406)
        assert "application/vnd.apache.parquet" in answer.json()["message"]


def test_what_was_acknowledged_is_in_the_next_answer(server: "Server", dataset: str) -> None:
    for number in range(20):
        server.ingest(dataset, [{"n": number}])
        assert server.sql(f'SELECT count(*) AS c FROM "{dataset}"') == [{"c": number + 1}]


def test_a_token_reads_only_the_datasets_it_may_query(server: "Server", dataset: str) -> None:
    other = server.create(f"{dataset}-other")
    token = server.api_token(dataset, query=True)

    assert post(server, f'SELECT count(*) AS c FROM "{dataset}"', token=token).status_code == 200
    refused = post(server, f'SELECT count(*) AS c FROM "{dataset}", "{other}"', token=token)
    assert refused.status_code == 403
    assert "query:read" in refused.json()["message"]
    assert post(server, f'SELECT 1 FROM "{dataset}"', token=server.api_token(dataset)).status_code == 403


def test_a_token_is_told_of_what_it_may_query(server: "Server", dataset: str) -> None:
    server.create(f"{dataset}-more")
    server.ingest(dataset, ROWS)
    token = server.api_token(dataset, query=True)

    assert post(server, "SHOW TABLES", token=token).json()["rows"] == [{"name": dataset}]
    names = [row["column_name"] for row in post(server, f'DESCRIBE "{dataset}"', token=token).json()["rows"]]
    assert names == ["_time", "_sysTime", "_rest", "n", "text"]
    assert post(server, f'DESCRIBE "{dataset}-more"', token=token).status_code == 403
    [explained] = post(server, f'EXPLAIN SELECT sum(n) FROM "{dataset}"', token=token).json()["rows"]
    assert explained["explain_key"] == "physical_plan"
    assert post(server, "SELECT count(*) AS n FROM information_schema.columns", token=token).json()["rows"] == [
        {"n": 5}
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM {}",
        "SELECT n, many, list, n / 2 AS half, sum(n) OVER () AS total FROM {} ORDER BY n LIMIT 1 OFFSET 1",
        "SELECT many, count(*) AS c, avg(fraction) AS a FROM {} GROUP BY ALL UNION ALL SELECT NULL, 1, 2",
        "WITH t AS (SELECT many, _time FROM {}) SELECT *, _time - min(_time) OVER () AS age FROM t",
        "SHOW TABLES",
        "DESCRIBE {}",
        "EXPLAIN SELECT n FROM {}",
        "SELECT * FROM information_schema.columns",
    ],
)
def test_the_columns_are_told_without_rows(server: "Server", dataset: str, statement: str) -> None:
    server.ingest(dataset, [{"n": 1, "many": "x", "list": [1], "fraction": 1}, {"n": 2, "many": 2, "fraction": 0.5}])
    sql = statement.format(f'"{dataset}"')

    def table(**more: bool) -> pa.Table:
        answer = server.client.post(
            "/tailrace/v1/sql", json={"sql": sql, **more}, headers={"Accept": "application/vnd.apache.arrow.stream"}
        )
        assert answer.status_code == 200, answer.text
        with pa.ipc.open_stream(answer.content) as reader:
            return reader.read_all()

    whole, columns = table(), table(schemaOnly=True)
    assert (columns.num_rows, columns.schema.metadata) == (0, whole.schema.metadata)
    assert columns.schema.equals(whole.schema, check_metadata=True)


@pytest.mark.parametrize(
    ("sql", "status"),
    [
        ("SELEC 1", 400),
        ("SELECT 1; SELECT 2", 400),
        ("DROP TABLE demo", 400),
        ("SELECT * FROM read_csv('/etc/passwd')", 400),
        ("SELECT * FROM '/etc/passwd'", 404),
        ("SELECT nothing FROM demo", 400),
        ("SELECT * FROM missing", 404),
        (7, 400),
    ],
)
def test_a_query_that_cannot_be_is_refused_in_json(server: "Server", sql: object, status: int) -> None:
    answer = post(server, sql)

    assert answer.status_code == status, answer.text
    assert answer.json()["code"] == status
    assert answer.json()["message"]
