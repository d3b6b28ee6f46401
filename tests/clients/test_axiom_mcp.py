"""Requests of Axiom's two MCP servers, and how strictly they read the answers, after the last public versions of both.

`axiomhq/mcp` (TypeScript, the hosted one) checks every answer against a schema, and fails the tool where a member is
missing or null. `axiomhq/mcp-server-axiom` (Go) shows answers as they are, but for starred queries. The queries below
are those that their tools make, of the same operators and functions.
"""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import msgspec
import pytest
from support.axiom_answers import (
    CheckedAnswer,
    CheckedDashboard,
    CheckedDashboardWrite,
    CheckedDataset,
    CheckedField,
    CheckedHistory,
    CheckedIntegration,
    CheckedListedDashboard,
    CheckedMonitor,
    CheckedSavedQuery,
)
from support.monitors import create_monitor, status_after_a_run
from support.spans import send_spans

from tailrace.cli.tokens import TokenRole, role_rights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Server

T = TypeVar("T")
TRACES = "mcp-traces"
ERRORS_AS_BOOLEANS = 'extend error = coalesce(ensure_field("error", typeof(bool)), false)'
BY_TRACE = (
    "start_time = min(_time), total_duration = max(duration), span_count = count(), error_count = countif(error), "
    "services = make_set(['service.name']), operations = make_set(name), root_operation = arg_min(_time, name) "
    "by trace_id"
)
LATENCIES = ", ".join(f"p{share}_latency = percentile(duration, {share})" for share in (50, 75, 90, 95, 99))
MEASURES = f"total_spans = count(), error_count = countif(error), {LATENCIES}, avg_latency = avg(duration)"
TOKENS = "['attributes.gen_ai.usage.input_tokens']"
QUERIES = {
    "services": """
        | summarize span_count = count(), error_count = countif(error), unique_operations = dcount(name)
          by ['service.name']
        | project ['service.name'], span_count, error_count, unique_operations
        | sort by span_count desc""",
    "operations": """
        | where ['service.name'] == "frontend"
        | summarize span_count = count(), avg_duration = avg(duration), error_count = countif(error) by name
        | sort by span_count desc""",
    "errors": """
        | where ['status.code'] == "ERROR"
        | extend error_message = coalesce(['status.message'], 'Unknown Error')
        | summarize error_count = count(), max_duration = max(duration), first_seen = min(_time), last_seen = max(_time)
          by ['service.name'], name, error_message
        | extend error_rate_per_hour = toreal(error_count) / (todouble(last_seen - first_seen) / 3600000)
        | project name, error_message, error_count, error_rate_per_hour, max_duration, todatetime(first_seen),
            todatetime(last_seen)
        | sort by error_count desc
        | take 50""",
    "metrics": f"""
        | summarize {MEASURES} by bin_auto(_time), name
        | extend error_rate = toreal(error_count) / toreal(total_spans) * 100
        | project _time, name, total_spans, error_rate, p99_latency, avg_latency
        | sort by _time asc""",
    "traces": f"""
        | where _time >= ago(1h)
        | where error == false and duration >= 200000000
        | {ERRORS_AS_BOOLEANS}
        | summarize {BY_TRACE}
        | sort by start_time desc
        | limit 20""",
    "similar": f"""
        | where _time >= ago(6h)
        | {ERRORS_AS_BOOLEANS}
        | summarize {BY_TRACE}
        | extend service_overlap = array_length(set_intersect(services, dynamic(["checkout"]))),
            span_count_diff = abs(span_count - 2), duration_ratio = total_duration * 1.0 / 1.5s
        | where service_overlap >= 1
        | sort by service_overlap desc, span_count_diff asc""",
    "path": f"""
        | project span_id, parent_span_id, duration, _time, error
        | sort by duration desc
        | extend is_root = isempty(parent_span_id), duration_ms = duration / 1000000.0,
            duration_pct = duration * 100.0 / toscalar(['{TRACES}'] | summarize max(duration))""",
    "anomalies": """
        | summarize total_duration = max(duration), span_count = count() by trace_id
        | summarize avg(total_duration), stdev(total_duration), avg(span_count), stdev(span_count)""",
    "genai": f"""
        | where isnotnull(['attributes.gen_ai.operation.name'])
        | summarize ['Total requests'] = count(), ['Failed requests'] = countif(['status.code'] == "ERROR"),
            ['Duration (ms)'] = round(avg(duration) / 1000000.0, 2), ['Tokens'] = sum({TOKENS})
        | extend ['Error rate (%)'] = round(toreal(['Failed requests']) / ['Total requests'] * 100, 2)""",
    "models": f"""
        | summarize ['P95 tokens'] = percentile({TOKENS}, 95),
            ['Tokens/sec'] = round(avg({TOKENS} / max_of(toreal(duration) / 1000000000.0, 0.001)), 2),
            Steps = dcount(['attributes.gen_ai.step.name'])
          by Model = ['attributes.gen_ai.request.model'], ['capability'] = ['attributes.gen_ai.capability.name']
        | sort by Model asc
        | limit 50""",
    "search": """
        | where ['status.code'] == "ERROR"
        | search "card"
        | project _time, ['Error message'] = ['status.message'], duration_ms = round(duration / 1000000.0, 2)
        | sort by _time desc
        | limit 50""",
    "schema": "\n| getschema",
}


