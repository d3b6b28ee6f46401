"""What shippers send to Elasticsearch, request by request, as their source has it, and what they want back.

Beats: libbeat/esleg/eslegclient/connection.go and bulkapi.go, libbeat/licenser, libbeat/idxmgmt/lifecycle and
libbeat/template of elastic/beats. Logstash: http_client.rb, http_client/pool.rb, license_checker.rb and
template_manager.rb of logstash-plugins/logstash-output-elasticsearch; of its OpenSearch output distribution_checker.rb.
Fluentd: lib/opensearch.rb of opensearch-project/opensearch-ruby. Vector: src/sinks/elasticsearch/common.rs and retry.rs
of vectordotdev/vector. Fluent Bit: plugins/out_es/es.c of fluent/fluent-bit.
"""

import asyncio
import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import Struct
from support.ingest import ROOT_TOKEN
from support.serving import serving

FILTER = "filter_path=errors%2Citems.%2A.error%2Citems.%2A.status"
OLDER_FILTER = "filter_path=errors,items.index.status,items.index.error,items.create.status,items.create.error"
API_KEY = "ApiKey " + b64encode(f"axiom:{ROOT_TOKEN}".encode()).decode()
BASIC = "Basic " + b64encode(f"axiom:{ROOT_TOKEN}".encode()).decode()
STORED = {"errors": False, "items": [{"create": {"status": 201}}]}


class Shipper(Struct, frozen=True):
    """What a shipper asks first, and how it sends its events."""

    base: str
    authorization: str
    asked: tuple[str, ...]  # in order; all are good answers
    bulk: str
    media: str
    action: dict[str, Any]
    answer: dict[str, Any] | None = None  # None: the whole, of which it reads `errors`


SHIPPERS = {
    "filebeat 8": Shipper(
        "/v1/datasets/logs/elastic",
        API_KEY,
        (
            "GET /",
            "GET /_license?human=false",
            "GET /_ilm/policy/filebeat",
            "GET /_index_template/filebeat-8.12.1",
            "GET /_data_stream/filebeat-8.12.1",
            "PUT /_ingest/pipeline/filebeat-8.12.1-nginx-access-pipeline",
        ),
        f"/_bulk?{FILTER}",
        "application/json; charset=UTF-8",
        {"create": {"_index": "filebeat-8.12.1"}},
        STORED,
    ),
    "filebeat 7": Shipper(
        "/v1/datasets/logs/elastic",
        API_KEY,
        (
            "GET /",
            "GET /_xpack",
            "GET /_license?human=false",
            "HEAD /_template/filebeat-7.17",
            "PUT /_template/filebeat",
        ),
        f"/_bulk?{OLDER_FILTER}",
        "application/vnd.elasticsearch+json;compatible-with=7",
        {"create": {"_index": "filebeat-7.17", "_type": "_doc", "_id": "a"}},
        STORED,
    ),
    "logstash": Shipper(
        "",
        BASIC,
        ("HEAD /", "GET /", "GET /_license", "GET /_xpack", "HEAD /_index_template/ecs-logstash", "GET /_nodes/http"),
        f"/_bulk?{FILTER}",
        "application/json",
        {"create": {"_id": None, "_index": "logs", "routing": None}},
        STORED,
    ),
    "vector": Shipper(
        "",
        BASIC,
        ("GET /", "GET /_cluster/health"),
        "/_bulk?timeout=60s",
        "application/x-ndjson",
        {"create": {"_index": "logs", "_id": "v"}},
    ),
    "fluent bit": Shipper("", BASIC, (), "/_bulk", "application/x-ndjson", {"create": {"_index": "logs"}}),
    "fluentd, OpenSearch's": Shipper(
        "/v1/datasets/logs/elastic",
        BASIC,
        ("GET /",),
        "/_bulk",
        "application/x-ndjson",
        {"create": {"_index": "fluentd"}},
    ),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[httpx.Response]]:
    """Return what each shipper gets: the answers to what it asks first, and the one to its events."""

    async def run(directory: Path) -> dict[str, list[httpx.Response]]:
        got: dict[str, list[httpx.Response]] = {}
        async with serving(directory) as served:
            served.parts.lake.create("logs")
            transport = served.client._transport
            for name, shipper in SHIPPERS.items():
                headers = {"Authorization": shipper.authorization, "Content-Type": shipper.media}
                async with httpx.AsyncClient(
                    transport=transport, base_url="http://127.0.0.1", headers=headers
                ) as client:
                    for asked in shipper.asked:
                        method, path = asked.split()
                        body = b'{"any":"thing"}' if method == "PUT" else None
                        got.setdefault(name, []).append(await client.request(method, shipper.base + path, content=body))
                    event = {"@timestamp": "2026-01-02T03:04:05.678Z", "message": name}
                    lines = json.dumps(shipper.action) + "\n" + json.dumps(event) + "\n"
                    got.setdefault(name, []).append(await client.post(shipper.base + shipper.bulk, content=lines))
            rows = await asyncio.to_thread(served.parts.rows, "logs")
            assert sorted(row["message"] for row in rows) == sorted(SHIPPERS)
        return got

    return asyncio.run(run(tmp_path_factory.mktemp("shippers")))


@pytest.mark.parametrize("name", SHIPPERS)
def test_a_shipper_gets_what_it_wants(answers: dict[str, list[httpx.Response]], name: str) -> None:
    shipper, (*asked, bulk) = SHIPPERS[name], answers[name]
    for request, answer in zip(shipper.asked, asked, strict=True):
        assert (answer.status_code, answer.headers["x-elastic-product"]) == (200, "Elasticsearch"), request
        if request == "GET /":
            version = answer.json()["version"]
            # OpenSearch's clients want its distribution or a version before 8; Elastic's Logstash output the flavor.
            assert (version["distribution"], version["build_flavor"]) == ("opensearch", "default")
            assert version["number"].startswith("7.17.")
        if "_license" in request:
            assert (answer.json()["license"]["status"], answer.json()["license"]["type"]) == ("active", "basic")
    assert bulk.status_code == 200
    assert bulk.json() == shipper.answer if shipper.answer else '"errors":false' in bulk.text
