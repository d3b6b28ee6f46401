"""Axiom's Python client, unmodified: what it sends comes back, event by event."""

import gzip
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import axiom_py
import pytest
from axiom_py.client import AplOptions, AxiomError, ContentEncoding, ContentType, IngestOptions
from axiom_py.logging import AxiomHandler

if TYPE_CHECKING:
    from conftest import Server

EVENTS = [
    {"_time": "2026-03-05T10:11:12.123456Z", "n": 1, "path": "/a", "took": 1.5, "ok": True, "tags": ["x", {"y": 1}]},
    {
        "_time": "2026-03-05T10:11:13Z",
        "n": 2,
        "path": "/b \u20ac",
        "took": 2,
        "ok": False,
        "http": {"status": 200},
    },
    {"_time": "2026-03-05T10:11:14Z", "n": 3, "path": None, "big": 9007199254740993, "http": {"status": "gone"}},
]
STORED: list[dict[str, Any]] = [
    {
        "_time": "2026-03-05T10:11:12.123456Z",
        "n": 1,
        "path": "/a",
        "took": 1.5,
        "ok": True,
        "tags": ["x", {"y": 1}],
        "big": None,
        "http.status": None,
    },
    {
        "_time": "2026-03-05T10:11:13Z",
        "n": 2,
        "path": "/b \u20ac",
        "took": 2,
        "ok": False,
        "tags": None,
        "big": None,
        "http.status": 200,
    },
    {
        "_time": "2026-03-05T10:11:14Z",
        "n": 3,
        "path": None,
        "took": None,
        "ok": None,
        "tags": None,
        "big": 9007199254740993,
        "http.status": "gone",
    },
]


@pytest.fixture
def client(server: "Server", dataset: str) -> Iterator[axiom_py.Client]:
    made = axiom_py.Client(token=server.api_token(dataset), org_id="an-organisation", url=server.url)
    yield made
    made.session.close()


def read_back(server: "Server", dataset: str) -> list[dict[str, Any]]:
    return server.sql(f'SELECT _time, n, path, took, ok, tags, big, "http.status" FROM "{dataset}" ORDER BY n')


def test_ingest_events(server: "Server", client: axiom_py.Client, dataset: str) -> None:
    status = client.ingest_events(dataset, EVENTS)

    assert (status.ingested, status.failed, status.failures) == (3, 0, [])
    assert status.wal_length == 3
    assert read_back(server, dataset) == STORED


@pytest.mark.parametrize("encoding", [ContentEncoding.IDENTITY, ContentEncoding.GZIP])
@pytest.mark.parametrize("kind", [ContentType.JSON, ContentType.NDJSON])
def test_ingest(
    server: "Server", client: axiom_py.Client, dataset: str, kind: ContentType, encoding: ContentEncoding
) -> None:
    text = json.dumps(EVENTS) if kind is ContentType.JSON else "\n".join(map(json.dumps, EVENTS))
    body = text.encode()

    sent = gzip.compress(body) if encoding is ContentEncoding.GZIP else body
    status = client.ingest(dataset, payload=sent, contentType=kind, enc=encoding)

    assert (status.ingested, status.failed, status.processed_bytes) == (3, 0, len(body))
    assert read_back(server, dataset) == STORED


def test_ingest_csv(server: "Server", client: axiom_py.Client, dataset: str) -> None:
    body = b'n;path\n1;"/a;b"\n2;/c\n'

    status = client.ingest(dataset, body, ContentType.CSV, ContentEncoding.IDENTITY, IngestOptions(CSV_delimiter=";"))

    assert (status.ingested, status.failed) == (2, 0)
    assert server.sql(f'SELECT n, path FROM "{dataset}" ORDER BY n') == [
        {"n": "1", "path": "/a;b"},
        {"n": "2", "path": "/c"},
    ]


def test_ingest_with_a_time_field_and_its_format(server: "Server", client: axiom_py.Client, dataset: str) -> None:
    options = IngestOptions("at", "2/Jan/2006:15:04:05 +0000", ";")

    status = client.ingest_events(dataset, [{"at": "05/Mar/2026:10:11:12 +0000"}], options)

    assert status.ingested == 1
    assert server.sql(f'SELECT _time FROM "{dataset}"') == [{"_time": "2026-03-05T10:11:12Z"}]


def test_ingest_by_the_edge_route(server: "Server", dataset: str) -> None:
    client = axiom_py.Client(token=server.api_token(dataset), url=server.url, edge_url=server.url)

    assert client.ingest_events(dataset, EVENTS).ingested == 3
    assert read_back(server, dataset) == STORED
    client.session.close()


def test_the_logging_handler(server: "Server", client: axiom_py.Client, dataset: str) -> None:
    handler = AxiomHandler(client, dataset)
    logger = logging.getLogger("tests.clients.axiom_py")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        for number in range(25):
            logger.info("message %d", number, extra={"n": number})
        logger.warning("the last", extra={"n": 25})
        handler.flush()
    finally:
        logger.removeHandler(handler)
        handler.timer.cancel()

    rows = server.sql(f'SELECT n, msg, levelname, name FROM "{dataset}" ORDER BY n')
    assert [row["n"] for row in rows] == list(range(26))
    assert rows[0] == {"n": 0, "msg": "message %d", "levelname": "INFO", "name": "tests.clients.axiom_py"}
    assert rows[25]["levelname"] == "WARNING"


def test_a_refusal_is_an_error_with_its_message(server: "Server", client: axiom_py.Client) -> None:
    with pytest.raises(AxiomError, match="missing"):
        client.ingest_events("missing", EVENTS)


def test_datasets(server: "Server", dataset: str) -> None:
    client = axiom_py.Client(token=server.token, url=server.url)
    name = f"{dataset}-by-client"

    made = client.datasets.create(name, "made by a test")
    assert (made.id, made.name, made.description) == (name, name, "made by a test")
    assert client.datasets.get(name) == made
    assert made in client.datasets.get_list()
    client.datasets.delete(name)
    with pytest.raises(AxiomError, match="not found"):
        client.datasets.get(name)
    client.session.close()


def test_a_query(server: "Server", dataset: str) -> None:
    client = axiom_py.Client(token=server.api_token(dataset, query=True), url=server.url)
    client.ingest_events(dataset, EVENTS)

    result = client.query(f"['{dataset}'] | order by n asc")

    [table] = result.tables
    events = [{name: value for name, value in event.items() if name != "_sysTime"} for event in table.events()]
    assert events == STORED
    assert (result.status.rowsExamined, result.status.rowsMatched) == (3, 3)
    assert [source.name for source in table.sources] == [dataset]
    client.session.close()


def test_a_query_by_the_edge_route_with_groups_and_a_range(server: "Server", dataset: str) -> None:
    client = axiom_py.Client(token=server.api_token(dataset, query=True), url=server.url, edge_url=server.url)
    client.ingest_events(dataset, EVENTS)
    options = AplOptions(start_time=datetime(2026, 3, 5, tzinfo=UTC), end_time=datetime(2026, 3, 5, 10, 11, 14))

    result = client.query(f"['{dataset}'] | summarize total = sum(n) by bin(_time, 1h)", options)

    assert list(result.tables[0].events()) == [{"_time": "2026-03-05T10:00:00Z", "total": 3}]
    assert result.tables[0].buckets.size == 3_600_000_000_000
    assert result.status.messages == []
    client.session.close()


def test_a_wrong_query_is_an_error_with_its_place(server: "Server", client: axiom_py.Client) -> None:
    with pytest.raises(AxiomError, match=r"line 1, column \d+"):
        client.query("demo | whre x")
