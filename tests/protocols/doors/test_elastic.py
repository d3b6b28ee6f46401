"""The bulk and document APIs as Elastic's clients send to them: what is stored, the items, retries, and refusals."""

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.serving import Serving, serving

from tailrace.events import Overloaded, Receipt
from tailrace.protocols.doors.elastic_setup import VERSION

NDJSON = "application/vnd.elasticsearch+x-ndjson; compatible-with=9"


async def token_for(served: Serving, *datasets: str, **more: Any) -> str:
    """Return a new token that may send to these datasets."""
    body = {"name": "t", "datasetCapabilities": {name: {"ingest": ["create"]} for name in datasets}, **more}
    answer = await served.client.post("/v2/tokens", json=body)
    assert answer.status_code == 200, answer.text
    secret: str = answer.json()["token"]
    return secret


def lines(*documents: Any) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" if not isinstance(each, bytes) else each for each in documents)


async def send(served: Serving, path: str, body: bytes, **headers: str) -> httpx.Response:
    return await served.client.post(path, content=body, headers={"Content-Type": NDJSON, **headers})


async def rows(served: Serving, dataset: str) -> list[dict[str, Any]]:
    return await asyncio.to_thread(served.parts.rows, dataset)


async def times(served: Serving, dataset: str) -> list[str]:
    body = {"apl": f"['{dataset}'] | sort by n asc | project _time, n", "startTime": "1970-01-02T00:00:00Z"}
    answer = await served.client.post("/v1/datasets/_apl?format=legacy", json=body)
    assert answer.status_code == 200, answer.text
    return [match["_time"] for match in answer.json()["matches"]]


def run(directory: Path, test: Callable[[Serving], Awaitable[None]], *datasets: str) -> None:
    """Run a test on a server with these datasets."""

    async def serve() -> None:
        async with serving(directory) as served:
            for name in datasets:
                served.parts.lake.create(name)
            await test(served)

    asyncio.run(serve())


