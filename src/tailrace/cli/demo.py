"""`tailrace demo`: sample logs and traces, so that every page of the console has something to show."""

import random
import time
from typing import Annotated

import httpx
import typer

from tailrace.cli.client import ServerChoice, call, server_command
from tailrace.cli.demo_events import Story, otlp_traces, story
from tailrace.cli.interruption import interruptible

LOGS, TRACES = "demo", "demo-traces"
STORIES_A_REQUEST = 500
MAX_RATE = 1000.0
NS_PER_S = 1_000_000_000
CHECK_S = 1.0


@server_command
def demo(
    seconds: Annotated[int, typer.Option("--seconds", min=0, max=86_400, help="How long to send.")] = 600,
    rate: Annotated[float, typer.Option("--rate", min=0.1, max=MAX_RATE, help="Requests to the shop a second.")] = 5.0,
    past: Annotated[
        int, typer.Option("--past", min=0, max=1440, help="Minutes before now to send at once, at the same rate.")
    ] = 60,
    seed: Annotated[int, typer.Option("--seed", help="Of the random numbers: the same one makes the same shop.")] = 1,
    *,
    server: ServerChoice,
) -> None:
    """Send sample logs to the dataset demo and sample traces to demo-traces, which are made where they are missing.

    First those of the past hour, then as they happen, until the seconds are over or Ctrl-C.

    Example: tailrace demo --seconds 60 --rate 20
    """
    chance = random.Random(seed)
    with server.connect() as client, interruptible() as interruption:
        for dataset in (LOGS, TRACES):
            _ensure(client, dataset)
        now_ns = time.time_ns()
        count = int(past * 60 * rate)
        times = sorted(now_ns - int(chance.random() * past * 60 * NS_PER_S) for _ in range(count))
        for first in range(0, count, STORIES_A_REQUEST):
            _send(client, [story(chance, at_ns) for at_ns in times[first : first + STORIES_A_REQUEST]])
        print(f"Sent {count} requests of the last {past} min to {LOGS} and {TRACES}")
        sent, began_s = 0, time.monotonic()
        while (passed_s := time.monotonic() - began_s) < seconds and not interruption.is_set():
            due = int(passed_s * rate) - sent
            if due > 0:
                _send(client, [story(chance, time.time_ns()) for _ in range(min(due, STORIES_A_REQUEST))])
                sent += min(due, STORIES_A_REQUEST)
            interruption.wait(min(CHECK_S, 1 / rate))
        print(f"Sent {sent} requests as they happened")


def _ensure(client: httpx.Client, dataset: str) -> None:
    known = {each["name"] for each in call(client, "GET", "/v2/datasets")}
    if dataset not in known:
        call(client, "POST", "/v2/datasets", {"name": dataset, "description": "Samples of `tailrace demo`."})


def _send(client: httpx.Client, stories: list[Story]) -> None:
    call(client, "POST", f"/v1/datasets/{LOGS}/ingest", [log for each in stories for log in each.logs])
    spans = [span for each in stories for span in each.spans]
    call(client, "POST", "/v1/traces", otlp_traces(spans), headers={"X-Axiom-Dataset": TRACES})