class Agent:
    """Sends what the MCP servers send, with a token of the role that docs/cli.md names for them."""

    def __init__(self, server: "Server", role: TokenRole) -> None:
        on_datasets, on_organisation = role_rights(role)
        rights = {"datasetCapabilities": on_datasets, "orgCapabilities": on_organisation}
        made = server.client.post("/v2/tokens", json={"name": f"mcp-{role}", **rights}).json()
        headers = {
            "Authorization": f"Bearer {made['token']}",
            "Accept": "application/json",
            "Content-Type": "application/json",
            "x-axiom-org-id": "default",
            "User-Agent": "axiom-mcp-server (hosted)",
            "X-MCP-Server-Type": "hosted",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        }
        self.client = httpx.Client(base_url=server.url, headers=headers, timeout=60, trust_env=False)

    def get(self, path: str, checked: type[T]) -> T:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return msgspec.json.decode(answer.content, type=checked)

    def query(self, apl: str, start: str = "now-1h", end: str = "now") -> httpx.Response:
        body = {"apl": apl, "startTime": start, "endTime": end, "maxBinAutoGroups": 15}
        return self.client.post("/v1/datasets/_apl?format=tabular", json=body)

    def tables(self, apl: str, **times: str) -> list[list[dict[str, Any]]]:
        answer = self.query(apl, **times)
        assert answer.status_code == 200, answer.text
        read = msgspec.json.decode(answer.content, type=CheckedAnswer)
        names = [[field.name for field in table.fields] for table in read.tables]
        return [
            [dict(zip(fields, row, strict=True)) for row in zip(*table.columns, strict=True)]
            for fields, table in zip(names, read.tables, strict=True)
        ]


@pytest.fixture(scope="session")
def agent(server: "Server") -> "Iterator[Agent]":
    server.create(TRACES)
    headers = {"Authorization": f"Bearer {server.api_token(TRACES)}", "X-Axiom-Dataset": TRACES}
    send_spans(server.url, headers, (int(time.time()) - 900) * 10**9)
    made = Agent(server, TokenRole.viewer)
    with made.client:
        yield made


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_of_a_tool_runs(agent: Agent, name: str) -> None:
    assert agent.tables(f"\n['{TRACES}']{QUERIES[name]}\n")[0]


def test_what_the_tools_answer(agent: Agent) -> None:
    [services] = agent.tables(f"['{TRACES}']{QUERIES['services']}")
    assert services[0] | {"service.name": ""} == {
        "service.name": "", "span_count": 4, "error_count": services[0]["error_count"], "unique_operations": 2
    }  # fmt: skip
    [[error]] = agent.tables(f"['{TRACES}']{QUERIES['errors']}")
    assert (error["name"], error["error_message"], error["max_duration"]) == ("pay", "card refused", "3s")
    [[found]] = agent.tables(f"['{TRACES}']{QUERIES['search']}")
    assert (found["Error message"], found["duration_ms"]) == ("card refused", 3000)
    [path] = agent.tables(f"['{TRACES}']{QUERIES['path']}")
    assert (path[0]["is_root"], path[0]["duration_pct"]) == (True, 100.0)


def test_times_of_a_query_may_be_of_any_form(agent: Agent) -> None:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert agent.tables(f"['{TRACES}'] | count", start="now-30m", end=now) == [[{"count": 8}]]
    assert agent.query(f"['{TRACES}'] | count", start="", end="").status_code == 200


