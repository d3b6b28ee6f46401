"""Dashboards over HTTP: kept as they are given, each change on the version that it was made for."""

from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from conftest import Server

DOCUMENT = {
    "name": "Requests",
    "owner": "X-AXIOM-EVERYONE",
    "description": "by status",
    "charts": [
        {"id": "a", "type": "TimeSeries", "query": {"apl": "print 1"}, "config": {"stale": 1}},
        {"id": "b", "type": "Note", "text": "hello"},
    ],
    "layout": [{"i": "a", "x": 0, "y": 0, "w": 4, "h": 4}],
    "refreshTime": 60,
    "schemaVersion": 2,
    "timeWindowStart": "qr-now-1h",
    "timeWindowEnd": "qr-now",
    "somethingNew": {"kept": [1, None]},
}


def write(server: "Server", uid: str, *, status: int = 201, **more: Any) -> dict[str, Any]:
    answer = server.client.post("/v2/dashboards", json={"uid": uid, "dashboard": DOCUMENT, **more})
    assert answer.status_code == status, answer.text
    made: dict[str, Any] = answer.json()
    return made


def put(server: "Server", uid: str, **body: Any) -> httpx.Response:
    return server.client.put(f"/v2/dashboards/uid/{uid}", json={"dashboard": DOCUMENT, **body})


def test_one_is_the_same_when_made_read_and_listed(server: "Server") -> None:
    made = write(server, "dash-same")
    user = server.client.get("/v2/user").json()["id"]

    assert made["status"] == "created"
    shown = made["dashboard"]
    assert shown["dashboard"] == DOCUMENT
    assert (shown["uid"], shown["version"], shown["createdBy"], shown["updatedBy"]) == ("dash-same", 1, user, user)
    assert server.client.get("/v2/dashboards/uid/dash-same").json() == shown
    assert shown in server.client.get("/v2/dashboards?limit=1000").json()
    assert server.client.delete("/v2/dashboards/uid/dash-same").status_code == 204
    assert server.client.get("/v2/dashboards/uid/dash-same").status_code == 404
    assert server.client.delete("/v2/dashboards/uid/dash-same").status_code == 404


def test_one_without_a_uid_gets_one(server: "Server") -> None:
    uid = server.client.post("/v2/dashboards", json={"dashboard": DOCUMENT}).json()["dashboard"]["uid"]

    assert server.client.get(f"/v2/dashboards/uid/{uid}").status_code == 200


def test_a_change_of_the_version_there_is_raises_it(server: "Server") -> None:
    before = write(server, "dash-change")["dashboard"]
    answer = put(server, "dash-change", version=1, message="why")

    assert answer.status_code == 200
    after = answer.json()["dashboard"]
    assert (answer.json()["status"], after["version"], after["createdAt"]) == ("updated", 2, before["createdAt"])


def test_a_change_of_a_stale_version_is_412_with_the_one_there_is(server: "Server") -> None:
    write(server, "dash-stale")
    assert put(server, "dash-stale", version=1).status_code == 200
    answer = put(server, "dash-stale", version=1)

    assert answer.status_code == 412
    body = answer.json()
    assert "version 2, not 1" in body.pop("message")
    assert body == {"code": "412", "currentVersion": 2, "reason": "version_mismatch", "uid": "dash-stale"}


def test_overwrite_replaces_whatever_the_version(server: "Server") -> None:
    write(server, "dash-over")
    answer = put(server, "dash-over", overwrite=True)

    assert (answer.status_code, answer.json()["overwritten"]) == (200, True)
    assert write(server, "dash-over", status=200, overwrite=True)["dashboard"]["version"] == 3


def test_a_change_without_a_version_is_400(server: "Server") -> None:
    write(server, "dash-none")

    for version in (None, 0):
        assert put(server, "dash-none", version=version).status_code == 400
    assert put(server, "dash-missing", version=1).status_code == 404


def test_making_one_that_there_is_is_409(server: "Server") -> None:
    write(server, "dash-twice")
    answer = write(server, "dash-twice", status=409)

    assert (answer["reason"], answer["currentVersion"]) == ("already_exists", 1)
    assert write(server, "dash-twice", status=200, version=1)["status"] == "updated"


