"""`tailrace demo`: what it makes, and that a server has it."""

import json
import random
from typing import TYPE_CHECKING

import pytest
from support.commands import tailrace

from tailrace.cli.demo_events import otlp_traces, story

if TYPE_CHECKING:
    from conftest import Server


def test_the_same_seed_makes_the_same_shop() -> None:
    first, second, other = (story(random.Random(seed), 10**18) for seed in (1, 1, 2))
    assert first == second
    assert first != other


def test_a_story_is_one_trace_whose_spans_lie_within_its_root() -> None:
    chance = random.Random(3)
    failed = 0
    for _ in range(500):
        made = story(chance, 10**18)
        root = made.spans[0][1]
        ids = {span["spanId"] for _, span in made.spans}
        assert len(ids) == len(made.spans)
        for service, span in made.spans:
            assert span["traceId"] == root["traceId"]
            assert span["parentSpanId"] == ("" if span is root else root["spanId"]), service
            assert int(root["startTimeUnixNano"]) <= int(span["startTimeUnixNano"])
            assert int(span["endTimeUnixNano"]) <= int(root["endTimeUnixNano"])
        assert {line["trace_id"] for line in made.logs} == {root["traceId"]}
        failed += bool(root["status"])
        assert bool(root["status"]) == any(line["level"] == "error" for line in made.logs)
    assert 0 < failed < 60


def test_spans_are_together_by_service() -> None:
    spans = [("a", {"n": 1}), ("b", {"n": 2}), ("a", {"n": 3})]
    request = otlp_traces(spans)
    assert [
        [span["n"] for scope in each["scopeSpans"] for span in scope["spans"]] for each in request["resourceSpans"]
    ] == [[1, 3], [2]]


@pytest.mark.process
def test_a_server_has_the_logs_and_the_traces(server: "Server") -> None:
    options = ["--url", server.url, "--token", server.token]
    ran = tailrace("demo", *options, "--seconds", "0", "--past", "1", "--rate", "2")
    assert ran.returncode == 0, ran.stderr
    assert "Sent 120 requests of the last 1 min" in ran.stdout

    asked = tailrace(
        "query",
        "['demo-traces'] | summarize traces = dcount(trace_id), spans = count()",
        *options,
        "--format",
        "ndjson",
    )
    counts = json.loads(asked.stdout)
    assert counts["traces"] == 120
    assert counts["spans"] > 240
    roots = tailrace("query", "['demo-traces'] | where isempty(parent_span_id) | count", *options, "--format", "ndjson")
    assert json.loads(roots.stdout) == {"count": 120}