def statuses(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [status["status"] for each in answer.json()["items"] for status in each.values()]


def test_documents_come_back_as_they_were_sent(tmp_path: Path) -> None:
    documents: list[dict[str, Any]] = [
        {"@timestamp": "2026-01-02T03:04:05.123456Z", "n": 1, "big": 9223372036854775807, "text": "é\n"},
        {"@timestamp": 1767323045123, "n": 2, "nested": {"a": [1, None, 2.5]}},
        {"n": 3, "@timestamp": "2026-01-02T03:04:05.123456789Z", "_time": "2026-01-02T00:00:00Z"},
        {"n": 4, "@timestamp": None},
    ]

    async def test(served: Serving) -> None:
        body = b"".join(lines({"index": {}}, document) for document in documents)
        answer = await send(served, "/logs/_bulk", body)
        assert answer.headers["x-elastic-product"] == "Elasticsearch"
        assert answer.json()["errors"] is False
        assert answer.json()["items"] == [
            {"index": {"_index": "logs", "_version": 1, "result": "created", "status": 201}}
        ] * len(documents)
        stored = sorted(await rows(served, "logs"), key=lambda row: row["n"])
        assert [row["n"] for row in stored] == [1, 2, 3, 4]
        assert (stored[0]["big"], stored[0]["text"]) == (9223372036854775807, "é\n")
        assert stored[0]["@timestamp"] == "2026-01-02T03:04:05.123456Z"
        assert stored[1]["@timestamp"] == 1767323045123
        found = await times(served, "logs")
        assert [each[:23] for each in found[:3]] == [
            "2026-01-02T03:04:05.123",
            "2026-01-02T03:04:05.123",
            "2026-01-02T00:00:00Z",
        ]

    run(tmp_path, test, "logs")


def test_every_operation_has_its_item_in_order(tmp_path: Path) -> None:
    async def test(served: Serving) -> None:
        token = await token_for(served, "logs", "other", "missing")
        answer = await send(
            served,
            "/logs/_bulk",
            lines(
                {"create": {"_id": "a"}},
                {"n": 1},
                {"delete": {"_id": "a"}},
                {"update": {"_id": "a"}},
                {"doc": {"n": 5}},
                {"index": {"_index": "other", "_id": 7}},
                {"n": 2},
                {"index": {"_index": "missing"}},
                {"n": 3},
                {"index": {"_index": "closed"}},
                {"n": 4},
                {"index": {}},
                b"{}{}\n",
                {"index": {}},
                b"not json\n",
                {"index": {}},
                {"@timestamp": "yesterday"},
                {"create": {"_id": "b"}},
                {"_id": "c"},
                {"create": {"_id": "x" * 513}},
                {"n": 5},
                {"index": {}},
                {"n": 6},
                {"index": {}},
            ),
            Authorization=f"ApiKey {token}",
        )
        assert statuses(answer) == [201, 400, 400, 201, 404, 403, 400, 400, 400, 400, 400, 201, 400]
        said = answer.json()
        assert said["errors"] is True
        each = [dict(next(iter(item.items()))[1], op=next(iter(item))) for item in said["items"]]
        assert [one["op"] for one in each[:4]] == ["create", "delete", "update", "index"]
        assert (each[3]["_index"], each[3]["_id"], each[0]["_index"]) == ("other", "7", "logs")
        assert [one["error"]["type"] for one in each if "error" in one] == [
            "illegal_argument_exception",
            "illegal_argument_exception",
            "index_not_found_exception",
            "security_exception",
            *["document_parsing_exception"] * 4,
            "illegal_argument_exception",
            "document_parsing_exception",
        ]
        assert await rows(served, "logs") == [{"n": 1, "_id": "a"}, {"n": 6}]
        assert await rows(served, "other") == [{"n": 2, "_id": "7"}]
        assert await rows(served, "closed") == []

    run(tmp_path, test, "logs", "other", "closed")


def test_a_document_with_an_id_is_stored_once(tmp_path: Path) -> None:
    async def test(served: Serving) -> None:
        first = lines({"create": {"_id": "a"}}, {"n": 1}, {"index": {"_id": "b"}}, {"n": 2})
        assert statuses(await send(served, "/logs/_bulk", first)) == [201, 201]
        again = await send(served, "/logs/_bulk", first)
        assert statuses(again) == [409, 201]
        error = again.json()["items"][0]["create"]["error"]
        assert error["type"] == "version_conflict_engine_exception"
        more = lines({"create": {"_id": "c"}}, {"n": 3}, {"create": {"_id": "c"}}, {"n": 4}, {"index": {}}, {"n": 5})
        assert statuses(await send(served, "/logs/_bulk", more)) == [201, 409, 201]
        assert sorted(row["n"] for row in await rows(served, "logs")) == [1, 2, 3, 5]

    run(tmp_path, test, "logs")


def test_ids_are_known_after_a_restart_and_beside_other_kinds_of_ids(tmp_path: Path) -> None:
    async def before(served: Serving) -> None:
        await served.client.post("/v1/datasets/logs/ingest", json=[{"_id": 5}, {"_id": {"$oid": "x"}}, {"_id": True}])
        assert statuses(await send(served, "/logs/_bulk", lines({"create": {"_id": "a"}}, {"n": 1}))) == [201]

    async def after(served: Serving) -> None:
        assert statuses(await send(served, "/logs/_bulk", lines({"create": {"_id": "a"}}, {"n": 2}))) == [409]
        assert sorted(row["n"] for row in await rows(served, "logs") if "n" in row) == [1]

    run(tmp_path, before, "logs")
    run(tmp_path, after)


@pytest.mark.parametrize("path", ["/_search", "/_search/scroll", "/_cat/indices", "/_msearch", "/_all/_search"])
def test_what_elasticsearch_has_and_is_not_here_is_told_in_its_shape(tmp_path: Path, path: str) -> None:
    async def test(served: Serving) -> None:
        for method in ("GET", "POST"):
            answer = await served.client.request(method, path)
            fault = answer.json()
            assert (answer.status_code, fault["status"], bool(fault["error"]["reason"])) == (404, 404, True)
            assert answer.headers["x-elastic-product"] == "Elasticsearch"

    run(tmp_path, test)


def test_one_document_at_a_time(tmp_path: Path) -> None:
    async def test(served: Serving) -> None:
        client = served.client
        new = await client.post("/logs/_doc", content=b'{\n "n": 1 }\n')
        assert (new.status_code, new.json()["result"], new.json()["_index"]) == (201, "created", "logs")
        named = await client.put("/logs/_doc/a%2Fb", json={"n": 2})
        assert (named.status_code, named.json()["_id"]) == (201, "a/b")
        again = await client.put("/logs/_doc/a%2Fb", json={"n": 3})
        assert (again.status_code, again.json()["result"]) == (201, "created")
        for path in ("/logs/_create/a%2Fb", "/logs/_doc/a%2Fb?op_type=create"):
            refused = await client.put(path, json={"n": 4})
            assert (refused.status_code, refused.json()["error"]["type"]) == (409, "version_conflict_engine_exception")
        bad = await client.post("/logs/_doc", content=b"[1]")
        assert (bad.status_code, bad.json()["error"]["type"]) == (400, "document_parsing_exception")
        inside = await client.put("/v1/datasets/logs/elastic/any/_doc/c?filter_path=_id,_shards.failed", json={"n": 5})
        assert inside.json() == {"_id": "c", "_shards": {"failed": 0}}
        missing = await client.post("/missing/_doc?require_alias=true", json={})
        assert (missing.status_code, missing.json()["error"]["type"]) == (404, "index_not_found_exception")
        stored = sorted(await rows(served, "logs"), key=lambda row: row["n"])
        assert [(row["n"], row["_id"]) for row in stored] == [(1, new.json()["_id"]), (2, "a/b"), (5, "c")]

    run(tmp_path, test, "logs")


def test_of_a_path_with_a_dataset_the_index_does_not_matter(tmp_path: Path) -> None:
    async def test(served: Serving) -> None:
        body = lines({"index": {"_index": "filebeat-8.12.1"}}, {"n": 1}, {"create": {}}, {"n": 2})
        for base in ("/v1/datasets/logs/elastic", "/v1/ingest/logs/elastic"):
            answer = await send(served, f"{base}/_bulk", gzip.compress(body), **{"Content-Encoding": "gzip"})
            assert statuses(answer) == [201, 201]
            assert answer.json()["items"][0]["index"]["_index"] == "filebeat-8.12.1"
        assert [row["n"] for row in await rows(served, "logs")] == [1, 2, 1, 2]

    run(tmp_path, test, "logs")


def test_without_an_index_the_dataset_is_the_headers_or_the_tokens(tmp_path: Path) -> None:
    async def test(served: Serving) -> None:
        body = lines({"index": {}}, {"n": 1})
        named = {"X-Axiom-Dataset": "logs"}
        assert statuses(await send(served, "/_bulk", body, **named)) == [201]
        none = await send(served, "/_bulk", body)
        assert (none.status_code, "no dataset is named" in none.json()["error"]["reason"]) == (400, True)
        mixed = lines({"index": {}}, {"n": 2}, {"index": {"_index": "logs"}}, {"n": 3})
        answer = await send(served, "/_bulk", mixed)
        assert statuses(answer) == [400, 201]
        assert answer.json()["items"][0]["index"]["error"]["type"] == "action_request_validation_exception"

    run(tmp_path, test, "logs")


def test_a_missing_dataset_is_made_where_the_token_may(tmp_path: Path) -> None:
    async def test(served: Serving) -> None:
        body = lines({"index": {"_index": "new"}}, {"n": 1})
        assert statuses(await send(served, "/_bulk?require_alias=true", body)) == [404]
        strict = lines({"index": {"_index": "new", "require_alias": True}}, {"n": 1})
        assert statuses(await send(served, "/_bulk", strict)) == [404]
        assert statuses(await send(served, "/_bulk", body)) == [201]
        odd = await send(served, "/_bulk", lines({"index": {"_index": "no spaces"}}, {"n": 1}))
        assert odd.json()["items"][0]["index"]["error"]["type"] == "invalid_index_name_exception"
        assert await rows(served, "new") == [{"n": 1}]

    run(tmp_path, test)


UNTELLABLE: list[tuple[bytes, str]] = [
    (b"", "request body is required"),
    (b"\n\n", "request body is required"),
    (b'{"n":1}\n{"n":2}\n', "malformed action/metadata line [1]"),
    (b'{"index":{}}\n{"n":1}\n{"index":[]}\n{"n":2}\n', "malformed action/metadata line [3]"),
    (b'{"upsert":{}}\n{"n":1}\n', "expected one of create, index, update, delete"),
    (b'{"index":{},"create":{}}\n{}\n', "expected one of create, index, update, delete"),
    (b'{"index":{"_index":1}}\n{}\n', "malformed action/metadata line [1]"),
    (b'{"index":{"_index":"\xff"}}\n{}\n', "malformed action/metadata line [1]"),
    (b"[" * 100_000 + b"\n{}\n", "malformed action/metadata line [1]"),
]


def test_further_members_of_an_action_line_mean_nothing(tmp_path: Path) -> None:
    async def test(served: Serving) -> None:
        body = lines({"index": {"_index": "logs", "pipeline": None}, "attempts": 0}, {"n": 1})
        assert statuses(await send(served, "/_bulk", body)) == [201]
        assert await rows(served, "logs") == [{"n": 1}]

    run(tmp_path, test)


def test_a_body_whose_lines_cannot_be_told_apart_is_refused_whole(tmp_path: Path) -> None:
    async def test(served: Serving) -> None:
        for body, reason in UNTELLABLE:
            answer = await send(served, "/logs/_bulk", body)
            error = answer.json()["error"]
            assert (answer.status_code, error["type"]) == (400, "illegal_argument_exception"), body[:20]
            assert reason in error["reason"]
            assert error["root_cause"] == [{"type": error["type"], "reason": error["reason"]}]
        assert await rows(served, "logs") == []

    run(tmp_path, test, "logs")


def test_lines_may_be_blank_end_in_carriage_returns_or_lack_the_last_newline(tmp_path: Path) -> None:
    async def test(served: Serving) -> None:
        body = b'\xef\xbb\xbf\r\n{"index":{}}\r\n{"n":1}\r\n\r\n{ "index" : {} }\n {"n":2}'
        assert statuses(await send(served, "/logs/_bulk", body)) == [201, 201]
        assert [row["n"] for row in await rows(served, "logs")] == [1, 2]

    run(tmp_path, test, "logs")


def test_what_another_attempt_may_help_is_429_or_503_and_stores_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(served: Serving) -> None:
        service = served.parts.service
        body = lines({"index": {"_index": "logs"}}, {"n": 1}, {"index": {"_index": "other"}}, {"n": 2})
        ingest = service.ingest

        async def refuse(parsed: Any, dataset: Any, *args: Any, **more: Any) -> Receipt:
            if dataset.name == "other":
                raise Overloaded("too much", retry_after_s=3)
            return await ingest(parsed, dataset, *args, **more)

        with monkeypatch.context() as patched:
            patched.setattr(service, "ingest", refuse)
            answer = await send(served, "/_bulk", body)
            assert statuses(answer) == [201, 429]
            assert answer.json()["items"][1]["index"]["error"]["type"] == "es_rejected_execution_exception"
            alone = await send(served, "/other/_bulk", lines({"index": {}}, {"n": 2}))
            assert (alone.status_code, alone.headers["retry-after"]) == (429, "3")
            assert alone.json()["error"]["type"] == "es_rejected_execution_exception"
        service.close()
        closed = await send(served, "/_bulk", body)
        assert (closed.status_code, closed.json()["error"]["type"]) == (503, "cluster_block_exception")
        health = await served.client.get("/_cluster/health")
        assert health.status_code == 503
        assert await rows(served, "logs") == [{"n": 1}]

    run(tmp_path, test, "logs", "other")


def test_a_request_that_is_too_large_is_413(tmp_path: Path) -> None:
    async def test(served: Serving) -> None:
        for body in (b"\n" * 300_000, lines({"index": {}}, {}) * 100_001):
            answer = await send(served, "/logs/_bulk", gzip.compress(body), **{"Content-Encoding": "gzip"})
            assert (answer.status_code, answer.json()["error"]["type"]) == (413, "content_too_long_exception")

    run(tmp_path, test, "logs")


def test_the_answer_has_what_filter_path_asks_for(tmp_path: Path) -> None:
    async def test(served: Serving) -> None:
        async def selected(selection: str) -> Any:
            body = lines({"create": {}}, {"n": 1}, {"index": {}}, b"{\n")
            said = await send(served, f"/logs/_bulk?filter_path={selection}", body)
            return said.json()

        shippers = await selected("errors,items.*.error,items.*.status")
        error = shippers["items"][1]["index"].pop("error")
        assert error["type"] == "document_parsing_exception"
        assert shippers == {"errors": True, "items": [{"create": {"status": 201}}, {"index": {"status": 400}}]}
        assert await selected("items.*.error.type") == {"items": [{"index": {"error": {"type": error["type"]}}}]}
        assert set(await selected("took")) == {"took"}
        assert await selected("-took,-items") == {"errors": True}
        assert await selected("**.status") == {"items": [{"create": {"status": 201}}, {"index": {"status": 400}}]}
        many = await send(served, f"/logs/_bulk?filter_path={'a,' * 65}", b"")
        assert "filter_path has at most" in many.json()["error"]["reason"]

    run(tmp_path, test, "logs")


def test_what_clients_ask_first(tmp_path: Path) -> None:
    async def test(served: Serving) -> None:
        client = served.client
        for base in ("", "/v1/datasets/logs/elastic", "/v1/ingest/logs/elastic", "/insert/elasticsearch"):
            root = await client.get(f"{base}/")
            assert root.json()["version"]["number"] == VERSION
            assert root.headers["x-elastic-product"] == "Elasticsearch"
            assert (await client.head(f"{base}/")).status_code == 200
            assert (await client.get(f"{base}/_license")).json()["license"]["status"] == "active"
            assert (await client.get(f"{base}/_xpack")).json()["features"]["ilm"]["available"] is False
            assert (await client.get(f"{base}/_cluster/health")).json()["status"] == "green"
            for refresh in ("/_refresh", "/logs/_refresh"):
                assert (await client.post(f"{base}{refresh}")).json()["_shards"]["failed"] == 0
            for path in ("_nodes", "_nodes/http", "_nodes/_all/http"):
                (node,) = (await client.get(f"{base}/{path}")).json()["nodes"].values()
                assert node["http"]["publish_address"] == "127.0.0.1:80"
            for path in ("_index_template", "_template", "_ilm/policy", "_ingest/pipeline", "_data_stream"):
                for method in ("HEAD", "GET", "PUT"):
                    answer = await client.request(method, f"{base}/{path}/filebeat-8.12.1", json={"any": "thing"})
                    assert answer.status_code == 200
                assert answer.json() == {"acknowledged": True}
                assert "are not kept" in answer.headers["warning"]
        assert (await client.get("/_license", headers={"Authorization": "ApiKey bad"})).status_code == 401
        async with httpx.AsyncClient(transport=client._transport, base_url="http://127.0.0.1") as anyone:
            assert (await anyone.get("/")).status_code == 200
            refused = await anyone.post("/logs/_bulk", content=lines({"index": {}}, {}))
            assert (refused.status_code, refused.json()["error"]["type"]) == (401, "security_exception")
            assert refused.headers["x-elastic-product"] == "Elasticsearch"
        wrong = await client.delete("/logs/_bulk")
        assert (wrong.status_code, wrong.json()["status"]) == (405, 405)

    run(tmp_path, test, "logs")


def test_a_pipeline_is_not_run_which_the_answer_says(tmp_path: Path) -> None:
    async def test(served: Serving) -> None:
        for path, action in (("/logs/_bulk?pipeline=geo", {}), ("/logs/_bulk", {"pipeline": "geo"})):
            answer = await send(served, path, lines({"index": action}, {"n": 1}))
            assert statuses(answer) == [201]
            assert "no ingest pipelines" in answer.headers["warning"]
        none = await send(
            served, "/logs/_bulk?pipeline=_none&refresh=wait_for&routing=x&pretty", lines({"index": {}}, {})
        )
        assert "warning" not in none.headers
        assert none.text.startswith('{\n  "took"')

    run(tmp_path, test, "logs")
