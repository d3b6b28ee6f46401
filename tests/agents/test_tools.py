"""The tools, as agents call them: ten questions over seeded events, answered with the tools alone; rights; errors."""

import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from tailrace.agents.answers import DEFAULT_ROWS, MAX_CELL_CHARACTERS, MAX_CHARACTERS, MAX_ROWS
from tailrace.agents.server import TOOLS
from tailrace.events.times import rfc3339

if TYPE_CHECKING:
    from conftest import Server

Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
NS = 1_000_000_000
STEP_S = 50  # between the 60 times of the story, which are in the last hour for ten minutes more


@asynccontextmanager
async def agent(url: str, token: str) -> AsyncIterator[Client]:
    """Connect a client over HTTP, as an agent does."""
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client,
    ):
        yield client


async def called(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """Return what a tool answers, which is the same as text and as structure."""
    result = await client.call_tool(tool, arguments)
    text = result.content[0].text  # type: ignore[union-attr]
    assert not result.is_error, text
    assert json.loads(text) == result.structured_content
    return dict(result.structured_content or {})


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """Return why a tool is refused."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return str(result.content[0].text)  # type: ignore[union-attr]


def seed(server: "Server", logs: str, traces: str, now_ns: int) -> None:
    """Send a story: since a quarter of an hour ago the shop's checkout fails on shop-3, whose payments time out."""
    events: list[dict[str, Any]] = []
    for step in range(60):
        at = rfc3339(now_ns - step * STEP_S * NS)
        events += [
            {
                "_time": at,
                "level": "info",
                "host": f"shop-{n % 4}",
                "message": f"GET /products/{step * 10 + n} in {n} ms",
            }
            for n in range(10)
        ]
        if step < 20:
            failed = {
                "level": "error",
                "host": "shop-3",
                "message": f"payment {step:08x}a of user {step} timed out",
            }
            events += [{"_time": at, **failed, "trace_id": f"{step:032x}"}] * 2
    assert server.ingest(logs, events).status_code == 200
    spans = []
    for step in range(30):
        span = {"_time": rfc3339(now_ns - step * STEP_S * NS), "trace_id": f"{step:032x}", "kind": "server"}
        slow = 5_000_000_000 if step == 7 else 20_000_000
        root = {"span_id": f"{step:015x}a", "name": "POST /checkout", "service.name": "web", "duration": slow}
        child = {
            "span_id": f"{step:015x}b",
            "parent_span_id": root["span_id"],
            "name": "charge",
            "duration": slow - 1,
        }
        spans += [{**span, **root, "error": False}, {**span, **child, "service.name": "payments", "error": step < 20}]
    assert server.ingest(traces, spans).status_code == 200


@pytest.fixture(scope="session")
def story(server: "Server") -> dict[str, str]:
    """Return the names of the datasets with the story."""
    names = {"logs": server.create("agents-logs"), "traces": server.create("agents-traces")}
    seed(server, names["logs"], names["traces"], time.time_ns())
    annotation = {"type": "deploy", "title": "payments 2.1", "datasets": [names["logs"]]}
    assert server.client.post("/v2/annotations", json=annotation).status_code == 200
    query = {"apl": f"['{names['logs']}'] | where level == 'error'", "startTime": "now-1h"}
    saved = {"kind": "apl", "name": "failures", "dataset": names["logs"], "query": query, "metadata": {}}
    assert server.client.post("/v2/apl-starred-queries", json=saved).status_code == 200
    return names


def test_ten_questions_are_answered_with_the_tools_alone(server: "Server", story: dict[str, str]) -> None:
    async def questions() -> None:
        token = server.api_token(story["logs"], story["traces"], query=True)
        async with agent(server.url, server.token) as owner, agent(server.url, token) as client:
            # 1. Which datasets are there?
            listed = await called(owner, "list_datasets", contains="agents-")
            assert [row[0] for row in listed["rows"]] == sorted(story.values())
            logs, traces = story["logs"], story["traces"]
            # 2. What is in the logs, and which hosts write them?
            described = await called(client, "describe_dataset", dataset=logs)
            assert described["events"] == 640
            assert described["fields"]["message"] == "string"
            assert described["top_values"]["level"] == {"info": 600, "error": 40}
            assert set(described["top_values"]["host"]) == {"shop-0", "shop-1", "shop-2", "shop-3"}
            # 3. Which kinds of messages are there?
            kinds = await called(client, "find_patterns", dataset=logs)
            assert [row[:2] for row in kinds["rows"]] == [
                ["GET /products/<n> in <n> ms", 600],
                ["payment <hex> of user <n> timed out", 40],
            ]
            # 4. Since when does it fail?
            steps = await called(client, "count_over_time", dataset=logs, condition='level == "error"', bins=60)
            began = min(row[0] for row in steps["rows"] if row[1])
            assert 0 <= time.time() - _seconds(began) - 19 * STEP_S <= 10 * 60
            # 5. Where?
            by_host = await called(
                client, "query_apl", apl=f"['{logs}'] | where level == 'error' | summarize failures = count() by host"
            )
            assert (by_host["columns"], by_host["rows"]) == (["host", "failures"], [["shop-3", 40]])
            # 6. The same in SQL.
            sql = await called(
                client, "query_sql", sql=f"SELECT host, count(*) AS n FROM \"{logs}\" WHERE level = 'error' GROUP BY 1"
            )
            assert sql["rows"] == [["shop-3", 40]]
            # 7. Which request was the slowest?
            slowest = await called(client, "find_traces", dataset=traces, slowest_first=True, limit=1)
            (row,) = slowest["rows"]
            found = dict(zip(slowest["columns"], row, strict=True))
            assert (found["trace_id"], found["name"], found["spans"]) == (f"{7:032x}", "POST /checkout", 2)
            # 8. Where did its time go?
            trace = await called(client, "get_trace", dataset=traces, trace_id=found["trace_id"])
            spans = [dict(zip(trace["columns"], row, strict=True)) for row in trace["rows"]]
            assert [(span["depth"], span["service.name"], span["error"]) for span in spans] == [
                (0, "web", False),
                (1, "payments", True),
            ]
            # 9. Was something deployed?
            annotations = await called(owner, "list_annotations")
            assert "payments 2.1" in [
                dict(zip(annotations["columns"], row, strict=True))["title"] for row in annotations["rows"]
            ]
            # 10. What do people ask of these logs?
            saved = await called(owner, "list_saved_queries")
            assert ["failures", logs, f"['{logs}'] | where level == 'error'"] in saved["rows"]

    asyncio.run(questions())


def test_answers_are_small_and_say_how_to_get_more(server: "Server", story: dict[str, str]) -> None:
    async def ask() -> None:
        async with agent(server.url, server.token) as client:
            apl = f"['{story['logs']}'] | project message"
            some = await called(client, "query_apl", apl=apl)
            assert len(some["rows"]) == 50
            assert some["notes"] == [
                "there are more than these 50 rows: narrow the time or the condition, or give a limit up to 1000"
            ]
            more = await called(client, "query_apl", apl=apl, limit=640, start="now-2h")
            assert (len(more["rows"]), more["notes"]) == (640, [])
            limited = await called(client, "query_apl", apl=f"{apl} | limit 600")
            assert (len(limited["rows"]), limited["notes"]) == (50, some["notes"])
            wide = await called(client, "query_sql", sql=f'SELECT message FROM "{story["logs"]}", range(10000)')
            assert (len(wide["rows"]), wide["notes"][0][:33]) == (50, "there are more than these 50 rows")
            help_ = await called(client, "apl_help", names=["summarize", "no_such()"])
            assert help_["found"][0]["syntax"].startswith("summarize")
            assert help_["notes"] == ["APL has no no_such: call apl_help without names for all"]
            assert "summarize" in (await called(client, "apl_help"))["operators"]

    asyncio.run(ask())


def test_what_is_listed_and_described_is_as_small(server: "Server") -> None:
    dataset = server.create("agents-long")
    server.ingest(dataset, [{"message": f"{n // 2}{'x' * 5000}{n}"} for n in range(20)])

    async def ask() -> None:
        async with agent(server.url, server.token) as client:
            described = await called(client, "describe_dataset", dataset=dataset, top_values=20)
            values = described["top_values"]["message"]
            assert {len(value) for value in values} == {MAX_CELL_CHARACTERS + 1}
            assert list(values.values()) == [2] * 10
            for tool in ("list_saved_queries", "list_dashboards", "list_monitors", "list_annotations"):
                await called(client, tool, limit=MAX_ROWS)
            assert "a name is missing" in await refused(client, "describe_dataset", dataset="")

    asyncio.run(ask())


def test_the_page_names_every_tool_and_its_bounds() -> None:
    page = (Path(__file__).parents[2] / "docs" / "agents.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}

    assert named == {tool.__name__ for tool in TOOLS}
    for bound in (DEFAULT_ROWS, MAX_ROWS, MAX_CHARACTERS, MAX_CELL_CHARACTERS):
        assert f"{bound:,}" in page


def test_errors_help(server: "Server", story: dict[str, str]) -> None:
    async def ask() -> None:
        async with agent(server.url, server.token) as client:
            logs = story["logs"]
            assert "did you mean 'summarize'?" in await refused(client, "query_apl", apl=f"['{logs}'] | sumarize")
            assert "has no field 'nothing': it has _sysTime," in await refused(
                client, "describe_dataset", dataset=logs, fields=["nothing"]
            )
            assert "which spans have" in await refused(client, "get_trace", dataset=logs, trace_id="1")
            assert "give an earlier start" in await refused(client, "get_trace", dataset=story["traces"], trace_id="1")
            assert "dataset is missing" in await refused(client, "count_over_time", dataset="")
            assert "not found" in await refused(client, "monitor_history", monitor_id="none")
            assert "limit" in await refused(client, "query_apl", apl=f"['{logs}']", limit=5000)
            assert len(await refused(client, "query_apl", apl="x" * 100_000)) < 2100

    asyncio.run(ask())


def test_a_token_may_what_it_may_elsewhere(server: "Server", story: dict[str, str]) -> None:
    async def ask() -> None:
        async with agent(server.url, server.api_token(story["logs"], query=True)) as client:
            assert (await called(client, "query_apl", apl=f"['{story['logs']}'] | count"))["rows"] == [[640]]
            assert "lacks the capability" in await refused(client, "query_apl", apl=f"['{story['traces']}'] | count")
            assert "lacks the capability" in await refused(client, "list_monitors")

    asyncio.run(ask())
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accept = {"Accept": "application/json, text/event-stream"}
    answers = [
        httpx.post(f"{server.url}/mcp", json=body, headers={**accept, **headers})
        for headers in ({}, {"Authorization": "Bearer xaat-wrong"})
    ]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert server.client.get("/mcp").status_code == 405


def test_messages_that_are_none_are_refused_in_the_protocols_words(server: "Server") -> None:
    accept = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    for body in (b"", b"{", b"[]", b'{"jsonrpc": "2.0", "id": 1, "method": "no/such"}', b"\xff", b"[" * 100_000):
        answer = server.client.post("/mcp", content=body, headers=accept)
        assert answer.status_code < 500, (body[:50], answer.text)
        assert "error" in answer.json(), body[:50]


def test_the_command_serves_the_same_tools(server: "Server", story: dict[str, str]) -> None:
    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "tailrace", "mcp", "--url", server.url, "--token", server.api_token(story["logs"], query=True)],
    )

    async def ask() -> None:
        async with Client(command) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            assert {"list_datasets", "query_apl", "find_patterns"} <= set(names)
            assert (await called(client, "query_apl", apl=f"['{story['logs']}'] | count"))["rows"] == [[640]]

    asyncio.run(ask())


@pytest.mark.slow
def test_clients_of_earlier_versions_of_the_protocol_are_answered(server: "Server", story: dict[str, str]) -> None:
    async def ask() -> None:
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {server.token}"}) as http,
            Client(streamable_http_client(f"{server.url}/mcp", http_client=http), mode="legacy") as client,
        ):
            assert (await called(client, "query_apl", apl=f"['{story['logs']}'] | count"))["rows"] == [[640]]

    asyncio.run(ask())


def _seconds(time_: str) -> float:

    return datetime.fromisoformat(time_).timestamp()