def test_what_cannot_be_asked_is_refused_in_words(agent: Agent, server: "Server") -> None:
    prices = 'let prices = externaldata (model: string) ["https://models.example/prices.csv"] with (format="csv"); '
    refused = agent.query(f"{prices}['{TRACES}'] | lookup prices on $left.name == $right.model")
    assert (refused.status_code, "ingest the data instead" in refused.json()["message"]) == (400, True)
    history = agent.query('["axiom-history"] | where kind == "apl" and who == "a" | sort by _time desc | take 50')
    assert (history.status_code, "'axiom-history' not found" in history.json()["message"]) == (404, True)
    metrics = agent.client.get(f"/v1/query/metrics/info/datasets/{TRACES}/tags?start=a&end=b")
    assert (metrics.status_code, "query it by APL" in metrics.json()["message"]) == (404, True)


def test_datasets_and_fields(agent: Agent) -> None:
    assert TRACES in {each.name for each in agent.get("/v2/datasets", list[CheckedDataset])}
    assert agent.get("/api/internal/integrations/dashboards", list[CheckedIntegration]) == []
    fields = {each.name for each in agent.get(f"/v2/datasets/{TRACES}/fields", list[CheckedField])}
    assert {"_time", "_sysTime", "service.name", "duration"} <= fields


def test_saved_queries(agent: Agent, server: "Server") -> None:
    body = {"name": "mcp-saved", "query": {"apl": f"['{TRACES}']"}, "dataset": TRACES}
    assert server.client.post("/v2/apl-starred-queries", json=body).status_code == 200

    saved = agent.get("/v2/apl-starred-queries?limit=100&who=all", list[CheckedSavedQuery])

    assert {each.query.apl for each in saved if each.name == "mcp-saved"} == {f"['{TRACES}']"}


def test_monitors_and_their_history(agent: Agent, server: "Server", dataset: str) -> None:
    server.ingest(dataset, [{"status": 500}] * 3)
    monitor = create_monitor(server, dataset)
    status_after_a_run(server, monitor)

    listed = {each.id: each for each in agent.get("/v2/monitors", list[CheckedMonitor])}
    history = agent.get(f"/api/internal/monitors/history?monitorIds={monitor['id']}", CheckedHistory)

    assert listed[monitor["id"]].apl_query == monitor["aplQuery"]
    columns = dict(zip(history.fields, history.data[monitor["id"]], strict=True))
    assert {"query.startTime", "query.endTime", "alert_state", "group_values", "matching_value"} <= set(columns)
    assert [len(column) for column in columns.values()] == [len(columns["alert_state"])] * len(columns)
    assert columns["alert_state"][0] == "open"


def test_dashboards(agent: Agent, server: "Server") -> None:
    bare = {"name": "mcp-bare", "refreshTime": None, "schemaVersion": "2"}  # of what an editor may have left out
    with Agent(server, TokenRole.editor).client as editor:
        made = editor.post("/v2/dashboards", json={"dashboard": bare, "uid": "mcp-bare", "message": "new"})
        assert msgspec.json.decode(made.content, type=CheckedDashboardWrite).status == "created"
        write = {"dashboard": {**bare, "description": "D"}, "overwrite": True}
        put = editor.put("/v2/dashboards/uid/mcp-bare", json=write)
        assert msgspec.json.decode(put.content, type=CheckedDashboardWrite).overwritten is True

        whole = agent.get("/v2/dashboards/uid/mcp-bare", CheckedDashboard)
        listed = {each.id: each for each in agent.get("/api/internal/dashboards", list[CheckedListedDashboard])}
        shown = agent.get("/api/internal/dashboards/mcp-bare", CheckedListedDashboard)

        assert whole.dashboard["name"] == "mcp-bare"
        assert listed["mcp-bare"] == shown
        assert (shown.description, shown.version, shown.refresh_time, shown.schema_version) == ("D", "2", 60, 2)
        assert editor.delete("/v2/dashboards/uid/mcp-bare").status_code == 204
    assert agent.client.get("/api/internal/dashboards/mcp-bare").status_code == 404


def test_the_user_of_the_token(server: "Server") -> None:
    assert server.client.get("/v2/user", headers={"X-AXIOM-ORG-ID": "default"}).json()["id"]
