"""Requests that no route takes: wrong methods, paths and credentials, each answered in the shape of its protocol."""

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from support import http

if TYPE_CHECKING:
    from conftest import Server


def ask(server: "Server", method: str, path: str, **headers: str) -> httpx.Response:
    return http.request(method, server.url + path, headers=headers)


def refusals(server: "Server", protocol: str, code: str) -> float:
    """How many requests were refused, by the metrics."""
    name = f'tailrace_refused_requests_total{{protocol="{protocol}",reason="{code}",'
    lines = server.client.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "said"),
    [
        ("POST", "/v1/datasets/demo/ingest", {}, 401, {"code": 401}),
        ("POST", "/v1/datasets/demo/ingest", {"Authorization": "Bearer unknown"}, 401, {"code": 401}),
        ("POST", "/v1/events", {}, 401, {"error": "unauthorized"}),
        ("POST", "/v1/events", {"X-Moesif-Application-Id": "unknown"}, 401, {"error": "unauthorized"}),
        ("GET", "/v1/config", {}, 401, {"error": "unauthorized"}),
        ("POST", "/v1/events", {"x-api-key": "unknown"}, 401, {"message": "Unauthorised"}),
        ("GET", "/v1/events", {"x-api-key": "unknown"}, 405, {"message": "Method Not Allowed"}),
        ("POST", "/v1/config", {}, 401, {"message": "Unauthorised"}),
        ("POST", "/v1/flyio", {"Authorization": "Bearer unknown"}, 401, {"message": "Unauthorised"}),
        ("POST", "/v1/flyio", {}, 401, {"message": "Unauthorised"}),
        ("POST", "/sessions", {}, 403, {}),
        ("POST", "/v1/search/~/count", {"x-api-key": "unknown"}, 404, {"code": 404}),
        ("POST", "/v1/~/x", {"X-Moesif-Application-Id": "unknown"}, 404, {"code": 404}),
    ],
)
def test_a_refusal_has_the_shape_of_the_protocol_that_the_request_is_for(
    server: "Server", method: str, path: str, headers: dict[str, str], status: int, said: dict[str, Any]
) -> None:
    answer = ask(server, method, path, **headers)

    assert answer.status_code == status
    assert said.items() <= answer.json().items()


@pytest.mark.parametrize(
    ("method", "path", "protocol", "allowed"),
    [
        ("GET", "/v1/datasets/demo/ingest", "axiom", {"POST"}),
        ("PUT", "/moesif/v1/events", "moesif", {"POST"}),
        ("POST", "/moesif/v1/config", "moesif", {"GET", "HEAD"}),
        ("GET", "/datamix/sessions", "datamix", {"POST"}),
        ("GET", "/baselime/v1/logs", "baselime", {"POST", "OPTIONS"}),
    ],
)
def test_a_wrong_method_is_405_names_the_right_ones_and_is_counted(
    server: "Server", method: str, path: str, protocol: str, allowed: set[str]
) -> None:
    before = refusals(server, protocol, "method_not_allowed")

    answer = ask(server, method, path)

    assert answer.status_code == 405
    assert answer.headers.get_list("allow") == [answer.headers["allow"]]
    assert {each.strip() for each in answer.headers["allow"].split(",")} == allowed
    assert refusals(server, protocol, "method_not_allowed") == before + 1


def test_head_is_answered_as_get_without_a_body(server: "Server") -> None:
    got = ask(server, "GET", "/moesif/health/probe")
    head = ask(server, "HEAD", "/moesif/health/probe")

    assert head.status_code == got.status_code
    assert head.content == b""
    assert head.headers["content-length"] == str(len(got.content))


def test_an_answer_without_a_body_says_nothing_of_one(server: "Server") -> None:
    made = server.client.post("/tailrace/v1/keys", json={"protocol": "moesif", "name": "t", "dataset": "demo"})
    headers = {"X-Moesif-Application-Id": made.json()["key"]}
    first = ask(server, "GET", "/v1/config", **headers)

    again = ask(server, "GET", "/v1/config", **headers, **{"If-None-Match": first.headers["x-moesif-config-etag"]})

    assert (first.status_code, again.status_code) == (200, 304)
    assert again.headers["x-moesif-config-etag"] == first.headers["x-moesif-config-etag"]
    assert not {"content-length", "content-type"} & set(again.headers)


def test_the_server_answers_for_itself_under_the_host_of_a_protocol(server: "Server") -> None:
    for path in ("/healthz", "/readyz", "/v2/datasets", "/tailrace/v1/keys"):
        assert server.client.get(path, headers={"Host": "api.moesif.net"}).status_code == 200


@pytest.mark.parametrize(("host", "status"), [("events.baselime.io", 405), ("api.moesif.net:8080", 404)])
def test_a_host_decides_over_the_wire(server: "Server", host: str, status: int) -> None:
    assert ask(server, "GET", "/v1/logs/x", Host=host).status_code == status


def test_a_host_that_the_operator_names_decides(make_server: Any) -> None:
    server = make_server("--moesif-hosts=[::1],moesif.internal,*.moesif.example").start()

    for host in ("moesif.internal", "MOESIF.internal:99", "a.moesif.example", "[::1]", "[::1]:8080"):
        assert ask(server, "POST", "/v1/logs/x", Host=host).status_code == 404
    assert ask(server, "POST", "/v1/logs/x", Host="moesif.example").status_code == 401


def test_a_credential_known_goes_before_one_that_is_not(server: "Server", dataset: str) -> None:
    made = server.client.post("/tailrace/v1/keys", json={"protocol": "baselime", "name": "t", "dataset": dataset})
    key = made.json()["key"]

    def send(**headers: str) -> httpx.Response:
        return http.post(f"{server.url}/v1/{dataset}", json=[{"n": 1}], headers=headers)

    assert send(**{"x-api-key": key}).status_code == 202
    assert send(Authorization=f"Bearer {key}").status_code == 202
    assert send(Authorization=key).status_code == 202
    assert send(**{"X-Moesif-Application-Id": "unknown", "x-api-key": key}).status_code == 202
    assert server.client.delete(f"/tailrace/v1/keys/{made.json()['id']}").status_code == 204
    assert send(**{"x-api-key": key}).status_code == 401


def test_a_key_for_events_is_never_good_for_the_api(server: "Server", dataset: str) -> None:
    token = server.api_token(dataset, query=True)
    for protocol, header in (("baselime", "x-api-key"), ("moesif", "X-Moesif-Application-Id")):
        made = server.client.post("/tailrace/v1/keys", json={"protocol": protocol, "name": "t", "dataset": dataset})
        key = made.json()["key"]

        assert ask(server, "GET", "/v2/datasets", **{header: key}).status_code == 401
        assert ask(server, "GET", "/v2/datasets", Authorization=f"Bearer {key}").status_code == 401
        # Nor is a token a key.
        answer = http.post(f"{server.url}/{protocol}/v1/events", json=[{"n": 1}], headers={header: token})
        assert answer.status_code == 401
