"""Elastic's clients for Python and JavaScript, unmodified: what they send comes back, and what fails is said."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from elasticsearch import Elasticsearch, helpers
from support.node import DOORS, needs_node, run_program

if TYPE_CHECKING:
    from conftest import Server

DOCUMENTS = [{"@timestamp": f"2026-03-05T10:11:{n:02}.5Z", "n": n, "big": 2**62 + n} for n in range(30)]


@pytest.fixture
def client(server: "Server", dataset: str) -> Iterator[Elasticsearch]:
    with Elasticsearch(server.url, api_key=("any", server.api_token(dataset)), http_compress=True) as made:
        yield made


def read_back(server: "Server", dataset: str) -> list[dict[str, Any]]:
    return server.sql(f'SELECT "@timestamp", n, big FROM "{dataset}" ORDER BY n')


def test_the_bulk_helpers(server: "Server", client: Elasticsearch, dataset: str) -> None:
    assert client.ping()
    assert client.info()["tagline"] == "You Know, for Search"
    actions = [{"_op_type": "create", "_index": dataset, "_id": f"id-{each['n']}", **each} for each in DOCUMENTS]
    assert helpers.bulk(client, actions[:20], chunk_size=7) == (20, [])
    # A retry of what is there, beside what is not, and a bad event between.
    bad = {"_op_type": "create", "_index": dataset, "@timestamp": "yesterday"}
    done = list(helpers.streaming_bulk(client, [*actions, bad], raise_on_error=False, max_retries=2, chunk_size=11))
    told = [(ok, next(iter(each.values()))["status"]) for ok, each in done]
    assert told == [(False, 409)] * 20 + [(True, 201)] * 10 + [(False, 400)]
    assert read_back(server, dataset) == DOCUMENTS


def test_one_document(server: "Server", client: Elasticsearch, dataset: str) -> None:
    made = client.index(index=dataset, document=DOCUMENTS[0])
    assert (made["result"], made["_shards"]["failed"]) == ("created", 0)
    assert client.create(index=dataset, id="x", document=DOCUMENTS[1])["_id"] == "x"
    again = client.options(ignore_status=409).create(index=dataset, id="x", document=DOCUMENTS[2])
    assert again["error"]["type"] == "version_conflict_engine_exception"
    assert read_back(server, dataset) == DOCUMENTS[:2]
    assert server.sql(f'SELECT _id FROM "{dataset}" ORDER BY n') == [{"_id": made["_id"]}, {"_id": "x"}]


@needs_node
def test_the_javascript_client(server: "Server", dataset: str) -> None:
    exact = [{**each, "big": 2**53 - 1} for each in DOCUMENTS]  # as the numbers of the language are
    documents = [*({**each, "id": f"id-{each['n']}"} for each in exact), {"id": "bad", "@timestamp": []}]
    task = {"url": server.url, "token": server.api_token(dataset), "index": dataset, "documents": documents}
    said = run_program("elastic.mjs", task, project=DOORS)
    assert (said["stats"]["successful"], said["stats"]["failed"], said["ping"]) == (30, 1, True)
    assert said["dropped"] == [[400, "document_parsing_exception", "bad"]]
    assert (said["one"]["result"], said["tagline"]) == ("created", "You Know, for Search")
    assert read_back(server, dataset) == [*exact, {"@timestamp": None, "n": 100, "big": None}]
