"""Every route of the API, walked: none answers without the token and the capability that the table names."""

import pkgutil
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from starlette.routing import Match, Route
from support import http
from support.serving import services_of

from tailrace import api
from tailrace.access import Access, AuditEntry
from tailrace.api import ROUTES, ApiRoute, Services, build
from tailrace.api.route import ANY_TOKEN, PUBLIC
from tailrace.lake import Lake, table_root
from tailrace.query import DuckDB, QueryLimits
from tailrace.storage.database import Database

if TYPE_CHECKING:
    from conftest import Server

PUBLIC_PATHS = {
    "/docs",
    "/healthz",
    "/openapi.json",
    "/readyz",
    "/tailrace/v1/session",
    "/tailrace/v1/session/provider",
}
GUARDED = [route for route in ROUTES if route.permission is not PUBLIC]


@pytest.fixture
def unused_services(tmp_path: Path) -> Iterator[Services]:
    """Yield the parts that an application is built over, where none of them is asked for anything."""

    async def never(entry: AuditEntry) -> None:
        raise AssertionError(entry)

    database = Database.open(tmp_path / "tailrace.db")
    lake = Lake.open(tmp_path / "lake")
    engine = DuckDB(table_root(tmp_path / "lake"), tmp_path / "temporary", QueryLimits())
    with ThreadPoolExecutor(1) as threads:
        yield services_of(Access(database), lake, engine, database, threads, record=never)
    engine.close()
    lake.close()
    database.close()


def name(route: ApiRoute) -> str:
    return f"{route.method} {route.path}"


def call(server: "Server", route: ApiRoute, token: str | None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    path = re.sub(r"{\w+(:path)?}", "nothing-of-this-name", route.path)
    mount = "/axiom" if name(route) == "POST /v1/users" else ""  # which is Moesif's, but for a known token of Axiom's
    return http.request(route.method, server.url + mount + path, headers=headers)


def test_every_route_served_is_in_the_table_with_its_need(unused_services: Services) -> None:
    served = [
        (method, route.path)
        for route in build(unused_services).routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD"
    ]

    assert sorted(served) == sorted((route.method, route.path) for route in ROUTES)
    assert all(type(route) is Route for route in build(unused_services).routes)
    assert {route.path for route in ROUTES if route.permission is PUBLIC} == PUBLIC_PATHS


def test_the_routes_of_every_module_are_in_the_table() -> None:
    modules = [import_module(f"{api.__name__}.{each.name}") for each in pkgutil.iter_modules(api.__path__)]
    tables = [own for module in modules if (own := getattr(module, "ROUTES", ROUTES)) is not ROUTES]

    assert sorted(name(route) for table in tables for route in table) == sorted(name(route) for route in ROUTES)


def test_every_route_is_of_the_module_that_answers_it() -> None:
    for module in {import_module(route.handler.__module__) for route in ROUTES}:
        assert {route.handler.__module__ for route in module.ROUTES} == {module.__name__}


def test_no_route_hides_another(unused_services: Services) -> None:
    served = build(unused_services).routes

    for route in ROUTES:
        path = re.sub(r"{\w+(:path)?}", "nothing-of-this-name", route.path)
        request = {"type": "http", "method": route.method, "path": path, "root_path": ""}
        found = next(each for each in served if each.matches(request)[0] is Match.FULL)
        assert isinstance(found, Route)
        assert found.path == route.path


@pytest.mark.parametrize("route", GUARDED, ids=name)
def test_without_a_valid_token_every_guarded_route_is_401(server: "Server", route: ApiRoute) -> None:
    for token in (None, "xaat-wrong"):
        answer = call(server, route, token)

        assert answer.status_code == 401, token
        assert answer.json()["code"] == 401, token


@pytest.fixture(scope="session")
def weak_token(server: "Server") -> str:
    """Return a token that may send to one dataset and query it, and nothing else."""
    return server.api_token(server.create("routes"), query=True)


@pytest.mark.parametrize("route", [route for route in GUARDED if route.permission != ANY_TOKEN], ids=name)
def test_without_its_capability_a_token_is_403(server: "Server", weak_token: str, route: ApiRoute) -> None:
    answer = call(server, route, weak_token)

    assert answer.status_code == 403
    assert route.permission is not None
    assert f"{route.permission.capability}:{route.permission.action}" in answer.json()["message"]


@pytest.mark.parametrize("path", sorted(PUBLIC_PATHS))
def test_public_routes_need_no_token(server: "Server", path: str) -> None:
    assert http.get(server.url + path).status_code in (200, 204)


@pytest.mark.parametrize("path", ["/nothing", "/v1/nothing", "/axiom/nothing", "/v1/datasets/a/b/c"])
def test_an_unknown_route_is_404_in_json(server: "Server", path: str) -> None:
    answer = server.client.get(path)

    assert answer.status_code == 404
    assert answer.json()["code"] == 404
    assert "not found" in answer.json()["message"]
    assert answer.headers["x-axiom-trace-id"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "/v1/datasets", {"GET", "HEAD", "POST"}),
        ("PATCH", "/v2/tokens/x", {"DELETE", "GET", "HEAD", "PUT"}),
        ("GET", "/tailrace/v1/sql", {"POST"}),
        ("GET", "/v1/datasets/demo/ingest", {"POST"}),
        ("DELETE", "/v1/ingest/demo", {"POST"}),
    ],
)
def test_a_wrong_method_is_405_and_names_the_right_ones(
    server: "Server", method: str, path: str, allowed: set[str]
) -> None:
    answer = server.client.request(method, path)

    assert answer.status_code == 405
    assert answer.json()["code"] == 405
    assert {each.strip() for each in answer.headers["allow"].split(",")} == allowed
    assert answer.headers["x-axiom-trace-id"]


@pytest.mark.parametrize("path", ["/v1/datasets/demo/ingest", "/v2/datasets", "/nothing"])
def test_a_browser_may_send_from_any_origin(server: "Server", path: str) -> None:
    preflight = httpx.options(
        server.url + path,
        headers={"Origin": "https://example.org", "Access-Control-Request-Method": "POST"},
        trust_env=False,
    )
    answer = server.client.get(path, headers={"Origin": "https://example.org"})

    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    allowed = preflight.headers["access-control-allow-headers"].lower()
    for header in ("authorization", "content-type", "content-encoding", "x-axiom-client", "x-axiom-event-labels"):
        assert header in allowed
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    ("method", "path", "token", "status"),
    [
        ("POST", "/v2/datasets", "xaat-wrong", 401),
        ("POST", "/nothing", "", 404),
        ("PATCH", "/v2/datasets", "", 405),
        ("PUT", "/v2/datasets/nothing-of-this-name/fields/x", "", 413),
        ("GET", "/v2/views/nothing-of-this-name", "", 404),
    ],
)
def test_a_refusal_arrives_however_long_the_body_is(
    server: "Server", method: str, path: str, token: str, status: int
) -> None:
    headers = {"Authorization": f"Bearer {token or server.token}"}
    answer = server.client.request(method, path, content=bytes(8_000_000), headers=headers)

    assert answer.status_code == status
    assert answer.json()["code"] == status


def test_every_answer_has_a_trace_id_of_its_own(server: "Server") -> None:
    ids = {server.client.get(path).headers["x-axiom-trace-id"] for path in ("/healthz", "/nothing", "/v2/datasets")}

    assert len(ids) == 3
