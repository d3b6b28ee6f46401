"""What pages of other origins may ask: one answer to every preflight, and none where credentials are managed."""

from typing import TYPE_CHECKING

import httpx
import pytest
from support import http

from tailrace.api import ROUTES

if TYPE_CHECKING:
    from conftest import Server

ORIGIN = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
CREDENTIAL_PATHS = sorted(
    {
        route.path.replace("{id}", "x")
        for route in ROUTES
        if route.permission and route.permission.capability == "apiTokens"
    }
)


def preflight(server: "Server", path: str, **headers: str) -> httpx.Response:
    return httpx.options(server.url + path, headers={**ORIGIN, **headers}, trust_env=False)


@pytest.mark.parametrize(
    "path", ["/docs", "/openapi.json", "/healthz", "/v2/datasets", "/nothing", "/v1/config", "/v1/logs/namespace"]
)
def test_no_browser_guesses_what_an_answer_is(server: "Server", path: str) -> None:
    assert httpx.get(server.url + path, trust_env=False).headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nothing",
        "/v1",
        "/v1/",
        "/v1/logs",
        "/v1/logs/namespace",
        "/v1//logs",
        "/v1/events",
        "/v1/events/batch",
        "/v1/config",
        "/v1/datasets/demo/ingest",
        "/v1/~/governance/rules",
        "/v2/datasets",
        "/axiom/v1/datasets/demo/ingest",
        "/baselime/v1/logs",
        "/moesif/v1/events",
        "/moesifapi/events/batch",
        "/collector/v1/events",
        "/health/probe",
        "/destinations/a.b.c/logs",
        "/datamix/destinations/a.b.c/logs",
        "/tailrace/v1/sql",
    ],
)
def test_every_preflight_has_one_answer_that_echoes_the_headers_asked_for(server: "Server", path: str) -> None:
    asked = "contenttype, library, x-api-key, x-namespace, x-service, x-moesif-application-id, x-not-known-yet"

    answer = preflight(server, path, **{"Access-Control-Request-Headers": asked})

    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert {"GET", "POST", "OPTIONS"} <= {
        method.strip() for method in answer.headers["access-control-allow-methods"].split(",")
    }
    assert answer.headers["access-control-allow-headers"] == asked
    assert answer.headers["access-control-max-age"] == "86400"
    assert "access-control-allow-credentials" not in answer.headers


def test_a_preflight_needs_no_credential_and_takes_any(server: "Server") -> None:
    for name, value in (("x-api-key", "wrong"), ("X-Moesif-Application-Id", "wrong"), ("Authorization", "Bearer no")):
        assert preflight(server, "/v1/events", **{name: value}).status_code == 204


@pytest.mark.parametrize("mount", ["", "/axiom"])
@pytest.mark.parametrize("path", CREDENTIAL_PATHS)
def test_no_other_origin_manages_credentials(server: "Server", mount: str, path: str) -> None:
    asked = preflight(server, mount + path, **{"Access-Control-Request-Headers": "authorization"})
    answer = server.client.get(mount + path, headers=ORIGIN)

    assert asked.status_code == 204
    for headers in (asked.headers, answer.headers):
        assert not [name for name in headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", ["/sessions", "/datamix/sessions", "/sessions/", "/datamix/sessions?key=x"])
def test_no_other_origin_opens_sessions(server: "Server", path: str) -> None:
    asked = preflight(server, path, **{"Access-Control-Request-Headers": "content-type"})
    answer = http.post(server.url + path, headers=ORIGIN, json={"key": "wrong"})

    assert asked.status_code == 204
    for headers in (asked.headers, answer.headers):
        assert not [name for name in headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", ["/v1%2Flogs", "//v2/tokens", "/v2%2Ftokens", "/%76%32/tokens", "/v2/tokens/"])
def test_spelling_a_path_another_way_opens_nothing(server: "Server", path: str) -> None:
    answer = http.get(server.url + path, headers=ORIGIN)

    assert answer.status_code in {401, 404}
    if answer.status_code == 401:
        assert "access-control-allow-origin" not in answer.headers
