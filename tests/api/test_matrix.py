"""Every route against every sort of token that must not get in: no organisation sees or changes what others have."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from support import http
from support.waiting import wait_until

from tailrace.access.capabilities import DATASET_CAPABILITIES, ORG_CAPABILITIES
from tailrace.api import ROUTES, ApiRoute
from tailrace.api.route import ANY_TOKEN, PUBLIC

if TYPE_CHECKING:
    from conftest import MakeServer, Server

GUARDED = [route for route in ROUTES if route.permission is not PUBLIC]
# The name of a label is no organisation's.
WITH_IDS = [route for route in GUARDED if "{" in route.path and "{label}" not in route.path]
OF_THE_SERVER = [route for route in GUARDED if route.permission is not None and route.permission.capability == "server"]
LISTS = [route for route in GUARDED if route.method == "GET" and route not in WITH_IDS and route not in OF_THE_SERVER]
OURS = "ours-alone"  # in the name of all that the first organisation has here


class World:
    """A server with two organisations, and tokens for them."""

    def __init__(self, server: "Server") -> None:
        self.server = server
        self.url = server.url
        self.ids = make_things(server)
        assert self.ask("POST", "/v2/orgs", server.token, json={"name": "Other"}).status_code == 200
        self.other = self.made("/v2/users", {"name": "Eve", "email": "eve@example.com", "role": "owner"})
        self.other_owner = self.made(f"/tailrace/v1/users/{self.other['id']}/tokens", {"name": "eve"})["token"]
        # What is of the whole server, another organisation cannot give.
        capabilities = {name: actions for name, actions in ORG_CAPABILITIES.items() if name != "server"}
        given = {"name": "eve", **everything(), "orgCapabilities": capabilities}
        self.other_api = self.made("/v2/tokens", given)["token"]
        for valid_s in (0.5, 5, 20):  # the first, unless the machine is busy: what has expired is not made
            spec = {"name": "expiring", **everything(), "expiresAt": after(valid_s)}
            expiring = server.client.post("/v2/tokens", json=spec)
            if expiring.status_code == 200:
                break
        self.expired = expiring.json()["token"]
        wait_until(lambda: self.ask("GET", "/v2/user", self.expired).status_code == 401)
        elsewhere = {"datasetCapabilities": {"not-there": {"ingest": ["create"]}}}
        weak = server.client.post("/v2/tokens", json={"name": "weak", **elsewhere})
        self.weak = weak.json()["token"]

    def made(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Something of the other organisation."""
        answer = self.ask("POST", path, self.server.token, organisation="other", json=body)
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def ask(self, method: str, path: str, token: str, organisation: str = "", **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} | ({"X-Axiom-Org-Id": organisation} if organisation else {})
        return http.request(method, self.url + path, headers=headers, **more)

    def call(self, route: ApiRoute, token: str) -> httpx.Response:
        """Return the route, on what the first organisation has."""
        return self.ask(route.method, self.path(route), token)

    def path(self, route: ApiRoute) -> str:
        area = max((each for each in self.ids if each in route.path), key=len, default="")
        return re.sub(r"{(\w+)(:path)?}", lambda match: self.ids[area].get(match[1], OURS), route.path)


def everything() -> dict[str, Any]:
    """Every capability that there is."""
    return {"datasetCapabilities": {"*": DATASET_CAPABILITIES}, "orgCapabilities": ORG_CAPABILITIES}


def after(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def make_things(server: "Server") -> dict[str, dict[str, str]]:
    """One of each that a route names by an id, of the first organisation: by a part of the path, by the parameter."""

    def made(path: str, body: dict[str, Any]) -> str:
        answer = server.client.post(path, json=body)
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["id"])

    server.create(OURS)
    token = made("/v2/tokens", {"name": OURS, "orgCapabilities": {"datasets": ["read"]}})
    user = made("/v2/users", {"name": OURS, "email": "ours-alone@example.com", "role": "user"})
    personal = made(f"/tailrace/v1/users/{user}/tokens", {"name": OURS})
    own = made("/v1/tokens/personal", {"name": OURS})
    dashboard = {"uid": OURS, "dashboard": {"name": OURS, "charts": [{"id": "c"}]}}
    assert server.client.post("/v2/dashboards", json=dashboard).status_code == 201
    query = {"aplQuery": f"['{OURS}'] | count", "operator": "Above", "disabled": True}
    monitor = made("/v2/monitors", {"name": OURS, "type": "Threshold", **query})
    notifier = made("/v2/notifiers", {"name": OURS, "properties": {"email": {"emails": ["a@b.c"]}}})
    things = {
        "/datasets": {"id": OURS, "field": "_time"},
        "/v2/annotations": {"id": made("/v2/annotations", {"type": "deploy", "datasets": [OURS], "title": OURS})},
        "/v2/vfields": {"id": made("/v2/vfields", {"dataset": OURS, "name": "v", "expression": "1"})},
        "apl-starred-queries": {
            "id": made("/v2/apl-starred-queries", {"name": OURS, "dataset": OURS, "query": {"apl": f"['{OURS}']"}})
        },
        "/v2/views": {"id": made("/v2/views", {"name": OURS, "aplQuery": f"['{OURS}']", "datasets": [OURS]})},
        "/v2/dashboards": {"uid": OURS, "chart": "c"},
        "/api/internal/dashboards": {"id": OURS},
        "/v2/rbac/roles": {"id": made("/v2/rbac/roles", {"name": OURS})},
        "/v2/rbac/groups": {"id": made("/v2/rbac/groups", {"name": OURS, "members": [user]})},
        "/v2/notifiers": {"id": notifier},
        "/tailrace/v1/notifiers": {"id": notifier},
        "/v2/monitors": {"id": monitor},
        "/tailrace/v1/monitors": {"id": monitor},
        "/v2/tokens": {"id": token},
        "/tokens/personal": {"id": own},
        "/users": {"id": user},
        "/tailrace/v1/users": {"id": user, "token": personal},
        "/v2/orgs": {"id": "tailrace"},
        "/tailrace/v1/tail": {"dataset": OURS},
        "/tailrace/v1/backups": {"id": made("/tailrace/v1/backups", {}), "dataset": OURS},
        "/loki/api/v1": {"label": "message"},
        "/tailrace/v1/keys": {"id": made("/tailrace/v1/keys", {"protocol": "moesif", "name": OURS, "dataset": OURS})},
    }
    # All else by the examples of the routes that make it.
    paths = {route.path for route in ROUTES}
    for route in ROUTES:
        is_new = route.method == "POST" and not any(each in route.path for each in things)
        if is_new and f"{route.path}/{{id}}" in paths:
            things[route.path] = {"id": made(route.path, {**route.example, "name": OURS})}
    return things