def test_one_chart_changes_by_a_merge_patch(server: "Server") -> None:
    write(server, "dash-chart")
    path = "/v2/dashboards/uid/dash-chart/charts/a"
    patch = {"name": "Errors", "config": {"stale": None, "new": 2}, "query": {"apl": "print 2"}}
    answer = server.client.patch(path, json={"chart": patch, "version": 1})

    assert answer.status_code == 200
    shown = answer.json()["dashboard"]
    assert shown["version"] == 2
    assert shown["dashboard"]["charts"] == [
        {"id": "a", "type": "TimeSeries", "query": {"apl": "print 2"}, "config": {"new": 2}, "name": "Errors"},
        DOCUMENT["charts"][1],  # type: ignore[index]
    ]
    assert server.client.patch(path, json={"chart": {"name": "x"}, "version": 1}).status_code == 412
    assert server.client.patch(path, json={"chart": {"name": "x"}}).json()["dashboard"]["version"] == 3
    assert server.client.patch(path, json={"chart": {"id": "b"}}).status_code == 400
    assert server.client.patch(path.replace("/a", "/z"), json={"chart": {}}).status_code == 404


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"charts": [{"id": "a"}] * 201}, "201"),
        ({"charts": [{"id": "a"}, {"id": "a"}]}, "two charts"),
        ({"charts": [{"type": "Note"}]}, "id"),
        ({"charts": {}}, "charts"),
        ({"layout": [1]}, "layout"),
        ({"owner": 5}, "owner"),
        ({"uid": "another"}, "not the same"),
    ],
    ids=lambda each: str(each)[:30],
)
def test_what_is_no_dashboard_is_400(server: "Server", change: dict[str, Any], told: str) -> None:
    answer = server.client.post("/v2/dashboards", json={"uid": "dash-bad", "dashboard": {**DOCUMENT, **change}})

    assert answer.status_code == 400
    assert told in answer.json()["message"]


@pytest.mark.parametrize("uid", ["with space", "x" * 129, "a/b", "é"])
def test_a_uid_of_other_characters_is_400(server: "Server", uid: str) -> None:
    assert "uid" in write(server, uid, status=400)["message"]


def test_a_list_comes_by_pages(server: "Server") -> None:
    for number in range(3):
        write(server, f"dash-page-{number}")
    every = server.client.get("/v2/dashboards?limit=1000").json()

    assert server.client.get("/v2/dashboards?limit=2&offset=1").json() == every[1:3]
    for bad in ("limit=0", "limit=1001", "limit=x", "offset=-1"):
        assert server.client.get(f"/v2/dashboards?{bad}").status_code == 400


def test_a_users_own_dashboard_is_theirs_and_the_admins(server: "Server") -> None:
    users = []
    for name in ("dash-ann", "dash-bob"):
        body = {"name": name, "email": f"{name}@example.com", "role": "user"}
        user = server.client.post("/v2/users", json=body).json()["id"]
        token = server.client.post(f"/tailrace/v1/users/{user}/tokens", json={"name": name}).json()["token"]
        users.append((user, {"Authorization": f"Bearer {token}"}))
    (ann, as_ann), (_, as_bob) = users
    own = {"uid": "dash-own", "dashboard": {**DOCUMENT, "owner": ann}}
    assert server.client.post("/v2/dashboards", json=own, headers=as_ann).status_code == 201

    path = "/v2/dashboards/uid/dash-own"
    assert server.client.get(path, headers=as_ann).status_code == 200
    assert server.client.get(path).status_code == 200
    assert server.client.get(path, headers=as_bob).status_code == 404
    assert server.client.delete(path, headers=as_bob).status_code == 404
    assert "dash-own" not in server.client.get("/v2/dashboards?limit=1000", headers=as_bob).text


def test_no_dashboard_comes_with_an_integration(server: "Server") -> None:
    answer = server.client.get("/api/internal/integrations/dashboards")
    assert (answer.status_code, answer.json()) == (200, [])
