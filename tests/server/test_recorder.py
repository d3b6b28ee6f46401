"""Every request that is refused is counted, logged, and kept for who runs the server; nothing secret is."""

import asyncio
import json
import logging
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from support.waiting import wait_until

from tailrace.access.audit import DATASET as AUDIT_DATASET
from tailrace.events.outcome import outcome_of
from tailrace.server.forwarded import Proxies
from tailrace.server.metrics import Metrics
from tailrace.server.recorder import LOG_REFUSALS_PER_S, Recorder, Refusals, RequestLog, without_secrets

if TYPE_CHECKING:
    from conftest import MakeServer, Server

TOKEN = "xaat-43bb2082-ddf2-4c02-9d5b-59de05cc9acd"


def refused(server: "Server", path: str) -> dict[str, Any]:
    """Return the one refusal of a path."""
    listed = server.client.get("/tailrace/v1/refusals?limit=1000").json()
    [found] = [each for each in listed if each["path"] == path]
    return dict(found)


def metric(server: "Server", name: str, **labels: str) -> float:
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    lines = server.client.get("/metrics").text.splitlines()
    found = [line for line in lines if line.startswith(name + "{") and all(each in line for each in wanted)]
    return sum(float(line.rpartition(" ")[2]) for line in found)


def test_a_client_that_sends_to_no_route_is_seen(server: "Server") -> None:
    before = metric(server, "tailrace_refused_requests_total", route="unknown", status="404")
    for _ in range(3):
        answer = httpx.post(
            f"{server.url}/write?token={TOKEN}",
            content=b"{}",
            headers={"User-Agent": f"forwarder/2 {TOKEN}", "Authorization": f"Splunk {TOKEN}"},
            trust_env=False,
        )
        assert answer.status_code == 404

    seen = refused(server, "/write")
    assert (seen["method"], seen["status"], seen["reason"], seen["count"]) == ("POST", 404, "not_found", 3)
    assert (seen["protocol"], seen["route"]) == ("influx", "unknown")
    assert (seen["address"], seen["userAgent"]) == ("127.0.0.1", "forwarder/2 …")
    assert seen["traceId"] == answer.headers["x-axiom-trace-id"]
    assert seen["first"] <= seen["time"]
    assert metric(server, "tailrace_refused_requests_total", route="unknown", status="404") == before + 3
    assert TOKEN not in server.client.get("/tailrace/v1/refusals?limit=1000").text


@pytest.mark.parametrize(
    ("method", "path", "headers", "content", "expected"),
    [
        ("POST", "/v1/datasets/{}/ingest", {"Authorization": "Bearer no"}, b"[]", (401, "unauthorized", "axiom")),
        ("POST", "/baselime/v1/{}", {"x-api-key": "no"}, b"[]", (401, "unauthorized", "baselime")),
        ("POST", "/moesif/v1/events/{}", {}, b"{}", (404, "not_found", "moesif")),
        ("GET", "/v1/datasets/{}/ingest", {}, b"", (405, "method_not_allowed", "axiom")),
        ("DELETE", "/v2/datasets/{}/info", {}, b"", (404, "not_found", "api")),
        ("PATCH", "/v2/views/{}", {}, b"", (405, "method_not_allowed", "api")),
        ("GET", "/v2/views/{}", {"Authorization": "Bearer no"}, b"", (401, "unauthorized", "api")),
        ("POST", "/v1/datasets/{}/trim", {}, b"{", (400, "bad_request", "api")),
        ("GET", "/v1/datasets/{}/info", {"Host": "a b"}, b"", (400, "bad_request", "axiom")),
    ],
)
def test_whoever_refuses_is_seen(
    server: "Server",
    dataset: str,
    method: str,
    path: str,
    headers: dict[str, str],
    content: bytes,
    expected: tuple[int, str, str],
) -> None:
    path = path.format(dataset)
    answer = server.client.request(method, path, headers=headers, content=content)

    seen = refused(server, path)
    assert (seen["status"], seen["reason"], seen["protocol"]) == expected
    assert answer.status_code == expected[0]
    assert dataset not in seen["route"]


def test_a_query_that_is_refused_is_seen_with_its_message(server: "Server", dataset: str) -> None:
    name = f"{dataset}-missing"
    assert server.client.post("/v1/datasets/_apl", json={"apl": f"['{name}'] | count"}).status_code == 404

    listed = server.client.get("/tailrace/v1/refusals").json()
    [seen] = [each for each in listed if name in each["message"]]
    assert (seen["route"], seen["status"], seen["reason"]) == ("/v1/datasets/_apl", 404, "dataset_not_found")


