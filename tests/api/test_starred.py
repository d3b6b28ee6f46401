"""Saved queries over HTTP."""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Server

PATH = "/v2/apl-starred-queries"


def body(dataset: str, name: str = "errors", **more: Any) -> dict[str, Any]:
    query = {"apl": f"['{dataset}'] | where status >= 500", "startTime": "now-1h", "libraries": None}
    return {"kind": "apl", "name": name, "dataset": dataset, "query": query, "metadata": {"a": "b"}, **more}


def create(server: "Server", dataset: str, name: str = "errors", **more: Any) -> dict[str, Any]:
    answer = server.client.post(PATH, json=body(dataset, name, **more))
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def test_one_is_the_same_when_made_read_listed_and_changed(server: "Server", dataset: str) -> None:
    made = create(server, dataset)
    user = server.client.get("/v2/user").json()["id"]

    sent = body(dataset)
    assert made == {"id": made["id"], **sent, "who": user, "query": {"queryOptions": {}, **sent["query"]}}
    assert server.client.get(f"{PATH}/{made['id']}").json() == made
    assert server.client.get(PATH, params={"dataset": dataset}).json() == [made]
    changed = server.client.put(f"{PATH}/{made['id']}", json={**body(dataset), "name": "other"}).json()
    assert changed == {**made, "name": "other"}
    assert server.client.get(f"{PATH}/{made['id']}").json() == changed
    assert server.client.get(f"/v1/apl-starred-queries/{made['id']}").json() == changed
    assert server.client.delete(f"{PATH}/{made['id']}").status_code == 204
    assert server.client.get(f"{PATH}/{made['id']}").status_code == 404


def test_a_list_is_ones_own_the_teams_or_all(server: "Server", dataset: str) -> None:
    user = server.client.post("/v2/users", json={"name": dataset, "email": f"{dataset}@example.com"}).json()["id"]
    mine = create(server, dataset, "mine")
    theirs = create(server, dataset, "theirs", who=user)

    def listed(**parameters: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = server.client.get(PATH, params={"dataset": dataset, **parameters}).json()
        return found

    assert listed() == [mine]
    assert listed(who="team") == [theirs]
    assert listed(who=user) == [theirs]
    assert listed(who="all") == [mine, theirs]
    assert listed(who="all", limit="1", offset="1") == [theirs]
    assert listed(who="all", qs="THEIR") == [theirs]
    assert listed(who="all", qs="status >= 500") == [mine, theirs]
    assert listed(who="all", qs="nothing") == []


def test_a_token_has_those_of_its_datasets(server: "Server", dataset: str) -> None:
    made = create(server, dataset)
    everywhere = create(server, "")
    capabilities = {dataset: {"starredQueries": ["read", "create"]}}
    token = server.client.post("/v2/tokens", json={"name": "t", "datasetCapabilities": capabilities}).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}

    assert server.client.get(PATH, params={"who": "all"}, headers=headers).json() == [made]
    assert server.client.get(f"{PATH}/{everywhere['id']}", headers=headers).status_code == 404
    assert server.client.delete(f"{PATH}/{made['id']}", headers=headers).status_code == 403
    assert server.client.post(PATH, json=body(dataset), headers=headers).status_code == 200
    assert server.client.post(PATH, json=body(""), headers=headers).status_code == 403


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "sql"},
        {"name": " "},
        {"name": "x" * 257},
        {"query": {}},
        {"query": {"apl": " "}},
        {"query": {"apl": 5}},
        {"who": "nobody"},
        {"query": "print 1"},
    ],
    ids=str,
)
def test_what_is_no_query_is_400(server: "Server", dataset: str, change: dict[str, Any]) -> None:
    assert server.client.post(PATH, json={**body(dataset), **change}).status_code == 400


def test_a_query_saved_without_options_has_none(server: "Server", dataset: str) -> None:
    body: dict[str, Any] = {"name": dataset, "query": {"apl": f"['{dataset}']"}}
    null = {"name": dataset, "query": {**body["query"], "queryOptions": None}}
    for sent in (body, null):
        made = server.client.post("/v2/apl-starred-queries", json=sent).json()
        assert made["query"] == {"apl": f"['{dataset}']", "queryOptions": {}}
    options = {"queryOptions": {"quickRange": "1h"}}
    path = f"/v2/apl-starred-queries/{made['id']}"
    assert server.client.put(path, json={**body, "query": {**body["query"], **options}}).json()["query"] == {
        "apl": f"['{dataset}']",
        **options,
    }
