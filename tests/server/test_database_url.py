"""A server whose database is on PostgreSQL."""

import os
import subprocess
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, text

if TYPE_CHECKING:
    from conftest import MakeServer


def test_all_that_is_no_event_is_where_the_url_says(make_server: "MakeServer", postgres_url: str) -> None:
    server = make_server(env={"TAILRACE_DATABASE_URL": postgres_url}).start()

    made = server.client.post("/v2/tokens", json={"name": "t", "orgCapabilities": {"datasets": ["read"]}})
    view = server.client.post("/v2/views", json={"name": "v", "aplQuery": "print 1", "datasets": []})
    field = server.client.post("/v2/vfields", json={"dataset": "demo", "name": "twice", "expression": "n * 2"})
    server.ingest("demo", [{"n": 21}])
    query = {"apl": "demo | project twice"}
    answer = server.client.post("/v1/datasets/_apl?format=tabular&saveAsKind=apl&id=demo", json=query)

    assert [each.status_code for each in (made, view, field, answer)] == [200] * 4
    assert answer.json()["tables"][0]["columns"] == [[42]]
    assert not list(server.data.glob("*.db*"))
    engine = create_engine(postgres_url)
    with engine.connect() as connection:
        for table in ("documents", "virtual_fields", "query_history"):
            assert connection.scalar(text(f"SELECT count(*) FROM {table}")) == 1
        assert connection.scalar(text("SELECT count(*) FROM tokens WHERE kind = 'api'")) == 1
    engine.dispose()


def test_a_database_that_cannot_be_opened_is_told_and_no_server_starts(make_server: "MakeServer") -> None:
    url = "postgresql+psycopg://nobody:hidden@127.0.0.1:1/nothing"
    server = make_server(env={"TAILRACE_DATABASE_URL": url})
    process = server.launch()
    try:
        assert process.wait(60) == 1
    except subprocess.TimeoutExpired:
        os.kill(process.pid, 9)
        raise
    told = server.errors.read_text()
    assert "database_url" in told
    assert "hidden" not in told
    assert "Traceback" not in told