def test_a_query_of_a_batch_that_is_refused_is_counted(server: "Server") -> None:
    token = server.api_token("*", query=True)
    before = metric(server, "tailrace_refused_requests_total", route="/v1/query/batch", status="400")
    batch = [{"queryId": "a", "aplRequest": {"apl": "print 1"}}, {"queryId": "b"}, {"queryId": "c"}]
    answer = server.client.post("/v1/query/batch", json=batch, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200

    wait_until(
        lambda: metric(server, "tailrace_refused_requests_total", route="/v1/query/batch", status="400") == before + 2
    )
    assert refused(server, "/v1/query/batch")["status"] == 200


def test_events_refused_beside_good_ones_are_seen(server: "Server", dataset: str) -> None:
    route = "/v1/datasets/{dataset}/ingest"
    before = metric(server, "tailrace_rejected_events_total", route=route, reason="not_an_object")
    assert server.ingest(dataset, '[{"n":1},7,8]').json()["ingested"] == 1

    seen = refused(server, f"/v1/datasets/{dataset}/ingest")
    assert (seen["status"], seen["reason"], seen["events"], seen["route"]) == (200, "not_an_object", 2, route)
    assert metric(server, "tailrace_rejected_events_total", route=route, reason="not_an_object") == before + 2


def test_a_body_past_a_limit_is_seen(make_server: "MakeServer") -> None:
    server = make_server("--max-wire-bytes=2048").start()
    server.create("d")
    assert server.ingest("d", b" " * 3000).status_code == 413
    assert server.ingest("d", b"[" + b'{"n":1},' * 1000 + b"]").status_code == 413

    assert refused(server, "/v1/datasets/d/ingest")["reason"] == "too_large"


def test_why_the_server_is_not_ready_is_seen(make_server: "MakeServer") -> None:
    server = make_server("--log-min-free-bytes=1000000000000000", "--log-format=json").launch_unready()
    assert server.client.get("/readyz").status_code == 503

    seen = refused(server, "/readyz")
    assert (seen["status"], seen["reason"]) == (503, "not_ready")
    assert "log_min_free_bytes" in seen["message"]
    lines = [json.loads(line) for line in server.errors.read_text().splitlines()]
    [line] = [line for line in lines if line.get("path") == "/readyz"]
    assert (line["method"], line["status"], line["reason"], line["address"]) == ("GET", 503, "not_ready", "127.0.0.1")
    assert "log_min_free_bytes" in line["detail"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", line["time"])
    assert server.banner[0].startswith("Tailrace")  # of which each line was JSON, or it would not be known


def test_every_request_is_counted_by_route_and_status(server: "Server") -> None:
    before = metric(server, "tailrace_requests_total", route="/healthz", status="200")
    server.client.get("/healthz")

    assert metric(server, "tailrace_requests_total", route="/healthz", status="200") == before + 1


def test_the_client_behind_a_proxy_is_who_is_seen(make_server: "MakeServer") -> None:
    server = make_server("--trusted-proxies=127.0.0.1").start()
    behind = {"X-Forwarded-For": "198.51.100.1, 203.0.113.7"}
    server.client.get("/nowhere", headers=behind)
    server.client.post("/v2/datasets", json={"name": "made"}, headers=behind)
    key = server.client.post("/tailrace/v1/keys", json={"protocol": "moesif", "name": "k", "dataset": "demo"}).json()[
        "key"
    ]
    call = {"request": {"time": "2026-01-01T00:00:00Z", "uri": "https://a.example/", "verb": "GET"}}
    sent = server.client.post(
        "/v1/events", json=call, headers={**behind, "X-Moesif-Application-Id": key, "Authorization": ""}
    )
    assert sent.status_code == 201, sent.text

    assert refused(server, "/nowhere")["address"] == "203.0.113.7"
    acts = server.sql(f"SELECT address FROM \"{AUDIT_DATASET}\" WHERE action = 'createDataset'")
    assert [each["address"] for each in acts] == ["203.0.113.7"]
    assert server.sql("SELECT request.ip_address AS a FROM demo") == [{"a": "203.0.113.7"}]


def test_only_who_may_read_of_the_server_sees_refusals(server: "Server", dataset: str) -> None:
    def asked(token: str) -> list[int]:
        headers = {"Authorization": f"Bearer {token}"}
        return [server.client.get(path, headers=headers).status_code for path in ("/tailrace/v1/refusals", "/metrics")]

    made = server.client.post("/v2/tokens", json={"name": "scrape", "orgCapabilities": {"server": ["read"]}})
    assert asked(made.json()["token"]) == [200, 200]
    assert asked(server.api_token(dataset)) == [403, 403]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"/v1/x/{TOKEN}/y", "/v1/x/…/y"),
        ("/hook/eyJhbGciOi.eyJzdWIi.c2ln", "/hook/…"),
        ("/" + "a1" * 20, "/…"),
        ("/v1/datasets/0b1d3b6e-5d0c-4a52-8d5b-1f2e3d4c5b6a", "/v1/datasets/0b1d3b6e-5d0c-4a52-8d5b-1f2e3d4c5b6a"),
        ("/a\x1b[31m\n", "/a [31m "),
    ],
)
def test_what_may_be_a_credential_is_not_kept(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


class Requests:
    """Requests to a recorder over an application that answers each with a status, on a clock of one's own."""

    def __init__(self, log: RequestLog = "refused") -> None:
        self.now_s = 0.0
        self.refusals = Refusals(3)
        self.recorder = Recorder(
            self.application,
            metrics=Metrics(),
            refusals=self.refusals,
            proxies=Proxies(),
            request_log=log,
            clock=lambda: self.now_s,
        )

    async def application(self, scope: Any, receive: Any, send: Any) -> None:
        outcome = outcome_of(scope)
        outcome.message = "said"
        outcome.route = scope.get("route", outcome.route)
        await send({"type": "http.response.start", "status": scope["status"]})

    def send(self, path: str, status: int = 404, **more: str) -> None:
        scope = {"method": "GET", "path": path, "headers": [], "client": ("192.0.2.1", 1), "status": status, **more}
        asyncio.run(self.recorder(scope, None, self.sink))  # type: ignore[arg-type]

    async def sink(self, message: Any) -> None:
        """Where answers go."""

    def kept(self) -> list[tuple[str, int]]:
        return [(each.path, each.count) for each in self.refusals.latest()]


def test_alike_refusals_are_one_and_the_longest_not_seen_gives_way() -> None:
    requests = Requests()
    for path in ("/a", "/b", "/a", "/c", "/d"):
        requests.send(path)

    assert requests.kept() == [("/d", 1), ("/c", 1), ("/a", 2)]


def test_of_a_path_that_holds_a_credential_the_route_is_kept() -> None:
    requests = Requests()
    requests.send("/in/x-1", 401, route="/in/{secret}")

    assert requests.kept() == [("/in/{secret}", 1)]


def test_good_requests_are_not_kept() -> None:
    requests = Requests()
    requests.send("/a", 200)

    assert requests.kept() == []


def test_the_same_refusal_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    requests = Requests()
    with caplog.at_level(logging.INFO, "tailrace.requests"):
        for now_s in (0, 1, 59, 60):
            requests.now_s = now_s
            requests.send("/a")

    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert said[0].startswith("GET /a 404 not_found unknown 192.0.2.1")
    assert "and 2 times before" in said[1]


def test_a_flood_of_refusals_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    requests = Requests()
    with caplog.at_level(logging.INFO, "tailrace.requests"):
        for number in range(LOG_REFUSALS_PER_S + 5):
            requests.send(f"/{number}")
        requests.now_s = 1
        requests.send("/last")

    said = [record.getMessage() for record in caplog.records]
    assert len(said) == LOG_REFUSALS_PER_S + 2
    assert said[-2].startswith("5 more refused requests")


@pytest.mark.parametrize(("log", "lines"), [("off", 0), ("refused", 1), ("all", 3)])
def test_the_request_log_has_what_its_setting_says(
    caplog: pytest.LogCaptureFixture, log: RequestLog, lines: int
) -> None:
    requests = Requests(log)
    with caplog.at_level(logging.INFO, "tailrace.requests"):
        requests.send("/a", 200)
        requests.send("/b", 404)
        requests.send("/b", 404)

    assert len(caplog.records) == lines


def test_what_is_kept_of_a_request_is_bounded(server: "Server") -> None:
    server.client.get("/" + "long/" * 1000, headers={"User-Agent": "long-" * 1000})

    [seen] = [each for each in server.client.get("/tailrace/v1/refusals").json() if each["path"].startswith("/long/")]
    assert len(json.dumps(seen)) < 1500