@pytest.fixture(scope="module")
def world(process: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    from conftest import Server

    running = Server(tmp_path_factory.mktemp("matrix") / "data").start()
    try:
        yield World(running)
    finally:
        running.end()


def name(route: ApiRoute) -> str:
    return f"{route.method} {route.path}"


@pytest.mark.parametrize("route", GUARDED, ids=name)
def test_no_token_a_wrong_one_and_an_expired_one_are_401(world: World, route: ApiRoute) -> None:
    assert http.request(route.method, world.url + world.path(route)).status_code == 401
    for token in ("xaat-wrong", "xapt-wrong", world.expired):
        answer = world.call(route, token)
        assert answer.status_code == 401, answer.text


@pytest.mark.parametrize("route", OF_THE_SERVER, ids=name)
def test_what_is_of_the_whole_server_is_for_the_first_organisation(world: World, route: ApiRoute) -> None:
    assert world.call(route, world.server.token).status_code in (200, 204, 400)  # whose parameters are missing
    for token in (world.other_owner, world.other_api):
        assert world.call(route, token).status_code == 403


@pytest.mark.parametrize("route", [route for route in GUARDED if route.permission != ANY_TOKEN], ids=name)
def test_a_token_without_the_capability_is_403(world: World, route: ApiRoute) -> None:
    assert world.call(route, world.weak).status_code == 403


@pytest.mark.parametrize("route", WITH_IDS, ids=name)
def test_a_token_of_another_organisation_finds_nothing(world: World, route: ApiRoute) -> None:
    for token in (world.other_owner, world.other_api):
        answer = world.call(route, token)
        # 400 and 415 where the body is looked at first: nothing is said of what there is.
        assert answer.status_code in (400, 403, 404), answer.text
        assert "Owner" not in answer.text


@pytest.mark.parametrize("route", LISTS, ids=name)
def test_a_list_shows_nothing_of_another_organisation(world: World, route: ApiRoute) -> None:
    for token in (world.other_owner, world.other_api):
        text = world.call(route, token).text
        assert OURS not in text
        assert not any(thing in text for ids in world.ids.values() for thing in ids.values() if len(thing) > 10)


def test_events_are_not_sent_to_nor_asked_of_another_organisation(world: World) -> None:
    for token in (world.other_owner, world.other_api):
        assert world.ask("POST", f"/v1/datasets/{OURS}/ingest", token, json=[{"n": 1}]).status_code == 404
        apl = world.ask("POST", "/v1/datasets/_apl?format=tabular", token, json={"apl": f"['{OURS}']"})
        sql = world.ask("POST", "/tailrace/v1/sql", token, json={"sql": f'SELECT * FROM "{OURS}"'})
        assert (apl.status_code, sql.status_code) == (404, 404)


def test_the_header_of_an_organisation_one_is_not_in_is_403(world: World) -> None:
    assert world.ask("GET", "/v2/datasets", world.other_owner, organisation="tailrace").status_code == 403


def test_a_dataset_belongs_to_the_organisation_that_made_it(world: World) -> None:
    made = world.ask("POST", "/v2/datasets", world.other_api, json={"name": "their-events"})
    assert made.status_code == 200
    sent = world.ask("POST", "/v1/datasets/their-events/ingest", world.other_api, json=[{"n": 1}])
    assert sent.status_code == 200
    assert world.server.client.get("/v2/datasets/their-events").status_code == 404
    named = world.ask("GET", "/v2/datasets/their-events", world.server.token, organisation="other")
    assert named.status_code == 200
    assert world.server.client.post("/v2/datasets", json={"name": "their-events"}).status_code == 409
    assert "their-events" not in world.server.client.get("/v1/datasets/_stats").text


def test_what_was_not_let_in_changed_nothing(world: World) -> None:
    for route in WITH_IDS:
        if route.method == "GET" and route.path.endswith(("/{id}", "/{uid}")) and "_history" not in route.path:
            assert world.call(route, world.server.token).status_code == 200


def test_a_token_made_before_a_restart_works_after_it(make_server: "MakeServer") -> None:
    server = make_server().start()
    token = server.api_token("demo")
    server.stop()
    server.start()
    answer = http.post(
        f"{server.url}/v1/datasets/demo/ingest",
        json=[{"n": 1}],
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.status_code == 200
